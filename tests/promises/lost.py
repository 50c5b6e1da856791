"""P1: no acknowledged event is lost, whatever is killed (RELIABILITY: "commit, then 200")."""

from __future__ import annotations

from collections import Counter
from random import Random
from time import monotonic, sleep

from sqlalchemy import create_engine, text

from benchmarks.customers import add_customer
from benchmarks.servers import run_stub
from benchmarks.table import Figure, say
from tests.promises import naive
from tests.promises.databases import new_database, new_folder
from tests.promises.installation import Installation
from tests.promises.senders import Senders

KILLS, LEAST = 60, 20_000
CONTROL_KILLS = 6


def measure(database: str, *, kills: int = KILLS, least: int = LEAST) -> Figure:
    """Kill processes while eight senders send; then seek every event that was acknowledged in the database."""
    began = monotonic()
    with new_folder() as folder, new_database(database, folder) as url, run_stub(core=None) as stub:
        add_customer(folder, "acme", stub.url("acme"), adapter="busy-stub")
        with Installation(folder, url) as installation:
            acknowledged, refused, killed = _harass(installation, kills, least)
        lost = acknowledged - _stored(url)
    with new_folder() as folder:
        store = folder / "naive.db"
        with Installation(folder, workers=0, environ={"NAIVE_STORE": str(store)}, web=naive.command(2)) as installation:
            control, _, _ = _harass(installation, min(kills, CONTROL_KILLS), least * CONTROL_KILLS // KILLS)
        control_lost = control - _stored(f"sqlite:///{store}")
    what = ", ".join(f"{count} of {kind}" for kind, count in sorted(killed.items()))
    return Figure(
        what=f"P1 acknowledged events that are lost under kill -9, {database}",
        figure=f"{len(lost)} of {len(acknowledged):,}; {kills} kills ({what}), {refused:,} requests sent again,"
        f" {monotonic() - began:.0f} s",
        goal=f"0 of ≥ {least:,}",
        reached=not lost and len(acknowledged) >= least,
        control=f"acknowledged before it is stored: {len(control_lost):,} of {len(control):,} lost",
        control_reached=not control_lost,
        samples={"lost": [len(lost)], "acknowledged": [len(acknowledged)], "control lost": [len(control_lost)]},
    )


def _harass(installation: Installation, kills: int, least: int) -> tuple[set[str], int, Counter[str]]:
    """Kill ``kills`` times, with so many acknowledgements between that ``least`` come together."""
    random = Random(kills)
    killed: Counter[str] = Counter()
    with Senders(lambda: installation.port) as senders:
        for i in range(kills):
            senders.wait_for(len(senders.acknowledged) + least // kills + 1)
            sleep(random.random() * 0.05)  # at any moment of a request
            killed[installation.kill_any(random)] += 1
            if i % 10 == 9:
                say(f"{i + 1} of {kills} kills, {len(senders.acknowledged):,} events acknowledged")
        senders.wait_for(len(senders.acknowledged) + 1)
        return set(senders.acknowledged.values()), senders.refused, killed


def _stored(url: str) -> set[str]:
    engine = create_engine(url)
    with engine.connect() as connection:
        stored = set(connection.execute(text("SELECT id FROM event")).scalars())
    engine.dispose()
    return stored
