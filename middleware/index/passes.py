"""One pass over a CRM's contacts: all of them, or those that have changed, in the sync lane of its budget.

What changes while a full pass runs is followed meanwhile: the pass rests, and goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from threading import Event
from typing import Any

import structlog
from sqlalchemy import Row

from middleware.crm.base import Bookmark, Context
from middleware.crm.budget import Lane
from middleware.crm.context import build_context
from middleware.errors import (
    CRMError,
    CRMRejectedError,
    CRMResponseError,
    CRMShrunkError,
    NotAskedError,
    RateLimitedError,
    StorageError,
    place_of,
)
from middleware.index.store import BATCH, Lease, NumberStore, fingerprint_of
from middleware.model.contact import Contact
from middleware.model.deadline import LongDeadline
from middleware.tenants.tenant import IndexConfig

PATIENCE = 60.0  # seconds that a request waits for the budget; then the pass ends, and another goes on later
LONGEST = timedelta(hours=12)  # of one pass
OVERLAP = 300.0  # seconds: CRMs' clocks differ, and their searches show a change only after a while
SHORTEST_PAUSE, LONGEST_PAUSE = 30.0, 900.0  # seconds after a failure
LONGEST_WISH = 3600.0  # seconds that a CRM may want to be left alone
FEW = 100  # contacts: of so few all may be gone at once
MAX_ID = 500  # characters

log = structlog.get_logger("m8crm.index")
Progress = Callable[[int], None]  # told how many contacts a full pass has brought


@dataclass(slots=True)
class Pass:
    """The work that is due on one leased index; gives the lease back."""

    store: NumberStore
    lease: Lease
    now: Callable[[], datetime]
    stopping: Event
    progress: Progress = lambda _seen: None
    _changes_due_at: float = 0.0  # Unix seconds; now, at first

    def run(self, *, is_full: bool = False) -> None:
        """Do what is due, all of it if ``is_full``; a failure is noted, and what was read until then stays."""
        lease, row = self.lease, self.lease.row
        began = time.monotonic()
        try:
            if row.fingerprint != (fingerprint := fingerprint_of(lease.tenant, lease.source)):
                self.store.empty(lease, fingerprint=fingerprint, generation=row.generation + 1)
                row = self._reread()
            full_due_at = (row.built_at or 0.0) + self._config.full_every.total_seconds()
            if is_full or row.begun_at is not None or row.built_at is None or full_due_at <= self._moment():
                self._read_all()
            else:
                self._follow(row.since)
                self.store.release(lease, due_at=self._next_due(), failures=0, error=None)
        except StorageError as error:  # it cannot be noted, or is another worker's by now
            log.error("index_failed", customer=lease.tenant.id, source=lease.source.name, error=str(error))
        except Exception as error:
            is_stopped = self.stopping.is_set() and isinstance(error, NotAskedError)
            self._give_back() if is_stopped else self._failed(error)
        except KeyboardInterrupt:  # of who builds it by hand
            self._give_back()
            raise
        else:
            ms = round((time.monotonic() - began) * 1000)
            log.info("index", customer=lease.tenant.id, source=lease.source.name, ms=ms)

    # all contacts -------------------------------------------------------------------------------------
    def _read_all(self) -> None:
        """Begin a full pass, or go on with one that was interrupted, and bring it to its end unless we are stopped."""
        self._follow_meanwhile()  # first: whatever becomes of this pass, the index in use does not grow old
        begun_at, generation, bookmark = self._begin()
        seen = self._reread().seen
        for batch in self._batches(None, bookmark):
            seen += len(batch)
            self.store.write(self.lease, batch, generation, seen=seen, bookmark=bookmark.place)
            self.progress(seen)
            if self.stopping.is_set():
                self._give_back()
                return
            self._follow_meanwhile()
        self._end(begun_at, generation)

    def _begin(self) -> tuple[float, int, Bookmark]:
        row, now = self._reread(), self._moment()
        is_old = row.begun_at is not None and row.begun_at + self._config.full_every.total_seconds() < now
        if row.begun_at is not None and not is_old:
            if not row.bookmark:  # its adapter cannot go on: what it brings again is counted again
                self.store.change(self.lease, seen=0)
            return row.begun_at, row.generation, Bookmark(row.bookmark or "")
        self.store.change(self.lease, begun_at=now, generation=row.generation + 1, bookmark=None, seen=0)
        return now, row.generation + 1, Bookmark()

    def _end(self, begun_at: float, generation: int) -> None:
        """Remove what the pass has not seen, unless that is most of all: a CRM may have lost its mind."""
        gone = self.store.count_unseen(self.lease, generation)
        kept = self._reread().contacts - gone
        if gone > FEW and kept < gone:
            self.store.change(self.lease, begun_at=None, bookmark=None)
            raise CRMShrunkError(f"the CRM lists {kept} contacts and not {gone} others")
        self.store.remove_unseen(self.lease, generation)
        synced_at = max(begun_at, self._reread().synced_at or 0.0)
        done = {"built_at": begun_at, "synced_at": synced_at, "since": begun_at - OVERLAP, "begun_at": None}
        # at once asked for what has changed since the beginning, for a page may have been older than a change
        self.store.release(self.lease, **done, bookmark=None, due_at=self._moment(), failures=0, error=None)

    def _follow_meanwhile(self) -> None:
        """While a pass takes long, follow the changes of an index that is in use."""
        row = self._reread()
        if row.built_at is not None and self._moment() >= self._changes_due_at:
            self._follow(row.since)
            self._changes_due_at = self._next_due()

    # changes ------------------------------------------------------------------------------------------
    def _follow(self, since: float) -> None:
        """Store what has changed since then."""
        begun_at, generation = self._moment(), self._reread().generation
        for batch in self._batches(datetime.fromtimestamp(since, UTC), Bookmark()):
            self.store.write(self.lease, batch, generation)
            if self.stopping.is_set():
                return
        self.store.change(self.lease, synced_at=begun_at, since=begun_at - OVERLAP)

    # both -----------------------------------------------------------------------------------------------
    def _batches(self, since: datetime | None, bookmark: Bookmark) -> Iterator[list[Contact]]:
        source = self.lease.source
        account = replace(source.account, patience=PATIENCE, sleep=self._wait)
        ctx: Context = build_context(
            source.adapter,
            region=self.lease.tenant.region,
            deadline=LongDeadline(time.monotonic() + LONGEST.total_seconds()),
            account=account,
            lane=Lane.SYNC,
            bookmark=bookmark,
        )
        contacts = iter(source.adapter.iter_contacts(since, ctx))
        try:
            while batch := list(islice(contacts, BATCH)):
                if any(len(contact.id) > MAX_ID for contact in batch):
                    raise CRMResponseError("a contact's id is too long")
                yield batch
        finally:
            if close := getattr(contacts, "close", None):
                close()

    def _wait(self, seconds: float) -> None:
        """Wait for the budget, and keep the lease meanwhile."""
        self.store.renew(self.lease)
        self.stopping.wait(seconds)

    def _give_back(self) -> None:
        """Let another worker go on."""
        self.store.release(self.lease)

    def _reread(self) -> Row[Any]:
        return self.store.read(self.lease)

    def _next_due(self) -> float:
        return self._moment() + self._config.every.total_seconds()

    @property
    def _config(self) -> IndexConfig:
        return self.lease.source.index or IndexConfig()

    def _moment(self) -> float:
        return self.now().timestamp()

    def _failed(self, error: Exception) -> None:
        """Note what went wrong, for people, and try again later."""
        lease = self.lease
        place = "" if isinstance(error, CRMError) else place_of(error)
        log.warning(
            "index_failed", customer=lease.tenant.id, source=lease.source.name, error=type(error).__name__, place=place
        )
        try:
            row = self._reread()
            pause = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2.0 ** min(row.failures, 10))
            if isinstance(error, RateLimitedError) and error.retry_after is not None:
                pause = min(max(1.0, error.retry_after.total_seconds()), LONGEST_WISH)
            changes = {"failures": row.failures + 1, "error": type(error).__name__}
            if isinstance(error, CRMRejectedError):  # perhaps the bookmark: it begins anew
                changes["bookmark"] = None
            self.store.release(lease, due_at=self._moment() + pause, **changes)
        except StorageError:
            log.error("index_not_noted", customer=lease.tenant.id, source=lease.source.name)
