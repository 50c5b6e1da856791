"""Machines that share a Redis ask a CRM once, and know of each other what is no longer true."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis

from middleware.errors import CRMUnavailableError
from middleware.lookup.card import Failed, Hit, Result, TimedOut
from middleware.model.contact import Contact
from middleware.parts import Parts
from middleware.shared_store import SharedStore
from middleware.tenants.tenant import LookupConfig
from tests.conftest import KEY
from tests.lookup.zoo import ADA, NUMBER, Desk, Hanging, Zoo, tenant_of

pytestmark = pytest.mark.usefixtures("patient")
ROOT = Path(__file__).resolve().parent.parent.parent
Machines = tuple[Desk, Desk]
D = TypeVar("D")
BOB = replace(ADA, display_name="Bob")
HIT = Hit(body=b"Ada Webb")
CONFIG = LookupConfig(
    cache_hit=timedelta(seconds=10), cache_revalidate=timedelta(seconds=20), cache_stale=timedelta(seconds=50)
)


def waiting(desk: Desk, pool: ThreadPoolExecutor, *args: Any, looks_taken: int = 4, **kwargs: Any) -> Any:
    """Start to ask, and return the future when the desk has looked into Redis more than once, 20 ms apart."""
    assert desk.store
    call, looks = desk.store.call, threading.Semaphore(0)

    def counted(action: Any, otherwise: D) -> Any:
        looks.release()
        return call(action, otherwise)

    desk.store.call = counted  # type: ignore[method-assign]
    future = pool.submit(desk.ask, *args, **kwargs)
    for _ in range(looks_taken):
        assert looks.acquire(timeout=10)
    return future


def ask_and_share(desk: Desk, url: str, *args: Any, **kwargs: Any) -> None:
    """Ask, and return when Redis has the answer, too: callers do not wait for that."""
    desk.ask(*args, **kwargs)
    with redis.Redis.from_url(url) as client:
        while not any(name.startswith(b"a") for key in client.keys("m8crm:answers:*") for name in client.hkeys(key)):
            pass  # pytest's time-out ends it


def hears(desk: Desk | Parts, what: str) -> threading.Event:
    """Return the event that comes when the machine hears of it."""
    event = threading.Event()

    def listen(act: Callable[..., None]) -> Callable[..., None]:
        def heard(*args: str) -> None:
            act(*args)
            event.set()

        return heard

    for name in (what, f"{what}_digest"):
        setattr(desk.generations, name, listen(getattr(desk.generations, name)))
    return event


def raises() -> list[Contact]:
    raise CRMUnavailableError("down")


class HangingDown(Hanging):
    """A CRM that fails when the test lets it."""

    def __call__(self) -> Iterator[Contact]:
        list(super().__call__())
        yield from raises()


def test_thirty_phones_at_two_machines_ring_once(machines: Machines) -> None:
    """Thirty identical lookups at two machines are one question to the CRM and thirty right answers."""
    hanging = Hanging()
    crm = Zoo(contacts=hanging)
    tenant = tenant_of(crm)
    with ThreadPoolExecutor(30) as phones:
        answers = [phones.submit(machines[i % 2].ask, tenant) for i in range(30)]
        assert hanging.entered.acquire(timeout=10)
        hanging.release.set()
        assert {answer.result() for answer in answers} == {Hit(body=b"Ada Webb")}
    assert len(crm.asked) == 1


def test_those_who_wait_elsewhere_share_a_failure(machines: Machines) -> None:
    """When the CRM fails, it has failed for those who wait on the other machine, and is not asked again."""
    down = HangingDown()
    crm = Zoo(contacts=down)
    with ThreadPoolExecutor(2) as phones:
        first = phones.submit(machines[0].ask, tenant_of(crm))
        assert down.entered.acquire(timeout=10)
        second = waiting(machines[1], phones, tenant_of(crm))
        down.release.set()
        assert first.result() == second.result() == Failed(reason="CRMUnavailableError")
    assert len(crm.asked) == 1


def test_failure_is_for_nobody_who_comes_later(machines: Machines) -> None:
    """Who asks after a failure asks the CRM."""
    crm = Zoo(contacts=raises)
    assert isinstance(machines[0].ask(tenant_of(crm)), Failed)
    crm.contacts = lambda: [ADA]
    assert machines[1].ask(tenant_of(crm)) == Hit(body=b"Ada Webb")


def test_leader_who_lives_keeps_the_lead(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that takes longer than a lease is not begun a second time elsewhere."""
    monkeypatch.setattr("middleware.lookup.shared.LEASE", 0.3)
    hanging = Hanging()
    crm = Zoo(contacts=hanging)
    with ThreadPoolExecutor(2) as phones:
        first = phones.submit(machines[0].ask, tenant_of(crm))
        assert hanging.entered.acquire(timeout=10)
        second = waiting(machines[1], phones, tenant_of(crm), looks_taken=30)
        hanging.release.set()
        assert first.result() == second.result() == Hit(body=b"Ada Webb")
    assert len(crm.asked) == 1


