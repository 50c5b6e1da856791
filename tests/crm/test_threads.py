"""Threads for calls that may never return."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from middleware.crm.threads import DaemonPool

HUNG = "import time; from middleware.crm.threads import DaemonPool; DaemonPool('x').submit(time.sleep, 600)"


def test_every_call_runs_at_once() -> None:
    """A hundred calls that wait for each other all run: none queues behind another."""
    pool, barrier = DaemonPool("test"), threading.Barrier(100, timeout=30)
    assert sorted(future.result(30) for future in [pool.submit(barrier.wait) for _ in range(100)]) == list(range(100))


def test_idle_threads_are_used_again() -> None:
    """Calls one after the other need few threads."""
    pool = DaemonPool("test")
    assert len({pool.submit(threading.get_ident).result(30) for _ in range(200)}) < 100


@pytest.mark.parametrize("error", [ValueError(), SystemExit(), KeyboardInterrupt()])
def test_whatever_a_call_raises_is_in_its_future(error: BaseException) -> None:
    """The pool goes on after any exception."""
    pool = DaemonPool("test")

    def fail() -> None:
        raise error

    assert pool.submit(fail).exception(30) is error
    assert pool.submit(int).result(30) == 0


def test_hung_call_does_not_hold_up_the_exit() -> None:
    """A process ends although one of its calls never returns."""
    root = Path(__file__).resolve().parent.parent.parent
    subprocess.run([sys.executable, "-c", HUNG], check=True, cwd=root, timeout=30)


def test_call_that_found_no_thread_is_not_run_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the machine has no thread left the caller is told, and the pool's count of idle threads stays right."""
    pool = DaemonPool("test")

    def refuse(_thread: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            pool.submit(pytest.fail, "was run")
    barrier = threading.Barrier(2, timeout=30)
    assert sorted(future.result(30) for future in [pool.submit(barrier.wait) for _ in range(2)]) == [0, 1]
