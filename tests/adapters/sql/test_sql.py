"""The SQL adapter over SQLite: contacts, activities, and calls that are written once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.sql import SQLAdapter, SQLSettings
from middleware.crm.base import Context
from middleware.crm.context import build_context
from middleware.crm.settings import Secret
from middleware.errors import CRMError, CRMRejectedError, CRMResponseError, CRMTimeoutError, CRMUnavailableError
from middleware.model.activity import Appointment, Call, Deal, Note, Task, Ticket
from middleware.model.call import CallRecord, Direction, LoggedCall
from middleware.model.contact import Contact, ContactNumber, Email, Field, Link
from middleware.model.deadline import Deadline
from middleware.model.phone import parse_number

NUMBER = parse_number("+46701740605", "SE")
ADA = Contact(id="1", display_name="Ada Webb")
STARTED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SCHEMA = """
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, phone TEXT);
INSERT INTO person VALUES (1, 'Ada Webb', '070-174 06 05'), (2, 'Bo Ek', '08-465 004 12');
CREATE TABLE call_log (id INTEGER PRIMARY KEY, call_key TEXT UNIQUE, person INTEGER, body TEXT, seconds INTEGER);
"""
FIND = "SELECT id, name AS display_name, phone AS number FROM person WHERE replace(replace(phone, ' ', ''), '-', '') "
QUERIES = {
    "find_contacts": FIND + "LIKE '%' || :suffix",
    "log_call": "INSERT INTO call_log (call_key, person, body, seconds) "
    "VALUES (:key, :contact_id, :body, :duration_seconds)",
    "find_logged_call": "SELECT id, 'https://crm.example/call/' || id AS url FROM call_log WHERE call_key = :key",
    "update_call": "UPDATE call_log SET body = :body WHERE id = :external_id",
}


class Crm:
    """A database of the test's own and adapters on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: list[SQLAdapter] = []
        self.run(SCHEMA)

    def run(self, script: str) -> None:
        database = sqlite3.connect(self.path)
        database.executescript(script)
        database.close()

    def rows(self, query: str) -> list[Any]:
        database = sqlite3.connect(self.path)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    def adapter(
        self, *without: str, links: dict[str, str] | None = None, tz: str = "UTC", **queries: str
    ) -> SQLAdapter:
        kept = {name: query for name, query in {**QUERIES, **queries}.items() if name not in without}
        url = Secret(f"sqlite:///{self.path}")
        adapter = SQLAdapter(SQLSettings(url=url, queries=kept, create_links=links or {}, timezone=tz))
        self.opened.append(adapter)
        return adapter


@pytest.fixture
def crm(tmp_path: Path) -> Iterator[Crm]:
    crm = Crm(tmp_path / "crm.db")
    yield crm
    for adapter in crm.opened:
        adapter.close()


def context(adapter: SQLAdapter, seconds: float = 30) -> Context:
    return build_context(adapter, region="SE", deadline=Deadline.after(timedelta(seconds=seconds)))


def contacts(adapter: SQLAdapter) -> list[Contact]:
    return list(adapter.find_contacts(NUMBER, context(adapter)))


def call(**changes: Any) -> CallRecord:
    values: dict[str, Any] = {
        "id": "c1",
        "key": "key-1",
        "direction": Direction.INBOUND,
        "contact_number": NUMBER,
        "own_number": parse_number("+46846500400", "SE"),
        "started_at": STARTED,
        "duration": timedelta(seconds=83),
        "subject": "Call",
        "body": "Asked for a quote.",
    }
    return CallRecord(**{**values, **changes})


# contacts ------------------------------------------------------------------------------------------
def test_a_contact_is_found_however_its_number_is_written(crm: Crm) -> None:
    """A broad query finds the contact and hands over the number as it is stored."""
    assert contacts(crm.adapter()) == [
        Contact(id="1", display_name="Ada Webb", numbers=(ContactNumber(number="070-174 06 05"),))
    ]


def test_every_spelling_of_the_number_is_a_parameter(crm: Crm) -> None:
    """A query may compare with any way of writing the number."""
    spellings = (
        "SELECT 1 AS id, 0 AS number, :raw || ' ' || :e164 || ' ' || :national || ' ' || :national_digits || ' '"
    )
    query = spellings + " || :international || ' ' || :double_zero || ' ' || :suffix AS company"
    found = contacts(crm.adapter(find_contacts=query))[0].company
    assert found == "+46701740605 +46701740605 070-174 06 05 0701740605 46701740605 0046701740605 01740605"