LEADER = """
import sys, threading
from pathlib import Path
from middleware.shared_store import SharedStore
from tests.conftest import KEY
from tests.lookup.zoo import Desk, Zoo, tenant_of

def hang():
    print("leads", flush=True)
    threading.Event().wait()

Desk(Path(sys.argv[1]), store=SharedStore(sys.argv[2], key=KEY)).ask(tenant_of(Zoo(contacts=hang)))
"""


def test_dead_leader_frees_those_who_wait(machines: Machines, redis_server: str, tmp_path: Path) -> None:
    """When the process that asks the CRM is killed, those who wait ask it themselves and still answer in time."""
    crm = Zoo()
    command = [sys.executable, "-c", LEADER, str(tmp_path / "c"), redis_server]
    with (
        ThreadPoolExecutor(2) as phones,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as leader,
    ):
        try:
            assert leader.stdout
            assert leader.stdout.readline() == "leads\n"
            answers = [waiting(desk, phones, tenant_of(crm), patience=2.6) for desk in machines]
            assert crm.asked == []
        finally:
            leader.send_signal(signal.SIGKILL)
        assert [answer.result() for answer in answers] == [Hit(body=b"Ada Webb")] * 2
    assert len(crm.asked) == 1


@pytest.mark.parametrize("deed", ["change", "forget"])
def test_what_was_begun_before_a_change_is_not_kept(machines: Machines, deed: str) -> None:
    """A search that was under way when the number changed or was forgotten answers its callers and nobody later."""
    hanging = Hanging()
    crm = Zoo(contacts=hanging)
    with ThreadPoolExecutor(1) as phones:
        first = phones.submit(machines[0].ask, tenant_of(crm))
        assert hanging.entered.acquire(timeout=10)
        getattr(machines[1].service, deed)("acme", NUMBER)
        hanging.release.set()
        assert first.result() == Hit(body=b"Ada Webb")
    crm.contacts = lambda: [BOB]
    assert machines[1].ask(tenant_of(crm)) == Hit(body=b"Bob")


def test_those_who_wait_do_not_wait_for_what_a_change_outdates(machines: Machines) -> None:
    """Who waits for a search that a change has made worthless asks the CRM himself."""
    hanging = Hanging()
    crm, fresh = Zoo(contacts=hanging), Zoo(contacts=lambda: [BOB])
    with ThreadPoolExecutor(2) as phones:
        first = phones.submit(machines[0].ask, tenant_of(crm))
        assert hanging.entered.acquire(timeout=10)
        second = waiting(machines[1], phones, tenant_of(fresh))
        machines[0].service.change("acme", NUMBER)
        assert second.result() == Hit(body=b"Bob")
        hanging.release.set()
        first.result()


def test_changed_number_is_asked_for_again_everywhere(machines: Machines) -> None:
    """After a delivered call the other machine asks the CRM; if that fails, it shows what it knew."""
    crm = Zoo()
    for desk in machines:
        assert desk.ask(tenant_of(crm)) == Hit(body=b"Ada Webb")
    assert len(crm.asked) == 1
    heard = hears(machines[1], "bump")
    machines[0].service.change("acme", NUMBER)
    assert heard.wait(10)
    crm.contacts = raises
    assert machines[1].ask(tenant_of(crm)) == Hit(body=b"Ada Webb", is_stale=True)
    assert len(crm.asked) == 2


@pytest.mark.parametrize("number", [NUMBER, None])
def test_forgotten_number_is_shown_nowhere(machines: Machines, number: str | None) -> None:
    """What was forgotten on one machine is shown by none, even when the CRM is down."""
    crm = Zoo()
    for desk in machines:
        desk.ask(tenant_of(crm))
    heard = hears(machines[1], "forget")
    assert machines[0].service.forget("acme", number)
    assert heard.wait(10)
    crm.contacts = raises
    for desk in machines:
        assert isinstance(desk.ask(tenant_of(crm)), Failed)


