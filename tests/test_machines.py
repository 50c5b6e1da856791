"""Two whole machines that share a Redis."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from middleware.app import create_app
from tests.conftest import House, call_log
from tests.lookup.test_shared import hears


@pytest.fixture
def houses(house: House, tmp_path: Path, redis_server: str) -> Iterator[tuple[House, House]]:
    """Two machines with the same customers and the same key, and nothing else in common."""
    settings = replace(house.parts.settings, redis_url=redis_server)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copy(house.parts.settings.data / "key", tmp_path / name)
    houses = [
        House(tmp_path / name, create_app(replace(settings, data=tmp_path / name)), house.customers)
        for name in ("a", "b")
    ]
    yield houses[0], houses[1]
    for machine in houses:
        machine.parts.close()


def test_call_delivered_by_one_machine_shows_on_the_other(houses: tuple[House, House]) -> None:
    """A call that one machine has written into the CRM is on the card of the other, at once."""
    delivering, looking = houses
    before = looking.lookup().get_json()
    heard = hears(looking.parts, "bump")
    assert delivering.post(call_log(startTime=int(datetime.now(UTC).timestamp() * 1000))).status_code == 200
    assert delivering.deliver() == 1
    assert heard.wait(10)
    after = looking.lookup().get_json()
    assert before["displayName"] == after["displayName"]
    assert before["activities"] != after["activities"]


def test_what_one_machine_found_the_other_knows(houses: tuple[House, House]) -> None:
    """The second machine answers the same bytes, and says that they were shared."""
    first, second = (house.lookup() for house in houses)
    assert first.data == second.data
    assert "shared" in second.headers["Server-Timing"]
    assert "shared" not in first.headers["Server-Timing"]
