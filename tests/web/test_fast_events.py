"""Events on the fast path against the slow one, byte for byte, on real sockets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from middleware.demo.samples import SAMPLES
from middleware.errors import StorageError
from middleware.inbox.store import Inbox
from middleware.receivers.registry import RECEIVERS, Credential
from middleware.web.fast_events import MAX_BODY
from tests.web.pair import Pair, assert_same, normal
from tests.web.sending import CALL, SENDERS, sample
from tests.web.serving import exchange

JSON = "application/json"


def post(sender: str, body: bytes, *fields: str, query: str = "", content_type: str = JSON) -> bytes:
    """Return an event with its credential in its place."""
    receiver = RECEIVERS[sender]
    match receiver.credential:
        case Credential.BEARER:
            fields = (f"Authorization: Bearer <{receiver.secret}>", *fields)
        case Credential.PBX_TOKEN:
            fields = (f"X-Pbx-Token: <{receiver.secret}>", *fields)
        case Credential.URL | Credential.URL_OR_DATA:
            query = query or f"?token=<{receiver.secret}>"
    lines = [f"POST /nordlys/{sender}{query} HTTP/1.1", "Host: m8crm", *fields]
    lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def text(sender: str, **changes: Any) -> bytes:
    """Return the sender's first sample as JSON."""
    return json.dumps(sample(sender) | changes).encode()


