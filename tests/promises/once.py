"""P5: every call is in the CRM once, whatever is killed; where nobody can know, that is said."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from time import monotonic, sleep

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
CALLS_A_KILL = 12
PATIENCE = 240.0  # seconds until all is delivered after the last kill: leases end, and failures wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the CRMs have at the end: ``told`` counts the deliveries that say they may be duplicates."""

    calls: int
    missing: int
    duplicates: int
    told: int
    took: float


def measure(database: str, *, kills: int = KILLS) -> list[Figure]:
    """Kill workers while they write; a CRM that can be asked for a call has each once, another may have some twice."""
    asked = _harass(database, "busy-stub", kills)
    blind = _harass(database, "blind-stub", kills)
    untold = blind.duplicates - blind.told
    return [
        Figure(
            what=f"P5 calls in the CRM under kill -9 of workers, {database}: a CRM that can be asked",
            figure=f"{asked.duplicates} twice, {asked.missing} missing of {asked.calls:,}; {kills} kills,"
            f" {asked.took:.0f} s",
            goal="0 twice, 0 missing",
            reached=not asked.duplicates and not asked.missing,
            control=f"one that cannot: {blind.duplicates} twice",
            control_reached=not blind.duplicates,
            samples={"duplicates": [asked.duplicates], "missing": [asked.missing]},
        ),
        Figure(
            what=f"P5 calls in the CRM under kill -9 of workers, {database}: a CRM that cannot be asked",
            figure=f"{blind.duplicates} twice, of which {max(untold, 0)} without a word; {blind.missing} missing of"
            f" {blind.calls:,}; {blind.told} may be duplicates",
            goal=f"≤ 1 twice for each write that a kill met ({kills * CUSTOMERS}), all told; 0 missing",
            reached=blind.duplicates <= kills * CUSTOMERS and untold <= 0 and not blind.missing,
            samples={"duplicates": [blind.duplicates], "told": [blind.told], "missing": [blind.missing]},
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
        with Installation(folder, url, web_workers=1) as installation:
            total = kills * CALLS_A_KILL
            with Senders(
                lambda: installation.port, clients=2, customer_of=lambda i: names[i % CUSTOMERS], most=total
            ) as senders:
                senders.wait_for(total)
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
            _settle(url, total)
        counts = [count for name in names for count in stub.seen(name)["calls"].values()]
        told = _count(url, "SELECT count(*) FROM delivery WHERE maybe_duplicate")
    return Outcome(
        calls=total,
        missing=total - len(counts),
        duplicates=sum(count - 1 for count in counts),
        told=told,
        took=monotonic() - began,
    )


def _settle(url: str, total: int) -> None:
    """Wait until every call is delivered."""
    until = monotonic() + PATIENCE
    while (done := _count(url, "SELECT count(*) FROM delivery WHERE state = 'delivered'")) < total:
        assert monotonic() < until, f"{done} of {total} calls are delivered"
        sleep(0.2)


def _written(stub: Stub, names: list[str]) -> int:
    return sum(stub.seen(name)["writes"] for name in names)


def _count(url: str, query: str) -> int:
    engine = create_engine(url)
    with engine.connect() as connection:
        counted = int(connection.execute(text(query)).scalar_one())
    engine.dispose()
    return counted
