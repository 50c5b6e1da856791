"""A moment after which nobody waits."""

from __future__ import annotations

from datetime import timedelta

from middleware.model.deadline import Deadline


def test_deadline_counts_down_and_ends() -> None:
    """What remains shrinks with the clock and is never negative."""
    now = 100.0
    deadline = Deadline.after(timedelta(seconds=2), lambda: now)
    assert (deadline.remaining, deadline.is_over) == (2.0, False)
    now = 103.0
    assert (deadline.remaining, deadline.is_over) == (0.0, True)
