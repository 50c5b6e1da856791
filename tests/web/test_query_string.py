"""What stands in a lookup's query string beside the number never fails the lookup."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from middleware.model.call import User
from middleware.web.schemas.query import parse_numeric_id, parse_user
from tests.conftest import House

ADA = {
    "firstName": "Ada",
    "lastName": "Webb",
    "displayName": "Ada Webb",
    "id": "u-1",
    "userIds": [{"type": "email", "username": "ada@example.com"}, {"type": "mobilePhone", "username": "+46701"}],
}
BRACKETED = {
    "user[firstName]": "Ada",
    "user[lastName]": "Webb",
    "user[displayName]": "Ada Webb",
    "user[id]": "u-1",
    "user[userIds][0][type]": "email",
    "user[userIds][0][username]": "ada@example.com",
    "user[userIds][1][type]": "mobilePhone",
    "user[userIds][1][username]": "+46701",
}


@pytest.mark.parametrize("args", [{"user": json.dumps(ADA)}, BRACKETED], ids=["json", "bracketed"])
def test_user_is_the_same_in_either_spelling(args: dict[str, str]) -> None:
    """One JSON string and bracketed keys tell the same user (specs/001, User)."""
    assert parse_user(args) == User(
        id="u-1",
        display_name="Ada Webb",
        first_name="Ada",
        last_name="Webb",
        email="ada@example.com",
        mobile_phone="+46701",
    )


def test_user_holds_nothing_a_crm_cannot_take() -> None:
    """NUL and lone surrogates are dropped, and a text has an end."""
    user = parse_user({"user": '{"id": "u\\u0000-\\ud8001", "firstName": "' + "x" * 3000 + '", "lastName": "\\u0000"}'})
    assert user is not None
    assert user.id == "u-1"
    assert len(user.first_name or "") == 320
    assert user.last_name is None


def test_contradictory_users_do_not_fail_a_lookup(house: House) -> None:
    """Only the numbers must agree with themselves; unknown parameters may come twice."""
    answer = house.lookup(user=["1", "2"], brandNew=["1", "2"])
    assert answer.status_code == 200


def test_contradictory_called_numbers_are_refused(house: House) -> None:
    """Two different ``toNumber`` could mean two contacts."""
    answer = house.lookup(toNumber=["+461", "+462"])
    assert (answer.status_code, list(answer.get_json()["errors"])) == (400, ["toNumber"])


@pytest.mark.parametrize("text", [None, "", "\x00", "12 34", "a" * 65, "'--", "é", "1\n"])
def test_what_nobody_can_type_is_no_numeric_id(text: str | None) -> None:
    """An adapter's ``find_contact_by_id`` is asked for plain ids only."""
    assert parse_numeric_id(text) is None


def test_numeric_id_is_kept_as_it_is() -> None:
    """Leading zeros belong to an id."""
    assert parse_numeric_id("0042#") == "0042#"


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    names=st.lists(st.sampled_from([*BRACKETED, "user", "user[userIds]", "user[]", "user[id][x]"]), max_size=6),
    value=st.text(max_size=20) | st.sampled_from(["[", "{}", '{"userIds": 1}', '{"userIds": [1, {"type": []}]}']),
)
def test_no_user_breaks_the_reader(names: list[str], value: str) -> None:
    """Whatever is sent as a user is a user or none."""
    assert isinstance(parse_user(MultiDict([(name, value) for name in names])), User | None)
