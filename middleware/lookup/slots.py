"""The bulkhead of one source: so many searches at once and no more, and the late ones do not count for ever."""

from __future__ import annotations

from threading import BoundedSemaphore, Lock

from middleware.tenants.tenant import Source, Tenant


class Slots:
    """``count`` searches that somebody waits for, as many late ones, and as many that may never come back."""

    def __init__(self, count: int) -> None:
        self.awaited = BoundedSemaphore(count)
        self.late = BoundedSemaphore(count)
        self.lost = BoundedSemaphore(count)

    def take(self) -> Slot | None:
        """Return a slot, or ``None`` at once when all are taken."""
        return Slot(self) if self.awaited.acquire(blocking=False) else None


class Slot:
    """One search's place in its source's bulkhead."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._held: BoundedSemaphore | None = slots.awaited
        self._lock = Lock()

    def make_late(self) -> None:
        """Leave the place to another: nobody waits for this search any more.  It stays when too many are late."""
        if self._held is self._slots.awaited:
            self._move_to(self._slots.late)

    def give_up(self) -> None:
        """Leave the place though the adapter has not come back in its time; it stays when too many have not."""
        if not self._move_to(self._slots.lost):
            self.make_late()

    def give_back(self) -> None:
        """End the search's claim."""
        with self._lock:
            if self._held is not None:
                self._held.release()
                self._held = None

    def _move_to(self, place: BoundedSemaphore) -> bool:
        with self._lock:
            if self._held is None or self._held is place:
                return True
            if not place.acquire(blocking=False):
                return False
            self._held.release()
            self._held = place
            return True


class Bulkheads:
    """The slots of every source of every customer that was asked."""

    def __init__(self) -> None:
        self._slots: dict[tuple[str, str, int], Slots] = {}

    def of(self, tenant: Tenant, source: Source) -> Slots:
        """Return the slots of the source; a changed number of them makes new ones."""
        place = (tenant.id, source.name, tenant.lookup.slots)
        return self._slots.get(place) or self._slots.setdefault(place, Slots(tenant.lookup.slots))
