"""``Watch``: looks every few seconds whether a person should know something, on a thread of its own.

Every process of the installation has one, web workers as well: a delivery worker that hangs cannot tell of itself.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import structlog

from middleware.errors import StorageError
from middleware.inbox.store import Inbox
from middleware.monitoring.alarms import OF_A_MACHINE, OF_THE_DATABASE, Ledger, Reading, read_condition
from middleware.monitoring.condition import condition_of, free_bytes
from middleware.monitoring.tell import Teller

POLL = 5.0  # seconds between two looks at whose turn it is

log = structlog.get_logger("m8crm.alarms")


class Watch:
    """Raises and clears alarms, and tells of them.

    ``after``: seconds that the oldest due call may wait.  ``disk``: bytes that must be left where ``folder`` is.
    """

    def __init__(
        self,
        inbox: Inbox,
        teller: Teller,
        *,
        installation: str,
        folder: Path,
        after: float,
        disk: int,
        machine: str | None = None,
        free: Callable[[Path], int | None] = free_bytes,
    ) -> None:
        self._inbox = inbox
        self._ledger = Ledger(inbox)
        self._teller = teller
        self._installation = installation
        self._folder = folder
        self._after = after
        self._disk = disk
        self._machine = machine or socket.gethostname()
        self._free = free
        self._stopping = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Watch on a thread of its own until :meth:`stop`."""
        self._thread = Thread(target=self._loop, name="watch", daemon=True)
        self._thread.start()

    def stop(self, grace: float = 2.0) -> None:
        """End; what was not told yet is told by others."""
        self._stopping.set()
        if self._thread:
            self._thread.join(grace)

    def look(self) -> None:
        """Look, if it is this process' turn, and tell what nobody has been told yet; raises ``StorageError``."""
        if self._ledger.take_turn():
            self._ledger.note(read_condition(condition_of(self._inbox), self._after), OF_THE_DATABASE)
        if self._ledger.take_turn(self._machine):
            self._ledger.note(self._read_disk(), OF_A_MACHINE, self._machine)
        while self._teller.is_configured and not self._stopping.is_set() and (telling := self._ledger.claim()):
            failures = self._teller.tell(telling.document() | {"installation": self._installation})
            is_told = None in failures.values()
            for way, failure in failures.items():
                if failure:
                    log.error("alarm_not_told", alarm=telling.kind, subject=telling.subject, way=way, reason=failure)
            self._ledger.told(telling, is_told=is_told)

    def _read_disk(self) -> list[Reading]:
        free = self._free(self._folder)
        if free is not None and free >= self._disk * 1.25:
            return []
        is_low = free is not None and free < self._disk
        return [Reading(kind="disk", subject=self._machine, is_raised=is_low or None)]

    def _loop(self) -> None:
        is_broken = False
        while not self._stopping.wait(POLL):
            try:
                self.look()
                is_broken = False
            except Exception as error:  # the watch must live; the database's own failure is told by its users
                if not is_broken:
                    words = str(error) if isinstance(error, StorageError) else type(error).__name__
                    log.error("watch_failed", error=words)
                is_broken = True
