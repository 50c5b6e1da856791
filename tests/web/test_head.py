"""How requests are told apart before gunicorn reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.web.head import Framing, chunks_end, read_framing, read_plain

LINE = b"POST /acme/calllog HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("fields", "framing"),
    [
        (b"", Framing()),
        (b"Content-Length: 12\r\n", Framing(length=12)),
        (b"content-length:12 \r\n", Framing(length=12)),
        (b"Content-Length: 12\r\nExpect: 100-Continue\r\n", Framing(length=12, expects_continue=True)),
        (b"Transfer-Encoding: chunked\r\n", Framing(length=None)),
        (b"Transfer-Encoding: gzip, chunked\r\n", Framing()),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", Framing()),
        (b"Content-Length: 3\r\nContent-Length: 3\r\n", Framing()),
        (b"Content-Length: +3\r\n", Framing()),
        (b"Content-Length: " + b"9" * 5000 + b"\r\n", Framing()),
        (b"Content-Length: 3\r\nExpect: miracles\r\n", Framing()),
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
