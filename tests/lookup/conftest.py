"""A lookup service for one test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from middleware.shared_store import SharedStore
from tests.conftest import KEY
from tests.lookup.zoo import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "generations")
    yield desk
    desk.close()


@pytest.fixture
def machines(redis_server: str, tmp_path: Path) -> Iterator[tuple[Desk, Desk]]:
    """Two machines that share a Redis."""
    desks = tuple(Desk(tmp_path / name, store=SharedStore(redis_server, key=KEY)) for name in ("a", "b"))
    yield desks[0], desks[1]
    for desk in desks:
        desk.close()
