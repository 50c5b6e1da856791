"""The console's pages from a process of their own: a browser cannot tell, and lookups that are tried stay behind."""

from __future__ import annotations

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from structlog.testing import CapturingLogger
from werkzeug.test import TestResponse

from middleware.app import create_app, create_console
from middleware.cli.server import free_port
from middleware.console.apart import MOST
from tests.conftest import House
from tests.console.conftest import HOME, PASSWORD, Person, access_of

CACHED = "answered from it"
PAGES = ["", "/calls", "/calls?state=dead", "/customers", "/customer/nordlys", "/traces", "/system", "/audit"]


def sign_in(client: FlaskClient, **options: object) -> Person:
    """Return ``ada``, who has signed in."""
    person = Person(client)
    form = {"csrf": person.token(), "name": "ada", "password": PASSWORD}
    answer = client.post(f"{HOME}/sign-in", data=form, **options)
    assert (answer.status_code, answer.headers["Location"]) == (303, HOME)
    return person


@pytest.fixture
def dead(console: House) -> House:
    """Return the house while nobody has the pages."""
    port = free_port()
    settings = replace(console.parts.settings, console_url=f"http://127.0.0.1:{port}")
    return House(console.folder, create_app(parts=replace(console.parts, settings=settings)), console.customers)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_the_same(console: House, apart: House, path: str) -> None:
    """Status, headers and text are those of a console in the same process, but for what is new in every answer."""
    here, there = sign_in(console.app.test_client()), sign_in(apart.app.test_client())
    assert same(there.get(f"{HOME}{path}")) == same(here.get(f"{HOME}{path}"))


def same(answer: TestResponse) -> tuple[int, list[tuple[str, str]], str]:
    """Return the parts of an answer that do not differ from one time to the next."""
    new = ("X-Request-Id", "Server-Timing", "Content-Length", "Connection")  # the last is the server's
    headers = sorted((name.title(), value) for name, value in answer.headers if name not in new)
    text = re.sub(r"[0-9a-f]{64}|\d+ (seconds?|minutes?) ago|\d\d:\d\d:\d\d|[\d.]+ GiB", "", answer.text)
    assert answer.status_code == 200
    return answer.status_code, headers, text


