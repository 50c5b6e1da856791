"""How requests are told apart before gunicorn reads them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.web.head import Framing, chunks_end, read_framing, read_plain

LINE = b"POST /acme/calllog HTTP/1.1\r\nHost: x\r\n"
UNCLEAR = Framing(is_clear=False)


@pytest.mark.parametrize(
    ("fields", "framing"),
    [
        (b"", Framing()),
        (b"Content-Length: 12\r\n", Framing(length=12)),
        (b"content-length:12 \r\n", Framing(length=12)),
        (b"Content-Length: 12\r\nExpect: 100-Continue\r\n", Framing(length=12, expects_continue=True)),
        (b"Transfer-Encoding: chunked\r\n", Framing(length=None)),
        (b"Transfer-Encoding: gzip, chunked\r\n", UNCLEAR),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", UNCLEAR),
        (b"Content-Length: 3\r\nContent-Length: 3\r\n", UNCLEAR),
        (b"Content-Length: +3\r\n", UNCLEAR),
        (b"Content-Length: 1 3\r\n", UNCLEAR),
        (b"Content-Length: " + b"0" * 30 + b"12 \t\r\n", Framing(length=12)),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n", UNCLEAR),
        (b"Content-Length: 3\r\nExpect: miracles\r\n", UNCLEAR),
        (
            b"Expect: 100-continue\r\nContent-Length: 3\r\nexpect:100-continue\r\n",
            Framing(length=3, expects_continue=True),
        ),
        (b"X-Content-Length: 3\r\n", Framing()),
    ],
)
def test_body_is_waited_for_where_the_head_is_clear(fields: bytes, framing: Framing) -> None:
    """A length or chunks are believed; contradictions are refused by gunicorn, and nothing is waited for."""
    assert read_framing(LINE + fields + b"\r\n") == framing


@given(
    st.lists(st.binary(min_size=1, max_size=40)), st.sampled_from([b"", b"X: y\r\n"]), st.binary(max_size=9), st.data()
)
def test_end_of_chunks_is_found_in_any_packets(
    pieces: list[bytes], trailer: bytes, behind: bytes, data: st.DataObject
) -> None:
    """The last chunk is seen when it is there and not before, wherever the packets end."""
    body = b"".join(b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailer + b"\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body) - 1), max_size=5)))
    at = 0
    for cut in cuts:
        at, is_there = chunks_end(body[:cut], at)
        assert not is_there
    assert chunks_end(body + behind, at)[1]


@given(st.binary(max_size=300))
def test_whatever_comes_is_read_without_error(raw: bytes) -> None:
    """No bytes raise: what is not plain is left to gunicorn."""
    read_framing(raw + b"\r\n\r\n")
    chunks_end(raw, 0)
    assert read_plain(b"GET /" + raw + b" HTTP/1.1\r\n" + raw + b"\r\n\r\n") is None or b"\n" not in raw


LONG = {
    "spaces in a length": (16_000, b"POST / HTTP/1.1\r\nContent-Length: 1", b" ", b"x\r\n\r\n"),
    "spaces before a length": (16_000, b"POST / HTTP/1.1\r\nContent-Length:", b" \t", b"x\r\n\r\n"),
    "spaces before the colon": (16_000, b"POST / HTTP/1.1\r\nExpect", b" ", b"x\r\n\r\n"),
    "many lengths": (16_000, b"POST / HTTP/1.1", b"\r\nExpect:  x", b"\r\n\r\n"),
    "spaces before a value": (2_000, b"GET / HTTP/1.1\r\nAccept:", b" ", b"\x01\r\n\r\n"),
    "spaces in a value": (2_000, b"GET / HTTP/1.1\r\nAccept: a", b" ", b"\x01\r\n\r\n"),
    "a long host": (2_000, b"GET / HTTP/1.1\r\nHost: a", b".a", b":\r\n\r\n"),
    "a long target": (2_000, b"GET /", b"a", b"\x01 HTTP/1.1\r\n\r\n"),
}


@pytest.mark.parametrize("name", LONG)
def test_work_grows_no_faster_than_the_head(name: str) -> None:
    """A head four times as long takes about four times the work, whatever it holds: all connections wait for it."""
    size, begin, middle, end = LONG[name]

    def work(length: int) -> float:
        head = begin + middle * (length // len(middle)) + end
        began = time.thread_time()
        read_plain(head)
        read_framing(head)
        return time.thread_time() - began

    # with the square it is sixteen times; whatever else runs may disturb some
    assert any(work(4 * size) < 10 * work(size) + 0.02 for _ in range(5))
