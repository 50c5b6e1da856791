"""PostgreSQL is down or hangs: nothing is acknowledged, lookups go on, and all of it heals by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from middleware.app import create_app
from middleware.errors import StorageError
from middleware.inbox import postgresql
from middleware.inbox.database import Database
from middleware.inbox.postgresql import PAUSE, Outage, PostgreSQL
from tests.conftest import House, call_log
from tests.delivery.test_worker import Ledger, Post
from tests.postgres import PostgresServer

OTHER = call_log(startTime=call_log()["startTime"] + 60_000)
UNKNOWN = "+46812345678"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not leave a server alone that is back, and do not wait long for one that hangs."""
    monkeypatch.setattr(postgresql, "PAUSE", 0.0)
    monkeypatch.setattr(postgresql, "ANSWER", 0.5)


@pytest.fixture
def own_house(house: House, mortal_postgres: PostgresServer) -> Iterator[House]:
    """Return a house whose events are in a PostgreSQL that the test may stop."""
    own = house_on(mortal_postgres, house)
    yield own
    own.parts.close()


def house_on(server: PostgresServer, house: House) -> House:
    url = server.url(server.create_database())
    return House(house.folder, create_app(replace(house.parts.settings, database_url=url)), house.customers)


STOPPED = (PostgresServer.stop, PostgresServer.start)
FROZEN = (PostgresServer.freeze, PostgresServer.thaw)


@pytest.mark.parametrize(("end", "begin"), [STOPPED, FROZEN], ids=["stopped", "frozen"])
def test_senders_hear_503_and_lookups_go_on(
    own_house: House,
    mortal_postgres: PostgresServer,
    end: Callable[[PostgresServer], None],
    begin: Callable[[PostgresServer], None],
) -> None:
    """Without a database no call is acknowledged and every lookup is answered; with it, all of it goes on."""
    assert own_house.post(call_log()).status_code == 200
    assert own_house.lookup().status_code == 200
    end(mortal_postgres)
    assert own_house.post(OTHER).status_code == 503
    assert own_house.client.get("/-/ready").status_code == 503
    assert own_house.lookup().status_code == 200  # from the cache
    known = own_house.customers["nordlys"].known_numbers
    assert [own_house.lookup(number).status_code for number in known] == [200] * len(known)  # from the CRM
    assert own_house.lookup(UNKNOWN).status_code == 404
    begin(mortal_postgres)
    while own_house.client.get("/-/ready").status_code != 200:
        pass  # a lookup's thread still tries, for a moment
    assert len(own_house.parts.inbox.list_events()) == 1
    assert own_house.post(OTHER).get_json()["status"] == "accepted"
    assert own_house.deliver() == 2


def test_a_process_starts_without_its_database(
    house: House, mortal_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is started during an outage says why, answers lookups, and makes the tables when the server is there."""
    told: list[dict[str, str]] = []
    log = SimpleNamespace(error=lambda _event, **facts: told.append(facts), info=lambda _event: None)
    monkeypatch.setattr(postgresql, "log", log)
    url = mortal_postgres.url(mortal_postgres.create_database())
    mortal_postgres.stop()
    own = House(house.folder, create_app(replace(house.parts.settings, database_url=url)), house.customers)
    assert [facts["words"].endswith("Connection refused") for facts in told] == [True]
    assert own.lookup().status_code == 200
    assert own.post(call_log()).status_code == 503
    mortal_postgres.start()
    assert own.post(call_log()).status_code == 200
    own.parts.close()


def test_a_worker_waits_for_the_database(mortal_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that cannot reach the database goes on by itself when it is back."""
    post = Post(mortal_postgres.url())
    crm = Ledger()
    post.connect(crm)
    post.send()
    has_failed, has_written = threading.Event(), threading.Event()
    crm.fail = has_written.set
    log = SimpleNamespace(error=lambda *_args, **_facts: has_failed.set(), info=lambda *_args, **_facts: None)
    monkeypatch.setattr("middleware.delivery.worker.log", log)
    mortal_postgres.stop()
    post.worker.start()
    assert has_failed.wait(20)
    mortal_postgres.start()
    assert has_written.wait(20)
    post.worker.stop()
    post.inbox.close()


def test_a_call_that_was_written_during_an_outage_is_in_the_crm_once(
    mortal_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CRM is asked for what could not be noted in time, and nothing is written twice."""
    monkeypatch.setattr("middleware.delivery.schedule.Patience.note", timedelta())
    monkeypatch.setattr(PostgreSQL, "lease_clock", Database.lease_clock)  # the server's cannot be moved
    post = Post(mortal_postgres.url())
    crm = Ledger()
    crm.fail_late = mortal_postgres.stop
    post.connect(crm)
    event_id = post.send()
    with pytest.raises(StorageError):
        post.later()
    mortal_postgres.start()
    assert post.later(seconds=31) == 1
    assert (crm.writes, post.event(event_id).state) == (1, "delivered")
    post.inbox.close()


def test_a_restart_of_the_server_leaves_no_call_in_doubt(mortal_postgres: PostgresServer) -> None:
    """A call that was written while the server was restarted is noted as soon as it is back, and not written again."""
    post = Post(mortal_postgres.url())
    restarting = threading.Thread(target=mortal_postgres.start)

    def restart() -> None:
        mortal_postgres.stop()
        restarting.start()

    post.connect(Ledger(fail_late=restart, can_find=False))
    event_id = post.send()
    assert post.later() == 1
    assert post.event(event_id).state == "delivered"
    restarting.join()
    post.inbox.close()


def test_a_lost_connection_costs_no_event(own_house: House, mortal_postgres: PostgresServer) -> None:
    """The server has been restarted between two calls: the second is stored, too."""
    assert own_house.post(call_log()).status_code == 200
    mortal_postgres.stop("fast")
    mortal_postgres.start()
    assert own_house.post(OTHER).status_code == 200


def test_one_in_a_second_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a server is down the others are refused at once; the one that tries ends that for all."""
    monkeypatch.setattr(postgresql, "PAUSE", PAUSE)
    now = 0.0
    outage = Outage(lambda: now)

    def fail() -> None:
        with outage.watch():
            raise OperationalError(None, None, psycopg.OperationalError("refused"))

    for second in (0.0, PAUSE):
        now = second
        with pytest.raises(StorageError, match="the database failed"):
            fail()
        with pytest.raises(StorageError, match="does not answer"):
            fail()
    now += PAUSE
    with outage.watch(), pytest.raises(StorageError, match="does not answer"):
        fail()
    with outage.watch():
        pass
    assert not outage.is_on


def test_a_statement_that_fails_is_no_outage() -> None:
    """A server that refuses a statement is there, also when it was away before."""
    outage = Outage(lambda: 0.0)
    for before in (False, True):
        outage.is_on = before
        with pytest.raises(StorageError), outage.watch():
            raise OperationalError("INSERT", {}, psycopg.errors.DiskFull())
        assert not outage.is_on


def test_one_that_does_not_come_to_ask_lets_another_try() -> None:
    """A call that ends for reasons of its own while a server is down keeps nobody from trying."""
    outage = Outage(lambda: 0.0)
    outage.is_on = True
    with pytest.raises(KeyError), outage.watch():
        raise KeyError
    with outage.watch():
        pass
    assert not outage.is_on
