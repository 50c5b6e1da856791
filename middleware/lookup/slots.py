"""The bulkhead of one source: so many searches at once and no more, and the late ones do not count for ever."""

from __future__ import annotations

from threading import Lock

from middleware.tenants.tenant import Source, Tenant


class Places:
    """So many and no more.  Hand-written: Python's semaphores can wait, and so take twenty times as long."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._lock = Lock()

    def take(self) -> bool:
        """Return whether there was one."""
        with self._lock:
            if not self._left:
                return False
            self._left -= 1
            return True

    def give_back(self) -> None:
        """Leave one to others."""
        with self._lock:
            self._left += 1


class Slots:
    """``count`` searches that somebody waits for, as many late ones, and as many that may never come back.

    Those that somebody waits for also take one of ``all_awaited``, which all sources of the process share: more
    answers than a process can make in time would all be late.
    """

    def __init__(self, count: int, all_awaited: Places) -> None:
        self.awaited = Places(count)
        self.late = Places(count)
        self.lost = Places(count)
        self.all_awaited = all_awaited

    def take(self) -> Slot | None:
        """Return a slot, or ``None`` at once when all are taken."""
        if not self.awaited.take():
            return None
        if not self.all_awaited.take():
            self.awaited.give_back()
            return None
        return Slot(self)


class Slot:
    """One search's place in its source's bulkhead."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._held: list[Places] = [slots.awaited, slots.all_awaited]
        self._lock = Lock()

    def make_late(self) -> None:
        """Leave the place to another: nobody waits for this search any more.  It stays when too many are late."""
        if self._slots.awaited in self._held:
            self._move_to(self._slots.late)

    def give_up(self) -> None:
        """Leave the place though the adapter has not come back in its time; it stays when too many have not."""
        if not self._move_to(self._slots.lost):
            self.make_late()

    def give_back(self) -> None:
        """End the search's claim."""
        with self._lock:
            self._leave()

    def _move_to(self, place: Places) -> bool:
        with self._lock:
            if not self._held or place in self._held:
                return True
            if not place.take():
                return False
            self._leave()
            self._held = [place]
            return True

    def _leave(self) -> None:
        for place in self._held:
            place.give_back()
        self._held = []


class Bulkheads:
    """The slots of every source of every customer that was asked; ``count`` searches are awaited at the same time."""

    def __init__(self, count: int) -> None:
        self._all_awaited = Places(count)
        self._slots: dict[tuple[str, str, int], Slots] = {}

    def of(self, tenant: Tenant, source: Source) -> Slots:
        """Return the slots of the source; a changed number of them makes new ones."""
        place = (tenant.id, source.name, tenant.lookup.slots)
        return self._slots.get(place) or self._slots.setdefault(place, Slots(tenant.lookup.slots, self._all_awaited))
