"""Five senders, one call, one record in the CRM: through the real server, in every order."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest
import requests

from middleware.demo.data import KNOWN_NUMBERS, load_secrets
from middleware.demo.samples import SAMPLES, Situation
from tests.web.test_gunicorn import start_gunicorn

SENT = {"calllog": "call", "recording": "v2", "pbx": "queue_call", "cdr": "answered", "postcall": "full"}
ORDERS = list(permutations(SENT))
BEGAN = datetime(2026, 2, 1, 9, 0, tzinfo=UTC)
FACTS = (  # who knows it
    "Ada Webb",  # pbx
    "Sales",  # pbx, cdr
    "Wants 17 pumps.",  # calllog
    "Call back on Monday",  # postcall
    "positive",  # postcall
    ".json",  # postcall: the transcript
    "Reason",  # cdr
    "8 s",  # recording: how long the caller waited
)


def situation(place: int) -> Situation:
    """Return a call of its own for each order."""
    return Situation(
        contact=KNOWN_NUMBERS["nordlys"][0],
        own="+46846500400",
        began_at=BEGAN + place * timedelta(hours=1),
        duration=timedelta(seconds=95),
        call_id=f"call-{place:016}",
        summary="Wants 17 pumps.",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the data folder of a server that has been told of one call per order by all five."""
    folder = tmp_path_factory.mktemp("five")
    with start_gunicorn(folder) as server, requests.Session() as session:
        host, port = server.address
        secrets = load_secrets(folder)["nordlys"]
        for place, order in enumerate(ORDERS):
            for sender in order:
                url, headers = f"http://{host}:{port}/nordlys/{sender}", {}
                if sender in ("cdr", "postcall"):
                    url += f"?token={secrets[sender]}"
                elif sender == "pbx":
                    headers["X-Pbx-Token"] = secrets[sender]
                else:
                    key = "insights" if sender == "calllog" else sender
                    headers["Authorization"] = f"Bearer {secrets[key]}"
                body = SAMPLES[sender][SENT[sender]](situation(place))
                answer = session.post(url, json=body, headers=headers, timeout=20)
                assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
        while any(state not in ("delivered",) for state in states(folder)):
            time.sleep(0.1)  # pytest's time-out ends it
        yield folder


def states(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "m8crm.db")) as database:
        queued = database.execute("SELECT state FROM event WHERE state != 'planned'").fetchall()
        return [state for (state,) in [*queued, *database.execute("SELECT state FROM delivery").fetchall()]]


def rows(folder: Path) -> list[dict[str, str]]:
    (file,) = [file for file in folder.glob("**/nordlys*.db") if "crm" in str(file) or "nordlys" in file.name]
    with closing(sqlite3.connect(file)) as database:
        database.row_factory = sqlite3.Row
        found = database.execute("SELECT * FROM call_log WHERE call_key LIKE 'm8-%'").fetchall()
        return [dict(row) for row in found]


def test_every_order_is_one_record(folder: Path) -> None:
    """Of each call the CRM has one record, whatever the order in which five senders told of it."""
    began = sorted(row["began"] for row in rows(folder))
    assert len(began) == len(ORDERS)
    assert len(set(began)) == len(ORDERS)


@pytest.mark.parametrize("fact", FACTS)
def test_record_has_what_each_sender_knows(folder: Path, fact: str) -> None:
    """Every record holds the facts of all five senders."""
    for row in rows(folder):
        assert fact in json.dumps(row, ensure_ascii=False, default=str)
