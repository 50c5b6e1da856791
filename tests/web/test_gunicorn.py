"""gunicorn as a hoster starts it, and what raw HTTP makes of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from middleware.demo.data import build_demo
from middleware.settings import ROOT
from tests.conftest import NOW

NUMBER = "46701740605"


@dataclass
class Server:
    """A running gunicorn, reached by its socket."""

    process: subprocess.Popen[bytes]
    address: tuple[str, int]
    secret: str
    log: Path

    def send(self, request: str, *, is_all: bool = False) -> bytes:
        """Return everything that is answered to ``request``; ``is_all`` hangs up behind it."""
        head = f"\r\nHost: m8crm\r\nConnection: close\r\nAuthorization: Bearer {self.secret}\r\n"
        with socket.create_connection(self.address, timeout=30) as connection:
            connection.sendall(request.replace("\n", head, 1).replace("\n", "\r\n").replace("\r\r", "\r").encode())
            if is_all:
                connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as answer:
                return answer.read()


@contextmanager
def start_gunicorn(folder: Path, **environ: str) -> Iterator[Server]:
    """Start gunicorn in a folder that is not the project's, on a socket that is open before it starts."""
    secret = build_demo(folder, now=NOW)[0].secrets["insights"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("M8CRM_", "PYTHON", "GUNICORN"))}
    own = {"M8CRM_DATA": str(folder), "M8CRM_CUSTOMERS": str(folder / "customers"), "M8CRM_WEB_WORKERS": "1"}
    with socket.create_server(("127.0.0.1", 0)) as listener, (folder / "log").open("wb") as log:
        config, bind = str(ROOT / "config" / "gunicorn.conf.py"), f"fd://{listener.fileno()}"
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gunicorn", "-c", config, "-b", bind, "wsgi:app"],
            cwd=folder,
            env=kept | own | environ,
            pass_fds=[listener.fileno()],
            stderr=log,
        )
        yield Server(process, listener.getsockname(), secret, folder / "log")
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start_gunicorn(tmp_path_factory.mktemp("gunicorn")) as running:
        yield running


def status(answer: bytes) -> int:
    """Return the status of the only answer."""
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    return int(answer.split()[1])


def test_lookup_is_answered_from_any_directory(server: Server) -> None:
    """The configuration finds the project wherever gunicorn is started."""
    answer = server.send(f"GET /nordlys/lookup?fromNumber=+{NUMBER} HTTP/1.1\n\n")
    assert status(answer) == 200
    assert b"Maria Andersson" in answer
    assert b"\r\nX-Request-Id: " in answer


POST = "POST /nordlys/calllog HTTP/1.1\nContent-Type: application/json\n"


CHUNKED = POST + "Transfer-Encoding: chunked\n\n"
ASK = f"GET /nordlys/lookup?fromNumber={NUMBER}"
HOSTILE = {
    "two secrets": (ASK + " HTTP/1.1\nAuthorization: Bearer other\n\n", 403),
    "NUL in the id": ("GET /nordlys%00/lookup HTTP/1.1\n\n", 404),
    "dots in the path": ("GET /nordlys/..%2fnordlys/lookup HTTP/1.1\n\n", 404),
    "long line": (ASK + f"&x={'y' * 9000} HTTP/1.1\n\n", 414),
    "long header": (ASK + f" HTTP/1.1\nX-Long: {'y' * 17_000}\n\n", 431),
    "raw bytes": (ASK + "å HTTP/1.1\n\n", 400),
    "body cut off": (POST + "Content-Length: 99\n\n{}", 400),
    "length too large": (POST + "Content-Length: 999999\n\n{}", 413),
    "two lengths": (POST + "Content-Length: 2\nContent-Length: 3\n\n{}", 400),
    "length and chunks": (POST + "Content-Length: 2\nTransfer-Encoding: chunked\n\n{}", 400),
    "broken chunk": (CHUNKED + "zz\n{}\n", 400),
    "chunks without end": (CHUNKED + "2\n{}\n", 400),
    "too many chunks": (CHUNKED + f"ffff\n{' ' * 65_535}\n" * 5 + "0\n\n", 413),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_http_has_one_answer_and_no_servers_fault(server: Server, name: str) -> None:
    """Doubled headers, wrong lengths, broken and endless chunks are the sender's fault."""
    request, expected = HOSTILE[name]
    assert status(server.send(request, is_all=True)) == expected


def test_stop_is_clean_and_the_log_holds_no_number(tmp_path: Path) -> None:
    """SIGTERM ends gunicorn and its delivery in order; no line of any log had a number or a secret."""
    with start_gunicorn(tmp_path) as server:
        for name in ("raw bytes", "long line", "two secrets"):
            server.send(HOSTILE[name][0])
        assert status(server.send(ASK + " HTTP/1.1\n\n")) == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
    logged = server.log.read_text()
    assert '"outcome": "hit"' in logged
    assert NUMBER[2:] not in logged
    assert server.secret not in logged
    assert "Traceback" not in logged
