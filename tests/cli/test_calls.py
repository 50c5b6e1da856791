"""``trigger`` and ``events``, without a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from middleware.demo.data import build_demo, load_secrets
from middleware.parts import Parts, build_parts, build_worker
from middleware.settings import load_settings
from tests.cli.conftest import Run, told

KNOWN, UNKNOWN = "+46701740605", "+46701740699"


@pytest.fixture
def parts(demo_folder: Path) -> Iterator[Parts]:
    """Put a process together that shares the command line's folder."""
    parts = build_parts(load_settings(demo_folder))
    yield parts
    parts.close()


def _accept(parts: Parts, key: str = "k", **changes: Any) -> str:
    call = {"fromNumber": KNOWN, "toNumber": "+46846500400", "duration": 1000, "startTime": 1772366400000}
    call |= {"callType": "Outbound", "body": "Call type: Outbound\nWants \x1b[31ma red one.", **changes}
    raw = json.dumps(call).encode()
    return parts.inbox.accept("nordlys", "calllog", key=key, raw=raw, content_type="application/json").id


def test_a_delivered_event_tells_its_story(run: Run, parts: Parts) -> None:
    """An event's page has every attempt in words, and the body only on request, unable to steer the terminal."""
    event_id = _accept(parts)
    build_worker(parts).run_once()
    shown = run("events", "show", event_id)
    assert shown.exit_code == 0
    assert "delivered: " in shown.output
    assert "red one" not in shown.output
    assert KNOWN not in shown.output
    with_body = run("events", "show", event_id, "--body").output
    assert "red one" in with_body
    assert "\x1b" not in with_body
    in_json = told(run("events", "show", event_id, "--json"))
    assert in_json["state"] == "delivered"
    assert [attempt["outcome"] for attempt in in_json["attempts"]] == ["delivered"]


def test_events_are_filtered(run: Run, parts: Parts) -> None:
    """Events are listed newest first, by customer, state and sender, as many as asked for."""
    ids = [_accept(parts, key) for key in "abc"]
    listed = [event["id"] for event in told(run("events", "list", "--json"))]
    assert listed == ids[::-1]
    for filters in (["--customer", "harbour"], ["--state", "dead"], ["--sender", "pbx"], ["--limit", "0"]):
        assert told(run("events", "list", *filters, "--json")) == []
    latest = told(run("events", "list", "--customer", "nordlys", "--state", "queued", "--limit", "1", "--json"))
    assert [event["id"] for event in latest] == ids[-1:]


def test_list_is_readable_on_a_narrow_terminal(run: Run, parts: Parts) -> None:
    """An event's id can be copied, its line fits 80 columns, and why it is where it is stands below, in words."""
    parked = _accept(parts, fromNumber=UNKNOWN, startTime=int(datetime.now(UTC).timestamp() * 1000))
    build_worker(parts).run_once()
    errors = {"startTime": ["Not a whole number."]}
    odd = parts.inbox.accept("nordlys", "calllog", key="o", raw=b"{}", content_type="", errors=errors).id
    first, why, second, again = run("events", "list").output.splitlines()
    assert (first.split()[0], second.split()[0]) == (odd, parked)
    assert max(map(len, (first, second, again))) <= 80
    assert why == "    startTime: Not a whole number."
    assert again.startswith("    looked at again ")
    assert "startTime: Not a whole number." in run("events", "show", odd).output


def test_nothing_is_told(run: Run, demo_folder: Path) -> None:
    """An empty list is a sentence."""
    assert "No events." in run("events", "list").output, demo_folder


def test_a_misspelt_state_is_refused(run: Run) -> None:
    """A state that no event can have is refused, so that nobody takes it for none."""
    for command in ("list", "retry"):
        assert run("events", command, "--state", "ded").exit_code == 2


def test_an_unknown_event_is_named(run: Run, demo_folder: Path) -> None:
    """An id that no event has ends with status 2."""
    assert run("events", "show", "nope").exit_code == 2, demo_folder


def test_a_parked_event_is_tried_at_once(run: Run, parts: Parts) -> None:
    """`events retry` makes a parked event due now."""
    event_id = _accept(parts, fromNumber=UNKNOWN)
    worker = build_worker(parts)
    assert worker.run_once() == 1
    assert worker.run_once() == 0
    assert told(run("events", "retry", event_id, "--json")) == {"retried": 1}
    assert worker.run_once() == 1


