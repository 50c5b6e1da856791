"""``GET /<customer-id>/lookup`` as M8Com calls it."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import pytest

from adapters.sql import SQLAdapter
from middleware.errors import BreakerOpenError, BudgetError, CRMUnavailableError, RateLimitedError
from middleware.model.phone import PhoneNumber
from tests.conftest import House

USER = {
    "firstName": "Ada",
    "lastName": "Webb",
    "displayName": "Ada Webb",
    "id": "u-1",
    "userIds": [{"type": "email", "username": "ada@example.com"}],
}
BRACKETED = {
    "user[firstName]": "Ada",
    "user[id]": "u-1",
    "user[userIds][0][type]": "email",
    "user[userIds][0][username]": "a@b",
}


def test_every_known_number_of_the_demo_is_found(house: House) -> None:
    """However untidily a number is stored, its contact is found."""
    for customer in house.customers.values():
        for number in customer.known_numbers:
            answer = house.lookup(number, customer.id)
            assert answer.status_code == 200, number
            assert answer.get_json()["displayName"]
        assert house.lookup(customer.unknown_number, customer.id).status_code == 404


def test_plus_that_arrives_as_a_space_is_a_plus(house: House) -> None:
    """A sender that forgets %2B is understood."""
    answer = house.client.get("/nordlys/lookup?fromNumber=+46701740605", headers=house.bearer())
    assert answer.get_json()["displayName"] == "Maria Andersson"


@pytest.mark.parametrize(
    "query",
    [
        {"toNumber": "+46101234567"},
        {"user": json.dumps(USER)},
        BRACKETED,
        {"user": "{not json"},
        {"user": "[1]"},
        {"user": "[" * 3000},
        {"user": "x" * 9000},
        {"user": json.dumps({"userIds": "x", "id": 7})},
        {"user[a][b][c][d][e]": "1", "user[]": "2", "user[userIds]": "3"},
        {"brandNew": "1", "fromNumber[]": "2"},
        {"fromNumber": ["+46701740605", "+46701740605"]},
    ],
)
def test_whatever_comes_beside_the_number_is_no_obstacle(house: House, query: dict[str, Any]) -> None:
    """Users in either spelling, unreadable users, unknown parameters and repeated numbers never fail a lookup."""
    assert house.lookup(**query).status_code == 200


def test_user_id_as_caller_asks_for_the_called_number(house: House) -> None:
    """Both spellings of the user tell that the caller is the customer himself."""
    for query in ({"user": json.dumps(USER)}, {**BRACKETED}):
        answer = house.lookup("u-1", toNumber="+46701740605", **query)
        assert answer.get_json()["displayName"] == "Maria Andersson"


@pytest.mark.parametrize("query", [{}, {"fromNumber": ["+46701740605", "+46701740606"]}, {"fromnumber": "1"}])
def test_missing_or_contradictory_number_is_the_senders_fault(house: House, query: dict[str, object]) -> None:
    """The answer names the field."""
    answer = house.client.get("/nordlys/lookup", query_string=query, headers=house.bearer())
    assert answer.status_code == 400
    assert "fromNumber" in answer.get_json()["errors"]
    assert "fromNumber" in answer.get_json()["message"]


@pytest.mark.parametrize("number", ["", "anonymous", "302", "\x00", "\ud7ff" * 50, "9" * 5000, "%", "' OR 1=1 --"])
def test_odd_numbers_are_misses(house: House, number: str) -> None:
    """What no CRM can know is a miss and never an error."""
    answer = house.lookup(number)
    assert answer.status_code == 404
    assert answer.get_json()["message"]


@pytest.mark.parametrize(("setting", "status", "body"), [("204", 204, b""), ("empty", 200, b"{}")])
def test_customer_chooses_what_a_miss_looks_like(house: House, setting: str, status: int, body: bytes) -> None:
    """``miss`` in the customer's file decides."""
    file = house.folder / "customers" / "nordlys.toml"
    file.write_text(file.read_text().replace('miss = "404"', f'miss = "{setting}"'))
    answer = house.lookup("+46701740699")
    assert (answer.status_code, answer.data) == (status, body)