def test_a_lookup_is_tried_where_m8com_is_answered(apart: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says what the cache has that M8Com's lookup has just filled, and leads to the trace."""
    assert apart.lookup().status_code == 200
    person = sign_in(apart.app.test_client())
    form = {"customer": "nordlys", "number": "+46701740605", "mode": "as-is"}
    shown = person.post(f"{HOME}/lookup", **form).text
    assert CACHED in shown
    trace = re.search(rf'href="({HOME}/traces/[^"]+)"', shown)
    assert trace
    assert CACHED in person.get(trace[1]).text
    monkeypatch.setattr("middleware.console.apart.STAYS", frozenset())
    assert CACHED not in person.post(f"{HOME}/lookup", **form).text  # the other process has a cache of its own


@pytest.mark.parametrize("header", ["198.51.100.4", '", 198.51.100.4', ""])
def test_who_asks_is_who_asked_first(apart: House, header: str) -> None:
    """The audit log has the address of the browser, and not that of the process that passed its request on."""
    headers = {"X-Forwarded-For": header} if header else {}
    sign_in(apart.app.test_client(), environ_base={"REMOTE_ADDR": "203.0.113.9"}, headers=headers)
    sign_in(apart.app.test_client(), environ_base={"REMOTE_ADDR": "10.0.0.5"}, headers=headers)
    noted = [entry.address for entry in access_of(apart).audit.entries() if entry.action == "signed in"]
    assert sorted(noted) == sorted(["203.0.113.9", "198.51.100.4" if header else "10.0.0.5"])


def test_nobody_says_himself_who_he_is(apart: House) -> None:
    """The headers that processes tell each other are taken from nobody else."""
    forged = {"X-M8crm-Peer": "192.0.2.1", "X-M8crm-Process": "0" * 64, "Connection": "X-M8crm-Peer"}
    sign_in(apart.app.test_client(), environ_base={"REMOTE_ADDR": "203.0.113.9"}, headers=forged)
    assert [entry.address for entry in access_of(apart).audit.entries()] == ["203.0.113.9"]


@pytest.mark.parametrize("proof", [None, "0" * 64, "ü"])
def test_the_process_answers_nobody_else(apart: House, proof: str | None) -> None:
    """Whoever finds its port is refused: it would believe him whose address he has."""
    url = str(apart.parts.settings.console_url)
    host, port = url.removeprefix("http://").split(":")
    head = f"X-M8crm-Process: {proof}\r\n" if proof else ""
    head += f"Authorization: {apart.bearer()['Authorization']}\r\n"
    sign_in(apart.app.test_client()).get(f"{HOME}/customer/nordlys")  # which it knows from now on
    for path in (f"{HOME}/sign-in", "/-/live", "/nordlys/lookup?fromNumber=%2B46701740605"):
        with socket.create_connection((host, int(port)), timeout=20) as wire:
            wire.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
            assert wire.recv(65_536).startswith(b"HTTP/1.1 403 ")


def test_files_are_not_sent_twice(apart: House) -> None:
    """What the browser has is answered 304, and HEAD has the length without the body."""
    client = apart.app.test_client()
    style = re.search(r'href="(/-/console/static/[^"]+\.css[^"]*)"', client.get(f"{HOME}/sign-in").text)
    assert style
    answer = client.get(style[1])
    assert client.get(style[1], headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    head = client.head(style[1])
    assert (head.data, head.headers["Content-Length"]) == (b"", str(len(answer.data)))


def test_odd_requests_are_answered_as_ever(console: House, apart: House) -> None:
    """What is refused is refused with the same status, wherever the pages are."""
    large = "x" * (console.parts.settings.max_body + 1000)
    for path, form, status in (
        ("/events/none", None, 404),
        ("/no/such/page", None, 404),
        ("/calls?text=%00", None, 400),
        ("/calls?customer=%C3%BC%F0%9F%98%80&state=a%2Fb", None, 400),
        ("/calls?since=x y", None, 400),
        ("/traces?customer=100%&number=a%20b", None, 200),
        ("/calls", {"text": large}, 413),
        ("/calls", {"csrf": "wrong"}, 400),
        ("/calls", {"text": 'blå båt & "x" +46 70'}, 200),
    ):
        for house in (console, apart):
            person = sign_in(house.app.test_client())
            url = f"{HOME}{path}"
            answer = person.get(url) if form is None else person.post(url, **form)
            assert answer.status_code == status, (path, house is apart, answer.text)


def test_while_the_process_is_away_a_page_says_so(dead: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is 503 with words; lookups are answered, and the log's line holds nothing of the request."""
    log = CapturingLogger()
    monkeypatch.setattr("middleware.console.apart.log", log)
    answer = dead.app.test_client().get(f"{HOME}/calls?customer=secretive")
    assert answer.status_code == 503
    assert "load the page again" in answer.text
    (line,) = log.calls
    assert (line.args, line.kwargs) == (("console_does_not_answer",), {"error": "NewConnectionError"})
    assert dead.lookup().status_code == 200


def test_no_more_than_some_wait_for_the_process(apart: House) -> None:
    """When it hangs, threads are left for lookups: the next one who asks is refused at once."""
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(MOST) as pool:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings = replace(apart.parts.settings, console_url=url)
        app = create_app(parts=replace(apart.parts, settings=settings))
        waiting = [pool.submit(app.test_client().get, f"{HOME}/sign-in") for _ in range(MOST)]
        asked = [silent.accept()[0] for _ in range(MOST)]
        assert app.test_client().get(f"{HOME}/sign-in").status_code == 503
        assert House(apart.folder, app, apart.customers).lookup().status_code == 200
        for wire in asked:
            wire.close()
        assert {one.result().status_code for one in waiting} == {503}


def test_a_form_that_was_cut_off_is_refused_at_once(apart: House, place: str) -> None:
    """What has come is all that is passed on; the other process does not wait for the rest."""
    host, port = place.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as wire:
        wire.sendall(f"POST {HOME}/sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nname=a".encode())
        wire.shutdown(socket.SHUT_WR)
        assert wire.recv(65_536).startswith(b"HTTP/1.1 400 ")


def test_the_process_passes_nothing_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the environment of those who pass requests on it answers itself, and has the pages."""
    monkeypatch.setenv("M8CRM_DATA", str(tmp_path))
    monkeypatch.setenv("M8CRM_CONSOLE", "false")
    monkeypatch.setenv("M8CRM_CONSOLE_URL", "http://127.0.0.1:1")
    app = create_console()
    assert app.extensions["m8crm.console.apart"] is None
    app.extensions["m8crm"].close()
