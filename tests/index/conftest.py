"""A town for one test, on both engines in turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.index.rolodex import Town


@pytest.fixture
def town(database_url: str) -> Iterator[Town]:
    town = Town.at(database_url)
    yield town
    town.inbox.close()
