"""The bulkhead of one source: so many searches at once and no more, and the late ones do not count for ever."""

from __future__ import annotations

from threading import BoundedSemaphore, Lock

from middleware.tenants.tenant import Source, Tenant


class Slots:
    """``count`` searches that somebody waits for, and as many more that go on in the background."""

    def __init__(self, count: int) -> None:
        self._awaited = BoundedSemaphore(count)
        self._late = BoundedSemaphore(count)

    def take(self) -> Slot | None:
        """Return a slot, or ``None`` at once when all are taken."""
        return Slot(self._awaited, self._late) if self._awaited.acquire(blocking=False) else None


class Slot:
    """One search's place in its source's bulkhead."""

    def __init__(self, awaited: BoundedSemaphore, late: BoundedSemaphore) -> None:
        self._held: BoundedSemaphore | None = awaited
        self._late = late
        self._lock = Lock()

    def make_late(self) -> None:
        """Leave the place to another: nobody waits for this search any more.  It stays when too many are late."""
        with self._lock:
            if self._held not in (None, self._late) and self._late.acquire(blocking=False):
                self._held.release()
                self._held = self._late

    def give_back(self) -> None:
        """End the search's claim."""
        with self._lock:
            if self._held is not None:
                self._held.release()
                self._held = None


class Bulkheads:
    """The slots of every source of every customer that was asked."""

    def __init__(self) -> None:
        self._slots: dict[tuple[str, str, int], Slots] = {}

    def of(self, tenant: Tenant, source: Source) -> Slots:
        """Return the slots of the source; a changed number of them makes new ones."""
        place = (tenant.id, source.name, tenant.lookup.slots)
        return self._slots.get(place) or self._slots.setdefault(place, Slots(tenant.lookup.slots))
