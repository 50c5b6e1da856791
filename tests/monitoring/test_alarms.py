"""A person is told of what is stuck: once, by one process, and without holding up anybody."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from middleware.inbox.store import Inbox
from middleware.inbox.tables import call, delivery, lane
from middleware.monitoring.alarms import AGAIN, KEPT_FOR, LEASE, LOOK_EVERY, Ledger
from middleware.monitoring.condition import condition_of
from middleware.monitoring.tell import Failures, Teller
from middleware.monitoring.watch import POLL, Watch
from middleware.recordings.tables import recording

AFTER = 300.0
GIBIBYTE = 1024**3


class Ear(Teller):
    """Somebody who is told; ``is_deaf`` while he cannot be reached."""

    def __init__(self) -> None:
        super().__init__(None, None)
        self.heard: list[dict[str, Any]] = []
        self.tried = 0
        self.is_deaf = False

    @property
    def is_configured(self) -> bool:
        return True

    def tell(self, document: Any) -> Failures:
        self.tried += 1
        if self.is_deaf:
            return {"webhook": "answered 500"}
        self.heard.append(dict(document))
        return {"webhook": None}

    def take(self) -> list[str]:
        """Return what was heard since, in short."""
        heard, self.heard = self.heard, []
        return sorted(" ".join((one["alarm"], one["state"], one["subject"], str(one["count"]))) for one in heard)


@dataclass
class Installation:
    """An inbox, the time, a disk, and two processes that watch."""

    folder: Path
    now: datetime = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    free: int | None = 100 * GIBIBYTE
    ear: Ear = field(default_factory=Ear)
    calls: int = 0

    def __post_init__(self) -> None:
        self.inbox = Inbox(f"sqlite:///{self.folder / 'm8crm.db'}", key=b"key", now=lambda: self.now)
        self.watches = [self.watch("one"), self.watch("one")]

    def watch(self, machine: str) -> Watch:
        return Watch(
            self.inbox,
            self.ear,
            installation="https://m8crm.example.com",
            folder=self.folder,
            after=AFTER,
            disk=GIBIBYTE,
            machine=machine,
            free=lambda _folder: self.free,
        )

    def look(self, seconds: float = LOOK_EVERY) -> list[str]:
        """Let time pass, have every process look, and return what people were told."""
        self.now += timedelta(seconds=seconds)
        for watch in self.watches:
            watch.look()
        return self.ear.take()

    def store(self, state: str, tenant: str = "acme", due: float = 0.0) -> None:
        """Put a call into the inbox that is due in so many seconds."""
        self.calls += 1
        at = self.now.timestamp() + due
        with self.inbox.database.write() as connection:
            row = {"id": str(self.calls), "tenant": tenant, "key": "k", "state": "logged"}
            seq = connection.execute(insert(call).values(row).returning(call.c.seq)).scalar_one()
            values = {"call_seq": seq, "tenant": tenant, "channel": "crm", "state": state, "due_at": at}
            connection.execute(insert(delivery).values(values))

    def change(self, state: str) -> None:
        with self.inbox.database.write() as connection:
            connection.execute(delivery.update().values(state=state))


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path)
    yield installation
    installation.inbox.close()


def test_a_healthy_installation_says_nothing(it: Installation) -> None:
    """Delivered and parked calls, and one that is not due yet, raise no alarm."""
    for state in ("delivered", "parked"):
        it.store(state)
    it.store("waiting", due=10_000.0)
    assert it.look() == it.look() == []


def test_a_call_that_is_stuck_is_told_within_a_minute(it: Installation) -> None:
    """The oldest due call is told when it has waited too long, once, and once more when it goes on."""
    it.store("waiting")
    assert it.look(AFTER - 1) == []
    heard, waited = it.look(2), 1.0
    while not heard and waited < 60:
        waited += POLL
        heard = it.look(POLL)
    assert heard == ["overdue raised  1"]
    assert it.look() == it.look(3600) == []
    it.change("delivered")
    assert it.look() == ["overdue cleared  0"]
    assert it.look() == []


def test_an_event_that_nobody_plans_is_stuck(it: Installation) -> None:
    """An event that no worker takes up counts as soon as it has come."""
    it.inbox.accept("acme", "cdr", key="1", raw=b"{}", content_type="application/json")
    assert it.look(AFTER + 1) == ["overdue raised  1"]


def test_a_call_near_the_limit_does_not_flap(it: Installation) -> None:
    """Between the limit and half of it an alarm stays as it is."""
    it.store("waiting")
    assert it.look(AFTER + 1) == ["overdue raised  1"]
    it.change("delivered")
    it.store("waiting", due=-AFTER * 0.75)
    assert it.look() == []
    it.change("delivered")
    assert it.look() == ["overdue cleared  0"]
    it.store("waiting", due=-AFTER * 0.75)
    assert it.look() == []


def test_dead_letters_are_told_by_customer_and_more_of_them_once_an_hour(it: Installation) -> None:
    """New dead letters are told at once; more of them when an hour is over, and not one by one."""
    it.store("dead")
    it.store("dead", "nordlys")
    assert it.look() == ["dead_letters raised acme 1", "dead_letters raised nordlys 1"]
    it.store("dead")
    assert it.look() == []
    it.store("dead")
    assert it.look(AGAIN.total_seconds()) == ["dead_letters raised acme 3"]
    assert it.look(AGAIN.total_seconds()) == []
    it.change("delivered")
    assert it.look() == ["dead_letters cleared acme 0", "dead_letters cleared nordlys 0"]


def test_new_ones_are_news_after_old_ones_were_mended(it: Installation) -> None:
    """As many dead letters as before are news when the old ones were retried in between."""
    it.store("dead")
    it.store("dead")
    assert it.look() == ["dead_letters raised acme 2"]
    it.change("delivered")
    it.store("dead")
    assert it.look() == []
    it.store("dead")
    assert it.look(AGAIN.total_seconds()) == ["dead_letters raised acme 2"]


def test_a_paused_customer_is_told(it: Installation) -> None:
    """Refused credentials name the customer and his CRM."""
    with it.inbox.database.write() as connection:
        connection.execute(insert(lane).values(tenant="acme", channel="hubspot", paused_revision="1"))
        connection.execute(insert(lane).values(tenant="acme", channel="sql"))
    assert it.look() == ["paused raised acme/hubspot 1"]
    with it.inbox.database.write() as connection:
        connection.execute(lane.update().values(paused_revision=None))
    assert it.look() == ["paused cleared acme/hubspot 0"]


def test_lost_recordings_are_told(it: Installation) -> None:
    """Recordings that expired or failed are told; those that wait or are kept are not."""
    for number, state in enumerate(("expired", "failed", "waiting", "kept")):
        row = {name: str(number) for name in ("id", "call_key", "source")} | {"tenant": "acme", "kind": "recording"}
        moments = dict.fromkeys(("noted_at", "link_dies_at", "due_at", "expires_at"), 0.0)
        with it.inbox.database.write() as connection:
            connection.execute(insert(recording).values(**row, **moments, state=state))
    assert it.look() == ["recordings_lost raised acme 2"]


def test_a_low_disk_is_told_by_its_machine(it: Installation) -> None:
    """Each machine tells of its own disk, and a disk that cannot be asked changes nothing."""
    it.free = GIBIBYTE - 1
    it.watches.append(it.watch("two"))
    assert it.look() == ["disk raised one 1", "disk raised two 1"]
    it.free = None
    assert it.look() == []
    it.free = GIBIBYTE + 1
    assert it.look() == []
    it.free = 2 * GIBIBYTE
    assert it.look() == ["disk cleared one 0", "disk cleared two 0"]


def test_many_processes_tell_once(it: Installation) -> None:
    """Processes that look at the same moment raise and tell an alarm once."""
    it.store("dead")
    it.now += timedelta(seconds=LOOK_EVERY)
    watches = [it.watch("one") for _ in range(6)]
    together = threading.Barrier(len(watches))

    def look(watch: Watch) -> None:
        together.wait()
        watch.look()

    threads = [threading.Thread(target=look, args=(watch,)) for watch in watches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert it.ear.take() == ["dead_letters raised acme 1"]


def test_one_process_looks_at_a_time(it: Installation) -> None:
    """Of processes that come at the same moment one looks, and the next one when the time is over."""
    ledger, together, turns = Ledger(it.inbox), threading.Barrier(6), []

    def come() -> None:
        together.wait()
        turns.append(ledger.take_turn())

    for looks in (1, 2, 3):
        it.now += timedelta(seconds=LOOK_EVERY)
        threads = [threading.Thread(target=come) for _ in range(together.parties)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert turns.count(True) == looks


def test_the_longest_tried_call_is_known(it: Installation) -> None:
    """For how long a call is being tried counts only while it still is."""
    for hours, state in ((5, "dead"), (3, "waiting"), (2, "waiting")):
        it.store(state, due=60.0)
        last = delivery.c.id == it.calls
        first = (it.now - timedelta(hours=hours)).timestamp()
        with it.inbox.database.write() as connection:
            connection.execute(delivery.update().where(last).values(first_attempt_at=first))
    assert condition_of(it.inbox).oldest_retry == 3 * 3600


def test_what_could_not_be_told_is_told_later(it: Installation) -> None:
    """An alarm waits for somebody who can be reached, and is tried less and less often."""
    it.store("dead")
    it.ear.is_deaf = True
    for _ in range(120):
        it.look()
    assert 3 <= it.ear.tried < 15
    it.ear.is_deaf = False
    heard: list[str] = []
    for _ in range(60):
        heard += it.look()
    assert heard == ["dead_letters raised acme 1"]


def test_an_alarm_of_a_process_that_died_is_told_by_another(it: Installation) -> None:
    """A telling that was begun and never ended is begun again when its lease is over."""
    it.store("dead")
    it.now += timedelta(seconds=LOOK_EVERY)
    ledger = Ledger(it.inbox)
    watch, it.watches = it.watches[0], []
    watch._stopping.set()  # notes, and tells nothing
    watch.look()
    assert ledger.claim() is not None
    assert ledger.claim() is None
    it.watches = [it.watch("one")]
    assert it.look(LEASE / 2) == []
    assert it.look(LEASE / 2) == ["dead_letters raised acme 1"]


def test_an_alarm_that_is_over_before_it_is_told_is_not_told(it: Installation) -> None:
    """Nobody is told that something is over of which nobody was told."""
    it.ear.is_deaf = True
    it.store("dead")
    it.look()
    it.change("delivered")
    it.look()
    it.ear.is_deaf = False
    assert it.look(3600) == []


def test_a_clock_that_was_ahead_ends_no_watch(it: Installation) -> None:
    """When the clock goes back an hour there are still looks, and news is told."""
    it.look()
    it.store("dead")
    it.look()
    it.now -= timedelta(hours=1)
    it.change("delivered")
    assert it.look() == ["dead_letters cleared acme 0"]


def test_alarms_hold_nothing_that_is_secret_or_personal(it: Installation) -> None:
    """An alarm has exactly these keys, and a sentence for people."""
    it.store("dead")
    it.now += timedelta(seconds=LOOK_EVERY)
    it.watches[0].look()
    assert it.ear.heard == [
        {
            "alarm": "dead_letters",
            "subject": "acme",
            "state": "raised",
            "count": 1,
            "since": it.now.isoformat(),
            "text": "m8crm: dead_letters raised (acme): calls are not in the CRM and will not be tried again unless"
            " somebody retries them.",
            "installation": "https://m8crm.example.com",
        }
    ]
    json.dumps(it.ear.heard)


def test_cleared_alarms_are_shown_for_a_week(it: Installation) -> None:
    """People still see for a week what was wrong."""
    it.store("dead")
    it.look()
    it.change("delivered")
    it.look()
    ledger = Ledger(it.inbox)
    assert [(alarm.kind, alarm.is_raised) for alarm in ledger.list_alarms()] == [("dead_letters", False)]
    it.look(KEPT_FOR.total_seconds() + 1)
    assert ledger.list_alarms() == []


def test_where_nobody_is_told_the_alarms_are_still_shown(it: Installation) -> None:
    """Without webhook and command `alarms list` knows what is raised."""
    it.ear = Ear()
    quiet = Watch(it.inbox, Teller(None, None), installation="", folder=it.folder, after=AFTER, disk=0, machine="one")
    it.store("dead")
    quiet.look()
    assert Ledger(it.inbox).raised() == [("dead_letters", "acme")]
