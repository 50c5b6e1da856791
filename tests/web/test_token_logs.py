"""A token in a URL reaches no log, the server's own among them."""

from __future__ import annotations

import pytest

from middleware.web.inline import InlineWorker
from tests.conftest import House
from tests.web.sending import log_anew, secret_of
from tests.web.serving import exchange, served


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "BREW"])
def test_token_in_a_url_reaches_no_log(
    house: House, method: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a request with a token is like, a broken one among them, neither we nor the server write it down."""
    log_anew(monkeypatch)
    secret = secret_of(house, "cdr").encode()
    with served(house.app, InlineWorker) as (_, address):
        for version, more in (
            (b"HTTP/1.1", b"Content-Length: 2\r\n\r\n{}"),
            (b"HTTP/1.1", b"Content-Length: 9\r\n\r\n{}"),
            (b"HTTP/1.1", b"Content-Length: x\r\n\r\n{}"),
            (b"HTTP/1.1", b"Bad Header\r\n\r\n"),
            (b"HTTP/9.9", b"\r\n"),
            (b"HTTP/1.1", b"X: " + b"y" * 20_000 + b"\r\n\r\n"),
            (b"HTTP/1.1", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        ):
            line = method.encode() + b" /nordlys/cdr?token=" + secret + b"&cdr%5Bid%5D=1 " + version + b"\r\n"
            answer = exchange(address, line + b"Host: x\r\nConnection: close\r\n" + more)
            assert secret not in answer
        exchange(address, b"GET /nordlys/cdr?token=" + secret + b"%" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    logged = "".join(capfd.readouterr())
    assert f'"method": "{method}"' in logged
    assert secret.decode() not in logged
