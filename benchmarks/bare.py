"""A bare Flask view that gives the same bytes after the same bearer check: what Flask itself costs.

With ``BENCH_CUSTOMERS`` it seeks the customer in a list of so many, and with ``BENCH_CRM`` it asks each customer's CRM
on the request's own thread, as nobody should.  An event is stored with a commit of its own in the SQLite file
``BENCH_STORE``, and then, with ``BENCH_CRM``, told the CRM before it is acknowledged.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

from flask import Flask, Response, request

app = Flask("bare")
BODY = Path(os.environ["BENCH_BODY"]).read_bytes() if "BENCH_BODY" in os.environ else b"{}"
HEADER = f"Bearer {os.environ['BENCH_SECRET']}"
CUSTOMERS = [f"c{i}" for i in range(int(os.environ.get("BENCH_CUSTOMERS", "0")))]
CRM = os.environ.get("BENCH_CRM")
PATIENCE = 2.6  # seconds


@app.get("/<customer>/lookup")
def lookup(customer: str) -> Response:
    """Answer the one contact that there is."""
    number = request.args.get("fromNumber")
    if request.headers.get("Authorization") != HEADER or not number:
        return Response(status=403)
    if CUSTOMERS and not any(known == customer for known in CUSTOMERS):
        return Response(status=403)
    return Response(_ask(customer, number) if CRM else BODY, mimetype="application/json")


@app.post("/<customer>/<sender>")
def receive(customer: str, sender: str) -> Response:
    """Keep an event."""
    raw = request.get_data()
    key = json.dumps(sorted(json.loads(raw).items()))
    connection = _database()
    with connection:
        connection.execute("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?)", (customer, sender, key, raw))
    if CRM:
        _ask(customer, "")
    return Response(BODY, mimetype="application/json")


def _database() -> sqlite3.Connection:
    if not hasattr(_local, "connection"):
        _local.connection = sqlite3.connect(os.environ["BENCH_STORE"], timeout=20)
        _local.connection.execute("PRAGMA journal_mode = WAL")
        _local.connection.execute("PRAGMA synchronous = FULL")
        _local.connection.execute("CREATE TABLE IF NOT EXISTS event (a, b, c, d, UNIQUE (a, b, c))")
    connection: sqlite3.Connection = _local.connection
    return connection


_local = threading.local()


def _ask(customer: str, number: str) -> bytes:
    with urlopen(f"{CRM}/{customer}/contacts?number={quote(number)}", timeout=PATIENCE) as answer:
        body: bytes = answer.read()
        return body
