"""``m8crm index``: how it stands, built at once, dropped."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Run, told

KNOWN = "+46701740605"
QUERIES = '''[crm.queries]
iter_contacts = """
SELECT p.id, p.name AS display_name, phone.number FROM person p JOIN phone ON phone.person = p.id
WHERE p.changed >= :since ORDER BY p.id LIMIT :limit OFFSET :offset"""
'''


@pytest.fixture
def indexed(demo_folder: Path) -> Path:
    """Return a demo whose Swedish customer has an index."""
    file = demo_folder / "customers" / "nordlys.toml"
    text = file.read_text(encoding="utf-8")
    text = text.replace('adapter = "sql"\n', 'adapter = "sql"\nindex = true\n').replace("[crm.queries]\n", QUERIES)
    file.write_text(text, encoding="utf-8")
    return demo_folder


def test_an_index_is_built_shown_and_dropped(run: Run, indexed: Path) -> None:
    """A hoster sees that an index is missing, builds it, sees how it stands, and removes it."""
    assert told(run("index", "status", "--json")) == [{"customer": "nordlys", "crm": "sql", "state": "not begun"}]
    (built,) = told(run("index", "build", "nordlys", "--json"))
    assert (built["state"], built["built_here"], built["error"]) == ("ready", True, None)
    assert built["contacts"] > 0
    assert f"nordlys  sql  ready  {built['contacts']} contacts, as of " in run("index", "status", "nordlys").stdout
    looked_up = told(run("lookup", "nordlys", KNOWN, "--json"))
    assert looked_up["outcome"] == "hit"
    assert "index" in [step["name"] for step in looked_up["trace"]["steps"]]
    assert told(run("index", "drop", "nordlys", "--json"))["removed"] == {"sql": built["contacts"]}
    assert told(run("index", "status", "--json"))[0]["state"] == "not begun"


def test_a_build_that_fails_says_why(run: Run, indexed: Path) -> None:
    """The status of a build whose CRM fails is 1, and the words are for people."""
    with closing(sqlite3.connect(indexed / "crm" / "nordlys.db")) as database, database:
        database.execute("DROP TABLE phone")
    result = run("index", "build", "nordlys")
    assert result.exit_code == 1
    assert "failing" in result.stdout
    assert "it refuses the request (CRMRejectedError)" in result.stdout
    result = run("index", "build", "nordlys")
    assert "2 failures" in result.stdout


@pytest.mark.parametrize("command", ["build", "drop"])
def test_a_crm_without_an_index_is_told(run: Run, demo_folder: Path, command: str) -> None:
    """Whoever names a CRM that has no index is told so, and what to do."""
    result = run("index", command, "harbour")
    assert result.exit_code == 2
    assert "index" in result.stderr


def test_what_is_kept_of_a_number_includes_the_index(run: Run, indexed: Path) -> None:
    """``export`` shows the contact that the index has, ``forget`` removes him from it."""
    run("index", "build", "nordlys")
    (kept,) = told(run("export", "nordlys", KNOWN))["indexed_contacts"]
    assert (kept["crm"], bool(kept["display_name"])) == ("sql", True)
    assert told(run("forget", "nordlys", KNOWN, "--json"))["indexed_contacts"] == 1
    assert told(run("export", "nordlys", KNOWN))["indexed_contacts"] == []
    name = kept["display_name"].encode()
    ours = [file for file in indexed.glob("m8crm.db*") if file.is_file()]
    assert ours
    assert not [file.name for file in ours if name in file.read_bytes()]


def test_a_build_can_be_left_to_a_worker(run: Run, indexed: Path) -> None:
    """``--request`` comes back at once, and the status says that it waits."""
    assert told(run("index", "build", "nordlys", "--request", "--json")) == [
        {"customer": "nordlys", "crm": "sql", "requested": True}
    ]
    assert told(run("index", "status", "--json"))[0]["state"] == "waiting for a worker"
    assert "sql: the next worker does it" in run("index", "build", "nordlys", "--request").stdout