PLAIN = {
    **{f"{s} {name}": post(s, json.dumps(make(CALL)).encode()) for s in SENDERS for name, make in SAMPLES[s].items()},
    "not understood": post("calllog", b'{"fromNumber": 1}'),
    "not understood in a list": post("recording", text("recording", fileUrls=[1, "x", None])),
    "a type with more": post("calllog", text("calllog"), content_type="Application/JSON; charset=utf-8"),
    "a form": post(
        "cdr", urlencode({"id": "f-1", "cliNum": "1"}).encode(), content_type="application/x-www-form-urlencoded"
    ),
    "a token in the data, too": post("cdr", text("cdr", customData={"token": "x"})),
    "id of the sender's": post("pbx", text("pbx"), "X-Request-Id: abc-1"),
    "closed behind it": post("pbx", text("pbx"), "Connection: close"),
    "a query that is not looked at": post("calllog", text("calllog"), query="?token=abc"),
}
ODD = {
    "wrong secret": post("calllog", text("calllog")).replace(b"<insights>", b"wrong"),
    "another receiver's secret": post("pbx", text("pbx")).replace(b"<pbx>", b"<insights>"),
    "no secret": post("postcall", text("postcall"), query="?token="),
    "a token written otherwise": post("postcall", text("postcall"), query="?token=%3Cpostcall%3E"),
    "a token only in the data": post("cdr", text("cdr", customData={"token": "x"}), query="?x=y"),
    "no JSON": post("calllog", b"{"),
    "no body": post("calllog", b""),
    "another type": post("calllog", text("calllog"), content_type="text/plain"),
    "no type": post("calllog", text("calllog"), content_type=""),
    "a large body": post("calllog", text("calllog", body="x" * MAX_BODY)),
    "another customer": post("calllog", text("calllog")).replace(b"/nordlys/", b"/nobody/"),
    "another sender": post("calllog", text("calllog")).replace(b"/calllog", b"/calls"),
    "PUT": post("cdr", text("cdr")).replace(b"POST", b"PUT"),
    "a body that is asked for": post("calllog", text("calllog"), "Expect: 100-continue"),
    "a length with a sign": re.sub(rb"Content-Length: ", b"Content-Length: +", post("calllog", text("calllog"))),
    "two lengths": post("calllog", text("calllog"), "Content-Length: 2"),
    "two tokens": post("pbx", text("pbx"), "X-Pbx-Token: x"),
    "cut off": post("calllog", text("calllog"))[:-1],
    "a GET with a body": post("calllog", text("calllog")).replace(b"POST", b"GET"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_event_takes_the_fast_path(pair: Pair, name: str) -> None:
    """Every sample of every sender is acknowledged by the fast path, with the slow path's bytes."""
    before = pair.counting.answers, pair.counting_waiting.answers
    answer = assert_same(pair, PLAIN[name])
    assert (pair.counting.answers, pair.counting_waiting.answers) == (before[0] + 1, before[1] + 1)
    assert b'"status": "duplicate"' in answer


@pytest.mark.parametrize("name", ODD)
def test_odd_event_is_left_to_the_slow_path(pair: Pair, name: str) -> None:
    """What is odd about an event is told by the slow path alone."""
    before = pair.counting.answers
    assert_same(pair, ODD[name], is_whole=name != "cut off")
    assert pair.counting.answers == before


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("is_understood", [True, False])
def test_new_event_is_told_alike(pair: Pair, sender: str, *, is_understood: bool) -> None:
    """An event that was not there before has the same answer on both paths but for its id, understood or not."""

    def fresh(path: str) -> bytes:
        body = {**sample(sender), "new": path} if is_understood else [path]
        request = pair.raw(post(sender, json.dumps(body).encode()))
        address = pair.stock if path == "slow" else pair.inline
        return re.sub(rb'"id": "[0-9a-f]{24}"', b'"id": "-"', normal(exchange(address, request), request))

    slow = fresh("slow")  # which also has the customer's file read: the fast path does not wait for that
    before = pair.counting.answers
    answer = fresh("fast")
    assert pair.counting.answers == before + 1
    assert answer == slow
    assert f'"status": "{"accepted" if is_understood else "quarantined"}"'.encode() in answer


@pytest.mark.parametrize("error", [StorageError("full"), RuntimeError("a bug")])
def test_event_that_is_not_kept_is_told_alike(pair: Pair, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, or a bug of ours, is answered without Flask in the same bytes, and nothing is acknowledged."""

    def begin(_inbox: Inbox, _tenant: str, _sender: str, done: Callable[[Any], None], **_event: object) -> None:
        if not isinstance(error, StorageError):
            raise error
        done(error)

    monkeypatch.setattr(Inbox, "begin", begin)
    before = pair.counting.answers
    answer = assert_same(pair, PLAIN["calllog call"])
    assert pair.counting.answers == before + 1
    assert answer.startswith((b"HTTP/1.1 503 ", b"HTTP/1.1 500 "))
    assert (b"Retry-After: 5" in answer) == isinstance(error, StorageError)


def test_events_and_lookups_in_one_packet_are_answered_in_order(pair: Pair) -> None:
    """One connection may carry everything, plain and odd, and has the answers in the order of the requests."""
    lookup = (
        b"GET /nordlys/lookup?fromNumber=anonymous HTTP/1.1\r\nHost: m8crm\r\nAuthorization: Bearer <insights>\r\n\r\n"
    )
    requests = [PLAIN["calllog call"], lookup, ODD["no JSON"], PLAIN["pbx queue_call"], PLAIN["cdr answered"], lookup]
    answer = assert_same(pair, b"".join(requests))
    assert [int(s) for s in re.findall(rb"HTTP/1.1 (\d+)", answer)] == [200, 404, 400, 200, 200, 404]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Draw an event, perhaps with a wrong byte or a piece that is missing or there twice."""
    raw = bytearray(draw(st.sampled_from([*PLAIN.values(), *ODD.values()])))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(raw) - 1))
        piece = bytes(raw[place : place + draw(st.integers(0, 12))])
        raw[place : place + len(piece)] = draw(st.sampled_from([b"", piece * 2, b"\x00", b"\xff", b"\r\n", b" "]))
    return bytes(raw)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(requests(), min_size=1, max_size=3), st.lists(st.integers(0, 1_000), max_size=3))
def test_no_event_shows_which_path_it_took(pair: Pair, sent: list[bytes], cuts: list[int]) -> None:
    """Whatever is sent, in whatever packets, both paths answer the same bytes but for date, durations and a new id."""
    before = pair.counting.answers
    assert_same(pair, b"".join(sent), cuts, is_whole=False)
    event(f"{pair.counting.answers - before} fast answers")
