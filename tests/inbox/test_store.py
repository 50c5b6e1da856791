"""Events are kept once, durably, or refused."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from middleware.errors import StorageError
from middleware.inbox.database import open_database
from middleware.inbox.store import Inbox

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ROOT = Path(__file__).resolve().parent.parent.parent
ACCEPT_FOREVER = """
import sys
from datetime import UTC, datetime
from middleware.inbox.store import Inbox
inbox = Inbox(sys.argv[1], key=b"k" * 32, now=lambda: datetime.now(UTC))
for n in range(10**9):
    inbox.accept("acme", "calllog", key=str(n), raw=b"x" * 500, content_type="")
    print(n, flush=True)
"""


@pytest.fixture
def inbox(database_url: str) -> Iterator[Inbox]:
    inbox = Inbox(database_url, key=b"k" * 32, now=lambda: NOW)
    yield inbox
    inbox.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Inbox]:
    """Return an inbox in a file, for what SQLite promises."""
    inbox = Inbox(f"sqlite:///{tmp_path / 'inbox.db'}", key=b"k" * 32, now=lambda: NOW)
    yield inbox
    inbox.close()


def accept(inbox: Inbox, key: str = "1", raw: bytes = b"{}", tenant: str = "acme") -> str:
    return inbox.accept(tenant, "calllog", key=key, raw=raw, content_type="application/json").status


def test_same_event_is_a_duplicate_and_changed_one_is_not(inbox: Inbox) -> None:
    """Key and content make an event; another customer's is another."""
    assert [accept(inbox), accept(inbox), accept(inbox, raw=b"[]"), accept(inbox, tenant="other")] == [
        "accepted",
        "duplicate",
        "accepted",
        "accepted",
    ]


def test_twenty_copies_at_once_are_one_event(inbox: Inbox) -> None:
    """Copies that arrive at the same moment are all acknowledged and stored once."""
    with ThreadPoolExecutor(20) as senders:
        answers = list(senders.map(lambda _: accept(inbox), range(20)))
    assert sorted(answers) == ["accepted", *["duplicate"] * 19]
    assert len(inbox.list_events()) == 1


def test_keys_and_database_hold_no_number_in_the_clear(file: Inbox, tmp_path: Path) -> None:
    """A key is kept as a keyed hash; the file is its owner's only."""
    accept(file, key="+46701740605")
    assert b"701740605" not in (tmp_path / "inbox.db").read_bytes() + (tmp_path / "inbox.db-wal").read_bytes()
    assert (tmp_path / "inbox.db").stat().st_mode & 0o077 == 0


def test_acknowledged_events_survive_kill_9(database_url: str) -> None:
    """What was acknowledged before the process was killed is there afterwards, five times over."""
    acknowledged = set()
    for life in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", ACCEPT_FOREVER.replace("str(n)", f"'{life}-' + str(n)"), database_url],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(40)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines(keepends=True)
        child.stdout.close()
        child.wait()
        acknowledged |= {f"{life}-{line.strip().decode()}" for line in lines if line.endswith(b"\n")}
    inbox = Inbox(database_url, key=b"k" * 32, now=lambda: NOW)
    lost = [
        key
        for key in acknowledged
        if inbox.accept("acme", "calllog", key=key, raw=b"x" * 500, content_type="").status != "duplicate"
    ]
    inbox.close()
    assert len(acknowledged) >= 200
    assert lost == []


def test_commits_are_synchronous(file: Inbox) -> None:
    """The database is in WAL mode and waits for the disk; power loss rests on that."""
    with file.database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_full_disk_refuses_and_heals(file: Inbox) -> None:
    """A full database refuses; nothing is half stored; with room again it goes on."""
    accept(file)
    with file.database.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError):
        accept(file, key="2", raw=b"x" * 200_000)
    assert len(file.list_events()) == 1
    with file.database.read() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert accept(file, key="2", raw=b"x" * 200_000) == "accepted"


def test_locked_database_refuses_in_time(file: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that holds the lock makes us refuse, and not hang."""
    monkeypatch.setattr("middleware.inbox.database.WAIT", 0.05)
    impatient = Inbox(f"sqlite:///{tmp_path / 'inbox.db'}", key=b"k" * 32, now=lambda: NOW)
    holder = sqlite3.connect(tmp_path / "inbox.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError):
        accept(impatient)
    holder.execute("COMMIT")
    holder.close()
    assert accept(impatient) == "accepted"
    impatient.close()


def test_database_that_cannot_be_opened_is_a_storage_error(tmp_path: Path) -> None:
    """A file that is no database is refused at start."""
    (tmp_path / "inbox.db").write_bytes(b"not a database " * 100)
    with pytest.raises(StorageError):
        Inbox(f"sqlite:///{tmp_path / 'inbox.db'}", key=b"k" * 32, now=lambda: NOW)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_database_that_was_removed_acknowledges_nothing(file: Inbox, tmp_path: Path, is_replaced: bool) -> None:
    """Whoever removes or replaces the file of a running process has its senders refused until it is back."""
    assert accept(file) == "accepted"
    path, away = tmp_path / "inbox.db", tmp_path / "away.db"
    path.rename(away)
    if is_replaced:
        shutil.copy(away, path)
    with pytest.raises(StorageError):
        accept(file, key="2")
    with pytest.raises(StorageError):
        file.check()
    away.rename(path)
    assert accept(file, key="2") == "accepted"


def test_server_that_does_not_wait_for_its_disk_is_told_to(own_postgres: str) -> None:
    """A PostgreSQL with ``synchronous_commit`` off, as tests have it, waits for its disk when it stores our events."""
    with closing(open_database(own_postgres)) as database, database.write() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    with psycopg.connect(own_postgres) as other:
        assert other.execute("SHOW synchronous_commit").fetchone() == ("off",)