@pytest.mark.parametrize(("since", "count"), [("1h", 1), ("2026-03-01T00:00", 1), ("2200-01-01", 0)])
def test_retry_of_what_came_since(run: Run, parts: Parts, since: str, count: int) -> None:
    """`events retry --since` takes a span or a moment, and only what came after it."""
    _accept(parts, fromNumber=UNKNOWN)
    build_worker(parts).run_once()
    assert told(run("events", "retry", "--since", since, "--json")) == {"retried": count}


def test_retry_says_how_a_moment_is_written(run: Run) -> None:
    """A moment that is none is a mistake, with what to write."""
    assert 'write "2h"' in run("events", "retry", "--since", "soon").output


def test_retry_wants_to_know_what(run: Run) -> None:
    """`events retry` without anything to retry is a mistake and retries nothing."""
    assert run("events", "retry").exit_code == 2


class _Sink(HTTPServer):
    """Keeps what is posted, and answers ``answer``."""

    got: list[tuple[str, str, Any]]
    answer = (200, b'{"status": "accepted", "id": "1"}')


class _Handler(BaseHTTPRequestHandler):
    server: _Sink

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.got.append((self.path, self.headers["Authorization"], body))
        self.send_response(self.server.answer[0])
        self.end_headers()
        self.wfile.write(self.server.answer[1])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def sink() -> Iterator[_Sink]:
    """Run a server in the middleware's place."""
    with _Sink(("127.0.0.1", 0), _Handler) as server:
        server.got = []
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def url(sink: _Sink) -> str:
    return f"http://127.0.0.1:{sink.server_port}"


def test_a_triggered_call_is_the_customers(run: Run, demo_folder: Path, sink: _Sink, url: str) -> None:
    """A made-up call goes to the customer's URL with his secret, in M8Com's words."""
    result = run("trigger", "nordlys", "calllog", "--url", url, "--json")
    assert result.exit_code == 0, result.output
    ((path, authorization, body),) = sink.got
    assert path == "/nordlys/calllog"
    assert authorization == f"Bearer {load_secrets(demo_folder)['nordlys']['insights']}"
    assert body["fromNumber"] == KNOWN
    assert body["callType"] == "Outbound"
    assert set(body) == {"fromNumber", "toNumber", "duration", "startTime", "callType", "body", "userId"}
    assert told(result)["answer"]["status"] == "accepted"


def test_an_outbound_call_is_turned_round(run: Run, demo_folder: Path, sink: _Sink, url: str) -> None:
    """A call that the customer made has the contact as the called one, and M8Com's word for it."""
    run("trigger", "nordlys", "calllog", "--url", url, "--direction", "outbound", "--number", "+46700000001")
    body = sink.got[0][2]
    assert (body["toNumber"], body["callType"]) == ("+46700000001", "Inbound"), demo_folder
    assert "Call from user" in body["body"]


def test_any_field_can_be_changed(run: Run, demo_folder: Path, sink: _Sink, url: str) -> None:
    """Fields take JSON, NaN included, or plain text: so that bad input can be tried."""
    sets = ["--set", "duration=NaN", "--set", "userId=null", "--set", "callType=Sideways", "--body", "Hello"]
    result = run("trigger", "nordlys", "calllog", "--url", url, *sets)
    assert result.exit_code == 0, result.output
    body = sink.got[0][2]
    assert body["duration"] != body["duration"], demo_folder
    assert (body["userId"], body["callType"], body["body"]) == (None, "Sideways", "Hello")
    assert run("trigger", "nordlys", "calllog", "--url", url, "--set", "duration").exit_code == 2


def test_a_refusal_is_shown(run: Run, demo_folder: Path, sink: _Sink, url: str) -> None:
    """What the server answers is printed, JSON or not, and a refusal ends with status 1."""
    sink.answer = (403, b"<h1>no</h1>")
    result = run("trigger", "nordlys", "calllog", "--url", url, "--secret", "wr\u00f6ng", "--json")
    assert result.exit_code == 1, demo_folder
    assert (told(result)["status"], told(result)["answer"]) == (403, "<h1>no</h1>")