def test_forgetting_a_customer_leaves_the_others_alone(machines: Machines) -> None:
    """Other customers' answers stay."""
    crm = Zoo()
    machines[0].ask(tenant_of(crm, id="acme-2"))
    machines[0].service.forget("acme")
    machines[1].ask(tenant_of(crm, id="acme-2"))
    assert len(crm.asked) == 1


def test_answer_does_not_grow_younger_on_its_way(machines: Machines) -> None:
    """An answer from Redis is kept here for what is left of its time, and not for a whole time again."""
    crm, short = Zoo(), replace(CONFIG, cache_hit=timedelta(seconds=5))
    machines[0].ask(tenant_of(crm, lookup=short))
    for seconds, cache in ((0, "shared"), (4, "fresh"), (2, "revalidate")):
        machines[1].now += seconds
        assert machines[1].ask(tenant_of(crm, lookup=LookupConfig())) == Hit(body=b"Ada Webb")
        assert machines[1].trace.cache == cache
    assert len(crm.asked) == 1


def test_aging_answer_of_another_machine_is_given_at_once(machines: Machines, redis_server: str) -> None:
    """What is a little older is given without waiting, while the CRM is asked."""
    config = replace(CONFIG, cache_hit=timedelta())
    ask_and_share(machines[0], redis_server, tenant_of(Zoo(), lookup=config))
    hanging = Hanging(BOB)
    assert machines[1].ask(tenant_of(Zoo(contacts=hanging), lookup=config), patience=30) == Hit(body=b"Ada Webb")
    assert machines[1].trace.cache == "revalidate"
    assert hanging.entered.acquire(timeout=10)
    hanging.release.set()


@pytest.mark.parametrize("is_known", [True, False])
def test_who_waits_for_another_machine_is_answered_in_time(
    machines: Machines, redis_server: str, is_known: bool
) -> None:
    """At his deadline he gets what was known before, or hears that nothing came, however long the leader takes."""
    config = replace(CONFIG, cache_hit=timedelta(), cache_revalidate=timedelta())
    if is_known:
        ask_and_share(machines[0], redis_server, tenant_of(Zoo(), lookup=config))
    hanging = Hanging()
    with ThreadPoolExecutor(1) as phones:
        first = phones.submit(machines[0].ask, tenant_of(Zoo(contacts=hanging), lookup=config))
        assert hanging.entered.acquire(timeout=10)
        result: Result = machines[1].ask(tenant_of(Zoo(), lookup=config), patience=0.3)
        hanging.release.set()
        first.result()
    assert result == (Hit(body=b"Ada Webb", is_stale=True) if is_known else TimedOut())


def test_keys_hold_no_number(machines: Machines, redis_server: str) -> None:
    """Neither answers nor flights show a caller's number to somebody who lists keys."""
    hanging = Hanging()
    with ThreadPoolExecutor(1) as phones, redis.Redis.from_url(redis_server) as client:
        ask_and_share(machines[0], redis_server, tenant_of(Zoo()), "+46701740606")
        answer = phones.submit(machines[0].ask, tenant_of(Zoo(contacts=hanging)), numeric_id="70174")
        assert hanging.entered.acquire(timeout=10)
        keys = client.keys("m8crm:answers:*")  # an answer and a flight
        fields = [field for key in keys for field in client.hkeys(key)]
        hanging.release.set()
        answer.result()
    assert len(keys) == len(fields) == 2
    assert not any(b"70174" in name for name in [*keys, *fields])


def test_everything_in_redis_ends(machines: Machines, redis_server: str) -> None:
    """Whatever is written has an end, so that a Redis of any size lasts."""
    ask_and_share(machines[0], redis_server, tenant_of(Zoo()))
    machines[0].service.change("acme", NUMBER)
    machines[0].ask(tenant_of(Zoo(contacts=raises), id="broken"))
    with redis.Redis.from_url(redis_server) as client:
        lasting = {key: client.pttl(key) for key in client.keys("*")}
    assert len(lasting) == 3
    assert all(0 < left <= 25 * 3600 * 1000 for left in lasting.values())


