"""``FetchLane``: the fast lane of recordings, with threads of its own.

A CRM that is down never lets a link expire, and a file server that hangs never delays a call.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import structlog
from sqlalchemy import Row

from middleware.crm.threads import DaemonPool
from middleware.errors import RecordingError, RecordingRefusedError, StorageError
from middleware.metrics.counts import NOT_COUNTED, Counts
from middleware.metrics.names import RECORDING_BYTES, RECORDINGS
from middleware.recordings.address import Outside, check_host, read_url
from middleware.recordings.fetch import Fetched, Limits, fetch
from middleware.recordings.ledger import Settled
from middleware.recordings.service import Recordings
from middleware.recordings.store import make_incoming

POLL = 0.5  # seconds between two looks
FETCHES = 16  # at the same time, per process
PURGE_EVERY = 600.0  # seconds
SHORTEST, LONGEST = 2.0, 300.0  # seconds between two attempts
LAST_LOOK = 20.0  # seconds before a link dies there is one more attempt
SAVING = 120.0  # seconds that a store may take beside the fetch; a lease outlasts both

log = structlog.get_logger("m8crm.recordings")


class FetchLane:
    """Fetches what is due; ``changed`` is told customer and call of every recording that is kept or lost.

    It is told within the transaction that says so: what follows from it is never missed.
    """

    def __init__(
        self,
        recordings: Recordings,
        *,
        outside: Outside | None = None,
        limits: Limits | None = None,
        changed: Settled = lambda _connection, _tenant_id, _call_key: None,
        random: Callable[[], float] = random.random,
        counts: Counts = NOT_COUNTED,
    ) -> None:
        self._recordings = recordings
        self._ledger = recordings.ledger
        self._outside = outside or Outside()
        self._limits = limits or Limits()
        self._changed = changed
        self._random = random
        self._counts = counts
        self._pool = DaemonPool("recordings")
        self._running: dict[Future[None], str] = {}
        self._lock = Lock()
        self._stopping = Event()
        self._thread: Thread | None = None
        self._purged_at = float("-inf")

    def start(self) -> None:
        """Fetch on threads of its own until :meth:`stop`."""
        self._thread = Thread(target=self._loop, name="recordings", daemon=True)
        self._thread.start()

    def stop(self, grace: float = 2.0) -> None:
        """Take nothing new and wait for what is under way, for at most ``grace`` seconds; others fetch the rest."""
        self._stopping.set()
        if self._thread:
            self._thread.join(grace)
        with self._lock:
            running = dict(self._running)
        unfinished = wait(running, timeout=grace).not_done
        try:
            self._ledger.release([running[future] for future in unfinished])
        except StorageError:
            log.warning("leases_not_given_back")

    def fetch_due(self) -> int:
        """Fetch all that is due now, and return how many attempts were made."""
        futures = self._launch(FETCHES)
        wait(futures)
        return len(futures)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._lock:
                    free = FETCHES - len(self._running)
                if free > 0:
                    self._launch(free)
                self._purge_sometimes()
            except StorageError as error:
                log.error("recordings_failed", error=str(error))
            except Exception as error:  # the lane must live
                log.error("recordings_broken", error=type(error).__name__)
            self._stopping.wait(POLL)

    def _purge_sometimes(self) -> None:
        if time.monotonic() - self._purged_at >= PURGE_EVERY:
            self._purged_at = time.monotonic()
            self._recordings.purge()
            for path in make_incoming(self._recordings.store).iterdir():  # what a killed process left
                if time.time() - path.stat().st_mtime > self._lease():
                    path.unlink(missing_ok=True)

    def _lease(self) -> float:
        return self._limits.seconds + SAVING

    def _launch(self, free: int) -> list[Future[None]]:
        rows = self._ledger.claim(self._recordings.now().timestamp(), self._lease(), free)
        return [self._submit(row) for row in rows]

    def _submit(self, row: Row[Any]) -> Future[None]:
        future = self._pool.submit(self._attempt, row)
        with self._lock:
            self._running[future] = row.id

        def done(finished: Future[None]) -> None:
            with self._lock:
                self._running.pop(finished, None)
            if finished.exception():
                log.error("recording_broken", customer=row.tenant, error=type(finished.exception()).__name__)

        future.add_done_callback(done)
        return future

    def _attempt(self, row: Row[Any]) -> None:
        began = time.monotonic()
        changes = self._try(row)
        state = changes.get("state", "waiting")
        settled = None if state == "waiting" else self._changed
        if not self._ledger.finish(row, settled, **changes):  # it was forgotten meanwhile, or others try it now
            if state == "kept":
                self._ledger.orphan(row, changes["sha256"])
                self._recordings.remove_files()
            return
        ms = round((time.monotonic() - began) * 1000)
        write = log.error if state in ("failed", "expired") else log.info
        write("recording", recording=row.id, customer=row.tenant, state=state, attempt=row.attempts, ms=ms)
        if state != "waiting":
            self._counts.add(RECORDINGS, row.tenant, state)
            self._counts.add(RECORDING_BYTES, row.tenant, by=changes.get("bytes", 0))

    def _try(self, row: Row[Any]) -> dict[str, Any]:
        """Return what is to be written of the attempt."""
        path: Path | None = None
        try:
            if row.sha256:  # what a killed process had begun to keep
                self._ledger.orphan(row, row.sha256)
            path = make_incoming(self._recordings.store) / f"{row.id}-{row.attempts}"
            fetched = self._fetch(row, path)
            self._keep(row, fetched)
        except RecordingRefusedError as error:
            return {"state": "failed", "words": str(error), "sha256": None}
        except (RecordingError, StorageError) as error:
            return self._later(row, str(error))
        except Exception as error:  # a fault of ours, which may be mended before the link dies
            log.error("recording_broken", customer=row.tenant, error=type(error).__name__)
            return self._later(row, f"Something is broken here ({type(error).__name__}).")
        finally:
            if path is not None:
                path.unlink(missing_ok=True)
        kept = {"bytes": fetched.bytes, "content_type": fetched.content_type, "sha256": fetched.sha256}
        return {"state": "kept", "url": None, "words": None, **kept}

    def _fetch(self, row: Row[Any], path: Path) -> Fetched:
        tenant = self._recordings.tenants.get(row.tenant)
        if tenant is None:
            raise RecordingError("The customer's file cannot be read.")
        if not tenant.recordings.fetch:
            raise RecordingRefusedError("The customer's recordings are not fetched any more.")
        source = read_url(row.url)
        check_host(source, tenant.recordings.hosts)
        fetched = fetch(source, path, self._outside, self._limits)
        if row.kind == "transcript":
            return replace(fetched, content_type=None)  # text has no first bytes to be known by
        if not (fetched.content_type or "").startswith(("audio/", "video/")):
            raise RecordingError("What the file server sent is no recording.")  # a page that says "log in", say
        return fetched

    def _keep(self, row: Row[Any], fetched: Fetched) -> None:
        self._ledger.use(row, fetched.sha256, self._recordings.now().timestamp())
        try:
            self._recordings.store.put(row.tenant, fetched.sha256, fetched.path)
        except StorageError:  # it may be kept all the same
            self._ledger.orphan(row, fetched.sha256)
            raise

    def _later(self, row: Row[Any], words: str) -> dict[str, Any]:
        """Return when there is another attempt; the last one is just before the link dies."""
        now = self._recordings.now().timestamp()
        if now >= row.link_dies_at - LAST_LOOK:
            return {"state": "expired", "words": words, "sha256": None}
        pause = min(LONGEST, SHORTEST * 2.0 ** min(row.attempts, 10)) * self._random()
        due = min(now + max(SHORTEST, pause), row.link_dies_at - LAST_LOOK)
        return {"due_at": due, "words": words, "sha256": None}
