"""The units of ``deploy/systemd``: what systemd says of them, and what they promise of restarts."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from middleware.settings import ROOT
from tests.promises.installation import children

UNITS = ROOT / "deploy" / "systemd"
SERVE = ("exec 3<&{fd} {fd}<&-; LISTEN_FDS=1 LISTEN_PID=$$ exec {python} -m middleware.cli serve --web",)


def test_units_are_right(tmp_path: Path) -> None:
    """Systemd finds nothing to say of the units, once the programs that they start are there."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    copies = []
    for unit in UNITS.iterdir():
        copies.append(tmp_path / unit.name)
        copies[-1].write_text(unit.read_text().replace("/opt/m8crm/.venv/bin/m8crm", "/bin/true"))
    said = subprocess.run([program, "verify", *copies], capture_output=True, text=True, check=False)
    ours = [line for line in said.stderr.splitlines() if "m8crm" in line]
    assert (said.returncode, ours) == (0, [])


@contextmanager
def served(folder: Path, listener: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``m8crm serve`` as systemd does for a socket: it is descriptor 3 (sd_listen_fds(3))."""
    host, port = listener.getsockname()
    own = {"M8CRM_DATA": str(folder), "M8CRM_HOST": host, "M8CRM_PORT": str(port), "M8CRM_WEB_WORKERS": "1"}
    command = SERVE[0].format(fd=listener.fileno(), python=sys.executable)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            ["/bin/bash", "-c", command],
            cwd=ROOT,
            env={**os.environ, **own},
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(40) == 0


def ask(url: str) -> int:
    with urllib.request.urlopen(url, timeout=50) as answer:
        return int(answer.status)


def test_connections_wait_while_the_service_restarts(tmp_path: Path) -> None:
    """Behind the socket unit a request that comes while nothing runs is answered by whoever is started next."""
    (tmp_path / "customers").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/-/live"
        for _ in range(2):
            answers: list[int] = []
            asking = threading.Thread(target=lambda: answers.append(ask(url)))  # noqa: B023 - joined below
            asking.start()
            with served(tmp_path, listener):
                asking.join()
            assert answers == [200]


def test_reload_of_the_service_fails_no_request(tmp_path: Path) -> None:
    """``systemctl reload`` is SIGHUP to ``m8crm serve``: its web workers are others afterwards, and nobody noticed."""
    (tmp_path / "customers").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/-/live"
        with served(tmp_path, listener) as process:
            assert ask(url) == 200
            (master,) = children(process.pid)
            before = set(children(master))
            process.send_signal(signal.SIGHUP)
            answers = {ask(url)}
            while before & set(children(master)):  # pytest's time-out ends it
                answers.add(ask(url))
            assert answers == {200}
