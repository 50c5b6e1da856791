"""Cached lookups: how many a second, and how late they come at 2,000 a second; everybody on one core."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.customers import SECRET, add_customer, ask_m8crm, number_of
from benchmarks.load import Ask, evenly, run_open
from benchmarks.peers import ask_clinq, ask_express, run_clinq, run_express
from benchmarks.servers import Server, Stub, run_gthread, run_m8crm, run_stub
from benchmarks.table import Figure, ratios, say, spread
from benchmarks.wrk import run_closed

SECONDS = 3
RATE = 2000
P99_MS = 2.0
BOTTLENECK = 0.95  # of the generator's core: above it the figure is the generator's, not the server's
QUIET, QUIET_SECONDS = 0.1, 0.5  # of the core, and for how long
NUMBERS = [number_of(i) for i in range(100)]
US, EXPRESS, CLINQ, CONTROL = "m8crm", "Express", "@clinq/bridge", "bare Flask view on gthread"
SLOW, SLOWLY = "m8crm through Flask", "Cookie: a=b\r\n"  # which the fast path leaves to Flask
Targets = dict[str, tuple[Server, list[Ask]]]


def measure(rounds: int) -> list[Figure]:
    """Measure everybody in turn, ``rounds`` times."""
    rates: dict[str, list[float]] = {}
    late: dict[str, list[float]] = {}
    busy: list[float] = []
    work: dict[str, list[float]] = {}
    with _targets() as targets:
        everybody = [server for server, _ in targets.values()]
        for number in range(rounds):
            for name, (server, asks) in targets.items():
                _wait_for_quiet(everybody)
                if name == SLOW:
                    late.setdefault(SLOW, []).append(run_open(server.port, _offered(asks), patience=3).percentile(99))
                    continue
                cpu = server.cpu()
                closed = run_closed(server.port, asks, seconds=SECONDS)
                cpu = server.cpu() - cpu
                opened = run_open(server.port, _offered(asks), patience=3)
                false = closed.failed + opened.false
                assert not false, f"{name} gave {false} wrong answers"
                work.setdefault(name, []).append(cpu / closed.per_second / SECONDS * 1e6)
                rates.setdefault(name, []).append(closed.per_second)
                late.setdefault(name, []).append(opened.percentile(99))
                busy += [closed.busy] if name == US else []
                rate = f"{closed.per_second:,.0f}/s, {work[name][-1]:.0f} µs of CPU each, wrk {closed.busy:.0%} busy"
                p99 = f"p99 {late[name][-1]:.2f} ms at {RATE}/s, sent {opened.lag * 1000:.2f} ms late"
                say(f"cached {number + 1}/{rounds} {name}: {rate}; {p99}")
    hint = f"; at least: wrk was the bottleneck ({median(busy):.0%})" if median(busy) > BOTTLENECK else ""
    return [
        _times(rates, EXPRESS, goal=4.0, least=2.0, hint=hint),
        _times(rates, CLINQ, goal=8.0, least=8.0, hint=hint),
        _p99(late),
        Figure(
            what="processor time of a cached lookup",
            figure="; ".join(f"{name} {spread(values, 'µs', 0)}" for name, values in work.items()),
            samples=work,
        ),
    ]


def _times(rates: dict[str, list[float]], peer: str, *, goal: float, least: float, hint: str) -> Figure:
    ours, theirs, bare = rates[US], rates[peer], rates[CONTROL]
    times, control = ratios(ours, theirs), ratios(bare, theirs)
    return Figure(
        what=f"cached lookups/s beside {peer}",
        figure=f"{spread(times)} times: {spread(ours, '/s', 0)} beside {spread(theirs, '/s', 0)}{hint}",
        goal=f"≥ {goal:g} times" + (f" (at the least {least:g})" if least < goal else ""),
        reached=median(times) >= goal,
        control=f"{CONTROL}: {spread(control)} times",
        control_reached=median(control) >= goal,
        samples={US: ours, peer: theirs, CONTROL: bare},
    )


def _p99(late: dict[str, list[float]]) -> Figure:
    peers = min(median(late[name]) for name in (EXPRESS, CLINQ))
    reached = {name: median(late[name]) <= P99_MS and median(late[name]) < peers for name in (US, SLOW)}
    return Figure(
        what=f"cached lookup p99 at {RATE:,}/s offered",
        figure=f"{spread(late[US], 'ms')}; {EXPRESS} {spread(late[EXPRESS])}, {CLINQ} {spread(late[CLINQ])}",
        goal=f"≤ {P99_MS:g} ms, below both",
        reached=reached[US],
        control=f"{SLOW}: {spread(late[SLOW], 'ms')}",
        control_reached=reached[SLOW],
        samples=late,
    )


def _wait_for_quiet(servers: list[Server]) -> None:
    """Wait until nobody works on what was given up: all share one core, and whoever is next would pay for it."""
    before, now = -1.0, sum(server.cpu() for server in servers)
    while now - before > QUIET * QUIET_SECONDS:
        time.sleep(QUIET_SECONDS)
        before, now = now, sum(server.cpu() for server in servers)


def _offered(asks: list[Ask]) -> list[tuple[float, Ask]]:
    return evenly(asks, rate=RATE, seconds=SECONDS)


@contextmanager
def _targets() -> Iterator[Targets]:
    """Start everybody and fill the caches."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        stub = stack.enter_context(run_stub())
        asks = [ask_m8crm("acme", number) for number in NUMBERS]
        ours, slow = [stack.enter_context(_run_m8crm(folder / name, stub, asks)) for name in ("ours", "slow")]
        body = folder / "body.json"
        body.write_bytes(_answer(ours, NUMBERS[0]))
        known = folder / "known.json"
        known.write_text(json.dumps({n: json.loads(body.read_text().replace(NUMBERS[0], n)) for n in NUMBERS}))
        express = stack.enter_context(run_express(known=known))
        clinq = stack.enter_context(run_clinq())
        clinq_asks = [ask_clinq(number, stub.url("clinq")) for number in NUMBERS]
        _warm(clinq, clinq_asks)
        bare = {"BENCH_BODY": str(body), "BENCH_SECRET": SECRET}
        flask = stack.enter_context(run_gthread("benchmarks.bare:app", environ=bare))
        say(f"an answer has {body.stat().st_size} bytes")
        yield {
            US: (ours, asks),
            EXPRESS: (express, [ask_express(number) for number in NUMBERS]),
            CLINQ: (clinq, clinq_asks),
            CONTROL: (flask, [ask_m8crm("acme", NUMBERS[0])]),
            SLOW: (slow, [ask_m8crm("acme", number, headers=SLOWLY) for number in NUMBERS]),
        }


@contextmanager
def _run_m8crm(folder: Path, stub: Stub, asks: list[Ask]) -> Iterator[Server]:
    add_customer(folder, "acme", stub.url("acme"), cache_hit="1h", slots=64)
    with run_m8crm(folder) as server:
        _warm(server, asks)
        yield server


def _warm(server: Server, asks: list[Ask]) -> None:
    load = run_open(server.port, evenly(asks, rate=50, seconds=len(asks) / 50))
    assert not load.wrong, f"{load.wrong} of {len(asks)} lookups went wrong"


def _answer(server: Server, number: str) -> bytes:
    url = f"http://127.0.0.1:{server.port}/acme/lookup?fromNumber=%2B{number[1:]}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {SECRET}"})
    with urllib.request.urlopen(request) as answer:
        body: bytes = answer.read()
        return body
