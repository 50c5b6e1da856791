"""Events of every sender: acknowledgements a second, and how long one takes while the CRM hangs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.customers import SECRET, add_customer, number_of
from benchmarks.load import Ask, evenly, post, run_open
from benchmarks.servers import run_gthread, run_m8crm, run_stub
from benchmarks.table import Figure, say, spread
from benchmarks.wrk import run_closed
from middleware.demo.samples import SAMPLES, Situation
from middleware.receivers.registry import RECEIVERS, Credential

CLIENTS, LEAST = 8, 2_000  # acknowledgements a second and core
RATE, MOST = 100, 50.0  # events a second, milliseconds
SECONDS = 4
MANY = 4_000 * SECONDS  # distinct events: more than are acknowledged
CONTROLLED = "calllog"  # a control is measured with one sender: it looks at no body


@dataclass(slots=True)
class Samples:
    """All rounds of one sender, or of the control."""

    rates: list[float] = field(default_factory=list)  # acknowledgements a second
    costs: list[float] = field(default_factory=list)  # microseconds of CPU
    p50: list[float] = field(default_factory=list)  # milliseconds
    p99: list[float] = field(default_factory=list)


def measure(rounds: int) -> list[Figure]:
    """Send every sender's events as quickly as eight clients can, then at a rate while the CRM hangs."""
    found = {sender: Samples() for sender in RECEIVERS}
    control = Samples()
    events = {sender: _events(sender) for sender in RECEIVERS}
    with ExitStack() as stack:
        quick, busy, bare = (Path(stack.enter_context(TemporaryDirectory())) for _ in range(3))
        stub = stack.enter_context(run_stub())
        stub.tell("acme", hang=True)
        for folder in (quick, busy):
            add_customer(folder, "acme", stub.url("acme"), adapter="busy-stub")
        ours = stack.enter_context(run_m8crm(quick))
        delivering = stack.enter_context(run_m8crm(busy, environ={"M8CRM_DELIVERY": "true"}))
        naive = {"BENCH_SECRET": SECRET, "BENCH_STORE": str(bare / "events.db")}
        plain = stack.enter_context(run_gthread("benchmarks.bare:app", environ=naive))
        crm = {"BENCH_CRM": stub.url("acme").removesuffix("/acme")}
        telling = stack.enter_context(run_gthread("benchmarks.bare:app", environ=naive | crm))
        for round_ in range(rounds):
            asks = {sender: list(islice(events[sender], MANY)) for sender in RECEIVERS}
            for sender, samples in found.items():  # at first, while the disk has nothing left to do
                load = run_open(delivering.port, evenly(asks[sender][: RATE * SECONDS], rate=RATE, seconds=SECONDS))
                assert not load.wrong, f"{load.wrong} events of {sender} were refused"
                samples.p50.append(load.percentile(50))
                samples.p99.append(load.percentile(99))
                say(f"ingest {round_ + 1}/{rounds} {sender}: p99 {samples.p99[-1]:.1f} ms at {RATE}/s")
            for sender, samples in found.items():
                stored, cpu = _stored(quick), ours.cpu()
                closed = run_closed(ours.port, asks[sender], seconds=SECONDS, connections=CLIENTS)
                new = _stored(quick) - stored
                assert not closed.failed, f"{closed.failed} events of {sender} were refused"
                assert new >= closed.answers, f"{closed.answers} events of {sender} were acknowledged, {new} are stored"
                samples.rates.append(closed.per_second)
                samples.costs.append((ours.cpu() - cpu) / closed.answers * 1e6)
                told = f"{samples.rates[-1]:,.0f} acks/s, {samples.costs[-1]:.0f} µs of CPU each"
                say(f"ingest {round_ + 1}/{rounds} {sender}: {told}")
            plain_rate = run_closed(plain.port, asks[CONTROLLED], seconds=SECONDS, connections=CLIENTS)
            control.rates.append(plain_rate.per_second)
            late = run_open(telling.port, evenly(asks[CONTROLLED][:RATE], rate=RATE, seconds=1))
            control.p99.append(late.percentile(99))
            say(f"ingest {round_ + 1}/{rounds} controls: {control.rates[-1]:,.0f} acks/s; {late.slowest:.1f} s")
    return [figure for sender, samples in found.items() for figure in _figures(sender, samples, control)]


def _figures(sender: str, samples: Samples, control: Samples) -> list[Figure]:
    speed = Figure(
        what=f"{sender}: acknowledgements/s to {CLIENTS} clients, one core",
        figure=f"{spread(samples.rates, '/s', 0)}; {spread(samples.costs, 'µs', 0)} of CPU each",
        goal=f"≥ {LEAST:,}/s, on disk (synchronous=FULL)",
        reached=median(samples.rates) >= LEAST,
        control=f"bare Flask view, a commit an event: {spread(control.rates, '/s', 0)}",
        control_reached=median(control.rates) >= LEAST,
        samples={"per second": samples.rates, "CPU": samples.costs, "control": control.rates},
    )
    wait = Figure(
        what=f"{sender}: {RATE} events/s while the CRM hangs",
        figure=f"p50 {spread(samples.p50, 'ms')}, p99 {spread(samples.p99, 'ms')}",
        goal=f"p99 ≤ {MOST:g} ms",
        reached=median(samples.p99) <= MOST,
        control=f"Flask view that tells the CRM first: p99 {spread(control.p99, 'ms', 0)}",
        control_reached=median(control.p99) <= MOST,
        samples={"p50": samples.p50, "p99": samples.p99, "control": control.p99},
    )
    return [speed, wait]


def _events(sender: str) -> Iterator[Ask]:
    """Make events of calls that nobody has heard of, without end."""
    receiver = RECEIVERS[sender]
    make = next(iter(SAMPLES[sender].values()))
    began_at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for i in count():
        call = Situation(
            contact=number_of(i),
            own="+46846500400",
            began_at=began_at + timedelta(seconds=i),
            duration=timedelta(seconds=95),
            call_id=f"{i:024x}",
            summary="Wants a refund.",
        )
        match receiver.credential:
            case Credential.BEARER:
                yield post(f"/acme/{sender}", make(call), bearer=SECRET)
            case Credential.PBX_TOKEN:
                yield post(f"/acme/{sender}", make(call), headers=f"X-Pbx-Token: {SECRET}\r\n")
            case Credential.URL | Credential.URL_OR_DATA:
                yield post(f"/acme/{sender}?token={SECRET}", make(call))


def _stored(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "m8crm.db")) as database:
        return int(database.execute("SELECT count(*) FROM event").fetchone()[0])
