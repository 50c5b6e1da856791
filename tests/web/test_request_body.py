"""A body is read whole or not at all, whatever its sender says about its length."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tests.conftest import House, call_log

WHOLE = json.dumps(call_log()).encode()
LIMIT = 256 * 1024
CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked"}


class _BrokenStream(io.RawIOBase):
    """A server's stream that ends in an exception of the server's own."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raise ArithmeticError("bad chunk")


def send(house: House, stream: Any, **environ: Any) -> Any:
    """Post ``stream`` as a server does that ends the stream by itself."""
    environ = {"wsgi.input": stream, "wsgi.input_terminated": True, "CONTENT_TYPE": "application/json", **environ}
    return house.client.post("/nordlys/calllog", headers=house.bearer(), environ_overrides=environ)


@pytest.mark.parametrize("terminated", [True, False])
def test_body_that_is_cut_off_is_refused(house: House, terminated: bool) -> None:
    """A part of a body is never taken for a call, even when the part is JSON by itself."""
    environ = {"CONTENT_LENGTH": str(len(WHOLE) + 1), "wsgi.input_terminated": terminated}
    answer = send(house, io.BytesIO(WHOLE), **environ)
    assert (answer.status_code, answer.get_json()) == (400, {"message": "The body did not come whole."})
    assert house.parts.inbox.list_events() == []


def test_broken_chunk_is_the_senders_fault(house: House) -> None:
    """What the server cannot read is 400, not 500."""
    answer = send(house, _BrokenStream(), **CHUNKED)
    assert (answer.status_code, answer.get_json()) == (400, {"message": "The body did not come whole."})


@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413), (2 * LIMIT, 413)])
@pytest.mark.parametrize("tells_length", [True, False])
def test_limit_holds_with_and_without_a_length(house: House, size: int, status: int, tells_length: bool) -> None:
    """A chunked body is held to the same limit, and never cut to it."""
    stream = io.BytesIO(WHOLE + b" " * (size - len(WHOLE)))
    answer = send(house, stream, **({"CONTENT_LENGTH": str(size)} if tells_length else CHUNKED))
    assert answer.status_code == status
    assert len(house.parts.inbox.list_events()) == (status == 200)


def test_body_is_read_only_after_the_secret(house: House) -> None:
    """Who has no secret costs no reading."""
    environ = {"wsgi.input": _BrokenStream(), "wsgi.input_terminated": True, **CHUNKED}
    answer = house.client.post("/nordlys/calllog", environ_overrides=environ)
    assert answer.status_code == 401
