"""A reload under load loses no request."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from middleware.cli.server import free_port

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def gunicorn(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run gunicorn alone, from a folder that is not the project's."""
    port = free_port()
    env = {**os.environ, "M8CRM_DATA": str(tmp_path), "M8CRM_PORT": str(port), "M8CRM_WEB_WORKERS": "2"}
    command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "config" / "gunicorn.conf.py"), "wsgi:app"]
    with subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}/-/live"
        while True:  # pytest's time-out ends it
            try:
                _ask(url)
                break
            except OSError:
                assert process.poll() is None
        yield process, url
        process.terminate()
        assert process.wait(30) == 0


def _ask(url: str) -> int:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(answer.status)


def test_reload_under_load_fails_no_request(gunicorn: tuple[subprocess.Popen[bytes], str]) -> None:
    """While the workers are replaced three times, every request of four clients is answered."""
    process, url = gunicorn
    answers: list[int | str] = []
    rounds = threading.Semaphore(0)
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            try:
                answers.append(_ask(url))
            except OSError as error:
                answers.append(repr(error))
            rounds.release()

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    for _ in range(3):
        process.send_signal(signal.SIGHUP)
        for _ in range(100):
            rounds.acquire(timeout=30)
    stop.set()
    for thread in clients:
        thread.join()
    assert len(answers) >= 300
    assert set(answers) == {200}
