"""An object store by URL (S3, Google, Azure), through ``obstore``; credentials come from its own variables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from middleware.errors import ConfigError, StorageError

SECONDS = "30s"  # of one request


class ObjectStore:
    """Objects ``<customer>/<SHA-256>`` below the URL's own path."""

    def __init__(self, url: str, incoming: Path) -> None:
        try:
            self._store = from_url(
                url,
                client_options={"timeout": SECONDS, "allow_http": True},
                retry_config={"max_retries": 2},
            )
        except (BaseError, ValueError, TypeError) as error:
            problem = f"is no object store that can be used ({type(error).__name__})"
            raise ConfigError("M8CRM_RECORDINGS", [problem]) from None
        self.incoming = incoming

    def put(self, tenant_id: str, sha256: str, path: Path) -> None:
        """Send the file, in parts when it is large."""
        try:
            obstore.put(self._store, f"{tenant_id}/{sha256}", path)
        except (BaseError, OSError) as error:
            raise StorageError(f"the object store did not take the recording ({type(error).__name__})") from None

    def read(self, tenant_id: str, sha256: str, start: int, length: int) -> Iterator[bytes]:
        """Ask for the part now, and return it in pieces as they come."""
        try:
            wanted = {"range": (start, start + length)}
            found = obstore.get(self._store, f"{tenant_id}/{sha256}", options=wanted)  # type: ignore[arg-type]
        except (BaseError, OSError) as error:
            raise StorageError(f"the object store has no such recording now ({type(error).__name__})") from None
        return (bytes(piece) for piece in found)

    def delete(self, tenant_id: str, sha256: str) -> None:
        """Remove the object."""
        try:
            obstore.delete(self._store, f"{tenant_id}/{sha256}")
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise StorageError(f"the object store did not remove the recording ({type(error).__name__})") from None
