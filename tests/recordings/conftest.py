"""A file server of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import House
from tests.recordings.outside import FileServer, file_server
from tests.recordings.town import CONTACTS, Town


@pytest.fixture
def served(tmp_path: Path) -> Iterator[FileServer]:
    """Return a running file server."""
    with file_server(tmp_path) as server:
        yield server


@pytest.fixture
def town(house: House, served: FileServer) -> Town:
    """Return a house that fetches from the file server."""
    town = Town(house, served)
    for customer in CONTACTS:
        town.configure(customer)
    return town
