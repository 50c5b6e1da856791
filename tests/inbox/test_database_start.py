"""A start waits for a database that others hold: a master whose workers give up ends the service."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from middleware.inbox import database as module
from middleware.inbox.database import open_database


def test_start_waits_for_whoever_holds_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that starts while another one holds the file, as SQLite does to recover its log, is patient."""
    url = f"sqlite:///{tmp_path / 'inbox.db'}"
    open_database(url).close()
    monkeypatch.setattr(module, "WAIT", 0.01)
    with closing(sqlite3.connect(tmp_path / "inbox.db", check_same_thread=False, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(0.2, other.rollback).start()
        open_database(url).close()
