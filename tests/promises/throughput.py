"""How many calls a second are delivered, and acknowledged, and what more processes add."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count, islice
from statistics import median
from time import monotonic, sleep

from benchmarks.customers import SECRET, add_customer
from benchmarks.load import Ask, post
from benchmarks.servers import run_stub
from benchmarks.table import Figure, ratios, say, spread
from benchmarks.wrk import run_closed
from tests.promises.databases import new_database, new_folder
from tests.promises.installation import Installation
from tests.promises.outage import read
from tests.promises.senders import Senders, call_of

PROCESSES = (1, 2, 4)
CUSTOMERS, CALLS = 12, 1200  # calls in a round, of all customers together
CRM_SECONDS = 0.01  # a request takes
ROUNDS, SECONDS, CLIENTS = 3, 3.0, 16
GROWS = 1.2  # times as many with two processes as with one
WARM = 3.0  # seconds until processes that were started have nothing more to load
ONE = "one"  # the only customer of the control: his calls are written in turn
POLL = 0.1  # seconds between two looks at what is left, which cost as much as some deliveries
# no more than one row is looked for, by an index, however many calls there have been
_IS_LEFT = (
    "SELECT EXISTS (SELECT 1 FROM event WHERE state = 'queued')"
    " OR EXISTS (SELECT 1 FROM delivery WHERE state = 'waiting')"
)


def measure(database: str, *, rounds: int = ROUNDS, calls: int = CALLS) -> list[Figure]:
    """Measure deliveries, then acknowledgements; each number of processes in turn, ``rounds`` times."""
    return [_deliveries(database, rounds, calls), _acknowledgements(database, rounds)]


def _deliveries(database: str, rounds: int, calls: int) -> Figure:
    rates: dict[str, list[float]] = {}
    with new_folder() as folder, new_database(database, folder) as url, run_stub(core=None) as stub:
        customers = [f"c{i}" for i in range(CUSTOMERS)]
        for customer in (*customers, ONE):
            stub.tell(customer, delay=CRM_SECONDS)
            add_customer(folder, customer, stub.url(customer), adapter="busy-stub")
        first = 0
        with Installation(folder, url, workers=0, web_workers=1) as machine:
            for round_ in range(rounds):
                for workers in PROCESSES:
                    for name, whose, most in (("all", customers, calls), (ONE, [ONE], calls // CUSTOMERS)):
                        rate = _rate(machine, url, workers, whose, first, most)
                        rates.setdefault(f"{name} {workers}", []).append(rate)
                        say(f"deliveries {round_ + 1}/{rounds} {database}, {name}, {workers} workers: {rate:.0f}/s")
                        first += most
    grown, control = ratios(rates["all 2"], rates["all 1"]), ratios(rates[f"{ONE} 4"], rates[f"{ONE} 1"])
    told = "; ".join(f"{workers}: {spread(rates[f'all {workers}'], digits=0)}" for workers in PROCESSES)
    grows = database != "sqlite"  # which has one writer at a time: another process is there for when one dies
    return Figure(
        what=f"calls delivered a second by so many workers, {CUSTOMERS} customers, two requests of"
        f" {CRM_SECONDS * 1000:g} ms each, {database}",
        figure=f"{told}; two beside one {spread(grown, digits=2)} times",
        goal=f"two ≥ {GROWS:g} times one" if grows else "",
        reached=median(grown) >= GROWS if grows else None,
        control=f"one customer, whose calls are written in turn: {spread(rates[f'{ONE} 1'], '/s', 0)}, by four workers"
        f" {spread(control, digits=2)} times",
        control_reached=median(control) >= GROWS if grows else None,
        samples=rates,
    )


def _rate(machine: Installation, url: str, workers: int, whose: Sequence[str], first: int, most: int) -> float:
    """Return how many a second the workers deliver of calls that wait when they begin, all at the same moment."""
    with _workers(machine, workers) as names:
        sleep(WARM)
        _send_all(machine, names, signal.SIGSTOP)
        with Senders(
            lambda: machine.port, customer_of=lambda i: whose[i % len(whose)], first=first, most=first + most
        ) as senders:
            senders.wait_for(most)
        begin = monotonic()
        _send_all(machine, names, signal.SIGCONT)
        while read(url, _IS_LEFT)[0]:
            sleep(POLL)
        return most / (monotonic() - begin)


@contextmanager
def _workers(machine: Installation, number: int) -> Iterator[list[str]]:
    names = [f"worker{i}" for i in range(number)]
    machine.start(*names)
    try:
        yield names
    finally:
        _send_all(machine, names, signal.SIGCONT)
        for name in names:
            process = machine.processes.pop(name)
            process.terminate()
            process.wait(30)


def _send_all(machine: Installation, names: Sequence[str], number: int) -> None:
    for name in names:
        os.killpg(machine.processes[name].pid, number)


def _acknowledgements(database: str, rounds: int) -> Figure:
    rates: dict[str, list[float]] = {}
    asks = _asks()
    for round_ in range(rounds):
        for processes in PROCESSES:
            with new_folder() as folder, new_database(database, folder) as url:
                add_customer(folder, "acme", "http://127.0.0.1:9")  # nobody delivers: no CRM is asked
                with Installation(folder, url, workers=0, web_workers=processes) as machine:
                    sleep(WARM)
                    run_closed(machine.port, list(islice(asks, 500)), seconds=1, connections=CLIENTS)
                    stored = read(url, "SELECT count(*) FROM event")[0]
                    closed = run_closed(machine.port, list(islice(asks, 30_000)), seconds=SECONDS, connections=CLIENTS)
                    assert not closed.failed, f"{closed.failed} events were refused"
                    assert read(url, "SELECT count(*) FROM event")[0] - stored >= closed.answers
            rates.setdefault(str(processes), []).append(closed.per_second)
            say(f"acks {round_ + 1}/{rounds} {database}, {processes} web processes: {closed.per_second:.0f}/s")
    return Figure(
        what=f"call logs acknowledged a second by so many web processes, {CLIENTS} clients, {database}",
        figure="; ".join(f"{processes}: {spread(values, digits=0)}" for processes, values in rates.items()),
        samples=rates,
    )


def _asks() -> Iterator[Ask]:
    for index in count():
        yield post("/acme/calllog", call_of(index), bearer=SECRET)
