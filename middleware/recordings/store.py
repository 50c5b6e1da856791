"""Where recordings are kept: a folder, or an object store by URL; under their own SHA-256, so never twice.

Every customer has a place of his own: what one keeps says nothing of another, and can be taken away as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from middleware.errors import ConfigError, StorageError

PIECE = 256 * 1024  # bytes that are read at once


class Store(Protocol):
    """Keeps files by customer and SHA-256; every fault is a :class:`StorageError`.

    ``incoming`` is a folder on this machine where a recording lies while it is fetched.
    """

    incoming: Path

    def put(self, tenant_id: str, sha256: str, path: Path) -> None:
        """Keep the file at ``path``, unless it is kept already; it is whole and durable when this returns."""

    def read(self, tenant_id: str, sha256: str, start: int, length: int) -> Iterator[bytes]:
        """Return a part of the file, in pieces; a file that is not there raises before the first piece."""

    def delete(self, tenant_id: str, sha256: str) -> None:
        """Remove the file; that there is none is no error."""


def open_store(place: str, data: Path) -> Store:
    """Return the store that ``M8CRM_RECORDINGS`` names; raises ``ConfigError`` with what to do."""
    if "://" not in place:
        return FolderStore(Path(place))
    try:
        from middleware.recordings.objects import ObjectStore  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError("M8CRM_RECORDINGS", ["needs another library: pip install 'm8crm[recordings]'"]) from None
    return ObjectStore(place, data / "incoming")


class FolderStore:
    """A folder: ``<customer>/<two digits>/<SHA-256>``, readable by its owner only."""

    def __init__(self, root: Path) -> None:
        self._root = root
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            problem = f"is no folder that can be made ({error.strerror}): {root}"
            raise ConfigError("M8CRM_RECORDINGS", [problem]) from None
        self.incoming = root / "incoming"  # on the same disk, so that keeping is a rename

    def put(self, tenant_id: str, sha256: str, path: Path) -> None:
        """Move the file to its place, and have both on disk."""
        place = self._place(tenant_id, sha256)
        try:
            for folder in (place.parent.parent, place.parent):
                folder.mkdir(exist_ok=True, mode=0o700)
            _sync(path)
            path.replace(place)
            _sync(place.parent)
        except OSError as error:
            raise StorageError(f"the recording could not be kept ({error.strerror})") from None

    def read(self, tenant_id: str, sha256: str, start: int, length: int) -> Iterator[bytes]:
        """Open the file now and return its part in pieces."""
        try:
            file = self._place(tenant_id, sha256).open("rb")
            file.seek(start)
        except OSError as error:
            raise StorageError(f"the recording cannot be read ({error.strerror})") from None

        def pieces() -> Iterator[bytes]:
            left = length
            with file:
                yield b""  # to be here: closing a generator that has not begun would leave the file open
                while left and (piece := file.read(min(PIECE, left))):
                    left -= len(piece)
                    yield piece

        opened = pieces()
        next(opened)
        return opened

    def delete(self, tenant_id: str, sha256: str) -> None:
        """Remove the file."""
        try:
            self._place(tenant_id, sha256).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"the recording could not be removed ({error.strerror})") from None

    def _place(self, tenant_id: str, sha256: str) -> Path:
        return self._root / tenant_id / sha256[:2] / sha256


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_incoming(store: Store) -> Path:
    """Return the store's folder for what is being fetched; made at first use."""
    try:
        store.incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"the folder for recordings cannot be made ({error.strerror})") from None
    return store.incoming
