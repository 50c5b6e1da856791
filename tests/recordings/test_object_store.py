"""Recordings in an object store: a real S3-compatible server on a free port."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from middleware.errors import ConfigError, StorageError
from middleware.recordings.store import FolderStore, Store, open_store


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Return each kind of store."""
    if request.param == "folder":
        return open_store(str(tmp_path / "kept"), tmp_path)
    request.getfixturevalue("s3")
    return open_store("s3://kept/below", tmp_path)


def _put(store: Store, path: Path, body: bytes, tenant: str = "acme") -> str:
    path.write_bytes(body)
    sha256 = hashlib.sha256(body).hexdigest()
    store.put(tenant, sha256, path)
    return sha256


def test_what_is_kept_is_read_in_parts(store: Store, tmp_path: Path) -> None:
    """Every part of a kept file is what was put there."""
    body = bytes(range(256)) * 4096
    sha256 = _put(store, tmp_path / "file", body)
    for start, length in ((0, len(body)), (5, 1), (300_000, 500_000), (len(body) - 3, 3)):
        assert b"".join(store.read("acme", sha256, start, length)) == body[start : start + length]


def test_a_file_is_one_customer_s(store: Store, tmp_path: Path) -> None:
    """Another customer's file with the same content is another file."""
    sha256 = _put(store, tmp_path / "file", b"body")
    with pytest.raises(StorageError):
        store.read("beta", sha256, 0, 4)
    _put(store, tmp_path / "file", b"body", tenant="beta")
    store.delete("acme", sha256)
    assert b"".join(store.read("beta", sha256, 0, 4)) == b"body"


def test_putting_twice_and_deleting_twice_is_no_error(store: Store, tmp_path: Path) -> None:
    """The same file may be put and deleted again."""
    sha256 = _put(store, tmp_path / "file", b"body")
    assert _put(store, tmp_path / "file", b"body") == sha256
    store.delete("acme", sha256)
    store.delete("acme", sha256)
    with pytest.raises(StorageError):
        store.read("acme", sha256, 0, 4)


def test_a_folder_keeps_files_to_itself(tmp_path: Path) -> None:
    """Nobody but the owner may look into the folder of recordings."""
    store = FolderStore(tmp_path / "kept")
    _put(store, tmp_path / "file", b"body")
    assert (tmp_path / "kept" / "acme").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("url", ["ftp://somewhere/x", "s3://", "nonsense://x"])
def test_a_url_that_is_no_object_store_is_refused_at_start(url: str, tmp_path: Path) -> None:
    """A store that cannot be is said at start, by the name of its variable."""
    with pytest.raises(ConfigError, match="M8CRM_RECORDINGS"):
        open_store(url, tmp_path)
