"""P18: several machines are one: whichever is killed, cut off or stands still, nothing acknowledged is lost."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote

from sqlalchemy import create_engine, make_url, text

from benchmarks.customers import add_customer, number_of
from benchmarks.servers import Stub, run_stub
from benchmarks.table import Figure, say
from middleware.installation_key import load_key
from tests.conftest import RedisServer
from tests.postgres import PostgresServer
from tests.promises.databases import new_folder
from tests.promises.installation import Installation
from tests.promises.proxy import run_haproxy
from tests.promises.relay import Relay
from tests.promises.senders import HEADERS, Senders

MACHINES = 3
BETWEEN = 400  # acknowledged events between two misfortunes
CUSTOMERS = 4
QUICK = {"M8CRM_ATTEMPT": "2", "M8CRM_LEASE": "10"}  # seconds: nobody waits half a minute for who died
PAUSE = 0.05  # seconds between two events of a sender
BUDGET = 30  # requests an hour that the CRMs of two other customers take
SERVE = (sys.executable, "-m", "middleware.cli", "serve", "--web")
PATIENCE = 120.0  # seconds until all is delivered: the lease of who died must end


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of what was sent: ``lookups`` by status, 0 for those without an answer in time."""

    acknowledged: int
    lost: int
    missing: int
    twice: int
    refused: int
    lookups: Counter[int]
    asked: int  # of the CRM that takes ``BUDGET`` requests
    asked_alone: int  # of another one like it, by machines that share nothing
    took: float


def measure(*, between: int = BETWEEN) -> Figure:
    """Do to the machines whatever happens to machines, while senders send and telephones ring."""
    seen = harass(between)
    answered = seen.lookups[200]
    return Figure(
        what=f"P18 {MACHINES} machines behind haproxy, one PostgreSQL, one Redis: killed, cut off, frozen, back",
        figure=f"{seen.lost} lost and {seen.missing} missing of {seen.acknowledged:,}, {seen.twice} twice; lookups:"
        f" {answered:,} of {seen.lookups.total():,} answered; a budget of {BUDGET}: {seen.asked} requests;"
        f" {seen.refused} events sent again; {seen.took:.0f} s",
        goal=f"0 lost, 0 missing, 0 twice; lookups ≥ 99 %; ≤ {BUDGET} requests",
        reached=not (seen.lost or seen.missing or seen.twice)
        and answered >= 0.99 * seen.lookups.total()
        and seen.asked <= BUDGET,
        control=f"machines that share no budget: {seen.asked_alone} requests",
        control_reached=seen.asked_alone <= BUDGET,
        samples={"lost": [seen.lost], "missing": [seen.missing], "twice": [seen.twice], "asked": [seen.asked]},
    )


def harass(between: int) -> Seen:
    """Kill a machine, cut one off, bring both back, freeze one; then look what the CRMs and the database have."""
    began = monotonic()
    names = [f"c{i}" for i in range(CUSTOMERS)]
    with new_folder() as folder, run_stub(core=None) as stub, ExitStack() as stack:
        for name in names:
            add_customer(folder, name, stub.url(name), adapter="busy-stub")
        for name in ("shared", "alone"):
            add_customer(folder, name, stub.url(name), budget=f"{BUDGET}/h")
        postgres = PostgresServer(is_durable=True)
        stack.callback(postgres.remove)
        redis = RedisServer(folder)
        stack.callback(redis.process.kill)
        relay = stack.enter_context(Relay(make_url(postgres.url()).port or 0))
        database = postgres.create_database()
        machines = start_machines(stack, folder, postgres.url(database), redis.url, relay)
        port = stack.enter_context(run_haproxy([machine.port for machine in machines]))
        say(f"the machines run after {monotonic() - began:.0f} s")
        asked = ask_for_many(stub, [machine.port for machine in machines], "shared")
        with (
            lookups(port, names) as answers,
            Senders(lambda: port, 4, lambda i: names[i % CUSTOMERS], pause=PAUSE) as senders,
        ):
            while not any(stub.seen(name)["calls"] for name in names):  # the workers take longer to start
                senders.wait_for(len(senders.acknowledged) + 1)
            for words, befall in misfortunes(machines, relay):
                senders.wait_for(len(senders.acknowledged) + between)
                befall()
                after = f"after {monotonic() - began:.0f} s"
                say(f"{words}, {after}: {len(senders.acknowledged):,} acknowledged, lookups {dict(answers)}")
            senders.wait_for(len(senders.acknowledged) + between)
        say(f"until all are delivered, after {monotonic() - began:.0f} s")
        calls, events = settle(stub, names, postgres.url(database))
        for machine in machines:
            machine.wait_until_it_answers()  # the first may still be starting again
        redis.stop()
        asked_alone = ask_for_many(stub, [machine.port for machine in machines], "alone")
        for machine in machines:
            machine.kill(*machine.processes)  # nothing more is asked of them, and stopping takes its time
    return Seen(
        acknowledged=len(senders.acknowledged),
        lost=len(set(senders.acknowledged.values()) - events),
        missing=len(events) - len(calls),
        twice=sum(calls) - len(calls),
        refused=senders.refused,
        lookups=answers,
        asked=asked,
        asked_alone=asked_alone,
        took=monotonic() - began,
    )