def test_rows_of_one_id_are_one_contact(crm: Crm) -> None:
    """A join over phones gives one contact with all numbers, e-mails and facts, each once."""
    query = """
        SELECT 7 AS id, 'Ada' AS first_name, '070-1' AS number, 'Mobile' AS number_comment, '08-1' AS number_2,
               'a@x.example' AS email, 'Work' AS email_comment, 'gold' AS field_service_level, '' AS title,
               '2026-03-01' AS updated_at, 'https://crm.example/7' AS url
        UNION ALL SELECT 7, 'Ada', '070-2', NULL, '08-1', 'a@x.example', 'Work', 'gold', '', '2026-03-01', ''"""
    assert contacts(crm.adapter(find_contacts=query)) == [
        Contact(
            id="7",
            display_name="",
            first_name="Ada",
            numbers=(
                ContactNumber(number="070-1", comment="Mobile"),
                ContactNumber(number="08-1"),
                ContactNumber(number="070-2"),
            ),
            emails=(Email(address="a@x.example", comment="Work"),),
            fields=(Field(title="Service level", comment="gold"),),
            url="https://crm.example/7",
            updated_at=datetime(2026, 3, 1, tzinfo=UTC),
        )
    ]


def test_a_contact_is_found_by_id(crm: Crm) -> None:
    """A typed id is looked up as it came; an unknown one is nobody."""
    adapter = crm.adapter(find_contact_by_id="SELECT id, name AS display_name FROM person WHERE id = :id")
    found = adapter.find_contact_by_id("2", context(adapter))
    assert found is not None
    assert found.display_name == "Bo Ek"
    assert adapter.find_contact_by_id("99", context(adapter)) is None


@pytest.mark.parametrize("text", ["1' OR '1'='1", "'; DROP TABLE person; --", "\x00", "\ud800", "%"])
def test_nothing_is_pasted_into_a_query(crm: Crm, text: str) -> None:
    """Whatever a caller sends is data: it finds nobody and harms nothing."""
    adapter = crm.adapter(find_contact_by_id="SELECT id FROM person WHERE id = :id")
    assert adapter.find_contact_by_id(text, context(adapter)) is None
    assert crm.rows("SELECT count(*) FROM person") == [(2,)]


def test_links_carry_the_contact(crm: Crm) -> None:
    """The buttons hold the contact's id, quoted for a URL."""
    adapter = crm.adapter(links={"New note": "https://crm.example/{id}/note"})
    links = adapter.create_links(Contact(id="a/b c", display_name=""))
    assert list(links) == [Link(name="New note", url="https://crm.example/a%2Fb%20c/note")]


# activities ----------------------------------------------------------------------------------------
def test_all_six_kinds_of_activities_are_read(crm: Crm) -> None:
    """Every kind is filled by the names of its columns; NULL and empty are left out."""
    at = "'2026-03-01T12:00:00Z' AS timestamp"
    adapter = crm.adapter(
        find_notes=f"SELECT {at}, 'x' AS body, 1 AS markdown, NULL AS header WHERE :contact_id = 1",
        find_tasks=f"SELECT {at}, 1772366400 AS due_date, 0 AS done, '' AS status WHERE :contact_id = '1'",
        find_calls=f"SELECT {at}, '+46701740605' AS from_number, 'x' AS to_number, 83 AS duration",
        find_tickets=f"SELECT {at}, 'high' AS priority UNION ALL SELECT '2026-03-01T12:00:00Z', 'Brådskande'",
        find_deals=f"SELECT {at}, 12.5 AS amount, 'SEK' AS currency, 'true' AS done",
        find_appointments=f"SELECT {at}, '2026-03-01 13:00' AS start_date, 1772373600000 AS end_date",
    )
    ctx = context(adapter)
    assert list(adapter.find_notes(ADA, ctx)) == []  # the id is text: compare with text, or CAST
    assert list(adapter.find_tasks(ADA, ctx)) == [Task(timestamp=STARTED, due_date=STARTED, done=False)]
    assert list(adapter.find_calls(ADA, ctx)) == [
        Call(timestamp=STARTED, from_number="+46701740605", to_number="x", duration=timedelta(seconds=83))
    ]
    assert list(adapter.find_tickets(ADA, ctx)) == [
        Ticket(timestamp=STARTED, priority="HIGH"),
        Ticket(timestamp=STARTED),
    ]
    assert list(adapter.find_deals(ADA, ctx)) == [
        Deal(timestamp=STARTED, amount=Decimal("12.5"), currency="SEK", done=True)
    ]
    hour = timedelta(hours=1)
    assert list(adapter.find_appointments(ADA, ctx)) == [
        Appointment(timestamp=STARTED, start_date=STARTED + hour, end_date=STARTED + 2 * hour)
    ]


