"""Redis saves work and is never needed: lookups go on whatever it does, and it is used again when it is back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from middleware.crm.budget import Budget, Lane
from middleware.crm.redis_budget import RedisBudget
from middleware.lookup.card import Busy, Failed, Hit, Miss, Result, TimedOut
from middleware.lookup.shared import MAX_BYTES, dump_result, parse_result
from middleware.shared_store import PAUSE, SharedStore
from tests.conftest import KEY, RedisServer
from tests.lookup.test_shared import Machines, ask_and_share, hears
from tests.lookup.zoo import NUMBER, Desk, Zoo, tenant_of
from tests.test_shared_store import Clock, fake_redis

HIT = Hit(body=b"Ada Webb")
delays = st.integers(0, 3600_000).map(lambda milliseconds: timedelta(milliseconds=milliseconds))
results: st.SearchStrategy[Result] = st.one_of(
    st.builds(Hit, body=st.binary(max_size=200), is_partial=st.booleans()),
    st.builds(Miss, reason=st.text(st.characters(exclude_categories=["Cs"]))),
    st.builds(Failed, reason=st.text(), retry_after=st.none() | delays),
    st.just(Busy()),
    st.just(TimedOut()),
)


@contextmanager
def refusing(url: str, setting: str, value: str) -> Iterator[None]:
    """Set what makes Redis refuse to write."""
    with redis.Redis.from_url(url) as admin:
        before = admin.config_get(setting)[setting]
        admin.config_set(setting, value)
        yield
        admin.config_set(setting, before)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*2\r\n" * 3000, b"+PONG\r\n"])
def test_lookups_go_on_with_a_silent_or_mad_redis(tmp_path: Path, answer: bytes) -> None:
    """Every lookup is right; one in a second tries Redis, and the others do without."""
    clock, crm = Clock(), Zoo()
    with (
        fake_redis(answer) as (url, came),
        closing(Desk(tmp_path / "a", store=SharedStore(url, clock=clock, key=KEY))) as desk,
    ):
        for second in range(3):
            for i in range(10):
                desk.ask(tenant_of(crm, id=f"t{second}{i}"))
                assert desk.ask(tenant_of(crm, id=f"t{second}{i}")) == HIT
            clock.now += PAUSE
        assert len(crm.asked) == 30
        assert 0 < len(came) < 30


def test_frozen_redis_is_a_miss_and_is_used_again(own_redis: RedisServer, tmp_path: Path) -> None:
    """While Redis is frozen the CRM is asked; when it goes on, another machine's answers are used again."""
    clock, crm = Clock(), Zoo()
    with (
        closing(Desk(tmp_path / "a", store=SharedStore(own_redis.url, key=KEY))) as other,
        closing(Desk(tmp_path / "b", store=SharedStore(own_redis.url, clock=clock, key=KEY))) as desk,
    ):
        ask_and_share(other, own_redis.url, tenant_of(crm))
        own_redis.process.send_signal(signal.SIGSTOP)
        assert desk.ask(tenant_of(crm)) == HIT
        own_redis.process.send_signal(signal.SIGCONT)
        clock.now += PAUSE
        desk.now += 24 * 3600 * 2
        assert desk.ask(tenant_of(crm)) == HIT
        assert desk.trace.cache == "shared"
    assert len(crm.asked) == 2


def test_redis_that_was_started_anew_is_used_again(own_redis: RedisServer, tmp_path: Path) -> None:
    """A Redis that has lost everything, its scripts too, serves again, and what may have been missed is forgotten."""
    clock, crm = Clock(), Zoo()
    with (
        closing(Desk(tmp_path / "a", store=SharedStore(own_redis.url, clock=clock, key=KEY))) as first,
        closing(Desk(tmp_path / "b", store=SharedStore(own_redis.url, clock=clock, key=KEY))) as second,
    ):
        for desk in (first, second):
            assert desk.ask(tenant_of(crm)) == HIT
        comebacks = [hears(desk, "forget") for desk in (first, second)]
        own_redis.stop()
        assert first.ask(tenant_of(crm, id="other")) == HIT
        own_redis.start()
        clock.now += PAUSE
        assert all(comeback.wait(10) for comeback in comebacks)
        for desk in (first, second):
            assert desk.ask(tenant_of(crm)) == HIT
    assert len(crm.asked) == 3


@pytest.mark.parametrize(("setting", "value"), [("maxmemory", "1"), ("min-replicas-to-write", "1")])
def test_full_or_read_only_redis_is_a_miss(machines: Machines, redis_server: str, setting: str, value: str) -> None:
    """When Redis takes no writes the CRM is asked and answers."""
    crm = Zoo()
    with refusing(redis_server, setting, value):
        for desk in machines:
            assert desk.ask(tenant_of(crm)) == HIT
    assert len(crm.asked) == 2


def test_full_redis_still_takes_what_makes_answers_untrue(machines: Machines, redis_server: str) -> None:
    """Changing and forgetting need no memory: a full Redis must not go on showing what was."""
    crm = Zoo()
    ask_and_share(machines[0], redis_server, tenant_of(crm))
    ask_and_share(machines[0], redis_server, tenant_of(crm), "+46701740606")
    heard = hears(machines[0], "bump")
    with refusing(redis_server, "maxmemory", "1"):
        machines[1].service.change("acme", NUMBER)
        assert heard.wait(10)
        assert machines[1].service.forget("acme", "+46701740606")
    assert machines[1].store
    assert not machines[1].store.is_down
    asked = len(crm.asked)
    machines[1].ask(tenant_of(crm))
    machines[1].ask(tenant_of(crm), "+46701740606")
    assert len(crm.asked) == asked + 2


