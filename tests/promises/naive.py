"""What a webhook is often answered by: 200 at once, and a queue in the process's memory.  The control of P1."""

from __future__ import annotations

import os
import sqlite3
import threading
from queue import SimpleQueue
from uuid import uuid4

from flask import Flask, Response

app = Flask("naive")
_queue: SimpleQueue[str] = SimpleQueue()


@app.get("/-/live")
def live() -> Response:
    """Answer."""
    return Response("{}", mimetype="application/json")


@app.post("/<customer>/calllog")
def receive(customer: str) -> dict[str, str]:
    """Acknowledge first, and write later."""
    event_id = uuid4().hex
    _queue.put(event_id)
    return {"status": "accepted", "id": event_id}


def _write() -> None:
    database = sqlite3.connect(os.environ["NAIVE_STORE"], timeout=20)
    with database:
        database.execute("CREATE TABLE IF NOT EXISTS event (id TEXT)")
    while True:
        with database:
            database.execute("INSERT INTO event VALUES (?)", (_queue.get(),))


threading.Thread(target=_write, daemon=True).start()