def test_secrets_of_a_file_are_found(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, sink: _Sink, url: str
) -> None:
    """The secret comes from the customer's file where that names a variable or a file, and else must be given."""
    customers = folder / "customers"
    customers.mkdir(parents=True)
    for secret in ('{ env = "ACME" }', '{ file = "acme.secret" }', f'"sha256:{"0" * 64}"'):
        (customers / "acme.toml").write_text(f'name="A"\nregion="SE"\n[secrets]\ninsights=[{secret}]', encoding="utf-8")
        monkeypatch.setenv("ACME", "from-the-environment")
        (customers / "acme.secret").write_text("from-a-file\n", encoding="utf-8")
        last = run("trigger", "acme", "calllog", "--url", url, "--number", KNOWN)
    assert [authorization for _, authorization, _ in sink.got] == ["Bearer from-the-environment", "Bearer from-a-file"]
    assert last.exit_code == 2
    assert "--secret" in last.stderr


def test_a_server_that_is_away_is_told(run: Run, folder: Path) -> None:
    """Nobody at the URL is a sentence and status 2."""
    folder.mkdir()
    build_demo(folder, now=datetime.now(UTC))
    result = run("trigger", "nordlys", "calllog", "--url", "http://127.0.0.1:1")
    assert result.exit_code == 2
    assert "is the server running" in result.stderr


@pytest.mark.parametrize(
    "command", ["events list", "trace", "recordings list", "cache forget nordlys", "export nordlys 1"]
)
def test_where_nothing_is_nothing_is_made(run: Run, folder: Path, command: str) -> None:
    """A command that only looks says of a folder without data that there are none, what to do, and leaves it so."""
    result = run(*command.split())
    assert result.exit_code == 2
    assert "there is nothing yet" in result.stderr
    assert "m8crm demo" in result.stderr
    assert not folder.exists()


def test_events_are_found_by_number_text_and_call(run: Run, parts: Parts) -> None:
    """What the console finds the command line finds, too, and delivers again what it has found."""
    one, two = _accept(parts, "a"), _accept(parts, "b", fromNumber=UNKNOWN, body="Call type: Outbound\nAn invoice.")
    build_worker(parts).run_once()

    def listed(*filters: str) -> list[str]:
        return [event["id"] for event in told(run("events", "list", "--json", *filters))]

    assert listed("--number", KNOWN) == [one]
    assert listed("--number", "070-174 06 99", "--customer", "nordlys") == [two]
    assert listed("--text", "INVOICE") == [two]
    assert listed("--until", "1h") == []
    call_id = told(run("events", "show", one, "--json"))["call_id"]
    assert listed("--call", call_id) == [one]
    assert told(run("events", "retry", "--text", "invoice", "--json")) == {"retried": 1}
    assert run("events", "retry", two, "--state", "parked").exit_code == 2, "either the one or the other"
    assert "An invoice." in run("events", "show", two, "--log").output


def test_a_quarantined_event_is_edited_in_a_shell(run: Run, parts: Parts, tmp_path: Path) -> None:
    """An edit that is still not understood says why and changes nothing; a right one is sent in the other's place."""
    errors = {"startTime": ["Not a whole number in range."]}
    stored = parts.inbox.accept("nordlys", "calllog", key="k", raw=b"{}", content_type="", errors=errors)
    file = tmp_path / "body.json"
    file.write_text('{"fromNumber": 7}')
    wrong = run("events", "edit", stored.id, "--body", str(file))
    assert wrong.exit_code == 2
    assert "startTime" in wrong.output
    call = {"fromNumber": KNOWN, "toNumber": "+46846500400", "duration": 1000, "startTime": 1772366400000}
    file.write_text(json.dumps(call | {"callType": "Outbound", "body": "x"}))
    edited = told(run("events", "edit", stored.id, "--body", str(file), "--json"))
    assert told(run("events", "show", edited["id"], "--json"))["state"] == "queued"
    assert told(run("events", "show", stored.id, "--json"))["state"] == "replaced"
    assert run("events", "edit", stored.id, "--body", str(file)).exit_code == 2
