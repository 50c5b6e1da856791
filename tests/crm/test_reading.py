"""What adapters read JSON, paths and shared answers with."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from middleware.crm.once import Once
from middleware.crm.quote import url_segment
from middleware.crm.reading import columns, number, records, required, row, scalar, text
from middleware.crm.session import CRMSession
from middleware.errors import CRMNotFoundError, CRMRejectedError, CRMResponseError, CRMUnavailableError
from middleware.model.deadline import Deadline
from middleware.testing.faults import FaultServer

SECRET = "0701740605"


@pytest.mark.parametrize("missing", [{}, {"a": None}, {"a": {}}, {"a": {"b": None}}, None])
def test_what_is_not_there_is_nothing(missing: Any) -> None:
    """A key that is dropped or null anywhere on the way is no fault."""
    assert scalar(missing, "a.b") is None
    assert text(missing, "a.b") == ""
    assert number(missing, "a.b") == 0
    assert records(missing, "a.b", is_optional=True) == []
    assert row(missing, {"x": "a.b"}) == {"x": None}


@pytest.mark.parametrize(
    ("read", "json"),
    [
        (text, {"a": {"b": [SECRET]}}),
        (text, {"a": SECRET}),
        (text, {"a": [{"b": SECRET}]}),
        (number, {"a": {"b": f"x{SECRET}"}}),
        (records, {"a": {"b": SECRET}}),
        (records, {"a": {"b": [SECRET]}}),
        (records, {"a": {}}),
        (required, {"a": {"b": ""}}),
    ],
)
def test_another_type_is_an_error_that_names_the_place(read: Any, json: Any) -> None:
    """An answer that changed its shape is told by path, never with what it holds."""
    with pytest.raises(CRMResponseError, match=r"a\.b") as caught:
        read(json, "a.b")
    assert SECRET not in str(caught.value)


def test_numbers_in_quotes_are_numbers() -> None:
    """APIs write milliseconds and ids either way."""
    assert number({"a": "95000"}, "a") == 95_000
    assert required({"id": 7}, "id") == "7"
    assert records([{"id": 7}]) == [{"id": 7}]


def test_a_segment_stays_one() -> None:
    """What a caller types as his id leads to no other place of the API."""
    assert url_segment("a/../b?c=d#e f") == "a%2F..%2Fb%3Fc%3Dd%23e%20f"
    for no_id in ("", ".", ".."):
        with pytest.raises(CRMRejectedError):
            url_segment(no_id)


def test_many_ask_and_one_fetches() -> None:
    """What several methods need is fetched once, and those who come later wait for it."""
    once, gate, begun = Once(), threading.Barrier(2, timeout=20), []

    def fetch() -> str:
        begun.append(1)
        gate.wait()
        return "fetched"

    with ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(once, "ids", fetch) for _ in range(5)]
        gate.wait()
        assert [one.result() for one in waiting] == ["fetched"] * 5
    assert len(begun) == 1
    assert once("other", lambda: "else") == "else"


def test_a_failure_is_shared_too() -> None:
    """A CRM that failed is not asked again by each of those who needed the same."""
    once, asked = Once(), []

    def fail() -> None:
        asked.append(1)
        raise CRMUnavailableError("down")

    for _ in range(3):
        with pytest.raises(CRMUnavailableError):
            once("ids", fail)
    assert len(asked) == 1


def test_a_record_that_is_not_there_is_none() -> None:
    """``find`` turns 404 into ``None``; any other refusal stays one."""
    with FaultServer() as crm:
        http = CRMSession(crm.url, Deadline.after(timedelta(seconds=30)))
        assert http.find("status/404") is None
        with pytest.raises(CRMNotFoundError):
            http.get("status/404")
        with pytest.raises(CRMRejectedError):
            http.find("status/422")


def test_a_table_of_columns_is_words() -> None:
    """A column is followed by its path, or stands for both."""
    assert columns("id header=subject body=note.text") == {"id": "id", "header": "subject", "body": "note.text"}


def test_a_list_fills_numbered_columns() -> None:
    """Numbers, addresses and what is said of them come one after the other; a list that is missing is empty."""
    person = {
        "phones": [{"value": "1", "label": "work"}, {"value": "2", "label": None}],
        "emails": ["a@b.example", "", "c@d.example"],
    }
    table = columns("number=phones[].value number_comment=phones[].label email=emails[] other=others[].name")
    assert row(person, table) == {
        "number": "1",
        "number_2": "2",
        "number_comment": "work",
        "number_2_comment": "",
        "email": "a@b.example",
        "email_2": "c@d.example",
    }


@pytest.mark.parametrize("phones", ["1", {"value": "1"}, [1], [None]])
def test_what_is_no_list_is_told_by_its_place(phones: object) -> None:
    """A CRM that answers otherwise than ever before is an error, and the value is not in it."""
    with pytest.raises(CRMResponseError, match="phones"):
        row({"phones": phones}, columns("number=phones[].value"))
