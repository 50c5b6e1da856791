"""A pass over all contacts: it goes on where it was interrupted, by one worker at a time, and rests for changes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from middleware.crm.account import Account
from middleware.crm.budget import Budget, Ledger
from middleware.errors import CRMRejectedError, CRMUnavailableError, RateLimitedError
from middleware.index.passes import Pass
from middleware.index.store import IndexState
from middleware.tenants.tenant import IndexConfig, Source
from tests.index.rolodex import Town, crowd, number_of, tenant_with
from tests.lookup.zoo import NOW

ROOT = Path(__file__).resolve().parent.parent.parent
KILLED = """
import os, signal, sys
from middleware.inbox.database import Database
from middleware.inbox.postgresql import PostgreSQL
from tests.index.rolodex import Town, crowd, tenant_with
PostgreSQL.lease_clock = Database.lease_clock
crm = crowd(2000)
crm.on_contact = lambda count: os.kill(os.getpid(), signal.SIGKILL) if count == 1234 else None
Town.at(sys.argv[1]).sync(tenant_with(crm))
"""


def test_a_killed_pass_is_gone_on_with(town: Town, database_url: str) -> None:
    """What a worker had stored when it was killed stays; another one begins near there once the lease has ended."""
    killed = subprocess.run([sys.executable, "-c", KILLED, database_url], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    crm = crowd(2000)
    tenant = tenant_with(crm)
    assert town.state(tenant).seen == 1000
    assert town.who(tenant, number_of(999)) == ["0999"]
    assert not town.sync(tenant)  # the dead worker's lease
    town.later(minutes=3)
    assert town.sync(tenant)
    assert crm.asked == [(None, "990")]
    assert town.state(tenant).contacts == 2000
    assert town.is_final(tenant)


def test_one_worker_at_a_time(town: Town, database_url: str) -> None:
    """While one worker reads, nobody else does; one who has lost his lease writes nothing any more."""
    crm, other = crowd(600), Town.at(database_url)
    tenant = tenant_with(crm)
    seen: list[bool] = []
    left: list[IndexState] = []

    def meanwhile(count: int) -> None:
        if count == 550:
            seen.append(other.sync(tenant, is_forced=True))
            other.later(minutes=3)  # the first one hangs
            crm.on_contact = lambda _count: None
            seen.append(other.sync(tenant))
            left.append(other.state(tenant))

    crm.on_contact = meanwhile
    town.sync(tenant)
    assert seen == [False, True]
    assert [other.state(tenant)] == left
    assert (left[0].contacts, left[0].error) == (600, None)
    assert other.state(tenant).built_at == NOW  # the pass that the first one had begun
    other.inbox.close()


def test_a_stop_leaves_the_rest_to_others(town: Town) -> None:
    """A worker that is stopped gives the index back after the batch, and the next one goes on at once."""
    crm = crowd(1200)
    crm.on_contact = lambda count: town.stopping.set() if count == 300 else None
    tenant = tenant_with(crm)
    town.sync(tenant)
    assert town.state(tenant).seen == 500
    town.stopping.clear()
    assert town.sync(tenant)
    assert town.state(tenant).contacts == 1200


def test_changes_are_followed_while_a_long_pass_runs(town: Town) -> None:
    """A pass that takes an hour does not leave the index an hour old."""
    crm = crowd(1100)
    tenant = tenant_with(crm)
    town.sync(tenant)
    town.later(hours=24)

    def meanwhile(count: int) -> None:
        if count == 400:
            town.later(minutes=30)
            crm.put("new", "+46701740699", at=town.now)
            crm.on_contact = lambda count: found.append(town.who(tenant, "+46701740699")) if count == 600 else None

    found: list[list[str]] = []
    crm.on_contact = meanwhile
    town.sync(tenant)
    assert found == [["new"]]
    assert town.who(tenant, "+46701740699") == ["new"]  # nor does the end of the pass remove him


def test_a_change_during_a_pass_is_not_lost(town: Town) -> None:
    """What the pass has read before it changed is read again right after the pass."""
    crm = crowd(600)
    tenant = tenant_with(crm)

    def meanwhile(count: int) -> None:
        if count == 590:
            town.later(seconds=30)
            crm.put("0001", "+46701740699", at=town.now)

    crm.on_contact = meanwhile
    town.sync(tenant)
    assert town.who(tenant, "+46701740699") == []
    assert town.sync(tenant)
    assert town.who(tenant, "+46701740699") == ["0001"]


def test_changes_are_followed_though_the_full_pass_fails(town: Town) -> None:
    """A CRM that cannot list everybody any more still tells what has changed."""
    crm = crowd(600)
    tenant = tenant_with(crm)
    town.sync(tenant)
    town.later(hours=25)
    crm.put("new", "+46701740699", at=town.now)
    crm.fails_after, crm.error = 300, CRMUnavailableError("it is down")
    town.sync(tenant)
    assert town.state(tenant).error == "CRMUnavailableError"
    assert town.who(tenant, "+46701740699") == ["new"]
    assert town.is_final(tenant)


def test_a_bookmark_that_the_crm_refuses_is_thrown_away(town: Town) -> None:
    """A cursor may be valid for a while only: the pass then begins anew."""
    crm = crowd(600)
    crm.fails_after, crm.error = 550, CRMRejectedError("no such cursor")
    tenant = tenant_with(crm)
    town.sync(tenant)
    crm.fails_after = None
    town.sync(tenant, is_forced=True)
    assert [place for _, place in crm.asked] == ["", ""]
    assert town.state(tenant).contacts == 600


def test_the_wish_of_a_crm_is_obeyed(town: Town) -> None:
    """A CRM that wants a pause gets it, and the pass goes on after it."""
    crm = crowd(600)
    crm.fails_after, crm.error = 550, RateLimitedError("slow down", retry_after=timedelta(minutes=7))
    tenant = tenant_with(crm)
    town.sync(tenant)
    assert town.state(tenant).due_at - town.now == timedelta(minutes=7)


def test_a_budget_that_is_used_up_is_waited_for(town: Town) -> None:
    """A pass takes half of the account's budget and waits for its turn, instead of failing."""
    crm, clock = crowd(100), Clock()
    account = Account(budget=Budget(4, timedelta(seconds=1)), ledger=Ledger(now=lambda: clock.now))
    source = Source(name="rolodex", adapter=crm, account=account, index=IndexConfig())
    tenant = replace(tenant_with(crm), sources=(source,))
    lease = town.store.claim(tenant, source)
    assert lease
    Pass(town.store, lease, town.inbox.now, clock).run()
    assert (town.state(tenant).contacts, town.state(tenant).error) == (100, None)
    assert round(clock.now) == 4  # seconds for ten pages, two of them in each


class Clock(threading.Event):
    """Whoever waits for a stop makes the time pass."""

    now = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return False
