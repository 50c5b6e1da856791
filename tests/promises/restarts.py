"""P8: a restart fails no request, be it by SIGHUP, by SIGUSR2 or behind a socket that systemd holds."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

from benchmarks.customers import add_customer, number_of
from benchmarks.servers import run_stub
from benchmarks.table import Figure, say
from tests.promises.databases import new_folder
from tests.promises.installation import WEB, Installation, children
from tests.promises.senders import HEADERS, call_of

RESTARTS = 20
CLIENTS = 4
BETWEEN = 20  # answers between two restarts, beside those that a restart itself takes


def measure(_database: str, *, restarts: int = RESTARTS) -> Figure:
    """Restart while clients look up and send calls, every request over a connection of its own."""
    ways: dict[str, Callable[[Installation], None]] = {
        "SIGHUP": _hup,
        "SIGUSR2": _usr2,
        "socket activation": _restart,
        "stop and start": _restart,
    }
    failed: dict[str, Counter[str]] = {}
    sent = {}
    for name, restart in ways.items():
        with new_folder() as folder, run_stub(core=None) as stub, _socket(name == "socket activation") as listener:
            add_customer(folder, "acme", stub.url("acme"), adapter="busy-stub")
            with _installed(folder, listener) as installation, _clients(installation.port) as load:
                for i in range(restarts):
                    load.wait_for(load.answers + BETWEEN)
                    restart(installation)
                    say(f"{name} {i + 1} of {restarts}: {load.answers:,} answers, failed {dict(load.failed)}")
                load.wait_for(load.answers + BETWEEN)
            failed[name], sent[name] = load.failed, load.answers
    control = failed.pop("stop and start")
    return Figure(
        what="P8 requests that fail while the server restarts",
        figure="; ".join(f"{name}: {sum(wrong.values())} of {sent[name]:,}" for name, wrong in failed.items()),
        goal=f"0, {restarts} restarts each",
        reached=not any(failed.values()),
        control=f"stop and start: {sum(control.values()):,}",
        control_reached=not control,
        samples={name: [sum(wrong.values())] for name, wrong in failed.items()},
    )


class Load:
    """Clients that never stop asking; ``failed`` counts by what went wrong."""

    def __init__(self, port: int) -> None:
        self.answers = 0
        self.failed: Counter[str] = Counter()
        self._port = port
        self._indices: Iterator[int] = count()
        self._more = threading.Condition()
        self.stop = threading.Event()

    def wait_for(self, number: int) -> None:
        """Wait until so many requests have an answer, or have failed."""
        until = monotonic() + 60
        with self._more:
            while self.answers + sum(self.failed.values()) < number:
                assert self._more.wait(until - monotonic()), dict(self.failed)

    def run(self) -> None:
        """Look up, and send calls, in turn."""
        while not self.stop.is_set():
            index = next(self._indices)
            wrong = self._ask(index)
            with self._more:
                if wrong:
                    self.failed[wrong] += 1
                else:
                    self.answers += 1
                self._more.notify_all()
            if wrong:
                self.stop.wait(0.02)

    def _ask(self, index: int) -> str:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=20)
        headers = {**HEADERS, "Connection": "close"}
        try:
            if index % 2:
                connection.request("POST", "/acme/calllog", json.dumps(call_of(index)), headers)
            else:
                number = quote(number_of(index % 50))
                connection.request("GET", f"/acme/lookup?fromNumber={number}", headers=headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException) as error:
            return type(error).__name__
        else:
            return "" if answer.status == 200 else str(answer.status)
        finally:
            connection.close()


@contextmanager
def _clients(port: int) -> Iterator[Load]:
    load = Load(port)
    threads = [threading.Thread(target=load.run, daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def _socket(is_wanted: bool) -> Iterator[socket.socket | None]:
    """Listen in systemd's place."""
    if not is_wanted:
        yield None
        return
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield listener


@contextmanager
def _installed(folder: Path, listener: socket.socket | None) -> Iterator[Installation]:
    if listener is None:
        with Installation(folder, workers=0) as installation:
            yield installation
        return
    # descriptor 3, and whose it is: sd_listen_fds(3)
    told = f'exec 3<&{listener.fileno()} {listener.fileno()}<&-; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
    web = ("/bin/bash", "-c", told, "systemd", *WEB)
    port = int(listener.getsockname()[1])
    with Installation(folder, workers=0, web=web, port=port, descriptors=(listener.fileno(),)) as installation:
        yield installation


def _hup(installation: Installation) -> None:
    master = installation.processes["web"].pid
    before = set(children(master))
    os.kill(master, signal.SIGHUP)
    _wait(lambda: not before & set(children(master)))


def _usr2(installation: Installation) -> None:
    """Start a second master beside the first, then end the first."""
    old = installation.processes["web"]
    before = set(children(old.pid))
    while not set(children(old.pid)) - before:  # a master that has just become the only one takes a second to notice
        os.kill(old.pid, signal.SIGUSR2)
        sleep(1.5)
    (new,) = set(children(old.pid)) - before
    _wait(lambda: len(children(new)) >= installation.web_workers)
    _wait(installation.answers)
    old.terminate()
    old.wait(30)
    installation.adopt("web", new)


def _restart(installation: Installation) -> None:
    old = installation.processes["web"]
    old.terminate()
    old.wait(30)
    installation.start("web")
    installation.wait_until_it_answers()


def _wait(until: Callable[[], bool]) -> None:
    end = monotonic() + 60
    while not until():
        assert monotonic() < end, "the restart does not end"
        sleep(0.02)
