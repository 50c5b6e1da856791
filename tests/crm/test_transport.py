"""What a request looks like on the wire, and whom it is sent to."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
import requests
import trustme
from hypothesis import given
from hypothesis import strategies as st

from middleware.crm import transport
from middleware.crm.session import CRMSession, _prepare
from middleware.errors import CRMUnavailableError
from middleware.model.deadline import Deadline

PATIENCE = timedelta(seconds=30)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=12)


@contextmanager
def tls_server(authority: trustme.CA, name: str) -> Iterator[tuple[str, list[list[bytes]]]]:
    """Answer on the loopback as ``name``; list what each connection brought after the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    shaken: list[list[bytes]] = []

    def serve(plain: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
            shaken.append([])
            while request := connection.recv(65536):
                shaken[-1].append(request)
                connection.sendall(ANSWER)

    def accept() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(plain,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"https://localhost:{listener.getsockname()[1]}", shaken
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Return an authority that this process trusts."""
    authority = trustme.CA()
    transport._tls.cache_clear()
    authority.configure_trust(transport._tls())
    monkeypatch.setattr(transport, "_transports", {})
    return authority


@pytest.fixture(autouse=True)
def _forget_trust() -> Iterator[None]:
    yield
    transport._tls.cache_clear()


def get(url: str) -> requests.Response:
    return CRMSession(url, Deadline.after(PATIENCE)).get("x")


def test_a_trusted_certificate_is_accepted_and_its_connection_kept(authority: trustme.CA) -> None:
    """A CRM whose certificate is good is asked over TLS, on one connection."""
    with tls_server(authority, "localhost") as (url, shaken):
        for _ in range(3):
            assert get(url).json() == {}
        assert [len(requests) for requests in shaken] == [3]


def test_a_certificate_of_another_host_is_refused(authority: trustme.CA) -> None:
    """A good certificate is no good for another name: nothing is sent."""
    with tls_server(authority, "crm.example") as (url, shaken):
        with pytest.raises(CRMUnavailableError):
            get(url)
        assert not any(shaken)


def test_a_certificate_nobody_trusts_is_refused() -> None:
    """Whoever signs for himself is not the CRM."""
    with tls_server(trustme.CA(), "localhost") as (url, shaken):
        with pytest.raises(CRMUnavailableError):
            get(url)
        assert not any(shaken)


@given(
    path=TEXT,
    params=st.none()
    | st.dictionaries(TEXT, TEXT | st.integers() | st.none() | st.lists(TEXT, max_size=3), max_size=3)
    | st.lists(st.tuples(TEXT, TEXT), max_size=3),
    body=st.sampled_from(
        [{}, {"json": {"a": "ö"}}, {"json": []}, {"data": {"a": "ö"}}, {"data": b"x"}, {"data": "x"}, {"json": None}]
    ),
    headers=st.none() | st.just({"accept": "text/csv", "X-Key": "7"}),
    auth=st.sampled_from([None, ("user", "pass")]),
)
def test_a_request_is_the_one_that_requests_would_send(
    path: str, params: Any, body: dict[str, Any], headers: Any, auth: Any
) -> None:
    """Method, address, header and body are those of ``requests``, whatever an adapter passes."""
    url = f"https://crm.example/{path}"
    ours = _prepare("POST", url, auth=auth, params=params, headers=headers, **body)
    theirs = requests.Request("POST", url, auth=auth, params=params, headers=headers, **body).prepare()
    for name, value in {"Accept": "application/json", "User-Agent": "m8crm"}.items():
        theirs.headers.setdefault(name, value)
    assert (ours.method, ours.url, ours.body) == (theirs.method, theirs.url, theirs.body)
    assert dict(ours.headers.lower_items()) == dict(theirs.headers.lower_items())
