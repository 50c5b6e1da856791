"""Thirty phones ring at once with one caller; the CRM takes a second."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.customers import add_customer, ask_m8crm, number_of
from benchmarks.load import Ask, at_once
from benchmarks.peers import ask_clinq, ask_express, run_clinq, run_express
from benchmarks.servers import Stub, run_m8crm, run_stub
from benchmarks.table import Figure, say, spread

PHONES, CRM_SECONDS, GOAL = 30, 1.0, 1.05
US, CONTROL = "m8crm", "30 different numbers"


def measure(rounds: int) -> list[Figure]:
    """Let the phones ring at everybody in turn; every round has numbers of its own."""
    calls: dict[str, list[float]] = {}
    right: dict[str, list[float]] = {}
    slowest: dict[str, list[float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        stub = stack.enter_context(run_stub())
        add_customer(folder, "acme", stub.url("acme"), slots=64)
        stub.tell("acme", delay=CRM_SECONDS)
        ours = stack.enter_context(run_m8crm(folder)).port
        express = stack.enter_context(run_express(crm=stub.url("acme"))).port
        clinq = stack.enter_context(run_clinq()).port
        at_once(ours, [ask_m8crm("acme", number_of(0))])  # loads the code
        for round_ in range(rounds):
            one, others = number_of(1 + round_), [number_of(1000 + round_ * PHONES + i) for i in range(PHONES)]
            asks: dict[str, tuple[int, list[Ask]]] = {
                US: (ours, [ask_m8crm("acme", one)] * PHONES),
                "Express with axios": (express, [ask_express(one)] * PHONES),
                "@clinq/bridge": (clinq, [ask_clinq(one, stub.url("acme"))] * PHONES),
                CONTROL: (ours, [ask_m8crm("acme", number) for number in others]),
            }
            for name, (port, same) in asks.items():
                before = _searches(stub)
                load = at_once(port, same)
                calls.setdefault(name, []).append(_searches(stub) - before)
                right.setdefault(name, []).append(PHONES - load.wrong)
                slowest.setdefault(name, []).append(load.slowest)
                say(f"herd {round_ + 1}/{rounds} {name}: {calls[name][-1]:g} calls, {right[name][-1]:g} right")

    def told(name: str) -> str:
        return f"{median(calls[name]):g} calls, {median(right[name]):g} right, {spread(slowest[name], 's', 3)}"

    def is_reached(name: str) -> bool:
        is_right = set(calls[name]) == {1} and set(right[name]) == {PHONES}
        return is_right and median(slowest[name]) <= GOAL

    figure = Figure(
        what=f"{PHONES} identical lookups at once, CRM takes {CRM_SECONDS:g} s",
        figure="; ".join(f"{name}: {told(name)}" for name in calls if name != CONTROL),
        goal=f"1 CRM call, {PHONES} right answers, ≤ {GOAL} s",
        reached=is_reached(US),
        control=f"{CONTROL}: {told(CONTROL)}",
        control_reached=is_reached(CONTROL),
        samples={**{f"{name}: calls": values for name, values in calls.items()}, **slowest},
    )
    return [figure]


def _searches(stub: Stub) -> int:
    return int(stub.seen("acme")["searches"])
