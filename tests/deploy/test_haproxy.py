"""The example of a proxy, run as it stands before a machine: who comes in, and how often."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
import requests

from tests.promises.proxy import run_haproxy


class Machine(ThreadingHTTPServer):
    """Answers 200 to all that is asked, but hangs up on who posts to ``/-/console/mute`` or to ``/mute``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self._handler())
        self.asked: list[str] = []
        self.begun = Event()

    def _handler(machine) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self) -> None:
                machine.begun.set()
                self.rfile.read(int(self.headers["Content-Length"]))  # or the proxy sees a reset, and no empty answer
                machine.asked.append(self.path)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_people_come_in_and_strangers_see_no_health(machine: Machine) -> None:
    """The console and a CRM's way back are reached through the proxy; of ``/-/`` nothing else is."""
    with run_haproxy([machine.server_port] * 3) as port:
        paths = ["console", "console/sign-in", "oauth/callback", "consolex", "oauth/", "live", "ready", "metrics", ""]
        got = [requests.get(f"http://127.0.0.1:{port}/-/{path}", timeout=5).status_code for path in paths]
    assert got == [200] * 3 + [404] * 6


def test_what_a_person_does_is_sent_once(machine: Machine) -> None:
    """A form that a machine took and did not answer is not sent again; an event is, and is one call."""
    with run_haproxy([machine.server_port] * 3) as port:
        for path in ("/-/console/mute", "/mute"):
            machine.begun.clear()
            with socket.create_connection(("127.0.0.1", port), timeout=5) as sender:
                sender.sendall(f"POST {path} HTTP/1.1\r\nHost: m8crm\r\nContent-Length: 1\r\n\r\n".encode())
                machine.begun.wait(0.5)  # where the proxy hands on what has come so far, as it does for people
                sender.sendall(b"x")
                assert sender.recv(100).startswith(b"HTTP/1.1 502 ")
    assert machine.asked.count("/-/console/mute") == 1
    assert machine.asked.count("/mute") > 1
