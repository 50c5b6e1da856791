"""The installation's own key: it makes hashes of numbers and keys that nobody else can repeat.

Machines that share a database or a Redis must have the same one, so that they mean the same by a hash.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

KEY_BYTES = 32


def load_key(data: Path) -> bytes:
    """Return the key in ``data/key``; made at first use, readable by its owner only, once for all processes."""
    path = data / "key"
    data.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        handle, draft = tempfile.mkstemp(dir=data)  # mode 0600
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was first: his key it is
            os.link(draft, path)
        Path(draft).unlink()
    return path.read_bytes()
