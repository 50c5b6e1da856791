"""Every row of the gauntlet, with the whole middleware on real sockets: see docs/gauntlet.rst."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, tzinfo
from pathlib import Path
from threading import Event

import pytest

from middleware.crm.registry import load_adapters
from tests.conftest import call_log
from tests.promises.town import Town, TownAdapter, TownCRM, at_once

NUMBER = "+46701740605"
STRANGER = "+46701740699"
LATEST = 2.7 + 0.2  # seconds until every answer is there, and what a busy machine may add


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    town = Town(tmp_path)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return town.moment

    monkeypatch.setattr("middleware.parts.datetime", Clock)
    monkeypatch.setattr("middleware.tenants.config.load_adapters", lambda: load_adapters() | {"town": TownAdapter})
    with town:
        yield town


@pytest.fixture
def crm() -> Iterator[TownCRM]:
    with TownCRM(numbers=[NUMBER]) as crm:
        yield crm


@pytest.fixture
def second() -> Iterator[TownCRM]:
    with TownCRM("Bob") as second:
        yield second


def test_four_identical_lookups_at_once(town: Town, crm: TownCRM) -> None:
    """Four identical lookups at once are one question to the CRM and four right answers."""
    town.settle(crm)
    crm.delays["/people"] = 0.3
    answers = at_once(4, town.lookup, [NUMBER] * 4)
    assert [(answer.status, answer.name, answer.notes) for answer in answers] == [(200, "Ada Webb", 1)] * 4
    assert (crm.asked("/people"), crm.asked("/notes")) == (1, 1)


def test_three_lookups_of_an_unknown_number(town: Town, crm: TownCRM) -> None:
    """Three lookups of a number that nobody has are one question to the CRM."""
    town.settle(crm)
    assert [town.lookup(STRANGER).status for _ in range(3)] == [404] * 3
    assert crm.asked("/people") == 1


def test_crm_that_takes_six_seconds(town: Town, crm: TownCRM, second: TownCRM) -> None:
    """When the CRM takes six seconds, what is known by 2.7 s is answered: an older card, or one that lacks a part."""
    town.settle(crm, customer="known", lookup='cache_hit = "0s"\ncache_revalidate = "0s"')
    town.settle(second, customer="new")
    assert town.lookup(NUMBER, "known").status == 200
    crm.delays["/people"] = second.delays["/notes"] = 6
    older, partial = at_once(2, town.lookup, [NUMBER, NUMBER], ["known", "new"])
    assert (older.status, older.name, older.notes) == (200, "Ada Webb", 1)
    assert (partial.status, partial.name, partial.notes) == (200, "Bob", 0)
    assert max(older.took, partial.took) < LATEST


def test_first_source_slower_than_the_second(town: Town, crm: TownCRM, second: TownCRM) -> None:
    """The CRM that is listed first wins as long as it answers within its window, however quick the second is."""
    town.settle(crm, second)
    crm.delays["/people"] = 0.5
    assert town.lookup(NUMBER).name == "Ada Webb"
    assert second.asked("/people") == 1


def test_one_source_hangs_another_is_healthy(town: Town, crm: TownCRM, second: TownCRM) -> None:
    """While one CRM hangs in twenty lookups the healthy one answers all of them, and other customers notice nothing."""
    town.settle(crm, second)
    town.settle(second, customer="neighbour")
    crm.faults["/people"] = "hang"
    numbers = [f"+467017406{i:02}" for i in range(20)]
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(at_once, 20, town.lookup, numbers)
        while crm.asked("/people") < 20:  # until all of them hang
            assert not hanging.done()
            Event().wait(0.01)
        neighbours = [town.lookup(number, "neighbour") for number in numbers[:5]]
        answers = hanging.result()
    assert {(answer.status, answer.name) for answer in [*answers, *neighbours]} == {(200, "Bob")}
    assert max(answer.took for answer in answers) < LATEST
    assert max(answer.took for answer in neighbours) < 1


def test_crm_down_then_back(town: Town, crm: TownCRM) -> None:
    """While the CRM is down its last answer stands in, an unknown number is no miss, and afterwards all is fresh."""
    town.settle(crm, lookup='cache_hit = "0s"\ncache_revalidate = "0s"')
    assert town.lookup(NUMBER).name == "Ada Webb"
    crm.name = "Ada Lovelace"
    crm.faults["/people"] = "status/503"
    assert town.lookup(NUMBER).name == "Ada Webb"
    assert town.lookup(STRANGER).status == 503
    del crm.faults["/people"]
    assert town.lookup(NUMBER).name == "Ada Lovelace"
    assert town.lookup(STRANGER).status == 404


def test_same_call_posted_twice_at_once(town: Town, crm: TownCRM) -> None:
    """The same call that is posted twice at the same moment is one record in the CRM, and both senders hear 200."""
    town.settle(crm)
    assert at_once(2, town.post, [call_log()] * 2) == [200, 200]
    assert (town.deliver(), town.deliver(hours=1)) == (1, 0)
    assert len(crm.calls) == 1


def test_crm_answers_503_while_a_call_is_logged(town: Town, crm: TownCRM) -> None:
    """A call that the CRM refuses with 503 is acknowledged all the same and written after the recovery, once."""
    town.settle(crm)
    crm.faults["/calls"] = "status/503"
    assert town.post(call_log()) == 200
    town.deliver()
    assert town.deliver(hours=1) == 1
    assert (crm.calls, crm.asked("/calls")) == ([], 2)
    del crm.faults["/calls"]
    assert [town.deliver(hours=1) for _ in range(3)] == [1, 0, 0]
    assert len(crm.calls) == 1
    assert crm.asked("/calls") == 3