@pytest.mark.parametrize("what", ["string", "list", "fields"])
def test_nonsense_at_our_keys_is_a_miss(machines: Machines, redis_server: str, what: str) -> None:
    """Whatever somebody else has put where an answer belongs, the CRM's is given, and shared again."""
    crm = Zoo()
    ask_and_share(machines[0], redis_server, tenant_of(crm))
    with redis.Redis.from_url(redis_server) as client:
        (key,) = client.keys("m8crm:answers:*")
        fields = client.hkeys(key)
        client.delete(key)
        if what == "string":
            client.set(key, "nonsense")
        elif what == "list":
            client.rpush(key, "nonsense")
        else:
            for field in fields:
                client.hset(key, field, b"x")
                client.hset(key, b"f" + field[1:], b"x")
    assert machines[1].ask(tenant_of(crm)) == HIT
    machines[0].now += 48 * 3600
    assert machines[0].ask(tenant_of(crm)) == HIT
    assert len(crm.asked) == 2


def test_change_that_redis_missed_is_told_when_it_is_back(redis_server: str, tmp_path: Path) -> None:
    """A call delivered while Redis fails makes other machines ask the CRM again once it is back."""
    clock, crm = Clock(), Zoo()
    with (
        closing(Desk(tmp_path / "a", store=SharedStore(redis_server, clock=clock, key=KEY))) as first,
        closing(Desk(tmp_path / "b", store=SharedStore(redis_server, key=KEY))) as second,
    ):
        for desk in (first, second):
            desk.ask(tenant_of(crm))
        assert first.store
        heard = hears(second, "bump")
        first.store.call(lambda _: 1 / 0, None)
        first.service.change("acme", NUMBER)
        first.service.change("acme", "+46701740606")
        assert not first.service.forget("acme", NUMBER)  # whoever wants that is told
        clock.now += PAUSE
        assert heard.wait(10)
        second.ask(tenant_of(crm))
    assert len(crm.asked) == 2


def test_documented_rights_suffice(redis_server: str, tmp_path: Path) -> None:
    """With the rights that the documentation gives to m8crm, and no others, everything works."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "operations.rst").read_text(encoding="utf-8")
    (rights,) = [line.split() for line in page.splitlines() if line.strip().startswith("ACL SETUSER")]
    crm = Zoo()
    with redis.Redis.from_url(redis_server) as admin:
        admin.execute_command(*rights)
        store = SharedStore(redis_server.replace("//", "//m8crm:PASSWORD@"), key=KEY)
        with closing(Desk(tmp_path / "a", store=store)) as desk:
            ask_and_share(desk, redis_server, tenant_of(crm))
            heard = hears(desk, "bump")
            desk.service.change("acme", NUMBER)
            assert heard.wait(10)
            assert desk.service.forget("acme", NUMBER)
            assert desk.service.forget("acme")
            assert RedisBudget(store, "acme").take(Budget(1, timedelta(seconds=1)), Lane.LOOKUP) == 0
            assert not store.is_down
        admin.execute_command("ACL", "DELUSER", "m8crm")


def test_broken_connection_forgets_what_may_have_been_missed(machines: Machines, redis_server: str) -> None:
    """Who did not listen for a while trusts nothing from before."""
    crm = Zoo()
    machines[0].ask(tenant_of(crm))
    comeback = hears(machines[0], "forget")
    with redis.Redis.from_url(redis_server) as client:
        client.client_kill_filter(_type="pubsub")
    assert comeback.wait(10)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have listeners look and despair ten times as fast."""
    monkeypatch.setattr("middleware.lookup.news.PAUSE", 0.1)
    monkeypatch.setattr("middleware.lookup.news.SILENCE", 0.5)


@pytest.mark.usefixtures("impatient")
def test_silence_of_a_redis_without_news_is_no_outage(machines: Machines, redis_server: str) -> None:
    """A listener who hears nothing because nothing happens keeps what it knows."""
    machines[0].ask(tenant_of(Zoo()))
    comeback = hears(machines[0], "forget")
    with redis.Redis.from_url(redis_server) as client:
        pings = client.info("commandstats")["cmdstat_ping"]["calls"]
        while client.info("commandstats")["cmdstat_ping"]["calls"] < pings + 15:
            assert not comeback.is_set()


@pytest.mark.usefixtures("impatient")
def test_listener_of_a_frozen_redis_forgets_what_it_may_have_missed(own_redis: RedisServer, tmp_path: Path) -> None:
    """A connection that is open and dead is noticed; after it nothing from before is trusted."""
    with closing(Desk(tmp_path / "a", store=SharedStore(own_redis.url, key=KEY))) as desk:
        desk.ask(tenant_of(Zoo()))
        comeback = hears(desk, "forget")
        own_redis.process.send_signal(signal.SIGSTOP)
        assert not comeback.wait(1.5)
        own_redis.process.send_signal(signal.SIGCONT)
        assert comeback.wait(10)


@given(results)
def test_result_survives_the_way_through_redis(result: Result) -> None:
    """What is read is what was written, of every kind of result."""
    assert parse_result(dump_result(result)) == result


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: b"f" + text.encode(errors="replace")))
def test_nonsense_is_no_result_or_harmless(encoded: bytes) -> None:
    """Whatever stands in Redis, reading it raises nothing and makes nothing but a result."""
    assert isinstance(parse_result(encoded), Hit | Miss | Failed | Busy | TimedOut | None)


def test_a_giant_is_not_shared() -> None:
    """An answer larger than any card stays where it is."""
    assert dump_result(Hit(body=b"x" * MAX_BYTES)) == b""
