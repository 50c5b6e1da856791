"""What a kept answer is good for as it grows old, and what ends it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from middleware.errors import CRMUnavailableError
from middleware.generations import Generation
from middleware.lookup.cache import AnswerCache, Kept, kept
from middleware.lookup.card import Busy, Failed, Hit, Miss, TimedOut
from middleware.model.contact import Contact
from middleware.tenants.tenant import LookupConfig
from tests.lookup.zoo import ADA, NUMBER, Desk, Hanging, Zoo, tenant_of

CONFIG = LookupConfig(
    cache_hit=timedelta(seconds=10), cache_revalidate=timedelta(seconds=20), cache_stale=timedelta(seconds=50)
)
BOB = replace(ADA, display_name="Bob")


def _down() -> list[Contact]:
    raise CRMUnavailableError("down")


def test_fresh_answer_asks_nobody(desk: Desk) -> None:
    """Until it is old a hit is given without the CRM."""
    crm = Zoo()
    for moment in (1000.0, 1009.0):
        desk.now = moment
        assert desk.ask(tenant_of(crm, lookup=CONFIG)) == Hit(body=b"Ada Webb")
    assert len(crm.asked) == 1
    assert desk.trace.cache == "fresh"


def test_aging_answer_is_given_at_once_while_one_refresh_runs(desk: Desk) -> None:
    """A little later the old answer is given without waiting, the CRM is asked once, and its answer is next."""
    crm = Zoo()
    tenant = tenant_of(crm, lookup=CONFIG)
    desk.ask(tenant)
    hanging = Hanging(BOB)
    crm.contacts, desk.now = hanging, 1011.0
    for _ in range(3):
        assert desk.ask(tenant, patience=0.5) == Hit(body=b"Ada Webb")
    assert hanging.entered.acquire(timeout=5)
    hanging.release.set()
    desk.now = 1031.0  # too old to be given at once: the caller waits for the refresh, or asks anew
    crm.contacts = lambda: [BOB]
    assert desk.ask(tenant) == Hit(body=b"Bob")


@pytest.mark.parametrize("trouble", ["down", "slow", "busy"])
def test_old_answer_stands_in_for_a_crm_that_gives_none(desk: Desk, trouble: str) -> None:
    """When the CRM is down, too slow or all its slots are taken, what was known before is answered, and marked."""
    crm = Zoo()
    tenant = tenant_of(crm, lookup=replace(CONFIG, slots=1))
    desk.ask(tenant)
    hanging = Hanging()
    crm.contacts, desk.now = _down if trouble == "down" else hanging, 1040.0
    if trouble == "busy":
        for number in ("+46701740606", "+46701740607"):  # one awaited and one late
            desk.ask(tenant, number, patience=0.02)
        desk.ask(tenant, "+46701740608", patience=0.02)
    assert desk.ask(tenant, patience=0.05) == Hit(body=b"Ada Webb", is_stale=True)
    hanging.release.set()


def test_crm_that_is_back_is_asked_at_once(desk: Desk) -> None:
    """After a failure the next lookup is fresh again: neither the failure nor the old answer is kept for new."""
    crm = Zoo()
    tenant = tenant_of(crm, lookup=CONFIG)
    desk.ask(tenant)
    crm.contacts, desk.now = _down, 1040.0
    assert desk.ask(tenant) == Hit(body=b"Ada Webb", is_stale=True)
    crm.contacts = lambda: [BOB]
    assert desk.ask(tenant) == Hit(body=b"Bob")


def test_too_old_an_answer_is_none(desk: Desk) -> None:
    """After its whole time an answer is gone, and a failure is a failure."""
    crm = Zoo()
    tenant = tenant_of(crm, lookup=CONFIG)
    desk.ask(tenant)
    crm.contacts, desk.now = _down, 1061.0
    assert desk.ask(tenant) == Failed(reason="CRMUnavailableError")


def test_miss_is_never_older_than_its_time(desk: Desk) -> None:
    """A number may get its contact at any moment: an old miss is not shown while the CRM is asked again."""
    crm = Zoo(contacts=list)
    tenant = tenant_of(crm)
    for moment, asked in ((1000.0, 1), (1059.0, 1), (1061.0, 2)):
        desk.now = moment
        assert isinstance(desk.ask(tenant), Miss)
        assert len(crm.asked) == asked
    crm.contacts, desk.now = _down, 1200.0
    assert isinstance(desk.ask(tenant), Failed)


def test_what_happened_to_a_number_asks_the_crm_again(desk: Desk) -> None:
    """After a delivered call the old answer is given only when the CRM fails."""
    crm = Zoo()
    tenant = tenant_of(crm)
    desk.ask(tenant)
    desk.generations.bump("acme", NUMBER)
    desk.ask(tenant)
    assert len(crm.asked) == 2
    desk.generations.bump("acme", NUMBER)
    crm.contacts = _down
    assert desk.ask(tenant) == Hit(body=b"Ada Webb", is_stale=True)


def test_forgotten_number_is_never_shown_again(desk: Desk) -> None:
    """What is forgotten is not even shown when the CRM fails."""
    crm = Zoo()
    tenant = tenant_of(crm)
    desk.ask(tenant)
    desk.service.forget("acme", NUMBER)
    crm.contacts = _down
    assert isinstance(desk.ask(tenant), Failed)


def test_cache_can_be_switched_off(desk: Desk) -> None:
    """With times of zero every lookup asks the CRM, and a failure is never covered up."""
    none = timedelta()
    config = LookupConfig(cache_hit=none, cache_miss=none, cache_revalidate=none, cache_stale=none)
    crm = Zoo()
    tenant = tenant_of(crm, lookup=config)
    desk.ask(tenant)
    desk.ask(tenant)
    assert len(crm.asked) == 2
    crm.contacts = _down
    assert isinstance(desk.ask(tenant), Failed)


@pytest.mark.parametrize("result", [Busy(), Failed(reason="x"), TimedOut(), Hit(body=b"{}", is_stale=True)])
def test_only_answers_of_the_crm_are_kept(result: object) -> None:
    """An error, a time-out, a full slot and an answer that was old already are not kept."""
    assert kept(result, LookupConfig()) is None


def test_cache_is_bounded_in_bytes() -> None:
    """Old answers make room, and what is larger than the whole cache is not kept."""
    cache, generation = AnswerCache(max_bytes=10_000), Generation(0, 0)
    for number in range(20):
        cache.put((str(number),), Kept(result=Hit(body=b"x" * 1000), fresh=60.0), generation)
    cache.put(("huge",), Kept(result=Hit(body=b"x" * 10_000), fresh=60.0), generation)
    held = [number for number in range(20) if cache.get((str(number),), generation)]
    assert held == [14, 15, 16, 17, 18, 19]
    assert cache.get(("huge",), generation) is None
    assert cache.get(("19",), generation) == (Hit(body=b"x" * 1000), "fresh")


def test_what_is_forgotten_meanwhile_stands_in_for_nothing(desk: Desk) -> None:
    """A caller who waits while his number is forgotten does not get the old answer, even when the CRM fails."""
    crm = Zoo()
    tenant = tenant_of(crm, lookup=CONFIG)
    desk.ask(tenant)
    desk.now = 1040.0

    def forget_and_fail() -> list[Contact]:
        desk.service.forget("acme", NUMBER)
        raise CRMUnavailableError("down")

    crm.contacts = forget_and_fail
    assert isinstance(desk.ask(tenant), Failed)


def test_slow_answer_of_yesterday_does_not_replace_todays() -> None:
    """What was asked before something happened to the number gives way to what was asked afterwards."""
    cache, day = AnswerCache(), Kept(result=Hit(body=b"old"), fresh=60.0)
    new = replace(day, result=Hit(body=b"new"))
    for newer in (Generation(1, 0), Generation(0, 1)):
        key = ("acme", "r", str(newer), "")
        cache.put(key, new, newer)
        cache.put(key, day, Generation(0, 0))
        assert cache.get(key, newer) == (new.result, "fresh")
