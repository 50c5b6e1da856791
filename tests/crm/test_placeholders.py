"""Values stand in requests as the place wants it, whatever they are."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.crm.placeholders import Template, fill_tree, names_in, read_tree
from middleware.errors import CRMError, UnsupportedError

KNOWN = frozenset({"id", "key", "body", "started_at", "owner", "ids"})


def fill(text: str, **values: Any) -> Any:
    return Template.parse(text, KNOWN).fill(values, ZoneInfo("Europe/Stockholm"))


def tree(value: Any, **values: Any) -> Any:
    problems: list[str] = []
    found = fill_tree(read_tree(value, KNOWN, "json", problems), values, UTC)
    assert problems == []
    return found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{idd}", "unknown placeholder {idd}; known: {body}, {id}"),
        ("{id", "a brace without its partner"),
        ("id}", "a brace without its partner"),
        ("{}", "unknown placeholder {}"),
        ("{id.__class__}", "unknown placeholder {id.__class__}"),
        ("{id[0]}", "unknown placeholder"),
        ("{id:upper}", "write :%Y-%m-%d"),
        ("{id:%Y}", "only ended_at, since, started_at are moments"),
        ("id eq '{id}'", "{id} stands in quotes, which it may hold itself: write {id:doubled}"),
        ('{{"a": "%{id}%"}}', "stands in quotes"),
        ("{id:doubled}", "stands in no quotes: write {id}"),
    ],
)
def test_a_placeholder_that_could_not_work_is_refused(text: str, told: str) -> None:
    """What is wrong with a text is said when it is read, with what is meant instead."""
    with pytest.raises(ValueError, match=r".") as caught:
        Template.parse(text, KNOWN)
    assert told in str(caught.value)


@given(st.text(), st.text())
def test_a_value_never_leaves_its_segment(value: str, other: str) -> None:
    """Whatever an id is, the path has the segments that the mapping gives it, and holds the id."""
    try:
        path = Template.parse("people/{id}/notes", KNOWN).fill_path({"id": value, "key": other}, UTC)
    except CRMError:
        assert value.encode("utf-8", "replace").decode() in ("", ".", "..")
        return
    parts = urlsplit(f"https://crm.example/{path}")
    assert (parts.query, parts.fragment, parts.hostname) == ("", "", "crm.example")
    segments = parts.path.split("/")
    assert segments[1:2] + segments[3:] == ["people", "notes"]
    assert unquote(segments[2]) == value.encode("utf-8", "replace").decode()


@given(st.text())
def test_a_value_in_quotes_ends_no_quotes(value: str) -> None:
    """Text within quotes can be read back as it was, doubled as in SQL or with backslashes as in JSON."""
    clean = value.encode("utf-8", "replace").decode()
    doubled = fill("name eq '{key:doubled}'", key=value)
    assert doubled.removeprefix("name eq '")[:-1].replace("''", "'") == clean
    assert doubled.count("'") % 2 == 0
    escaped = fill('find "{key:escaped}"', key=value).removeprefix("find ")
    assert json.loads(escaped, strict=False) == clean


@pytest.mark.parametrize("value", ["a\r\nX-Admin: 1", "a\nb", "å", "a\x00"])
def test_a_header_is_one_line(value: str) -> None:
    """A value that would begin another header is refused."""
    with pytest.raises(UnsupportedError):
        Template.parse("{id}", KNOWN).fill_header({"id": value}, UTC)


def test_a_placeholder_alone_keeps_its_type() -> None:
    """Numbers stay numbers in JSON, and a number that is text becomes one where the mapping says so."""
    assert tree({"a": "{id}", "b": "{id:number}", "c": "no. {id}"}, id="7") == {"a": "7", "b": 7, "c": "no. 7"}
    assert tree({"a": "{owner}"}, owner=7) == {"a": 7}
    with pytest.raises(UnsupportedError):
        tree({"b": "{id:number}"}, id="7' OR 1")


def test_what_is_unknown_is_left_out() -> None:
    """No request says None: a key goes, a table with nothing else in it, and a condition that lacks its value."""
    asked = {
        "body": "{body}",
        "owner": {"id": "{owner}"},
        "contacts": [{"id": "{id}"}],
        "where": [["since", ">", "{started_at}"], ["all", "=", True]],
        "text": "by {owner}",
        "kept": {},
    }
    assert tree(asked, body="x") == {"body": "x", "where": [["all", "=", True]], "text": "by ", "kept": {}}


def test_a_moment_is_written_as_the_mapping_wants_it() -> None:
    """Moments are ISO 8601 in UTC, in the CRM's own zone as strftime has it, or seconds and milliseconds."""
    moment = datetime(2026, 1, 31, 23, 30, tzinfo=timezone(timedelta(hours=-1)))
    assert fill("{started_at}", started_at=moment) == "2026-02-01T00:30:00+00:00"
    assert fill("{started_at:%Y-%m-%d %H:%M}", started_at=moment) == "2026-02-01 01:30"
    assert fill("{started_at:seconds}", started_at=moment) == 1769905800
    assert fill("{started_at:milliseconds}", started_at=moment) == 1769905800000
    assert fill("{ids}!", ids=[1, 2]) == "1,2!"


def test_each_fault_of_a_body_is_told_with_its_place() -> None:
    """A body with several faults tells all of them."""
    problems: list[str] = []
    read_tree({"a": ["{x}", {"b": "{y}"}], "c": datetime(2026, 1, 1, tzinfo=UTC)}, KNOWN, "json", problems)
    assert [problem.partition(":")[0] for problem in problems] == ["json.a.0", "json.a.1.b", "json.c"]
    assert set(names_in(read_tree({"a": ["{id}", {"b": "{key} {body}"}]}, KNOWN, "", []))) == {"id", "key", "body"}
