"""Customer A's CRM hangs while ten lookups a second want it: what customer B notices."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.customers import SECRET, UNCACHED, add_customer, ask_m8crm, number_of
from benchmarks.load import Ask, Load, evenly, run_open
from benchmarks.servers import Server, run_gthread, run_m8crm, run_stub
from benchmarks.table import Figure, say, spread

RATE_A, RATE_B, SECONDS = 10, 50, 5.0
GOAL_MS = 25.0
US, CONTROL = "m8crm", "Flask view on 16 threads that asks by itself"


def measure(rounds: int) -> list[Figure]:
    """Compare B's p99 alone with B's p99 beside the hanging A, in the same round."""
    rises: dict[str, list[float]] = {US: [], CONTROL: []}
    wrong: dict[str, list[int]] = {US: [], CONTROL: []}
    with ExitStack() as stack:
        stub = stack.enter_context(run_stub())
        stub.tell("a", hang=True)
        stub.tell("b", delay=0.02)
        folder = Path(stack.enter_context(TemporaryDirectory()))
        for tenant in ("a", "b"):
            add_customer(folder, tenant, stub.url(tenant), **UNCACHED)
        naive = {"BENCH_SECRET": SECRET, "BENCH_CRM": f"http://127.0.0.1:{stub.port}"}
        servers = {
            US: stack.enter_context(run_m8crm(folder)),
            CONTROL: stack.enter_context(run_gthread("benchmarks.bare:app", environ=naive, threads=16)),
        }
        for server in servers.values():  # the first lookups load code
            run_open(server.port, evenly(_asks("b"), rate=RATE_B, seconds=2))
        for round_ in range(rounds):
            for name, server in servers.items():
                alone, beside = _b(server, hanging=False), _b(server, hanging=True)
                rises[name].append(beside.percentile(99, "b") - alone.percentile(99, "b"))
                wrong[name].append(sum(a.kind == "b" and not a.is_right for a in beside.answers))
                say(f"isolation {round_ + 1}/{rounds} {name}: p99 of B {rises[name][-1]:+.1f} ms")
    reached = {name: median(rises[name]) <= GOAL_MS and not sum(wrong[name]) for name in (US, CONTROL)}
    figure = Figure(
        what=f"CRM hangs for customer A at {RATE_A} lookups/s: p99 of customer B",
        figure=f"{spread(rises[US], 'ms')} more, {sum(wrong[US])} wrong answers for B",
        goal=f"≤ {GOAL_MS:g} ms more",
        reached=reached[US],
        control=f"{CONTROL}: {spread(rises[CONTROL], 'ms')} more, {sum(wrong[CONTROL])} wrong",
        control_reached=reached[CONTROL],
        samples=rises,
    )
    return [figure]


def _b(server: Server, *, hanging: bool) -> Load:
    shots = evenly(_asks("b"), rate=RATE_B, seconds=SECONDS)
    if hanging:
        shots = sorted(shots + evenly(_asks("a"), rate=RATE_A, seconds=SECONDS), key=lambda shot: shot[0])
    return run_open(server.port, shots, patience=6)


def _asks(tenant: str) -> list[Ask]:
    return [ask_m8crm(tenant, number_of(i), kind=tenant) for i in range(1000)]