def test_a_number_has_few_entries(machines: Machines, redis_server: str) -> None:
    """Ever new ids and configurations for one number do not fill Redis."""
    tenant = tenant_of(Zoo(by_id={str(i): ADA for i in range(200)}))
    for i in range(200):
        machines[0].ask(tenant, numeric_id=str(i))
    with redis.Redis.from_url(redis_server) as client:
        (key,) = client.keys("m8crm:answers:*")
        assert client.hlen(key) <= 64


def test_nothing_is_opened_before_the_first_lookup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that has answered nobody has no connection and no thread: it may still be forked."""
    begun, start, here = [], threading.Thread.start, threading.current_thread()

    def watched(thread: threading.Thread) -> None:
        if threading.current_thread() is here:  # and not of another test, which ends late
            begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", watched)
    desk = Desk(tmp_path / "a", store=SharedStore("redis://127.0.0.1:1", key=KEY))
    assert begun == []
    desk.ask(tenant_of(Zoo()))
    assert begun
    desk.close()


def two_sources(hanging: Hanging, first: Zoo | None = None) -> Any:
    return tenant_of(first or Zoo(), Zoo(contacts=hanging))


def test_who_waits_elsewhere_need_not_wait_for_a_source_that_hangs(machines: Machines) -> None:
    """When the first source has the contact, all machines answer, though the second one never ends."""
    hanging, first = Hanging(), Zoo()
    with ThreadPoolExecutor(2) as phones:
        leading = phones.submit(machines[0].ask, two_sources(hanging, first), patience=30, trace_id="leader-1")
        assert hanging.entered.acquire(timeout=10)
        following = phones.submit(machines[1].ask, two_sources(hanging, first), patience=30)
        assert leading.result() == following.result() == HIT
        assert not hanging.release.is_set()
        hanging.release.set()
    assert machines[1].trace.joined == "leader-1"
    assert len(first.asked) == 1


def test_who_waits_elsewhere_gets_the_partial_card_at_his_deadline(machines: Machines) -> None:
    """When a contact's notes hang, he who waits in another process is answered the contact, too, and not earlier."""
    hanging = threading.Event()
    crm = Zoo(notes=lambda: (hanging.wait(30), [])[1])
    with ThreadPoolExecutor(2) as phones:
        leading = phones.submit(machines[0].ask, tenant_of(crm), patience=2.0)
        while not crm.asked:
            pass  # pytest's time-out ends it
        following = waiting(machines[1], phones, tenant_of(crm), patience=1.0, looks_taken=12)
        assert not following.done()
        assert following.result() == replace(HIT, is_partial=True)
        assert not leading.done()
        hanging.set()
        assert leading.result() == HIT
    assert len(crm.asked) == 1


def test_who_takes_over_has_not_waited_for_anybody(machines: Machines) -> None:
    """A trace names nobody whose search was not the one that answered."""
    hanging = Hanging()
    with ThreadPoolExecutor(2) as phones:
        first = phones.submit(machines[0].ask, tenant_of(Zoo(contacts=hanging)), trace_id="leader-1")
        assert hanging.entered.acquire(timeout=10)
        second = waiting(machines[1], phones, tenant_of(Zoo(contacts=lambda: [BOB])))
        assert machines[1].trace.joined == "leader-1"
        machines[0].service.change("acme", NUMBER)
        assert second.result() == Hit(body=b"Bob")
        hanging.release.set()
        first.result()
    assert machines[1].trace.joined == ""


def test_redis_is_told_no_number(machines: Machines, redis_server: str) -> None:
    """Neither what is asked, changed and forgotten nor its plain hash is in what Redis shows of its commands."""
    numbers = (NUMBER, "+46701740606")
    plain = {sha256(number.encode()).hexdigest() for number in numbers}
    with redis.Redis.from_url(redis_server) as client, client.monitor() as monitor:
        for number in numbers:
            ask_and_share(machines[0], redis_server, tenant_of(Zoo()), number, numeric_id="70174")
            machines[0].service.change("acme", number)
            machines[0].service.forget("acme", number)
        commands = []
        client.execute_command("ECHO", "the end")
        for seen in monitor.listen():
            if seen["command"] == "ECHO the end":
                break
            commands.append(seen["command"])
    shown = "\n".join(commands)
    assert "PUBLISH" in shown.upper()
    assert not any(word in shown for word in ("70174", *plain))
