"""Fairness: a customer's backlog of ten thousand calls hardly delays another customer's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from time import sleep

from benchmarks.customers import add_customer
from benchmarks.servers import run_stub
from benchmarks.table import Figure, ratios, say, spread
from tests.promises.databases import new_database, new_folder
from tests.promises.installation import Installation
from tests.promises.outage import read
from tests.promises.senders import Senders

BACKLOG = 10_000
CRM_SECONDS = 0.1  # a request takes
OWN = "his own"
ROUNDS, CALLS, PAUSE = 5, 15, 0.4  # calls of the other customer in a round, seconds between two of them
MOST = 1.1


def measure(database: str, *, backlog: int = BACKLOG, rounds: int = ROUNDS) -> Figure:
    """Write one customer's calls in turn with and without another's backlog; who does not have his turn is frozen."""
    with ExitStack() as stack:
        stub = stack.enter_context(run_stub(core=None))
        machines = {}
        for name in ("alone", "beside"):
            folder = stack.enter_context(new_folder())
            url = stack.enter_context(new_database(database, folder))
            for customer in ("busy", "quiet"):
                stub.tell(f"{name}-{customer}", delay=CRM_SECONDS)
                add_customer(folder, customer, stub.url(f"{name}-{customer}"), adapter="busy-stub")
            machines[name] = (stack.enter_context(Installation(folder, url, web_workers=1)), url)
        installation, _ = machines["beside"]
        with Senders(lambda: installation.port, customer_of=lambda _: "busy", most=backlog) as senders:
            senders.wait_for(backlog)
        turns = {"alone": ("alone", "quiet"), "beside": ("beside", "quiet"), OWN: ("beside", "busy")}
        delays: dict[str, list[float]] = {turn: [] for turn in turns}
        first = backlog
        for round_ in range(rounds):
            for turn, (name, customer) in turns.items():
                machine, url = machines[name]
                (other,) = (one for key, (one, _) in machines.items() if key != name)
                with _frozen(other):
                    delays[turn].append(_delay(machine, url, customer, first))
                first += CALLS
            left = read(machines["beside"][1], _LEFT)[0]
            told = ", ".join(f"{turn} {waits[-1]:.3f} s" for turn, waits in delays.items())
            say(f"{round_ + 1} of {rounds}: {told}; {left:,} left")
            assert left > 0, "the backlog is gone: nothing was measured"
    share = ratios(delays["beside"], delays["alone"])
    control = ratios(delays[OWN], delays["alone"])
    return Figure(
        what=f"a call beside another customer's backlog of {backlog:,}, {database}",
        figure=f"{spread(share, digits=2)} of the time that it takes alone: {spread(delays['beside'], 's', 2)} beside"
        f" {spread(delays['alone'], 's', 2)}",
        goal=f"≤ {MOST:g}",
        reached=median(share) <= MOST,
        control=f"the customer's own calls, in turn with his backlog: {spread(control, digits=2)}",
        control_reached=median(control) <= MOST,
        samples=delays,
    )


_LEFT = "SELECT count(*) FROM event LEFT JOIN delivery ON delivery.call_seq = event.call_seq WHERE finished_at IS NULL"
_DELAYS = "SELECT finished_at - received_at FROM event JOIN delivery ON delivery.call_seq = event.call_seq"


def _delay(machine: Installation, url: str, customer: str, first: int) -> float:
    """Return how long a call of the customer takes to his CRM, from ``first`` on; half of them take less."""
    with Senders(
        lambda: machine.port, clients=1, customer_of=lambda _: customer, first=first, most=first + CALLS, pause=PAUSE
    ) as senders:
        senders.wait_for(CALLS)
        ids = ", ".join(f"'{event_id}'" for event_id in senders.acknowledged.values())
    delays: list[float] = []
    while len(delays) < CALLS:
        sleep(0.1)
        delays = read(url, f"{_DELAYS} WHERE finished_at IS NOT NULL AND event.id IN ({ids})")
    return median(delays)


@contextmanager
def _frozen(machine: Installation) -> Iterator[None]:
    for process in machine.processes.values():
        os.killpg(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in machine.processes.values():
            os.killpg(process.pid, signal.SIGCONT)
