"""Owners, ids, domains and limits, as several adapters need them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from requests import Response

from middleware.crm.limits import rate_limited
from middleware.crm.owner import find_owner
from middleware.crm.quote import check_subdomain, decimal_id, is_decimal
from middleware.errors import CRMRejectedError, CRMResponseError


def test_an_owner_s_id_costs_no_request() -> None:
    """Only an address is asked for."""
    nobody_is_asked: dict[str, list[dict[str, Any]]] = {}
    assert find_owner("17", nobody_is_asked.__getitem__) == "17"
    assert find_owner(None, nobody_is_asked.__getitem__) is None


def test_an_address_is_somebody_s_or_nobody_s() -> None:
    """An address that the CRM does not know leaves the record without an owner; a user without id is an error."""
    users: dict[str, list[dict[str, Any]]] = {"ellen@nordlys.example": [{"id": 17}], "odd@nordlys.example": [{}]}
    assert find_owner("ellen@nordlys.example", users.__getitem__) == "17"
    assert find_owner("nobody@nordlys.example", lambda _: []) is None
    with pytest.raises(CRMResponseError):
        find_owner("odd@nordlys.example", users.__getitem__)


@pytest.mark.parametrize("text", ["", "Ellen", "1/../2", "-1", "\u0661", "1.0"])
def test_an_id_that_is_no_number_is_refused(text: str) -> None:
    """It is refused before anything is written, and the message does not repeat it."""
    assert not is_decimal(text)
    with pytest.raises(CRMRejectedError) as caught:
        decimal_id(text)
    assert not text or text not in str(caught.value)


def test_an_id_is_a_number() -> None:
    """Digits are the number that they are."""
    assert (decimal_id("471100"), is_decimal("471100")) == (471100, True)


@pytest.mark.parametrize("value", ["", "a.b", "Acme", "acme/", "-acme", "acme@evil"])
def test_a_subdomain_is_one_word(value: str) -> None:
    """The message names the setting, and says what to write."""
    with pytest.raises(ValueError, match=r"company: write what stands before \.acme\.example"):
        check_subdomain("company", value, "acme.example")


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"x-reset": "7"}, 7),
        (429, {"X-Reset": "99999999"}, 86_400),
        (429, {"x-reset": "-2"}, None),
        (429, {"x-reset": "7", "Retry-After": "1"}, None),
        (429, {}, None),
        (200, {"x-reset": "7"}, None),
    ],
)
def test_how_long_to_wait_stands_in_a_header(status: int, headers: dict[str, str], seconds: int | None) -> None:
    """Seconds are taken from the header, a day at most; what says nothing is left to the session."""
    response = Response()
    response.status_code = status
    response.headers.update(headers)
    error = rate_limited(response, "x-reset", "Acme")
    assert (error and error.retry_after) == (None if seconds is None else timedelta(seconds=seconds))
