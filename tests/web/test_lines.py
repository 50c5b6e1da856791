"""Log lines that a fast answer leaves to a thread."""

from __future__ import annotations

import threading

import pytest
from structlog.testing import CapturingLogger

from middleware.web.lines import A_SECOND, Lines


@pytest.fixture(autouse=True)
def logged(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    """Return what is logged, in place of the log."""
    logger = CapturingLogger()
    monkeypatch.setattr("middleware.web.lines.log", logger)
    return logger


def counts(logged: CapturingLogger) -> list[int]:
    """Return how many lines were left out, each time that it was told."""
    return [call.kwargs["count"] for call in logged.calls if call.args == ("requests_counted",)]


def test_lines_are_written_and_the_rest_is_counted(logged: CapturingLogger) -> None:
    """The first lines of a second are written in full, in order; how many were left out is told."""
    lines, written = Lines(a_second=3), list[int]()
    for number in range(10):
        lines.offer(written.append, number)
    lines.close()
    assert written == [0, 1, 2]
    assert counts(logged) == [7]


def test_every_line_is_written_or_counted(logged: CapturingLogger) -> None:
    """Whenever the worker stops, no line is lost without being counted."""
    lines, written = Lines(), list[int]()
    for number in range(30 * A_SECOND):
        lines.offer(written.append, number)
    lines.close()
    assert len(written) + sum(counts(logged)) == 30 * A_SECOND
    assert 0 < len(written) < 10 * A_SECOND


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_line_that_cannot_be_written_ends_nothing(logged: CapturingLogger, error: type[Exception]) -> None:
    """The thread outlives a line that fails."""
    lines, written = Lines(), threading.Event()

    def fail() -> None:
        raise error

    lines.offer(fail)
    lines.offer(written.set)
    assert written.wait(20)
    lines.close()
    assert [call.kwargs["error"] for call in logged.calls] == [error.__name__]


def test_blocked_log_blocks_nobody() -> None:
    """While a line cannot be written, others are taken without waiting."""
    lines, began, release = Lines(), threading.Event(), threading.Event()

    def block() -> None:
        began.set()
        release.wait(20)

    lines.offer(block)
    assert began.wait(20)
    for _ in range(2 * A_SECOND):
        lines.offer(lambda: None)
    release.set()
    lines.close()


def test_machine_without_threads_keeps_nobody_from_answering(
    logged: CapturingLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When no thread can be started that is told once, and lines are written as soon as one can."""
    lines, written = Lines(), threading.Event()

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        lines.offer(written.set)
        lines.offer(written.set)
    assert [call.kwargs["error"] for call in logged.calls] == ["RuntimeError"]
    assert not written.is_set()
    lines.offer(lambda: None)
    assert written.wait(20)
    lines.close()
