"""The installation's own key: it makes hashes of numbers and keys that nobody else can repeat.

Machines that share a database or a Redis must have the same one, so that they mean the same by a hash.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from middleware.errors import ConfigError

KEY_BYTES = 32


def load_key(data: Path) -> bytes:
    """Return the key in ``data/key``; made at first use, readable by its owner only, once for all processes.

    Raises ``ConfigError`` for a file that is no key.
    """
    path = data / "key"
    if not path.exists():
        make_once(path, secrets.token_bytes(KEY_BYTES))
    key = path.read_bytes()
    if not 16 <= len(key) <= blake2b.MAX_KEY_SIZE:
        raise ConfigError(str(path), [f"has {len(key)} bytes, and a key has 16 to {blake2b.MAX_KEY_SIZE}"])
    return key


def make_once(path: Path, content: bytes) -> None:
    """Write the file, readable by its owner only, unless there is one: of several processes one does."""
    draft = _draft(path, content)
    with suppress(FileExistsError):  # another process was first: what he wrote it is
        os.link(draft, path)
    draft.unlink()


def replace_secret(path: Path, content: bytes) -> None:
    """Write the file anew in one step, readable by its owner only."""
    _draft(path, content).replace(path)


def _draft(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent)  # mode 0600
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Path(draft)
