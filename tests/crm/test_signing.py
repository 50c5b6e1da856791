"""How adapters sign their requests."""

from __future__ import annotations

import requests

from middleware.crm.auth import AuthBase, HeaderAuth, basic, bearer
from middleware.crm.settings import Secret


def signed(auth: AuthBase) -> dict[str, str]:
    request = requests.Request("GET", "https://crm.example/", auth=auth).prepare()
    return dict(request.headers)


def test_a_token_is_sent_as_bearer() -> None:
    """OAuth2 and most API tokens."""
    assert signed(bearer(Secret("t0ken"))) == {"Authorization": "Bearer t0ken"}


def test_a_password_is_sent_in_utf8() -> None:
    """A password with an umlaut is sent as UTF-8, as RFC 7617 has it."""
    assert signed(basic("ada", Secret("pässword"))) == {"Authorization": "Basic YWRhOnDDpHNzd29yZA=="}


def test_a_key_has_a_header_of_its_own() -> None:
    """APIs with a header of their own are served too, and the object hides its secret."""
    auth = HeaderAuth("X-Api-Key", Secret("t0ken"))
    assert signed(auth) == {"X-Api-Key": "t0ken"}
    assert "t0ken" not in repr(vars(auth))
