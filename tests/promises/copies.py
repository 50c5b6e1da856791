"""P6: however often an event is sent, and to however many processes at once, it is there once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from threading import Barrier

from sqlalchemy import create_engine, text

from benchmarks.customers import add_customer
from benchmarks.table import Figure
from tests.promises import naive
from tests.promises.databases import new_database, new_folder
from tests.promises.installation import Installation
from tests.promises.senders import HEADERS, call_of

KEYS, COPIES, PROCESSES = 500, 20, 4


def measure(database: str, *, keys: int = KEYS) -> Figure:
    """Send every event twenty times at the same moment, over twenty connections."""
    with new_folder() as folder, new_database(database, folder) as url:
        add_customer(folder, "acme", "http://127.0.0.1:9", adapter="stub")
        with Installation(folder, url, workers=0, web_workers=PROCESSES) as installation:
            statuses = _send_copies(installation.port, keys)
        rows = _rows(url)
    accepted, repeated = statuses.count("accepted"), statuses.count("duplicate")
    with new_folder() as folder:
        store = folder / "naive.db"
        environ = {"NAIVE_STORE": str(store), "NAIVE_CHECKS": "1"}
        with Installation(folder, workers=0, environ=environ, web=naive.command(PROCESSES)) as installation:
            _send_copies(installation.port, keys // 10)
        control = _rows(f"sqlite:///{store}")
    return Figure(
        what=f"P6 {COPIES} copies at once of {keys} events, to {PROCESSES} processes, {database}",
        figure=f"{rows} rows; {accepted} answers said accepted, {repeated:,} duplicate",
        goal=f"{keys} rows, {keys} accepted, the rest duplicates",
        reached=(rows, accepted, repeated) == (keys, keys, keys * (COPIES - 1)),
        control=f"looked for before it is stored: {control} rows of {keys // 10}",
        control_reached=control == keys // 10,
        samples={"rows": [rows], "accepted": [accepted]},
    )


def _send_copies(port: int, keys: int) -> list[str]:
    barrier = Barrier(COPIES)

    def send(_: int) -> list[str]:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        statuses = []
        for index in range(keys):
            barrier.wait(60)
            connection.request("POST", "/acme/calllog", json.dumps(call_of(index)), HEADERS)
            statuses.append(json.loads(connection.getresponse().read()).get("status", ""))
        connection.close()
        return statuses

    with ThreadPoolExecutor(COPIES) as pool:
        return [status for statuses in pool.map(send, range(COPIES)) for status in statuses]


def _rows(url: str) -> int:
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = int(connection.execute(text("SELECT count(*) FROM event")).scalar_one())
    engine.dispose()
    return rows
