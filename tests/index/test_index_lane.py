"""The lane finds the customers who have an index, keeps it, and removes what nobody wants any more."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from middleware.errors import ConfigError
from middleware.index.lane import IndexLane
from middleware.tenants.config import load_tenant
from middleware.tenants.registry import Tenants
from middleware.tenants.secrets import digest
from middleware.tenants.tenant import IndexConfig
from tests.index.rolodex import Town

FILE = """
name = "Acme"
region = "SE"
[secrets]
insights = ["{digest}"]
[[crm]]
adapter = "sql"
url = "sqlite:///{folder}/crm.db"
{index}
[crm.queries]
find_contacts = "SELECT id, name AS display_name, phone AS number FROM person WHERE phone = :e164"
{iter_contacts}
"""
ITER = '''iter_contacts = """
SELECT id, name AS display_name, phone AS number FROM person
WHERE updated >= datetime(:since) ORDER BY id LIMIT :limit OFFSET :offset"""'''


def write(folder: Path, index: str, iter_contacts: str = ITER, name: str = "acme") -> Path:
    path = folder / f"{name}.toml"
    secret = digest("a-long-secret-of-the-tests")
    path.write_text(FILE.format(digest=secret, folder=folder, index=index, iter_contacts=iter_contacts))
    return path


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town.at(f"sqlite:///{tmp_path / 'inbox.db'}")
    yield town
    town.inbox.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "crm.db")) as database, database:
        database.execute("CREATE TABLE person (id INTEGER PRIMARY KEY, name, phone, updated)")
        database.execute("INSERT INTO person VALUES (1, 'Ada', '070-174 06 05', '2026-02-01 12:00:00')")
    return tmp_path


def test_the_lane_builds_and_follows_what_a_file_wants(town: Town, folder: Path) -> None:
    """A customer whose file asks for an index has one after a look; then its changes are followed."""
    write(folder, "index = true")
    write(folder, "", name="other")
    tenants = Tenants(folder)
    lane = IndexLane(town.inbox, tenants)
    assert lane.run_once() == 1
    tenant = tenants.get("acme")
    assert tenant
    assert town.who(tenant, "+46701740605") == ["1"]
    assert lane.run_once() == 1  # what has changed during the build
    assert lane.run_once() == 0
    with closing(sqlite3.connect(folder / "crm.db")) as database, database:
        database.execute("INSERT INTO person VALUES (2, 'Bo', '070-174 06 06', '2026-03-01 12:01:00')")
    town.later(minutes=6)
    assert lane.run_once() == 1
    assert town.who(tenant, "+46701740606") == ["2"]


def test_an_index_that_no_file_wants_is_removed(town: Town, folder: Path) -> None:
    """Whoever switches the index off leaves nothing of it; that of a file that is gone is kept for a while."""
    write(folder, "index = true")
    write(folder, "index = true", name="gone")
    IndexLane(town.inbox, Tenants(folder)).run_once()
    write(folder, "index = false")
    (folder / "gone.toml").unlink()
    IndexLane(town.inbox, Tenants(folder)).run_once()
    assert [state.tenant_id for state in town.store.list_states()] == ["gone"]
    town.later(days=31)
    IndexLane(town.inbox, Tenants(folder)).run_once()
    assert town.store.list_states() == []
    assert b"070-174 06 05" not in (folder / "inbox.db").read_bytes()


def test_files_that_mention_no_index_are_not_understood(town: Town, folder: Path) -> None:
    """Ten thousand customers without an index cost a look at their files and no more."""
    write(folder, "", iter_contacts="")
    assert Tenants(folder).ids(re.compile(b"index")) == []
    write(folder, "index = true", name="other")
    assert Tenants(folder).ids(re.compile(b"index")) == ["other"]


@pytest.mark.parametrize(
    ("index", "config"),
    [("", None), ("index = false", None), ("index = true", IndexConfig())],
)
def test_the_index_is_switched_on(folder: Path, index: str, config: IndexConfig | None) -> None:
    """A CRM that can search has an index only where its file says so."""
    assert load_tenant(write(folder, index)).sources[0].index == config


def test_the_knobs_of_an_index_are_spans(folder: Path) -> None:
    """How often and how old is the customer's to say."""
    tenant = load_tenant(write(folder, 'index = { every = "10m", full_every = "7d", trusted_for = "1h" }'))
    index = tenant.sources[0].index
    assert index
    assert [span.total_seconds() for span in (index.every, index.full_every, index.trusted_for)] == [600, 604800, 3600]


@pytest.mark.parametrize(
    ("index", "iter_contacts", "problem"),
    [
        ("index = true", "", "index: its adapter cannot list contacts"),
        ("index = 5", ITER, "index: write true, false or"),
        ('index = { every = "5" }', ITER, "index.every: Write a span"),
        ('index = { every = "15m" }', ITER, "index.trusted_for: must be longer than every"),
        ('index = { evry = "5m" }', ITER, "did you mean 'every'"),
        ("index = true", 'iter_contacts = "SELECT id, phone AS number FROM person"', "LIMIT :limit OFFSET :offset"),
    ],
)
def test_a_wrong_index_is_told(folder: Path, index: str, iter_contacts: str, problem: str) -> None:
    """A fault in the file is told with its key, and with what to do."""
    with pytest.raises(ConfigError, match=re.escape(problem)):
        load_tenant(write(folder, index, iter_contacts))


def test_the_sql_adapter_reads_page_by_page(town: Town, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contacts of several rows are whole though pages cut through them, and none is missing when rows go meanwhile."""
    monkeypatch.setattr("adapters.sql.PAGE", 20)
    monkeypatch.setattr("adapters.sql.OVERLAP", 8)
    people = [(i, f"+46701{i:06}", f"+46702{i:06}") for i in range(2, 60)]
    with closing(sqlite3.connect(folder / "crm.db")) as database, database:
        database.execute("CREATE TABLE phone (person, number)")
        for i, *numbers in people:
            database.execute("INSERT INTO person VALUES (?, 'Bo', NULL, '2026-02-01 12:00:00')", (i,))
            database.executemany("INSERT INTO phone VALUES (?, ?)", [(i, number) for number in numbers])
    several = '''iter_contacts = """
    SELECT id, name AS display_name, number FROM person JOIN phone ON person = id
    WHERE updated >= datetime(:since) ORDER BY id LIMIT :limit OFFSET :offset"""'''
    tenant = load_tenant(write(folder, "index = true", several))
    adapter: Any = tenant.sources[0].adapter
    run, pages = adapter._run, []

    def run_and_remove(*args: Any, **kwargs: Any) -> Any:
        page = run(*args, **kwargs)
        pages.append(page)
        with closing(sqlite3.connect(folder / "crm.db")) as database, database:
            database.execute("DELETE FROM phone WHERE person = ?", (len(pages) + 1,))
        return page

    monkeypatch.setattr(adapter, "_run", run_and_remove)
    town.sync(tenant)
    assert len(pages) > len(people) * 2 // 20
    for i, *numbers in people:
        assert [town.who(tenant, number) for number in numbers] == [[str(i)], [str(i)]]
