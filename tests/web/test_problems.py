"""Every answer is ours: JSON with a message, an id to find it by, and nothing that is not meant for the sender."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
import structlog

from middleware.errors import StorageError
from middleware.inbox.store import Inbox
from middleware.lookup.service import LookupService
from tests.conftest import House

SECURE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Collect what is logged, as it is written."""
    written = io.StringIO()
    for module in ("middleware.web.requests", "middleware.web.answers"):
        logger = structlog.wrap_logger(structlog.PrintLogger(written), [structlog.processors.JSONRenderer()])
        monkeypatch.setattr(f"{module}.log", logger)
    return written


def read(lines: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def test_unforeseen_error_tells_only_its_id(house: House, monkeypatch: pytest.MonkeyPatch, lines: io.StringIO) -> None:
    """What an exception says stays out of the answer and of the log; the id joins the two."""

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("canary +46701740605")

    monkeypatch.setattr(LookupService, "lookup", fail)
    answer = house.lookup()
    assert answer.status_code == 500
    assert set(answer.get_json()) == {"message"}
    assert "canary" not in answer.get_data(as_text=True) + lines.getvalue()
    broken, request = read(lines)
    assert (broken["event"], broken["error"]) == ("broken", "RuntimeError")
    assert broken["request_id"] == request["request_id"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere/at/all", 404),
        ("GET", "/nordlys//lookup", 404),
        ("GET", "/nordlys/lookup/", 404),
        ("DELETE", "/nordlys/lookup", 405),
        ("GET", "/nordlys/calllog", 405),
        ("POST", "/nordlys/calllog", 401),
        ("GET", "/-/docs/assets/../../app.py", 404),
    ],
)
def test_errors_of_the_framework_are_ours(house: House, method: str, path: str, status: int) -> None:
    """No page of HTML and no redirect: a message, and the headers of every answer."""
    answer = house.client.open("/", method=method, environ_overrides={"PATH_INFO": path})
    assert answer.status_code == status
    assert answer.get_json()["message"]
    assert SECURE.items() <= dict(answer.headers).items()
    assert ("Allow" in answer.headers) is (status == 405)
    assert ("WWW-Authenticate" in answer.headers) is (status == 401)


def test_one_line_per_request_names_route_and_outcome(house: House, lines: io.StringIO) -> None:
    """The canonical line has what an operator asks for, and the number only masked."""
    house.lookup()
    house.lookup()
    first, second = read(lines)
    assert (first["route"], first["method"], first["status"]) == ("/<tenant_id:customer>/lookup", "GET", 200)
    assert (first["customer"], first["outcome"], first["cache"]) == ("nordlys", "hit", "miss")
    assert second["cache"] == "fresh"
    assert first["number"] == second["number"]
    assert first["number"].endswith("…05")
    assert "701740605" not in lines.getvalue()


def test_hostile_request_stays_one_line(house: House, lines: io.StringIO) -> None:
    """Nothing a sender writes forges a line, names a customer who is none, or lets a terminal do things."""
    path = "/no-such-customer/lookup\r\n{}\x1b[2J"
    query = "fromNumber=%0d%0a{%22event%22:1}%1b[2J"
    for place in (path, "/no-such-customer/lookup", "/nordlys/lookup"):
        headers = {"Authorization": "Bearer canary"} if "no-such" in place else house.bearer()
        house.client.get("/", headers=headers, environ_overrides={"PATH_INFO": place, "QUERY_STRING": query})
    assert [line.get("customer") for line in read(lines)] == [None, None, "nordlys"]
    assert "\x1b" not in lines.getvalue()
    assert "no-such" not in lines.getvalue()
    assert "canary" not in lines.getvalue()


def test_ready_fails_when_storage_does(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A balancer takes a process away that cannot keep events; it lives on, and names no customer."""
    ready = house.client.get("/-/ready")
    assert (ready.status_code, ready.get_json()["status"]) == (200, "ready")
    assert house.client.head("/-/ready").status_code == 200

    def fail(self: Inbox) -> None:
        raise StorageError("the database failed")

    monkeypatch.setattr(Inbox, "check", fail)
    assert house.client.get("/-/ready").status_code == 503
    assert house.client.get("/-/live").status_code == 200
    assert "nordlys" not in ready.get_data(as_text=True)


def test_docs_page_can_neither_be_framed_nor_run_strange_scripts(house: House) -> None:
    """Only scripts of our own host run, and nobody shows the page inside another."""
    policy = house.client.get("/-/docs").headers["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == "'self'"
