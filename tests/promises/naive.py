"""How webhooks are often answered: the control of P1 and P6.

It acknowledges first, with a queue in the process's memory (P1); with ``NAIVE_CHECKS`` it looks whether the event is
there before it stores it (P6).
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from queue import SimpleQueue
from uuid import uuid4

from flask import Flask, Response, request

app = Flask("naive")
_queue: SimpleQueue[tuple[str, bytes]] = SimpleQueue()


def command(workers: int) -> tuple[str, ...]:
    """Return how it is started, but for its port."""
    gunicorn = (sys.executable, "-m", "gunicorn", "-w", str(workers), "-k", "gthread", "--threads", "8")
    return (*gunicorn, "--no-control-socket", "-b", "127.0.0.1:{port}", "tests.promises.naive:app")


@app.get("/-/live")
def live() -> Response:
    """Answer."""
    return Response("{}", mimetype="application/json")


@app.post("/<customer>/calllog")
def receive(customer: str) -> dict[str, str]:
    """Acknowledge first, and write later; or look first."""
    event_id, body = uuid4().hex, request.get_data()
    if "NAIVE_CHECKS" not in os.environ:
        _queue.put((event_id, body))
        return {"status": "accepted", "id": event_id}
    database = _open()
    is_known = database.execute("SELECT 1 FROM event WHERE body = ?", (body,)).fetchone()
    time.sleep(0.01)  # what is done in between takes its time
    if not is_known:
        with database:
            database.execute("INSERT INTO event VALUES (?, ?)", (event_id, body))
    database.close()
    return {"status": "duplicate" if is_known else "accepted", "id": event_id}


def _open() -> sqlite3.Connection:
    database = sqlite3.connect(os.environ["NAIVE_STORE"], timeout=60)
    with database:
        database.execute("CREATE TABLE IF NOT EXISTS event (id TEXT, body BLOB)")
    return database


def _write() -> None:
    database = _open()
    while True:
        with database:
            database.execute("INSERT INTO event VALUES (?, ?)", _queue.get())


if "NAIVE_STORE" in os.environ:
    threading.Thread(target=_write, daemon=True).start()
