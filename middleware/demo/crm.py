"""The demo's two CRMs: SQLite databases with schemas as unlike as those of two real systems."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

from middleware.demo.people import BRITONS, SWEDES

SWEDISH = """
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, company TEXT, title TEXT, email TEXT, changed TEXT);
CREATE TABLE phone (person INTEGER, number TEXT, label TEXT);
CREATE TABLE note (person INTEGER, header TEXT, text TEXT, author TEXT, written TEXT, is_markdown INTEGER DEFAULT 0);
CREATE TABLE todo (person INTEGER, header TEXT, text TEXT, state TEXT, done INTEGER, owner TEXT, made TEXT, due TEXT);
CREATE TABLE ticket (person INTEGER, header TEXT, text TEXT, priority TEXT, board TEXT, stage TEXT, made TEXT);
CREATE TABLE deal (person INTEGER, header TEXT, text TEXT, value REAL, currency TEXT, stage TEXT, won INTEGER, made TEXT, closes TEXT);
CREATE TABLE meeting (person INTEGER, header TEXT, text TEXT, place TEXT, begins TEXT, ends TEXT, status TEXT);
CREATE TABLE call_log (id INTEGER PRIMARY KEY, call_key TEXT UNIQUE, person INTEGER, direction TEXT, number TEXT, own TEXT,
                       began TEXT, seconds INTEGER, subject TEXT, text TEXT, agent TEXT,
                       outcome TEXT, owner TEXT, recording TEXT);
"""
BRITISH = """
CREATE TABLE contacts (id INTEGER PRIMARY KEY, full_name TEXT, org TEXT, job TEXT, email TEXT, phone1 TEXT, phone2 TEXT,
                       account_manager TEXT, touched INTEGER);
CREATE TABLE activities (id INTEGER PRIMARY KEY, contact INTEGER, kind TEXT, title TEXT, details TEXT, at INTEGER, until INTEGER,
                         status TEXT, extra TEXT, amount REAL, ref TEXT UNIQUE);
CREATE TABLE calls (id INTEGER PRIMARY KEY, ref TEXT NOT NULL UNIQUE, contact INTEGER, caller TEXT, callee TEXT, at INTEGER,
                    secs INTEGER, summary TEXT);