def test_times_without_a_zone_are_read_in_the_configured_one(crm: Crm) -> None:
    """A database that keeps local times says so once."""
    adapter = crm.adapter(tz="Europe/Stockholm", find_notes="SELECT '2026-07-01 12:00:00' AS timestamp")
    note = next(iter(adapter.find_notes(ADA, context(adapter))))
    assert note.timestamp == datetime(2026, 7, 1, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("columns", "column"),
    [
        ("'yesterday' AS timestamp", "timestamp"),
        ("1e30 AS timestamp", "timestamp"),
        ("NULL AS timestamp", "timestamp"),
        ("'x' AS body", "timestamp"),
        ("0 AS timestamp, 'maybe' AS done", "done"),
        ("0 AS timestamp, 'much' AS amount", "amount"),
    ],
)
def test_a_value_that_cannot_be_read_is_named_by_its_column(crm: Crm, columns: str, column: str) -> None:
    """The error names query and column, so that a person finds them, and never the value."""
    adapter = crm.adapter(find_deals=f"SELECT {columns}")
    with pytest.raises(CRMResponseError) as caught:
        list(adapter.find_deals(ADA, context(adapter)))
    assert str(caught.value).startswith(f"queries.find_deals: the column {column} ")
    assert not any(value in str(caught.value) for value in ("yesterday", "1e", "maybe", "much"))


def test_a_text_that_is_not_in_the_encoding_is_not_shown(crm: Crm) -> None:
    """A broken text is an unreadable answer; the driver's message, which quotes it, is kept away."""
    adapter = crm.adapter(find_notes="SELECT 0 AS timestamp, CAST(x'73656372657480' AS TEXT) AS body")
    with pytest.raises(CRMResponseError) as caught:
        list(adapter.find_notes(ADA, context(adapter)))
    assert "secret" not in str(caught.value) + str(caught.value.vendor_text)


# calls ---------------------------------------------------------------------------------------------
def test_a_call_is_written_with_its_facts(crm: Crm) -> None:
    """One call is one row, and its id and page in the CRM come back."""
    adapter = crm.adapter()
    logged = adapter.log_call(call(), ADA, context(adapter))
    assert logged == LoggedCall(external_id="1", url="https://crm.example/call/1")
    assert crm.rows("SELECT call_key, person, body, seconds FROM call_log") == [("key-1", 1, "Asked for a quote.", 83)]


@pytest.mark.parametrize("end", ["", " ON CONFLICT (call_key) DO NOTHING"])
def test_a_call_is_written_once(crm: Crm, end: str) -> None:
    """A second log of the same call finds the first, whether the query says what to do or the database refuses."""
    adapter = crm.adapter(log_call=QUERIES["log_call"] + end)
    first = adapter.log_call(call(), ADA, context(adapter))
    assert adapter.log_call(call(), ADA, context(adapter)) == first
    assert crm.rows("SELECT count(*) FROM call_log") == [(1,)]


def test_without_a_query_to_find_it_the_call_is_known_by_its_key(crm: Crm) -> None:
    """The key is the id unless the query returns one."""
    adapter = crm.adapter("find_logged_call")
    assert adapter.log_call(call(), ADA, context(adapter)) == LoggedCall(external_id="key-1")
    returning = crm.adapter("find_logged_call", log_call=QUERIES["log_call"] + " RETURNING id")
    assert returning.log_call(call(key="key-2"), ADA, context(adapter)) == LoggedCall(external_id="2")


def test_a_call_of_nobody_is_written_too(crm: Crm) -> None:
    """Without a contact the contact's id is NULL."""
    adapter = crm.adapter()
    adapter.log_call(call(), None, context(adapter))
    assert crm.rows("SELECT person FROM call_log") == [(None,)]


def test_a_call_is_completed(crm: Crm) -> None:
    """What came later replaces the text of the same row."""
    adapter = crm.adapter()
    logged = adapter.log_call(call(), ADA, context(adapter))
    adapter.update_call(logged, call(body="With a summary."), context(adapter))
    assert crm.rows("SELECT body FROM call_log") == [("With a summary.",)]


def test_a_call_that_is_not_there_is_none(crm: Crm) -> None:
    """Asking for a call that was never written finds nothing."""
    adapter = crm.adapter()
    assert adapter.find_logged_call(call(), context(adapter)) is None


def test_text_that_no_database_takes_is_written_without_it(crm: Crm) -> None:
    """A lone surrogate or NUL in a body costs that character and not the call."""
    adapter = crm.adapter()
    adapter.log_call(call(body="a\ud800b\x00c"), ADA, context(adapter))
    assert crm.rows("SELECT body FROM call_log") == [("a\ufffdb\ufffdc",)]


# failures ------------------------------------------------------------------------------------------
def test_a_wrong_query_is_a_rejection_with_the_databases_words(crm: Crm) -> None:
    """A person reads what the database says; the message itself holds neither query nor parameters."""
    adapter = crm.adapter(find_contacts="SELECT id FROM persn WHERE phone = :e164")
    with pytest.raises(CRMRejectedError) as caught:
        contacts(adapter)
    assert caught.value.vendor_text == "no such table: persn"
    assert str(caught.value) == "the database refuses queries.find_contacts"


