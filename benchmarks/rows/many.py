"""Ten thousand customers: how long the start takes, what each costs in memory, and whether lookups get slower."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.customers import SECRET, add_customer, ask_m8crm, number_of
from benchmarks.load import Ask, run_open
from benchmarks.servers import Server, run_gthread, run_m8crm, run_stub
from benchmarks.table import Figure, ratios, say, spread
from benchmarks.wrk import run_closed

FEW, MANY = 10, 10_000
START_SECONDS, LEAST = 3.0, 0.8  # of the speed with few customers: caches of ten thousand are bigger
SECONDS = 2
NUMBER = number_of(1)
AT_ONCE = 16  # while every customer is looked up for the first time
US, TURNS, CONTROL = "m8crm", "every customer in turn", "bare Flask view that seeks the customer in a list"


def measure(rounds: int) -> list[Figure]:
    """Start both installations in turn; then look up at the same few customers of each."""
    with ExitStack() as stack:
        stub = stack.enter_context(run_stub())
        folders = {}
        for count in (FEW, MANY):
            folders[count] = Path(stack.enter_context(TemporaryDirectory()))
            for i in range(count):
                add_customer(folders[count], f"c{i}", stub.url(f"c{i}"), cache_hit="1h")
        starts = _starts(folders, rounds)
        servers = {count: stack.enter_context(run_m8crm(folder)) for count, folder in folders.items()}
        idle = {count: server.memory() for count, server in servers.items()}
        all_read = {count: _warm(server, count) for count, server in servers.items()}
        used = servers[MANY].memory()
        bare = {
            count: stack.enter_context(run_gthread("benchmarks.bare:app", environ=_bare(count))) for count in folders
        }
        rates = _rates(servers, bare, rounds)
    configured = (idle[MANY] - idle[FEW]) / 1024 / MANY
    in_use = (used - idle[MANY]) / 1024 / MANY
    say(f"many: a customer that is configured takes {configured:.2f} kB, one in use {in_use:.1f} kB")
    reading = [start + all_read[MANY] for start in starts[MANY]]
    speed = ratios(rates[US, MANY], rates[US, FEW])
    control = ratios(rates[CONTROL, MANY], rates[CONTROL, FEW])
    return [
        Figure(
            what=f"{MANY:,} customers: start",
            figure=f"{spread(starts[MANY], 's', 2)}; {FEW} customers {spread(starts[FEW], 's', 2)}",
            goal=f"≤ {START_SECONDS:g} s",
            reached=median(starts[MANY]) <= START_SECONDS,
            control=f"with every customer's file read and one lookup: {spread(reading, 's')}",
            control_reached=median(reading) <= START_SECONDS,
            samples={str(count): values for count, values in starts.items()},
        ),
        Figure(
            what=f"{MANY:,} customers: memory of each",
            figure=f"{in_use:.1f} kB in use, with an answer of 2 kB kept; {configured:.2f} kB configured",
            samples={"in use": [in_use], "configured": [configured]},
        ),
        Figure(
            what=f"cached lookups/s of {FEW} customers among {MANY:,}",
            figure=f"{spread(speed, digits=2)} of the speed without the others: {spread(rates[US, MANY], '/s', 0)} "
            f"beside {spread(rates[US, FEW], '/s', 0)}; {TURNS}: {spread(rates[TURNS, MANY], '/s', 0)}",
            goal=f"no step grows with the number of customers (≥ {LEAST:g})",
            reached=median(speed) >= LEAST,
            control=f"{CONTROL}: {spread(control, digits=2)}",
            control_reached=median(control) >= LEAST,
            samples={f"{name}, {count} customers": values for (name, count), values in rates.items()},
        ),
    ]


def _starts(folders: dict[int, Path], rounds: int) -> dict[int, list[float]]:
    starts: dict[int, list[float]] = {count: [] for count in folders}
    for round_ in range(rounds):
        for count, folder in folders.items():
            with run_m8crm(folder) as server:
                starts[count].append(server.took)
            say(f"many {round_ + 1}/{rounds} {count:,} customers: start {server.took:.2f} s")
    return starts


def _warm(server: Server, count: int) -> float:
    """Look up once at every customer's: his file is read and his answer kept; return the seconds it took."""
    begin = time.perf_counter()
    asks = [(0.0, ask_m8crm(f"c{i}", NUMBER)) for i in range(count)]
    load = run_open(server.port, asks, connections=AT_ONCE, most=AT_ONCE, patience=600)
    assert not load.wrong, f"{load.wrong} of {count} lookups went wrong"
    say(f"many: {count:,} customers looked up for the first time in {time.perf_counter() - begin:.1f} s")
    return time.perf_counter() - begin


def _rates(servers: dict[int, Server], bare: dict[int, Server], rounds: int) -> dict[tuple[str, int], list[float]]:
    rates: dict[tuple[str, int], list[float]] = {}
    last_few = [ask_m8crm(f"c{i}", NUMBER) for i in range(MANY - FEW, MANY)]
    few = [ask_m8crm(f"c{i}", NUMBER) for i in range(FEW)]
    targets: dict[tuple[str, int], tuple[Server, list[Ask]]] = {
        (US, FEW): (servers[FEW], few),
        (US, MANY): (servers[MANY], last_few),
        (TURNS, MANY): (servers[MANY], [ask_m8crm(f"c{i}", NUMBER) for i in range(MANY)]),
        (CONTROL, FEW): (bare[FEW], few),
        (CONTROL, MANY): (bare[MANY], last_few),
    }
    for round_ in range(rounds):
        for (name, count), (server, asks) in targets.items():
            closed = run_closed(server.port, asks, seconds=SECONDS)
            assert not closed.failed, f"{name}: {closed.failed} wrong answers"
            rates.setdefault((name, count), []).append(closed.per_second)
            say(f"many {round_ + 1}/{rounds} {name}, {count:,} customers: {closed.per_second:,.0f} lookups/s")
    return rates


def _bare(count: int) -> dict[str, str]:
    return {"BENCH_SECRET": SECRET, "BENCH_CUSTOMERS": str(count)}
