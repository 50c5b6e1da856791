"""Processes of one installation, each on its own, share one renewal; one that is killed holds up nobody for long."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import pytest

from tests.oauth.conftest import Desk
from tests.oauth.provider import Provider

ROOT = Path(__file__).resolve().parent.parent.parent
Process = subprocess.Popen[str]
Start = Callable[..., Process]


@pytest.fixture
def worn_desk(any_desk: Desk) -> Desk:
    """Return tokens that have run out by the clock on the wall, which processes go by."""
    any_desk.moment = datetime.now(UTC)
    any_desk.provider.lifetime = 0.001
    any_desk.connect()
    any_desk.provider.lifetime = 3600
    return any_desk


@pytest.fixture
def start(worn_desk: Desk, database_url: str) -> Iterator[Start]:
    started: list[Process] = []

    def one(ahead: float = 0.0) -> Process:
        keys, url = str(worn_desk.folder / "token.keys"), worn_desk.provider.url
        command = [sys.executable, "-m", "tests.oauth.process", database_url, keys, url, str(ahead)]
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        started.append(process)
        return process

    yield one
    for process in started:
        process.kill()
        process.communicate()


def read(process: Process, word: str) -> str:
    """Return what stands after ``word``; the log is on the same output."""
    assert process.stdout
    return next(line.removeprefix(word).strip() for line in process.stdout if line.startswith(word))


def go(process: Process) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def test_four_processes_renew_once(worn_desk: Desk, start: Start, provider: Provider) -> None:
    """Four processes that want a token at the same moment cost one renewal, and get the same token."""
    processes = [start() for _ in range(4)]
    for process in processes:
        read(process, "ready")
    for process in processes:
        go(process)
    got = {read(process, "got") for process in processes}
    assert len(got) == 1
    assert got <= provider.access
    assert provider.renewals == 1


def test_a_process_that_is_killed_while_it_renews_holds_up_nobody(
    worn_desk: Desk, start: Start, provider: Provider
) -> None:
    """Kill -9 in the middle of a renewal: when the lease is over another process renews, and nobody logs in."""
    asked, is_dead = Event(), Event()

    def before() -> bool:
        provider.before = None  # the next one is answered
        asked.set()
        is_dead.wait(20)
        return False

    provider.before = before
    doomed = start()
    read(doomed, "ready")
    go(doomed)
    assert asked.wait(20)
    doomed.kill()
    doomed.wait()
    is_dead.set()
    heir = start(31.0)
    read(heir, "ready")
    go(heir)
    assert read(heir, "got") in provider.access
    assert provider.renewals == 2
    assert worn_desk.grant().is_connected