"""


def build_swedish(path: Path, now: datetime) -> None:
    """Write the normalised CRM: a table per thing, ISO times."""

    def ago(days: float) -> str:
        return (now - timedelta(days=days)).isoformat(timespec="seconds")

    with sqlite3.connect(path) as db:
        db.executescript(SWEDISH)
        for id_, name, company, title, email, numbers in SWEDES:
            db.execute("INSERT INTO person VALUES (?,?,?,?,?,?)", (id_, name, company, title, email, ago(id_ % 9)))
            db.executemany("INSERT INTO phone VALUES (?,?,?)", [(id_, number, "Arbete") for number in numbers])
        notes = [
            (101, f"Avstämning {n}", f"Punkt {n} på listan är klar.", "ada@nordlys.example", ago(n * 3), 0)
            for n in range(1, 13)
        ]
        notes += [
            (101, "Avtal", "**Ramavtal** till årsskiftet:\n\n- 20 % rabatt\n- [villkor](https://crm.example/villkor)", "ada@nordlys.example", ago(0.5), 1),
            (102, "Lunch", "<p>Vill ha <b>offert</b> på fler anknytningar.</p>", "bo@nordlys.example", ago(8), 0),
            (107, "Bygget", "Ringer helst före åtta.", "bo@nordlys.example", ago(30), 0),
        ]  # fmt: skip
        db.executemany("INSERT INTO note VALUES (?,?,?,?,?,?)", notes)
        db.executemany("INSERT INTO todo VALUES (?,?,?,?,?,?,?,?)", [
            (101, "Ny integration", "Kontrollera att kopplingen fungerar.", "Pågår", 0, "ada@nordlys.example", ago(4), ago(-3)),
            (104, "Återkoppla", "Skicka prislista.", "Klar", 1, "bo@nordlys.example", ago(20), ago(18)),
        ])  # fmt: skip
        db.executemany("INSERT INTO ticket VALUES (?,?,?,?,?,?,?)", [
            (101, "Brus på linjen", "Hörs bara på förmiddagen.", "HIGH", "Support", "Väntar på kund", ago(2)),
            (109, "Fel nummer visas", "Växelnumret syns i stället för direktnumret.", "LOW", "Support", "Nytt", ago(6)),
        ])  # fmt: skip
        db.executemany("INSERT INTO deal VALUES (?,?,?,?,?,?,?,?,?)", [
            (101, "40 anknytningar", "Byter från gammal växel.", 184000.0, "SEK", "Förhandling", 0, ago(25), ago(-20)),
            (110, "Inspelning", "Tillägg för inspelning.", 12500.5, "SEK", "Vunnen", 1, ago(70), ago(40)),
        ])  # fmt: skip
        db.executemany("INSERT INTO meeting VALUES (?,?,?,?,?,?,?)", [
            (101, "Genomgång", "Visa nya kortet.", "Stora Torget 1", ago(-2), ago(-2.05), "Bokat"),
            (108, "Mässan", "", "Svenska Mässan", ago(12), ago(11), "Genomfört"),
        ])  # fmt: skip
        db.execute(
            "INSERT INTO call_log (call_key, person, direction, number, own, began, seconds, subject, text) "
            "VALUES ('old-1', 101, 'inbound', '+46701740605', '+46846500400', ?, 312, 'Samtal', 'Frågade om leverans.')", (ago(1),)
        )  # fmt: skip
    db.close()


def build_british(path: Path, now: datetime) -> None:
    """Write the flat CRM: one table of activities, Unix seconds."""
    today = int(now.timestamp())
    day = 86_400
    with sqlite3.connect(path) as db:
        db.executescript(BRITISH)
        for id_, name, org, job, email, numbers in BRITONS:
            row = (id_, name, org, job, email, *numbers, *[None] * (2 - len(numbers)), "Sam Field", today - id_ * day)
            db.execute("INSERT INTO contacts VALUES (?,?,?,?,?,?,?,?,?)", row)
        rows = [
            (
                1,
                "note",
                "Spoke at the fair",
                "Prefers e-mail in the mornings.",
                today - 3 * day,
                None,
                None,
                "Sam Field",
                None,
            ),
            (
                1,
                "task",
                "Send samples",
                "Two boxes, by courier.",
                today - 2 * day,
                today + 5 * day,
                "Open",
                "Sam Field",
                None,
            ),
            (1, "ticket", "Wrong invoice", "VAT is missing.", today - day, None, "Waiting", "MEDIUM", None),
            (1, "deal", "Spring order", "400 copies.", today - 9 * day, today + 30 * day, "Proposal", "GBP", 5600.0),
            (
                1,
                "meeting",
                "Quarterly review",
                "Bring the figures.",
                today - 5 * day,
                today - 5 * day + 3600,
                "Held",
                "Pier 4",
                None,
            ),
            (2, "note", "Allergies", "Kitchen is nut-free.", today - 40 * day, None, None, "Jo Reid", None),
            (5, "ticket", "No dial tone", "Since Monday.", today - 4 * day, None, "New", "HIGH", None),
            (14, "deal", "Retainer", "Yearly.", today - 90 * day, today - 60 * day, "Won", "GBP", 12000.0),
        ]
        db.executemany(
            "INSERT INTO activities (contact, kind, title, details, at, until, status, extra, amount) VALUES (?,?,?,?,?,?,?,?,?)", rows
        )  # fmt: skip
        db.execute(
            "INSERT INTO calls (ref, contact, caller, callee, at, secs, summary) VALUES (?,?,?,?,?,?,?)",
            ("old-1", 1, "+442079460100", "+447700900101", today - 6 * day, 95, "Left a message."),
        )
    db.close()
