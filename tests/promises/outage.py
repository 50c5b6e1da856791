"""P17: after an outage of the CRM the backlog drains at the rate that is set, and calls of now do not wait for it."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import quantiles
from time import monotonic, sleep

from sqlalchemy import create_engine, text

from benchmarks.customers import add_customer
from benchmarks.servers import run_stub
from benchmarks.table import Figure, say
from tests.promises.databases import new_database, new_folder
from tests.promises.installation import Installation
from tests.promises.senders import Senders

EVENTS = 10_000
OUTAGE = 3600.0  # seconds
REQUESTS = 30  # a second: what is set
NEW = 1.0  # calls a second while the backlog drains
PAUSES, PAUSE = 5, 4.0  # how often the CRM wants to be spared, and for how many seconds
P95 = 60.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was seen from the moment when the CRM was back."""

    took: float  # seconds until nothing was left
    busiest: float  # requests in the busiest second
    early: int  # requests while the CRM wanted to be spared
    delays: list[float]  # seconds that new calls waited


def measure(database: str, *, events: int = EVENTS, outage: float = OUTAGE) -> Figure:
    """Let a backlog come together while the CRM is down; then have new calls come while it drains."""
    ours = _drain(database, events, outage, budget=f"{REQUESTS}/s")
    control = _drain(database, events // 10, 0.0, budget="none")
    p95 = quantiles(ours.delays, n=20)[-1]
    return Figure(
        what=f"P17 {events:,} calls after an outage of {outage / 60:g} min, {database}",
        figure=f"drained in {ours.took:.0f} s ({events / ours.took:.0f} calls/s), at most {ours.busiest:g} requests in"
        f" a second; {ours.early} while {PAUSES} times Retry-After held; new calls wait p95 {p95:.1f} s",
        goal=f"≤ {REQUESTS} requests/s, 0 early, p95 ≤ {P95:g} s",
        reached=ours.busiest <= REQUESTS and not ours.early and p95 <= P95,
        control=f"no rate is set: {control.busiest:g} requests in a second",
        control_reached=control.busiest <= REQUESTS,
        samples={"took": [ours.took], "busiest": [ours.busiest], "delays": ours.delays},
    )


def _drain(database: str, events: int, outage: float, *, budget: str) -> Outcome:
    with new_folder() as folder, new_database(database, folder) as url, run_stub(core=None) as stub:
        add_customer(folder, "acme", stub.url("acme"), adapter="busy-stub", budget=budget)
        with Installation(folder, url, web_workers=1) as installation:
            stub.tell("acme", status=503)
            down = monotonic()
            with Senders(lambda: installation.port, most=events) as senders:
                senders.wait_for(events, seconds=900)
            say(f"{events:,} calls wait; the CRM is down for {max(0.0, outage - monotonic() + down):.0f} s more")
            sleep(max(0.0, outage - (monotonic() - down)))
            stub.tell("acme", status=200)
            back, back_at = monotonic(), read(url, "SELECT max(received_at) FROM event")[0]
            with Senders(lambda: installation.port, clients=1, first=events, pause=1 / NEW):
                pauses = PAUSES
                while left := read(url, _LEFT, before=back_at)[0]:
                    if pauses and left < events * pauses // (PAUSES + 1):
                        pauses -= 1
                        stub.tell("acme", spare=PAUSE)
                        say(f"{left:,} calls left after {monotonic() - back:.0f} s")
                    sleep(0.25)
            took = monotonic() - back
            while read(url, _LEFT, before=1e18)[0]:
                sleep(0.25)
            seen = stub.seen("acme")
        delays = read(url, _DELAYS, after=back_at)
    return Outcome(took=took, busiest=seen["busiest"], early=seen["early"], delays=delays)


_CALLS = "FROM event LEFT JOIN delivery ON delivery.call_seq = event.call_seq"
_LEFT = f"SELECT count(*) {_CALLS} WHERE received_at <= :before AND delivery.finished_at IS NULL"
_DELAYS = f"SELECT finished_at - received_at {_CALLS} WHERE received_at > :after"


def read(url: str, query: str, **values: float) -> list[float]:
    """Return the first column of what the database answers."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = list(connection.execute(text(query), values).scalars())
    engine.dispose()
    return found