def test_a_refused_row_is_a_rejection(crm: Crm) -> None:
    """What the database refuses for another reason than the key is no duplicate."""
    crm.run("CREATE TABLE strict_log (call_key TEXT UNIQUE, must TEXT NOT NULL)")
    adapter = crm.adapter(log_call="INSERT INTO strict_log VALUES (:key, :agent)")
    with pytest.raises(CRMRejectedError) as caught:
        adapter.log_call(call(), ADA, context(adapter))
    assert "NOT NULL" in str(caught.value.vendor_text)


def test_a_locked_database_is_tried_again_later(crm: Crm) -> None:
    """A lock that outlasts the deadline is transient, and nobody waits longer than the deadline for it."""
    adapter = crm.adapter()
    holder = sqlite3.connect(crm.path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises((CRMTimeoutError, CRMUnavailableError)):
            adapter.log_call(call(), ADA, context(adapter, seconds=0.1))
    finally:
        holder.close()
    assert crm.rows("SELECT count(*) FROM call_log") == [(0,)]


def test_a_query_without_end_ends_at_the_deadline(crm: Crm) -> None:
    """A query that would run for ever is interrupted, and the next one on the connection is not."""
    forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS id FROM n"
    adapter = crm.adapter(find_contact_by_id=forever)
    with pytest.raises(CRMTimeoutError):
        adapter.find_contact_by_id("1", context(adapter, seconds=0.1))
    assert len(contacts(adapter)) == 1


def test_a_database_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    """A database that cannot be opened is transient, and its URL stays secret."""
    url = Secret(f"sqlite:///{tmp_path}/hidden-folder/crm.db")
    adapter = SQLAdapter(SQLSettings(url=url, queries=QUERIES))
    with pytest.raises(CRMUnavailableError) as caught:
        contacts(adapter)
    assert "hidden-folder" not in str(caught.value) + str(caught.value.vendor_text)


def test_no_failure_tells_what_was_asked(crm: Crm) -> None:
    """No error's message or cause holds a number, a body or a row."""
    adapter = crm.adapter("find_logged_call")
    adapter.log_call(call(), ADA, context(adapter))
    with pytest.raises(CRMError) as caught:
        adapter.log_call(call(), ADA, context(adapter))
    assert caught.value.__cause__ is None
    assert not any(text in repr(caught.value) for text in ("key-1", "46701740605", "quote"))


def test_many_threads_may_ask_at_once(crm: Crm) -> None:
    """One adapter serves threads side by side."""
    from concurrent.futures import ThreadPoolExecutor

    adapter = crm.adapter()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: len(contacts(adapter)), range(64)))
    assert found == [1] * 64


def test_note_is_read_whole(crm: Crm) -> None:
    """A note has every field that its row has."""
    columns = "0 AS timestamp, 'b' AS body, 1 AS markdown, 'h' AS header, 'c' AS custom_header"
    adapter = crm.adapter(find_notes=f"SELECT {columns}, 'u' AS associated_user, 'https://x.example/' AS link")
    assert list(adapter.find_notes(ADA, context(adapter))) == [
        Note(
            timestamp=datetime.fromtimestamp(0, UTC),
            body="b",
            markdown=True,
            header="h",
            custom_header="c",
            associated_user="u",
            link="https://x.example/",
        )
    ]


def test_file_that_is_replaced_is_opened_anew(crm: Crm) -> None:
    """A CRM that was restored from a copy answers from that copy at once, and is written into it."""
    adapter = crm.adapter()
    assert [found.id for found in contacts(adapter)] == ["1"]
    crm.path.rename(crm.path.with_suffix(".old"))
    crm.run(SCHEMA.replace("(1, 'Ada Webb'", "(9, 'Ada Webb'"))
    assert [found.id for found in contacts(adapter)] == ["9"]
    adapter.log_call(call(), ADA, context(adapter))
    assert len(crm.rows("SELECT * FROM call_log")) == 1


@pytest.mark.parametrize("is_open", [True, False])
def test_file_that_is_gone_is_not_made_anew(crm: Crm, is_open: bool) -> None:
    """While the file is not there the CRM is down: nothing is written into what is no file any more, or a new one."""
    adapter = crm.adapter()
    if is_open:
        adapter.log_call(call(), ADA, context(adapter))
    aside = crm.path.rename(crm.path.with_suffix(".old"))
    for _ in range(2):
        with pytest.raises(CRMUnavailableError, match="not there"):
            contacts(adapter)
    assert not crm.path.exists()
    aside.rename(crm.path)
    assert [found.id for found in contacts(adapter)] == ["1"]
