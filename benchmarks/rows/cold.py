"""Cold lookups at 300 a second of a CRM that answers in 50 ms: what we add to it, beside Express with axios."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from urllib.parse import quote

from benchmarks.customers import UNCACHED, add_customer, ask_m8crm, number_of
from benchmarks.load import Ask, Load, evenly, get, run_open
from benchmarks.peers import ask_express, run_express
from benchmarks.servers import run_m8crm, run_stub
from benchmarks.table import Figure, say, spread

RATE, SECONDS, CRM_MS = 300, 5.0, 50.0
LOOKUPS = int(RATE * SECONDS)
US, EXPRESS, DIRECT, CONTROL = "m8crm", "Express with axios", "straight to the CRM", "8 slots"


def measure(rounds: int) -> list[Figure]:
    """Measure everybody in turn; the CRM is asked directly, too, to know what it and the load cost."""
    over: dict[tuple[str, int], list[float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        stub = stack.enter_context(run_stub())
        for tenant, slots in (("acme", 128), ("tight", 8)):
            add_customer(folder, tenant, stub.url(tenant), slots=slots, **UNCACHED)
        for crm in ("acme", "tight", "express", "direct"):
            stub.tell(crm, delay=CRM_MS / 1000)
        ours = stack.enter_context(run_m8crm(folder)).port
        express = stack.enter_context(run_express(crm=stub.url("express"))).port

        def targets(round_: int) -> dict[str, tuple[int, list[Ask]]]:
            numbers = [number_of(round_ * LOOKUPS + i) for i in range(LOOKUPS)]
            return {
                DIRECT: (stub.port, [_ask_stub(number) for number in numbers]),
                US: (ours, [ask_m8crm("acme", number) for number in numbers]),
                EXPRESS: (express, [ask_express(number) for number in numbers]),
                CONTROL: (ours, [ask_m8crm("tight", number) for number in numbers]),
            }

        for port, asks in targets(rounds).values():  # the first lookups open connections and load code
            run_open(port, evenly(asks, rate=100, seconds=1))
        for round_ in range(rounds):
            for name, (port, asks) in targets(round_).items():
                load = run_open(port, evenly(asks, rate=RATE, seconds=SECONDS), connections=64)
                for percent in (50, 99):
                    over.setdefault((name, percent), []).append(_over(load, percent))
                p50, p99 = over[name, 50][-1], over[name, 99][-1]
                say(f"cold {round_ + 1}/{rounds} {name}: +{p50:.2f} / +{p99:.2f} ms, {load.wrong} wrong")
    return [_figure(over, percent, goal, moonshot) for percent, goal, moonshot in ((50, 2.0, 1), (99, 4.0, 3))]


def _over(load: Load, percent: int) -> float:
    """Return milliseconds over the CRM's own; endless when more than one in a hundred answers is wrong."""
    return float("inf") if load.wrong * 100 > len(load.answers) else load.percentile(percent) - CRM_MS


def _figure(over: dict[tuple[str, int], list[float]], percent: int, goal: float, moonshot: int) -> Figure:
    ours, express, direct = over[US, percent], over[EXPRESS, percent], over[DIRECT, percent]
    reached = {name: median(over[name, percent]) <= min(goal, median(express)) for name in (US, CONTROL)}
    return Figure(
        what=f"cold lookup p{percent} over the CRM's own {CRM_MS:g} ms, {RATE}/s",
        figure=f"{spread(ours, 'ms')}; {EXPRESS} {spread(express)}; {DIRECT} {spread(direct)}",
        goal=f"≤ {goal:g} ms (moonshot {moonshot}), below {EXPRESS}",
        reached=reached[US],
        control=f"{CONTROL}: {spread(over[CONTROL, percent])}; inf: more than 1 % refused",
        control_reached=reached[CONTROL],
        samples={name: values for (name, p), values in over.items() if p == percent},
    )


def _ask_stub(number: str) -> Ask:
    return get(f"/direct/contacts?number={quote(number)}", expect=number.encode())
