"""Alarms reach a webhook and a command, and a person who cannot be reached holds up nobody."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from middleware.cli.server import free_port
from middleware.monitoring import tell as telling
from middleware.monitoring.tell import Teller

SECRET = "T0P/S3CRET"
DOCUMENT = {"alarm": "test", "text": "It is stuck."}


@contextmanager
def webhook(status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Iterator[tuple[str, list[bytes]]]:
    """Run a server that answers every POST with ``status``; give its URL and the bodies it got."""
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{SECRET}", got
        finally:
            server.shutdown()
            thread.join()


def command(code: str, *arguments: object) -> str:
    return shlex.join([sys.executable, "-c", code, *map(str, arguments)])


def test_a_webhook_gets_the_alarm() -> None:
    """The webhook gets the alarm as JSON, once."""
    with webhook() as (url, got):
        assert Teller(url, None).tell(DOCUMENT) == {"webhook": None}
    assert [json.loads(body) for body in got] == [DOCUMENT]


@pytest.mark.parametrize("status", [301, 302, 307, 400, 500])
def test_only_success_is_success(status: int) -> None:
    """An answer that is no 2xx is a failure; a redirect is not followed, and the URL, which is a key, is not told."""
    with webhook() as (elsewhere, got), webhook(status, (("Location", elsewhere),)) as (url, _):
        failures = Teller(url, None).tell(DOCUMENT)
    assert failures == {"webhook": f"answered {status}"}
    assert got == []


def test_a_webhook_that_is_not_there_is_told_without_its_url() -> None:
    """A refused connection is a failure in one word."""
    port = free_port()
    assert Teller(f"http://127.0.0.1:{port}/{SECRET}", None).tell(DOCUMENT) == {"webhook": "ConnectionError"}


@pytest.mark.parametrize("dripped", [b"", b"HTTP/1.1 200 OK\r\nX-Drip: "])
def test_a_webhook_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, dripped: bytes) -> None:
    """A server that never answers, or drips its head for ever, ends as a failure."""
    monkeypatch.setattr(telling, "SECONDS", 0.4)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang() -> None:
            connection, _ = server.accept()
            with connection:
                while not stop.wait(0.1 if dripped else 30) and dripped:
                    connection.sendall(dripped if dripped.startswith(b"H") else b".")

        thread = threading.Thread(target=hang)
        thread.start()
        try:
            failures = Teller(f"http://127.0.0.1:{server.getsockname()[1]}/", None).tell(DOCUMENT)
        finally:
            stop.set()
            thread.join()
    assert failures["webhook"] in ("ReadTimeout", "TimeoutError", "ConnectionError")


def test_a_command_gets_the_alarm_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command gets the alarm on its standard input, its arguments as they were quoted, and not our environment."""
    monkeypatch.setenv("M8CRM_DATABASE_URL", f"postgresql://{SECRET}")
    got = tmp_path / "got it"
    code = "import json, os, sys; open(sys.argv[1], 'w').write(json.dumps([json.load(sys.stdin), dict(os.environ)]))"
    assert Teller(None, command(code, got)).tell(DOCUMENT) == {"command": None}
    document, environment = json.loads(got.read_text())
    assert document == DOCUMENT
    assert SECRET not in json.dumps(environment)
    assert environment["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("given", "failure"),
    [
        (command("raise SystemExit(3)"), "ended with status 3"),
        ("/there/is/no/such/program", "FileNotFoundError"),
        ("'not closed", "ValueError"),
        (command("import sys; sys.stdin.close()"), None),
    ],
)
def test_how_a_command_ends_is_told(given: str, failure: str | None) -> None:
    """Status 0 is success, and whatever else happens is a failure in a few words."""
    assert Teller(None, given).tell(DOCUMENT) == {"command": failure}


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that does not end is killed, and so is what it has started."""
    monkeypatch.setattr(telling, "SECONDS", 1.5)
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    script = f"sleep 300 9>'{pipe}' & wait"
    failures = Teller(None, shlex.join(["sh", "-c", script])).tell(DOCUMENT)
    os.set_blocking(reader, True)
    assert failures == {"command": "did not end in time"}
    assert os.read(reader, 1) == b""  # comes when nobody has the other end any more
    os.close(reader)


def test_both_are_told_and_one_does_not_need_the_other() -> None:
    """Webhook and command are told at the same time; each fails by itself."""
    with webhook(500) as (url, got):
        failures = Teller(url, command("pass")).tell(DOCUMENT)
    assert failures == {"webhook": "answered 500", "command": None}
    assert len(got) == 1


def test_nobody_to_tell() -> None:
    """Without webhook and command there is nobody."""
    assert not Teller(None, None).is_configured
    ways: list[Callable[[], Teller]] = [lambda: Teller("http://localhost", None), lambda: Teller(None, "true")]
    assert all(way().is_configured for way in ways)
