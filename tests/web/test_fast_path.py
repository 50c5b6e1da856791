"""The fast path against the slow one, byte for byte, on real sockets."""
# ruff: noqa: RUF005 - lists are added to keep many values on few lines

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from middleware.lookup.card import Busy, Failed, Hit, TimedOut
from tests.web.pair import SECRET, Pair, assert_same

KNOWN, UNKNOWN = "46701740605", "46701740699"


def ask(query: str = f"fromNumber=%2B{KNOWN}", *fields: str, customer: str = "nordlys") -> bytes:
    """Return a plain lookup."""
    lines = [f"GET /{customer}/lookup?{query} HTTP/1.1", "Host: m8crm", f"Authorization: Bearer {SECRET}", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


PLAIN = {
    "hit": ask(),
    "miss": ask(f"fromNumber=%2B{UNKNOWN}"),
    "miss as 204": ask(f"fromNumber=%2B{UNKNOWN}", customer="miss-204"),
    "miss as empty": ask(f"fromNumber=%2B{UNKNOWN}", customer="miss-empty"),
    "anonymous": ask("fromNumber=anonymous"),
    "plus as a space": ask(f"fromNumber=+{KNOWN}"),
    "closed behind it": ask(f"fromNumber=%2B{KNOWN}", "Connection: close"),
    "id of the sender's": ask(f"fromNumber=%2B{KNOWN}", "X-Request-Id: abc-1"),
    "id that is none": ask(f"fromNumber=%2B{KNOWN}", "X-Request-Id: a b"),
    "what browsers send": ask(f"fromNumber=%2B{KNOWN}", "Accept: */*", "Accept-Encoding: gzip", "User-Agent: x (y)"),
    "bearer in small letters": ask().replace(b"Bearer ", b"bearer   "),
    "user beside the number": ask(f"fromNumber=%2B{KNOWN}&user=%7B%22id%22%3A%22u-1%22%7D&toNumber=%2B46846500400"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_lookup_takes_the_fast_path(pair: Pair, name: str) -> None:
    """Every plain lookup with a fresh answer is answered by the fast path, with the slow path's bytes."""
    before = pair.counting.answers
    answer = assert_same(pair, PLAIN[name])
    assert pair.counting.answers == before + 1
    assert answer.startswith((b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 404 NOT FOUND\r\n", b"HTTP/1.1 204 NO CONTENT\r\n"))


def test_requests_in_one_packet_are_answered_in_order(pair: Pair) -> None:
    """Fast and slow requests on one connection have their answers in the order of the requests."""
    slow = b"GET /-/live HTTP/1.1\r\nHost: m8crm\r\n\r\n"
    requests = [PLAIN["hit"], slow, PLAIN["miss"], PLAIN["hit"], slow, slow, PLAIN["closed behind it"], slow]
    before = pair.counting.answers
    answer = assert_same(pair, b"".join(requests))
    assert pair.counting.answers == before + 4
    assert answer.count(b"HTTP/1.1 ") == 7
    assert [int(s) for s in re.findall(rb"HTTP/1.1 (\d+)", answer)] == [200, 200, 404, 200, 200, 200, 200]


@pytest.mark.parametrize("host", ["a..b", ".a", "x" * 64, "a.b..", "a:", ":80", "[::1]:80", "", "a b"])
def test_odd_host_is_left_to_the_slow_path(pair: Pair, host: str) -> None:
    """A host that some server refuses has no fast answer, and the slow path says what is wrong with it."""
    before = pair.counting.answers
    assert_same(pair, PLAIN["hit"].replace(b"Host: m8crm", f"Host: {host}".encode()))
    assert pair.counting.answers == before


@pytest.mark.parametrize("host", ["m8crm:8080", "10.0.0.7", "pbx.example.com:80", "m8_crm"])
def test_usual_host_is_plain(pair: Pair, host: str) -> None:
    """Names and addresses, with a port or without, have their fast answers."""
    before = pair.counting.answers
    assert_same(pair, PLAIN["hit"].replace(b"Host: m8crm", f"Host: {host}".encode()))
    assert pair.counting.answers == before + 1


OUTCOMES: dict[str, Any] = {
    "hit": Hit(body=b'{"displayName":"Ada"}'),
    "busy": Busy(),
    "failed": Failed(reason="CRMUnavailableError"),
    "limited": Failed(reason="RateLimitedError", retry_after=timedelta(seconds=7.4)),
    "timed out": TimedOut(),
    "bug": RuntimeError(KNOWN),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_every_outcome_is_told_alike(pair: Pair, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What had to be waited for, failures and our own bugs among them, is answered without Flask in the same bytes."""

    def ask(*args: Any) -> None:
        if isinstance(OUTCOMES[name], Exception):
            raise OUTCOMES[name]
        args[-1](OUTCOMES[name])

    monkeypatch.setattr(pair.lookups, "_ask", ask)
    pair.lookups.forget("nordlys")
    before = pair.counting.answers, pair.counting_waiting.answers
    answer = assert_same(pair, PLAIN["hit"])
    assert (pair.counting.answers, pair.counting_waiting.answers) == (before[0] + 1, before[1] + 1)
    assert (b"Retry-After: " in answer) == (name not in ("hit", "bug"))
    assert KNOWN.encode() not in answer


TEXT = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=20)
FIELD_NAMES = st.sampled_from(
    "Host X-Request-Id Connection Accept User-Agent Cookie Content-Length Transfer-Encoding Expect X_Request_Id Via "
    "X-Forwarded-Proto X-Forwarded-For Forwarded Upgrade Script-Name Content-Type If-None-Match Range Origin TE "
    "Referer X-Http-Method-Override traceparent Authorization".split()
)
FIELD_VALUES = st.sampled_from(
    ["keep-alive", "close", "Close ", "0", "2", "chunked", "100-continue", "abc-1", "a b", "https", "m8crm", "x" * 65]
    + ["x" * 17_000, "", "Upgrade", "h2c", "\t", "a,b", "-1", "close, x", "m8:80", f"Bearer {SECRET}"]
)
FIELD = st.builds("{}: {}".format, FIELD_NAMES, FIELD_VALUES | TEXT)
USUAL = {
    "method": "GET",
    "path": "/nordlys/lookup?fromNumber=",
    "number": f"%2B{KNOWN}",
    "more": "",
    "version": "HTTP/1.1",
    "host": "Host: m8crm",
    "authorization": f"Authorization: Bearer {SECRET}",
    "field": "Accept: */*",
    "end": "\r\n",
    "body": "",
}
UNUSUAL = {
    "method": st.sampled_from(["HEAD", "POST", "OPTIONS", "get", "GET ", "", "PUT", "CONNECT", "\r\nGET", "GET /x"]),
    "path": st.sampled_from(
        "/miss-204/lookup?fromNumber= /miss-empty/lookup?fromNumber= /nobody/lookup?fromNumber= /nordlys/lookup "
        "/-/live? /NORDLYS/lookup?fromNumber= //nordlys/lookup?fromNumber= /nordlys/lookup/?fromNumber= * / "
        "/nordlys%2Flookup?fromNumber= /nordlys/lookup?fromNumber[]= http://m8crm/nordlys/lookup?fromNumber= nordlys "
        "/./nordlys/lookup?fromNumber= /nordl%79s/lookup?fromNumber= /nordlys/lookup;x?fromNumber= /nordlys/calllog?x= "
        "/nordlys/lookup? /nordlys/lookup?a=b&fromNumber=".split()
    ),
    "number": st.sampled_from([f"+{KNOWN}", f"%2B{UNKNOWN}", "anonymous", "", "%", "%zz", "%C3%A5", "å"]) | TEXT,
    "more": st.sampled_from(
        ["&", "&x=1", "&fromNumber=1", "&toNumber=2", "#x", "&user[id]=u-1", "&id=7", "?", "&user={", "&a=\x7f"]
        + ["&x=" + "y" * 9_000, ";fromNumber=1", "&x=%00", " x", f"&fromNumber=%2B{KNOWN}", '&user="<>^`|\\']
    ),
    "version": st.sampled_from(["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "", "HTTP/1.1 ", "HTTP/1.10"]),
    "host": st.sampled_from(
        ["X: y", "Host: a b", "Host: ", "Host: x\r\nHost: y", "Host: [::1]:80", "host:m8crm:x", "Host: a..b", "Host: ."]
        + ["Host: a.", "Host: " + "x" * 64, "Host: xn--a", "Host: -", "Host: m8_crm:8080", "Host: a.b:", "Host: [::1"]
        + ["Host: a:99999", "Host: a@b", "Host: a/b?c", "Host: " + "a." * 200 + "a", "Host: .a", "Host:\ta.b:80\t"]
    ),
    "authorization": st.sampled_from(
        [f"authorization:Bearer {SECRET}", f"Authorization:\tbearer  {SECRET} \t", f"Authorization : Bearer {SECRET}"]
        + [f"Authorization: {SECRET}", f"Authorization: Bearer {SECRET},", f"Authorization: Bearer {SECRET} x", "X: y"]
        + ["Authorization: Bearer wrong", "Authorization:", "Authorization: Bearer å", f"Authorization: Basic {SECRET}"]
        + [f"Authorization: Bearer {SECRET}\r\nAuthorization: Bearer {SECRET}", f"Authorization:\r\n Bearer {SECRET}"]
    ),
    "field": FIELD | st.lists(FIELD, min_size=2, max_size=60).map("\r\n".join),
    "end": st.just("\n"),
    "body": st.sampled_from(["{}", "2\r\n{}\r\n0\r\n\r\n", "0\r\n\r\n", "\r\n", "\n"]),
}


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Draw a lookup with up to three things about it that are not usual, and perhaps a wrong byte."""
    parts = USUAL | {name: draw(UNUSUAL[name]) for name in draw(st.lists(st.sampled_from(list(USUAL)), max_size=3))}
    line = "{method} {path}{number}{more} {version}".format_map(parts)
    fields = draw(st.permutations([parts["host"], parts["authorization"], parts["field"]]))
    raw = bytearray((parts["end"].join([line, *fields, "", ""]) + parts["body"]).encode("latin-1", errors="replace"))
    if draw(st.integers(0, 5)) == 0:
        place = draw(st.integers(0, len(raw) - 1))
        raw[place : place + draw(st.integers(0, 1))] = bytes([draw(st.integers(0, 255))])
    return bytes(raw)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(requests(), min_size=1, max_size=3), st.lists(st.integers(0, 1_000), max_size=3))
def test_no_request_shows_which_path_it_took(pair: Pair, sent: list[bytes], cuts: list[int]) -> None:
    """Whatever is sent, in whatever packets, both paths answer the same bytes but for date, durations and a new id."""
    before = pair.counting.answers
    assert_same(pair, b"".join(sent), cuts)
    event(f"{pair.counting.answers - before} fast answers")


def test_generated_requests_reach_the_fast_path(pair: Pair) -> None:
    """The requests that are drawn above are not all odd: many have a fast answer."""
    before = pair.counting.answers

    @settings(max_examples=100, deadline=None, database=None)
    @given(requests())
    def send(request: bytes) -> None:
        assert_same(pair, request)

    send()
    assert pair.counting.answers - before >= 10