def test_id_in_place_of_a_number_finds_its_contact(house: House) -> None:
    """An id, and a numeric id that a caller typed, are looked up by id where the CRM can."""
    assert house.lookup("konf-4").status_code == 200
    assert house.lookup("anonymous", numericId="konf-4").status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "wait"),
    [
        (CRMUnavailableError("down"), 503, "2"),
        (RateLimitedError("slow", retry_after=timedelta(seconds=9)), 503, "9"),
        (BudgetError("used up", retry_after=timedelta(seconds=0.2)), 503, "1"),
        (BreakerOpenError("down", retry_after=timedelta(seconds=4)), 503, "4"),
        (ZeroDivisionError(), 503, "2"),
    ],
)
def test_failing_crm_is_never_a_miss(
    house: House, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, wait: str
) -> None:
    """M8Com must not keep a failure for two hours: 503 with the time to wait."""

    def fail(self: SQLAdapter, number: PhoneNumber, ctx: object) -> list[object]:
        raise error

    monkeypatch.setattr(SQLAdapter, "find_contacts", fail)
    answer = house.lookup()
    assert (answer.status_code, answer.headers["Retry-After"]) == (status, wait)
    assert answer.get_json()["message"]


def test_hanging_crm_is_a_timeout(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to show at the deadline is 504; another customer's lookup is answered meanwhile."""
    release = threading.Event()
    ask = SQLAdapter.find_contacts

    def hang(self: SQLAdapter, number: PhoneNumber, ctx: object) -> object:
        if number.e164 == "+46701740605":
            release.wait(30)
        return ask(self, number, ctx)  # type: ignore[arg-type]

    monkeypatch.setattr(SQLAdapter, "find_contacts", hang)
    file = house.folder / "customers" / "nordlys.toml"
    file.write_text(file.read_text().replace('budget = "2.6s"', 'budget = "50ms"'))
    answer = house.lookup()
    assert (answer.status_code, answer.headers["Retry-After"]) == (504, "2")
    assert house.lookup("+447700900101", "harbour").status_code == 200
    release.set()


def test_every_answer_has_its_headers(house: House) -> None:
    """Request id and timing are on hits, misses and errors alike; a sane id of the sender is kept."""
    answers = [house.lookup(), house.lookup("+46701740699"), house.client.get("/nowhere"), house.client.put("/-/live")]
    for answer in answers:
        assert answer.headers["X-Request-Id"]
        assert "total;dur=" in answer.headers["Server-Timing"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "contact;dur=" in answers[0].headers["Server-Timing"]
    assert answers[3].headers["Allow"]
    for given, kept in (("abc-1", True), ("a b", False), ("x" * 65, False)):
        answer = house.client.get("/-/live", headers={"X-Request-Id": given})
        assert (answer.headers["X-Request-Id"] == given) is kept


def test_deprecated_names_come_on_request(house: House) -> None:
    """``deprecated_names`` adds the old names beside the new ones."""
    assert "createActivityUrl" not in house.lookup().get_json()
    file = house.folder / "customers" / "nordlys.toml"
    file.write_text(file.read_text().replace('miss = "404"', "deprecated_names = true"))
    (house.folder / "customers" / "again.toml").write_text(file.read_text())
    answer = house.client.get("/again/lookup?fromNumber=%2B46701740605", headers=house.bearer()).get_json()
    assert answer["createActivityUrl"] == answer["createActivityUrls"]


def test_changed_file_is_in_force_without_restart(house: House) -> None:
    """A reload needs no restart, and a broken file leaves the last good version in force."""
    house.lookup()
    file = house.folder / "customers" / "nordlys.toml"
    good = file.read_text()
    clock = house.parts.tenants
    clock._clock = lambda: 1e9
    file.write_text(good.replace('miss = "404"', 'miss = "204"'))
    assert house.lookup("+46701740699").status_code == 204
    clock._clock = lambda: 2e9
    file.write_text("name = ")
    assert house.lookup("+46701740699").status_code == 204
    assert house.parts.tenants.problem("nordlys") is not None


def test_no_number_and_no_secret_is_logged(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    """The log has one line per request, with a masked number and no secret."""
    import structlog

    from middleware.logs import configure_logs

    structlog.reset_defaults()
    configure_logs("INFO", "json")
    house.lookup(toNumber="+46101234567")
    house.client.get("/nordlys/lookup?fromNumber=%2B46701740605", headers={"Authorization": "Bearer canary-secret"})
    logged = capsys.readouterr().err
    assert "701740605" not in logged
    assert "101234567" not in logged
    assert house.customers["nordlys"].secrets["insights"] not in logged
    assert "canary-secret" not in logged
