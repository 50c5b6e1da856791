"""The SQL adapter refuses a configuration that could not work, and says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.sql import PARAMETERS, SQLAdapter, SQLSettings
from middleware.crm.base import OPTIONAL_METHODS, Finding
from middleware.crm.context import build_context
from middleware.crm.settings import Secret
from middleware.model.deadline import Deadline

GOOD = "SELECT 1 AS id, '070' AS number WHERE :suffix = ''"


def adapter(folder: Path, **queries: str) -> SQLAdapter:
    (folder / "crm.db").touch()
    return SQLAdapter(SQLSettings(url=Secret(f"sqlite:///{folder}/crm.db"), queries={"find_contacts": GOOD, **queries}))


def findings(adapter: SQLAdapter) -> Iterator[Finding]:
    ctx = build_context(adapter, region="SE", deadline=Deadline.after(timedelta(seconds=30)))
    yield from adapter.check(ctx)
    adapter.close()


@pytest.mark.parametrize(
    ("query", "text", "told"),
    [
        (
            "find_contacts",
            "SELECT 1 WHERE :nummer = 1",
            "find_contacts: unknown parameter :nummer; known: :double_zero",
        ),
        ("find_notes", "SELECT 1 WHERE :e164 = 1", "unknown parameter :e164; known: :contact_id"),
        ("log_call", "INSERT INTO c VALUES (:key, :price)", "unknown parameter :price; known: :action_items"),
        ("find_nothing", "SELECT 1", "queries.find_nothing: is unknown; known: find_contacts"),
        ("find_notes", "SELECT 1 WHERE 1 = ?", "queries.find_notes: use named parameters such as :contact_id"),
        ("find_notes", "SELECT 1 WHERE 1 = %s", "use named parameters"),
        ("find_notes", "SELECT 1 WHERE 1 = %(contact_id)s", "use named parameters"),
        ("find_notes", "SELECT 1 WHERE 1 = {contact_id}", "use named parameters"),
        ("find_notes", "SELECT 1 WHERE 'it''s' = '' AND 1 = ?", "use named parameters"),
        ("find_contacts", "SELECT 1 WHERE 1 LIKE '%{suffix}'", "join: '%' || :suffix"),
        ("find_contacts", "SELECT 1 WHERE 1 LIKE '%:suffix%'", ":suffix in quotes is no parameter"),
    ],
)
def test_a_query_that_could_not_work_is_refused(tmp_path: Path, query: str, text: str, told: str) -> None:
    """A faulty query is refused when it is read, by its name, with what is known instead."""
    with pytest.raises(ValueError, match=r"^queries\.") as caught:
        adapter(tmp_path, **{query: text})
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT '?' AS body, 0 AS timestamp",
        "SELECT 0 AS timestamp WHERE 'it''s a ?' LIKE '%' || :contact_id || '%'",
        "SELECT strftime('%s', 'now') AS timestamp",
        "SELECT CAST(0 AS INTEGER) AS timestamp, '12:30' AS header",
    ],
)
def test_signs_inside_quotes_are_text(tmp_path: Path, text: str) -> None:
    """What stands in quotes is data, whatever it looks like."""
    assert {finding.ok for finding in findings(adapter(tmp_path, find_notes=text))} == {True}


def test_the_query_that_finds_contacts_is_required(tmp_path: Path) -> None:
    """Without it nobody could be recognised."""
    with pytest.raises(ValueError, match=r"queries\.find_contacts: is missing"):
        SQLAdapter(SQLSettings(url=Secret("sqlite://"), queries={}))


@pytest.mark.parametrize("url", ["nonsense", "nosuch://user:hidden@host/db", "", "postgresql+nodriver://u:hidden@h/d"])
def test_an_unusable_url_is_refused_without_showing_it(url: str) -> None:
    """The message says what to write and never what was written: a password stands in it."""
    with pytest.raises(ValueError, match=r"^url: SQLAlchemy cannot use it") as caught:
        SQLAdapter(SQLSettings(url=Secret(url), queries={"find_contacts": GOOD}))
    assert "hidden" not in str(caught.value)


def test_an_unknown_timezone_is_refused() -> None:
    """Times would be read wrongly for ever."""
    with pytest.raises(ValueError, match=r"^timezone: is unknown"):
        SQLAdapter(SQLSettings(url=Secret("sqlite://"), queries={"find_contacts": GOOD}, timezone="Sweden"))


def test_settings_hide_the_url() -> None:
    """A repr in a log shows no password."""
    assert "hidden" not in repr(SQLSettings(url=Secret("postgresql://u:hidden@h/d"), queries={}))


def test_what_has_a_query_can_be_done(tmp_path: Path) -> None:
    """The queries are the capabilities: nothing is declared twice."""
    made = adapter(tmp_path, find_notes="SELECT 0 AS timestamp", log_call="SELECT :key")
    assert {name for name in OPTIONAL_METHODS if made.can(name)} == {"find_notes", "log_call", "check"}
    assert set(PARAMETERS) - {"find_contacts"} < set(OPTIONAL_METHODS)


def test_check_tells_of_every_query(tmp_path: Path) -> None:
    """Each query that finds something is run; the ones that write are not."""
    made = adapter(
        tmp_path,
        find_notes="SELECT 0 AS timestamp, 'x' AS boddy",
        find_tasks="SELECT 'x' AS body",
        find_deals="SELECT 0 AS timestamp FROM deels",
        find_logged_call="SELECT 1 AS number",
        find_contact_by_id="SELECT 1 AS id WHERE :id = ''",
        log_call="CREATE TABLE written (key TEXT)",
    )
    told = {finding.message: finding.ok for finding in findings(made)}
    assert told == {
        "queries.find_contacts: runs": True,
        "queries.find_notes: the column boddy fills nothing; adapters/README.rst lists the names": False,
        "queries.find_tasks: the column timestamp is missing": False,
        "queries.find_deals: no such table: deels": False,
        "queries.find_logged_call: the column id is missing": False,
        "queries.find_contact_by_id: runs": True,
    }
