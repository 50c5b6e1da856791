"""A thousand different callers at once, and a CRM that takes two seconds; both cores."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.customers import SECRET, UNCACHED, add_customer, ask_m8crm, number_of
from benchmarks.load import Load, at_once
from benchmarks.peers import ask_clinq, ask_express, run_clinq, run_express
from benchmarks.servers import BOTH_CORES, run_gthread, run_m8crm, run_stub
from benchmarks.table import Figure, say, spread

CALLERS, CUSTOMERS, CRM_SECONDS = 1000, 4, 2.0
IN_TIME, REFUSED_BY = 3.0, 2.8
US, CONTROL = "m8crm", "Flask view on 32 threads that asks by itself"
PEERS = ("Express with axios", "@clinq/bridge")


def measure(rounds: int) -> list[Figure]:
    """Let everybody be flooded in turn; servers share two cores with the load and the CRM, as they are."""
    right: dict[str, list[float]] = {}
    late: dict[str, list[float]] = {}

    def note(name: str, load: Load) -> None:
        right.setdefault(name, []).append(_in_time(load))
        late.setdefault(name, []).append(_unclean(load))
        told = f"{right[name][-1]:g} in time, {late[name][-1]:g} late, the last after {load.slowest:.2f} s"
        say(f"flood {len(right[name])}/{rounds} {name}: {told}, {sorted({a.status for a in load.answers})}")
        time.sleep(2)  # what hangs on must not meet the next one

    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        stub = stack.enter_context(run_stub())
        stub.tell("crm", delay=CRM_SECONDS)
        for i in range(CUSTOMERS):  # a big installation: room for all of its callers
            options = {**UNCACHED, "budget": "2.7s"}
            add_customer(folder, f"roomy-{i}", stub.url("crm"), slots=CALLERS // CUSTOMERS, **options)
        ours = stack.enter_context(run_m8crm(folder, core=BOTH_CORES, workers=2)).port
        express = stack.enter_context(run_express(crm=stub.url("crm"), core=BOTH_CORES)).port
        clinq = stack.enter_context(run_clinq(core=BOTH_CORES)).port
        naive = {"BENCH_SECRET": SECRET, "BENCH_CRM": stub.url("crm").removesuffix("/crm")}
        for round_ in range(rounds):
            numbers = [number_of(round_ * CALLERS + i) for i in range(CALLERS)]
            targets = {
                US: (ours, [ask_m8crm(f"roomy-{i % CUSTOMERS}", n) for i, n in enumerate(numbers)]),
                PEERS[0]: (express, [ask_express(n) for n in numbers]),
                PEERS[1]: (clinq, [ask_clinq(n, stub.url("crm")) for n in numbers]),
            }
            for name, (port, asks) in targets.items():
                note(name, at_once(port, asks, patience=8))
            with run_gthread("benchmarks.bare:app", environ=naive, core=BOTH_CORES) as bare:
                note(CONTROL, at_once(bare.port, [ask_m8crm("crm", number) for number in numbers], patience=4))
    best_peer = max(median(right[name]) for name in PEERS)

    def is_reached(name: str) -> bool:
        is_best = median(right[name]) >= best_peer and not median(late[name])
        return median(right[name]) == CALLERS or is_best

    figure = Figure(
        what=f"{CALLERS:,} different lookups at once, CRM takes {CRM_SECONDS:g} s",
        figure="; ".join(f"{n}: {spread(right[n], 'right in 3 s', 0)}" for n in (US, *PEERS))
        + f"; of ours neither in time nor refused by {REFUSED_BY} s: {spread(late[US], digits=0)}",
        goal=f"all right within {IN_TIME:g} s, or as many as any peer and the rest a 503 or 504 within {REFUSED_BY} s",
        reached=is_reached(US),
        control=f"{CONTROL}: {spread(right[CONTROL], 'right', 0)}, neither nor: {median(late[CONTROL]):g}",
        control_reached=is_reached(CONTROL),
        samples={**right, f"{US}: neither right nor a clean 503": late[US]},
    )
    return [figure]


def _in_time(load: Load) -> int:
    return sum(answer.is_right and answer.seconds <= IN_TIME for answer in load.answers)


def _unclean(load: Load) -> int:
    """Count what is neither right in time nor a refusal in time."""
    refused = sum(answer.status in {503, 504} and answer.seconds <= REFUSED_BY for answer in load.answers)
    return len(load.answers) - _in_time(load) - refused
