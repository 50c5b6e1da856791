"""Every process of gunicorn counts, whichever is asked, and none is forgotten when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from middleware.cli.server import free_port
from middleware.settings import ROOT
from tests.conftest import House

TOKEN = "a-token-for-Prometheus"
LOOKUPS = 40


@pytest.fixture
def gunicorn(house: House) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run two web processes over the demo's customers."""
    port = free_port()
    own = {"DATA": house.folder, "CUSTOMERS": house.folder / "customers", "PORT": port, "METRICS_TOKEN": TOKEN}
    env = {**os.environ, **{f"M8CRM_{name}": str(value) for name, value in own.items()}, "M8CRM_WEB_WORKERS": "2"}
    command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "config" / "gunicorn.conf.py"), "wsgi:app"]
    with subprocess.Popen(command, env=env, cwd=house.folder, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        while True:  # pytest's time-out ends it
            try:
                ask(f"{url}/-/live", TOKEN)
                break
            except OSError:
                assert process.poll() is None
        yield process, url
        process.terminate()
        assert process.wait(30) == 0


def ask(url: str, secret: str) -> str:
    """Ask on a connection of its own, so that either process may get it."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {secret}", "Connection": "close"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def counted(url: str) -> float:
    """Return how many lookups Prometheus is told of."""
    lines = ask(f"{url}/-/metrics", TOKEN).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("m8crm_lookups_total{"))


def children(process: subprocess.Popen[bytes]) -> set[str]:
    return set(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())


def test_lookups_of_all_processes_are_one_count(gunicorn: tuple[subprocess.Popen[bytes], str], house: House) -> None:
    """Lookups that two processes answered are all in every scrape, though both are replaced at once."""
    process, url = gunicorn
    secret = house.customers["nordlys"].secrets["insights"]
    for _ in range(LOOKUPS):
        ask(f"{url}/nordlys/lookup?fromNumber=%2B46701740605", secret)
    old = children(process)
    process.send_signal(signal.SIGHUP)
    while children(process) & old:
        pass
    assert [counted(url) for _ in range(6)] == [LOOKUPS] * 6
    assert list(house.folder.glob("metrics*")) != []
    assert {path.suffix for path in house.folder.glob("metrics*")} <= {".db", ".db-wal", ".db-shm"}
