"""What a request looks like."""

from __future__ import annotations

from typing import Any

import requests
from hypothesis import given
from hypothesis import strategies as st

from middleware.crm.session import _prepare

TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=12)


@given(
    path=TEXT | st.from_regex(r"(?:[a-z0-9._~/-]|%2e|%41){0,9}", fullmatch=True),
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
