"""Log lines that a fast answer leaves to a thread."""

from __future__ import annotations

import threading

import pytest
import structlog

from middleware.web.lines import MAX_WAITING, Lines


def test_lines_are_written_and_the_rest_is_counted() -> None:
    """The first lines of a second are written in full, in order; how many were left out is told."""
    lines, written = Lines(a_second=3), list[int]()
    with structlog.testing.capture_logs() as logged:
        for number in range(10):
            lines.offer(written.append, number)
        lines.close()
    assert written == [0, 1, 2]
    assert [entry["count"] for entry in logged if entry["event"] == "requests_counted"] == [7]


def test_every_line_is_written_or_counted() -> None:
    """Whenever the worker stops, no line is lost without being counted."""
    lines, written = Lines(a_second=50), list[int]()
    with structlog.testing.capture_logs() as logged:
        for number in range(3 * MAX_WAITING):
            lines.offer(written.append, number)
        lines.close()
    counted = sum(entry["count"] for entry in logged if entry["event"] == "requests_counted")
    assert len(written) + counted == 3 * MAX_WAITING
    assert 0 < len(written) <= 100


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_line_that_cannot_be_written_ends_nothing(error: type[Exception]) -> None:
    """The thread outlives a line that fails."""
    lines, written = Lines(), threading.Event()

    def fail() -> None:
        raise error

    with structlog.testing.capture_logs() as logged:
        lines.offer(fail)
        lines.offer(written.set)
        assert written.wait(20)
        lines.close()
    assert [entry["error"] for entry in logged] == [error.__name__]


def test_blocked_log_blocks_nobody() -> None:
    """While a line cannot be written, others are taken without waiting."""
    lines, began, release = Lines(), threading.Event(), threading.Event()

    def block() -> None:
        began.set()
        release.wait(20)

    with structlog.testing.capture_logs():
        lines.offer(block)
        assert began.wait(20)
        for _ in range(2 * MAX_WAITING):
            lines.offer(lambda: None)
        release.set()
        lines.close()
