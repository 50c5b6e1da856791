"""The recipe for adapters does what it says, and names everything there is."""

from __future__ import annotations

import re
import sqlite3
import sys
import textwrap
import tomllib
import types
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import docutils.core
import pytest
import responses

from adapters.sql import PARAMETERS, SQLAdapter, SQLSettings
from middleware.crm.base import CRMAdapter
from middleware.crm.context import build_context
from middleware.crm.mapping import is_column, required_columns
from middleware.crm.parameters import KINDS
from middleware.crm.settings import Secret
from middleware.model.contact import Contact, ContactNumber
from middleware.model.deadline import Deadline
from middleware.model.phone import parse_number

README = (Path(__file__).resolve().parent.parent.parent / "adapters" / "README.rst").read_text(encoding="utf-8")
NUMBER = parse_number("+46701740605", "SE")


def block(beginning: str) -> str:
    """Return the indented block that begins with ``beginning``."""
    lines = README[README.index(f" {beginning}\n") :].splitlines()
    first = README[: README.index(f" {beginning}\n") + 1].rpartition("\n")[2]
    held = takewhile(lambda line: not line or line.startswith(first), [first + lines[0].lstrip(), *lines[1:]])
    return textwrap.dedent("\n".join(held))


@pytest.fixture
def acme() -> Iterator[CRMAdapter[Any]]:
    module = types.ModuleType("acme_of_the_readme")
    sys.modules[module.__name__] = module
    exec(compile(block("from collections.abc import Iterable"), "README.rst", "exec"), vars(module))
    yield module.AcmeAdapter(module.AcmeSettings(token=Secret("t0ken")))
    del sys.modules[module.__name__]


@responses.activate
def test_the_example_is_an_adapter(acme: CRMAdapter[Any]) -> None:
    """The class of the recipe works as it stands: signed, and with the contact's numbers."""
    person = {"id": 7, "name": "Ada Webb", "phones": ["070-174 06 05"], "web_url": "https://acme.example/7"}
    responses.get(
        "https://api.acme.example/people?phone=01740605",
        json=[person],
        match=[responses.matchers.header_matcher({"Authorization": "Bearer t0ken"})],
    )
    ctx = build_context(acme, region="SE", deadline=Deadline.after(timedelta(seconds=30)))
    assert list(acme.find_contacts(NUMBER, ctx)) == [
        Contact(
            id="7",
            display_name="Ada Webb",
            numbers=(ContactNumber(number="070-174 06 05"),),
            url="https://acme.example/7",
        )
    ]
    assert not acme.can("log_call")


def test_the_sql_example_is_a_configuration(tmp_path: Path) -> None:
    """The table of the example is accepted as it stands, and its queries run."""
    table = tomllib.loads(block('[[crm]]\n   adapter = "sql"'))["crm"][0]
    database = sqlite3.connect(tmp_path / "crm.db")
    database.executescript(
        "CREATE TABLE person (id INTEGER PRIMARY KEY, name, phone, mobile);"
        "INSERT INTO person VALUES (1, 'Ada', '08-465 004 12', '070-174 06 05');"
        "CREATE TABLE note (person, written, text, author);"
        "CREATE TABLE call_log (id INTEGER PRIMARY KEY, call_key UNIQUE, person, began, seconds, text)"
    )
    database.close()
    assert (table.pop("adapter"), table.pop("url")) == ("sql", {"env": "ACME_DATABASE_URL"})
    adapter = SQLAdapter(SQLSettings(url=Secret(f"sqlite:///{tmp_path}/crm.db"), **table))
    ctx = build_context(adapter, region="SE", deadline=Deadline.after(timedelta(seconds=30)))
    assert [finding.message for finding in adapter.check(ctx) if not finding.ok] == []
    assert [contact.numbers[1].comment for contact in adapter.find_contacts(NUMBER, ctx)] == ["Mobile"]
    adapter.close()


@pytest.mark.parametrize("name", sorted(set().union(*PARAMETERS.values())))
def test_every_parameter_is_listed(name: str) -> None:
    """Whoever writes a query finds its parameters."""
    assert f"``:{name}``" in README


@pytest.mark.parametrize("query", PARAMETERS)
def test_every_query_is_listed(query: str) -> None:
    """Whoever connects a database finds what may be asked."""
    assert f"``{query}``" in README


def test_every_column_is_listed_and_no_other() -> None:
    """The table of columns is the code's."""
    table = README[README.index("Columns; bold") :]
    rows = dict(re.findall(r"   \* - (.+)\n     - ((?:.|\n       )+)", table))
    shared = _columns(rows["every activity"])
    for query, kind in KINDS.items():
        listed = _columns(rows[f"``{query}``"]) | shared
        assert listed == {field.name for field in fields(kind)}, query
        assert set(re.findall(r"\*\*(\w+)\*\*", rows[f"``{query}``"] + rows["every activity"])) == set(
            required_columns(kind)
        )
    listed = _columns(rows["``find_contacts``, ``find_contact_by_id``, ``iter_contacts``"])
    single = {field.name for field in fields(Contact)} - {"numbers", "emails", "fields"}
    assert single < listed
    assert all(is_column(Contact, name) for name in listed - {"field_", "find_contact_by_id"})


def _columns(cell: str) -> set[str]:
    return set(re.findall(r"(?:\*\*|``)(\w+)(?:\*\*|``)", cell))


def test_the_page_is_good_rst() -> None:
    """The page reads without a warning wherever it is shown."""
    told: list[str] = []

    class Ear:
        def write(self, text: str) -> None:
            told.append(text)

    settings = {"report_level": 2, "warning_stream": Ear(), "syntax_highlight": "none"}
    docutils.core.publish_string(README, writer="null", settings_overrides=settings)
    assert told == []
