"""The moments at which somebody who waits is answered with what there is.

Hand-written: ``sched`` and ``threading.Timer`` wake up for, or hold a thread for, everybody who was answered in
time, and that is nearly everyone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from threading import Condition, Thread

from middleware.model.deadline import Deadline


@dataclass(slots=True)
class Alarm:
    """What is called when a moment is over; ``None`` once nobody waits for it: then it holds and costs nothing."""

    ring: Callable[[], None] | None


class Alarms:
    """One thread that rings; it sleeps until the first moment that somebody still waits for."""

    def __init__(self) -> None:
        self._set: list[tuple[float, int, Deadline, Alarm]] = []
        self._number = count()  # orders those of the same moment
        self._changed = Condition()
        self._thread: Thread | None = None

    def set(self, moment: Deadline, ring: Callable[[], None]) -> Alarm:
        """Have ``ring``, which must not raise, called when the ``moment`` is over.

        Raises ``RuntimeError`` when the machine has no thread left.
        """
        alarm = Alarm(ring)
        with self._changed:
            if self._thread is None:  # started late: threads do not survive a fork
                thread = Thread(target=self._run, name="alarms", daemon=True)
                thread.start()
                self._thread = thread
            heappush(self._set, (moment.at, next(self._number), moment, alarm))
            if self._set[0][-1] is alarm:
                self._changed.notify()
        return alarm

    def _run(self) -> None:
        while True:
            self._next()()

    def _next(self) -> Callable[[], None]:
        with self._changed:
            while True:
                if not self._set:
                    self._changed.wait()
                elif self._set[0][-1].ring is None:
                    heappop(self._set)
                elif not self._set[0][-2].is_over:
                    self._changed.wait(self._set[0][-2].remaining)
                elif ring := heappop(self._set)[-1].ring:
                    return ring
