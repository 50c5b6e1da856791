"""The tables come from migrations: on new and on older databases, by many processes, all or nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

import middleware.console.tables
import middleware.index.tables
import middleware.monitoring.tables
import middleware.recordings.tables  # noqa: F401 - their tables are of the same database
from middleware.errors import ConfigError, StorageError
from middleware.inbox import schema
from middleware.inbox.database import Database, open_database
from middleware.inbox.store import Inbox
from middleware.inbox.tables import metadata
from tests.postgres import PostgresServer

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROOT = Path(__file__).resolve().parent.parent.parent
STORE_ONE = """
import sys
from datetime import UTC, datetime
from middleware.inbox.store import Inbox
inbox = Inbox(sys.argv[1], key=b"k", now=lambda: datetime.now(UTC))
inbox.accept("acme", "calllog", key=sys.argv[2], raw=b"x", content_type="")
"""
FAILING = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0002", "0001"
def upgrade():
    op.create_table("half", sa.Column("id", sa.Integer))
    raise sa.exc.OperationalError("", {}, Exception("the disk is full"))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a database without a table, on both engines in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'inbox.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
def database(empty_url: str) -> Iterator[Database]:
    """Return an empty database, unchanged."""
    database = open_database(empty_url, migrates=False)
    yield database
    database.close()


def set_revision(database: Database, revision: str) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def test_migrations_lead_to_the_tables_that_the_code_uses(database: Database) -> None:
    """What the migrations make differs in nothing from the tables in the code: columns, types, indexes, constraints."""
    database.migrate()
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_latest_migration_is_the_one_that_is_wanted() -> None:
    """The revision that a start compares with is that of the last migration."""
    config = Config()
    config.set_main_option("script_location", str(schema.FOLDER))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD


def test_a_database_of_before_the_migrations_loses_nothing(empty_url: str, database: Database) -> None:
    """Tables without a revision are taken as they are, with all that is in them, and have one from then on."""
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).touch()
    metadata.create_all(database.engine)
    values = dict.fromkeys(("id", "tenant", "sender", "key", "digest", "content_type", "state"), "queued")
    with database.write() as connection:
        connection.execute(metadata.tables["event"].insert().values(raw=b"\0\xff", received_at=1.5, **values))
    assert database.state().revision is None
    inbox = Inbox(empty_url, key=b"k", now=lambda: NOW)
    (event,) = inbox.list_events()
    inbox.close()
    assert (event.raw, event.received_at.timestamp()) == (b"\0\xff", 1.5)
    assert database.state().is_current


def test_a_database_of_a_newer_program_is_refused(empty_url: str, database: Database) -> None:
    """A program that does not know the tables says so, says what to do, and changes nothing."""
    database.migrate()
    set_revision(database, "0999")
    with pytest.raises(StorageError, match=r"revision 0999, which a newer m8crm has made.*install the newer one"):
        Inbox(empty_url, key=b"k", now=lambda: NOW)
    assert database.state() == schema.State(revision="0999")


def test_a_migration_that_fails_changes_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failure the tables are as they were, and the next start tries again."""
    database.migrate()
    folder = tmp_path / "migrations"
    shutil.copytree(schema.FOLDER, folder)
    (folder / "versions" / "0002_failing.py").write_text(FAILING)
    monkeypatch.setattr(schema, "FOLDER", folder)
    monkeypatch.setattr(
        "middleware.inbox.schema.state_of", lambda _connection: schema.State(revision="0001", wanted="2")
    )
    with pytest.raises(StorageError, match="the database failed"):
        database.migrate()
    monkeypatch.undo()
    assert database.state().is_current
    with database.read() as connection:
        assert not inspect(connection).has_table("half")


def test_processes_that_start_together_do_not_hurt_each_other(empty_url: str, database: Database) -> None:
    """Six processes find an empty database at once; all of them store."""
    children = [
        subprocess.Popen([sys.executable, "-c", STORE_ONE, empty_url, str(number)], cwd=ROOT) for number in range(6)
    ]
    assert [child.wait(50) for child in children] == [0] * 6
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM event")).scalar() == 6


def test_another_database_is_refused() -> None:
    """What is neither SQLite nor PostgreSQL is refused by the name of the setting, without the password."""
    with pytest.raises(ConfigError, match="mysql is neither") as refused:
        open_database("mysql://user:secret@host/name")
    assert "secret" not in str(refused.value)


def test_a_url_may_name_any_driver(own_postgres: str) -> None:
    """What a hoster has from another program works: the driver is ours."""
    database = open_database(own_postgres.replace("postgresql://", "postgresql+psycopg2://"))
    assert database.state().is_current
    database.close()
