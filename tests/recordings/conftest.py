"""A file server of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recordings.outside import FileServer, file_server


@pytest.fixture
def served(tmp_path: Path) -> Iterator[FileServer]:
    """Return a running file server."""
    with file_server(tmp_path) as server:
        yield server
