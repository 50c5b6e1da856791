"""P5: every call is in the CRM once, whatever is killed; where nobody can know, that is said."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from time import monotonic, sleep
from typing import Any

from sqlalchemy import create_engine, text

from benchmarks.customers import add_customer
from benchmarks.servers import Stub, run_stub
from benchmarks.table import Figure, say
from tests.promises.databases import new_database, new_folder
from tests.promises.installation import Installation
from tests.promises.senders import Senders

KILLS = 60
CUSTOMERS = 8  # whose calls are written at the same time
CRM_SECONDS = 0.05  # a write takes: most kills meet some under way
SENDERS, PAUSE = 4, 0.1  # calls come as long as workers are killed: each kill meets some
QUICK = {"M8CRM_ATTEMPT": "1", "M8CRM_LEASE": "2.5"}  # seconds, so that a kill need not be waited for for long
PATIENCE = 240.0  # seconds until all is delivered after the last kill: leases end, and failures wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the CRMs have at the end.

    ``twice``: calls that were written more than once, by how many too often (``surplus``); ``untold``: those of them
    that say nothing of it; ``set_aside``: calls that met three kills, and that a person has had tried again.
    """

    calls: int
    missing: int
    twice: int
    surplus: int
    untold: int
    told: int
    set_aside: int
    took: float


def measure(database: str, *, kills: int = KILLS) -> list[Figure]:
    """Kill workers while they write; a CRM that can be asked for a call has each once, another may have some twice."""
    asked = _harass(database, "busy-stub", kills)
    blind = _harass(database, "blind-stub", kills)
    return [
        Figure(
            what=f"P5 calls in the CRM under kill -9 of workers, {database}: a CRM that can be asked",
            figure=f"{asked.twice} twice, {asked.missing} missing of {asked.calls:,}; {kills} kills, {asked.set_aside}"
            f" set aside after three; {asked.took:.0f} s",
            goal="0 twice, 0 missing",
            reached=not asked.twice and not asked.missing,
            control=f"one that cannot: {blind.twice} twice",
            control_reached=not blind.twice,
            samples={"twice": [asked.twice], "missing": [asked.missing]},
        ),
        Figure(
            what=f"P5 calls in the CRM under kill -9 of workers, {database}: a CRM that cannot be asked",
            figure=f"{blind.twice} twice, of which {blind.untold} without a word; {blind.missing} missing of"
            f" {blind.calls:,}; {blind.told} are told to be perhaps duplicates",
            goal=f"≤ 1 twice for each write that a kill met ({kills * CUSTOMERS}), all told; 0 missing",
            reached=blind.surplus <= kills * CUSTOMERS and not blind.untold and not blind.missing,
            samples={"twice": [blind.twice], "told": [blind.told], "missing": [blind.missing]},
        ),
    ]


def _harass(database: str, adapter: str, kills: int) -> Outcome:
    began = monotonic()
    random = Random(kills)
    names = [f"c{i}" for i in range(CUSTOMERS)]
    with new_folder() as folder, new_database(database, folder) as url, run_stub(core=None) as stub:
        for name in names:
            stub.tell(name, delay=CRM_SECONDS)
            add_customer(folder, name, stub.url(name), adapter=adapter)
        with Installation(folder, url, web_workers=1, environ=QUICK) as installation:
            with Senders(
                lambda: installation.port, clients=SENDERS, customer_of=lambda i: names[i % CUSTOMERS], pause=PAUSE
            ) as senders:
                for i in range(kills):
                    before = _written(stub, names)
                    until = monotonic() + 20
                    while _written(stub, names) <= before + CUSTOMERS // 2 and monotonic() < until:
                        sleep(0.01)
                    sleep(random.random() * CRM_SECONDS)
                    installation.kill("worker0")
                    installation.start("worker0")
                    if i % 10 == 9:
                        say(f"{i + 1} of {kills} kills, {_written(stub, names):,} writes")
            total = len(senders.acknowledged)
            set_aside = _settle(url, total, installation)
        counts = {key: count for name in names for key, count in stub.seen(name)["calls"].items()}
        told = _read(url, "SELECT call.key FROM call JOIN delivery ON call_seq = call.seq WHERE maybe_duplicate")
    told = {f"m8-{key[:32]}" for key in told}
    twice = {key for key, count in counts.items() if count > 1}
    return Outcome(
        calls=total,
        missing=total - len(counts),
        twice=len(twice),
        surplus=sum(counts.values()) - len(counts),
        untold=len(twice - told),
        told=len(told),
        set_aside=set_aside,
        took=monotonic() - began,
    )


def _settle(url: str, total: int, installation: Installation) -> int:
    """Wait until every call is delivered; have tried again what was set aside, and return how many that were."""
    until, set_aside = monotonic() + PATIENCE, 0
    while (done := len(_read(url, "SELECT id FROM delivery WHERE state = 'delivered'"))) < total:
        assert monotonic() < until, f"{done} of {total} calls are delivered"
        if dead := len(_read(url, "SELECT id FROM delivery WHERE state = 'dead'")):
            set_aside += dead
            installation.run("events", "retry", "--state", "dead")
        sleep(0.2)
    return set_aside


def _written(stub: Stub, names: list[str]) -> int:
    return sum(stub.seen(name)["writes"] for name in names)


def _read(url: str, query: str) -> set[Any]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = set(connection.execute(text(query)).scalars())
    engine.dispose()
    return found
