"""``m8crm database``: looking changes nothing, upgrading says what it did."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.cli.conftest import Run, told

NONE = {"engine": "sqlite", "revision": None, "wanted": "0001", "is_current": False}


def test_status_changes_nothing(run: Run, demo_folder: Path) -> None:
    """Before the first start there is no revision, and looking makes neither tables nor a file."""
    assert told(run("database", "status", "--json")) == NONE
    assert not (demo_folder / "m8crm.db").exists()
    assert "revision none; this m8crm wants 0001" in run("database", "status").output


def test_upgrade_tells_before_and_after(run: Run, demo_folder: Path) -> None:
    """The first upgrade makes the tables, the second has nothing to do."""
    assert told(run("database", "upgrade", "--json")) == {"engine": "sqlite", "before": None, "revision": "0001"}
    assert "revision 0001; it was 0001" in run("database", "upgrade").output
    assert told(run("database", "status", "--json"))["is_current"]
    assert "as this m8crm wants it" in run("database", "status").output, demo_folder


def test_tables_of_a_newer_program_end_in_a_sentence(run: Run, demo_folder: Path) -> None:
    """An older program shows what it finds, and refuses to work on it in one line."""
    run("database", "upgrade")
    with closing(sqlite3.connect(demo_folder / "m8crm.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '0999'")
    assert told(run("database", "status", "--json"))["revision"] == "0999"
    for command in (("database", "upgrade"), ("events", "list")):
        result = run(*command)
        assert result.exit_code == 2
        assert result.stderr.startswith("m8crm: the database is at revision 0999, which a newer m8crm has made")