def start_machines(
    stack: ExitStack, folder: Path, database: str, redis: str, relay: Relay, number: int = MACHINES
) -> list[Installation]:
    """Start machines that have customers, key, database and Redis in common; the second reaches it by the relay."""
    load_key(folder)
    machines = []
    for place in range(number):
        own = folder / f"machine{place}"
        own.mkdir()
        shutil.copy(folder / "key", own)
        url = make_url(database).set(port=relay.port) if place == 1 else make_url(database)
        environ = {"M8CRM_CUSTOMERS": str(folder / "customers"), "M8CRM_REDIS_URL": redis, **QUICK}
        machines.append(Installation(own, str(url), web_workers=1, environ=environ, web=SERVE))
    for machine in machines:
        machine.begin()
    return [stack.enter_context(machine) for machine in machines]


def misfortunes(machines: Sequence[Installation], relay: Relay) -> list[tuple[str, Callable[[], None]]]:
    """Return what happens to the machines, one after the other, in words."""
    first, _, third = machines

    def kill() -> None:
        first.kill("web", "worker0")

    def bring_back() -> None:
        relay.heal()
        first.start("web", "worker0")

    return [
        ("the first is killed", kill),
        ("the second is cut off from the database", relay.cut),
        ("both are back", bring_back),
        ("the third stands still", lambda: third.signal(signal.SIGSTOP)),
        ("the third goes on", lambda: third.signal(signal.SIGCONT)),
    ]


@contextmanager
def lookups(port: int, names: Sequence[str]) -> Iterator[Counter[int]]:
    """Look up, one number after the other, every second one new; count the statuses."""
    answers: Counter[int] = Counter()
    stop = threading.Event()

    def run() -> None:
        for index in count():
            if stop.wait(0.02):
                return
            number = number_of(index if index % 2 else index % 10)
            answers[look_up(port, names[index % len(names)], number)] += 1

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


def look_up(port: int, customer: str, number: str) -> int:
    """Return the status of a lookup, or 0 when none has come as long as M8Com waits."""
    connection = HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", f"/{customer}/lookup?fromNumber={quote(number)}", headers=HEADERS)
        answer = connection.getresponse()
        answer.read()
    except (OSError, HTTPException):
        return 0
    else:
        return answer.status
    finally:
        connection.close()


def ask_for_many(stub: Stub, ports: Sequence[int], customer: str) -> int:
    """Look up more numbers on every machine than the CRM's budget allows; return how often the CRM was asked."""
    for place, port in enumerate(ports):
        for index in range(BUDGET + 5):
            look_up(port, customer, number_of(9_000_000 + 100 * place + index))
    return int(stub.seen(customer)["searches"])


def settle(stub: Stub, names: Sequence[str], url: str) -> tuple[list[int], set[str]]:
    """Wait until the CRMs have all calls; return how often each was written, and the ids of their events."""
    until = monotonic() + PATIENCE
    while True:
        events = stored(url)
        calls = [times for name in names for times in stub.seen(name)["calls"].values()]
        if len(calls) >= len(events) or monotonic() > until:
            return calls, events
        sleep(0.2)


def stored(url: str) -> set[str]:
    """Return the ids of all events."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        ids = set(connection.execute(text("SELECT id FROM event")).scalars())
    engine.dispose()
    return ids
