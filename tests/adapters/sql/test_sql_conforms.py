"""The SQL adapter keeps what the middleware promises, over SQLite."""

import sqlite3
from contextlib import closing
from pathlib import Path

from adapters.sql import SQLAdapter, SQLSettings
from middleware.crm.settings import Secret
from middleware.testing.conformance import Conformance
from middleware.testing.conformance.samples import KEY

SCHEMA = f"""
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, phone TEXT);
CREATE TABLE note (person INTEGER, written TEXT, text TEXT);
CREATE TABLE call_log (id INTEGER PRIMARY KEY, call_key TEXT UNIQUE, person INTEGER, body TEXT);
INSERT INTO person VALUES (1, 'Ada Webb', '070-174 06 05');
INSERT INTO note VALUES (1, '2026-01-31 09:30', 'Wants an offer');
INSERT INTO call_log VALUES (9, '{KEY}', 1, 'An earlier attempt');
"""
QUERIES = {
    "find_contacts": "SELECT id, name AS display_name, phone AS number FROM person "
    "WHERE replace(replace(phone, ' ', ''), '-', '') LIKE '%' || :suffix",
    "find_contact_by_id": "SELECT id, name AS display_name, phone AS number FROM person WHERE id = :id",
    "find_notes": "SELECT written AS timestamp, text AS body FROM note WHERE person = :contact_id",
    "log_call": "INSERT INTO call_log (call_key, person, body) VALUES (:key, :contact_id, :body) "
    "ON CONFLICT (call_key) DO NOTHING",
    "find_logged_call": "SELECT id FROM call_log WHERE call_key = :key",
    "update_call": "UPDATE call_log SET body = :body WHERE id = :external_id",
    "create_contact": "INSERT INTO person (name, phone) VALUES (:display_name, :e164) RETURNING id",
}


class TestSQL(Conformance):
    """What of the kit is not about HTTP."""

    adapter = SQLAdapter

    def build_settings(self, folder: Path) -> SQLSettings:
        """Make a database of the check's own."""
        with closing(sqlite3.connect(folder / "crm.db")) as database:
            database.executescript(SCHEMA)
        return SQLSettings(url=Secret(f"sqlite:///{folder}/crm.db"), queries=QUERIES)
