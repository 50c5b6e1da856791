"""``IndexLane``: keeps the indexes of all customers, on threads of its own, wherever calls are delivered."""

from __future__ import annotations

import re
import time
from concurrent.futures import Future, wait
from datetime import timedelta
from threading import Event, Lock, Thread
from typing import Any

import structlog

from middleware.crm.base import CRMAdapter
from middleware.crm.registry import load_adapters
from middleware.crm.threads import DaemonPool
from middleware.errors import StorageError
from middleware.inbox.store import Inbox
from middleware.index.passes import Pass, Progress
from middleware.index.store import NumberStore, indexed_sources
from middleware.tenants.registry import Tenants
from middleware.tenants.tenant import Source, Tenant

POLL = 5.0  # seconds between two looks at what is due
SCAN = 60.0  # seconds between two looks at which customers have an index: that reads all their files
PASSES = 4  # at the same time, per process
KEPT_FOR = timedelta(days=30)  # an index that no pass has followed: its customer may be gone

log = structlog.get_logger("m8crm.index")


class IndexLane:
    """Runs what is due; one per worker."""

    def __init__(self, inbox: Inbox, tenants: Tenants) -> None:
        self._inbox = inbox
        self._tenants = tenants
        self._store = NumberStore(inbox)
        self._pool = DaemonPool("index")
        self._running: dict[tuple[str, str], Future[None]] = {}
        self._lock = Lock()
        self._stopping = Event()
        self._thread: Thread | None = None
        self._indexed: list[str] = []  # ids of the customers that may have an index
        self._scanned_at = float("-inf")

    def start(self) -> None:
        """Work on threads of its own until :meth:`stop`."""
        self._thread = Thread(target=self._loop, name="index", daemon=True)
        self._thread.start()

    def stop(self, grace: float = 5.0) -> None:
        """Begin nothing new, and leave what is under way to others after the next batch."""
        self._stopping.set()
        if self._thread:
            self._thread.join(grace)
        with self._lock:
            running = list(self._running.values())
        wait(running, timeout=grace)

    def run_once(self) -> int:
        """Do what is due now and return how many passes that were."""
        self._scan()
        futures = self._launch()
        wait(futures)
        return len(futures)

    def build(self, tenant: Tenant, source: Source, progress: Progress) -> bool:
        """Read all contacts now; whether that is ours to do, and nobody else's who is about it."""
        lease = self._store.claim(tenant, source, is_forced=True)
        if lease is None:
            return False
        Pass(self._store, lease, self._inbox.now, self._stopping, progress).run(is_full=True)
        return True

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                if time.monotonic() - self._scanned_at >= SCAN:
                    self._scan()
                self._launch()
            except StorageError as error:
                log.error("index_failed", error=str(error))
            except Exception as error:  # the lane must live
                log.error("index_broken", error=type(error).__name__)
            self._stopping.wait(POLL)

    def _scan(self) -> None:
        """See which customers have an index, and remove those that nobody wants any more."""
        self._scanned_at = time.monotonic()
        self._indexed = self._tenants.ids(_hints())
        for state in self._store.list_states():
            tenant = self._tenants.get(state.tenant_id)
            source = tenant.source(state.source) if tenant else None
            is_unwanted = tenant is not None and (source is None or source.index is None)
            if is_unwanted or self._inbox.now() - (state.synced_at or state.due_at) > KEPT_FOR:
                log.info("index_removed", customer=state.tenant_id, source=state.source, contacts=state.contacts)
                self._store.drop(state.tenant_id, state.source)

    def _launch(self) -> list[Future[None]]:
        launched = []
        for tenant in filter(None, map(self._tenants.get, self._indexed)):
            for source in indexed_sources(tenant):
                with self._lock:
                    is_possible = len(self._running) < PASSES and (tenant.id, source.name) not in self._running
                lease = self._store.claim(tenant, source) if is_possible else None
                if lease:
                    launched.append(self._submit(Pass(self._store, lease, self._inbox.now, self._stopping)))
        return launched

    def _submit(self, work: Pass) -> Future[None]:
        key = work.lease.tenant.id, work.lease.source.name
        future = self._pool.submit(work.run)
        with self._lock:
            self._running[key] = future
        future.add_done_callback(lambda _future: self._done(key))
        return future

    def _done(self, key: tuple[str, str]) -> None:
        with self._lock:
            self._running.pop(key, None)


def _hints() -> re.Pattern[bytes]:
    """Return what stands in the file of every customer with an index: thousands of others are not even understood."""
    cannot = [kind.name for kind in load_adapters().values() if _may_need_index(kind)]
    return re.compile("|".join(map(re.escape, ["index", *cannot])).encode())


def _may_need_index(kind: type[CRMAdapter[Any]]) -> bool:
    is_own = kind.is_searchable is not CRMAdapter.is_searchable  # it depends on the settings
    return is_own or kind.find_contacts is CRMAdapter.find_contacts
