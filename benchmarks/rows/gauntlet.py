"""The gauntlet: what goes wrong with CRMs, done once to everybody whom npm has; tests/promises has ours as tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.customers import SECRET, add_customer, ask_m8crm, number_of
from benchmarks.load import Answer, Ask, at_once, post
from benchmarks.peers import ask_clinq, ask_express, run_clinq, run_express
from benchmarks.servers import Stub, run_m8crm, run_stub
from benchmarks.table import Figure, say

IN_TIME = 2.7  # seconds
DELIVERED_BY = 40.0  # seconds after the CRM has recovered
SECOND_RECORD = 1.5  # seconds in which it would come
US, EXPRESS, CLINQ = "m8crm", "Express", "@clinq/bridge"
WELL = {"delay": 0.0, "notes_delay": 0.0, "status": 200, "empty": False, "hang": False}
_numbers = map(number_of, count())  # every fault meets a number that nobody has seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Somebody under test, the CRM that he asks, how he is asked and how a call is posted to him."""

    name: str
    port: int
    crm: str
    stub: Stub
    ask: Callable[[str], Ask]
    log: Callable[[str], Ask]

    def tell(self, **behaviour: object) -> None:
        """Make the CRM behave well but for ``behaviour``."""
        self.stub.tell(self.crm, **{**WELL, **behaviour})

    def look_up(self, number: str, times: int = 1) -> list[Answer]:
        """Look the number up, so many times at once."""
        return list(at_once(self.port, [self.ask(number)] * times, patience=10).answers)

    def seen(self, what: str) -> int:
        """Return how many ``searches`` or ``writes`` the CRM has seen."""
        return int(self.stub.seen(self.crm)[what])


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a fault, in words, and whether it is what the gauntlet promises."""

    told: str
    is_kept: bool


def identical(subject: Subject) -> Outcome:
    """Ask for one number four times at once."""
    subject.tell(delay=0.3)
    before = subject.seen("searches")
    right = sum(answer.is_right for answer in subject.look_up(next(_numbers), times=4))
    calls = subject.seen("searches") - before
    return Outcome(told=f"{calls} / {right}", is_kept=(calls, right) == (1, 4))


def unknown(subject: Subject) -> Outcome:
    """Ask three times for a number that nobody has."""
    subject.tell(empty=True)
    before, number = subject.seen("searches"), next(_numbers)
    answers = [subject.look_up(number)[0] for _ in range(3)]
    calls = subject.seen("searches") - before
    return Outcome(told=f"{calls} calls, {_told(answers[-1])}", is_kept=calls == 1)


def slow(subject: Subject) -> Outcome:
    """Ask while the CRM takes six seconds: for a number that was known, then for one with slow activities."""
    known, other = next(_numbers), next(_numbers)
    subject.tell()
    subject.look_up(known)
    subject.tell(delay=6)
    old = subject.look_up(known)[0]
    new = subject.look_up(next(_numbers))[0]
    told = f"seen before: {_told(old)}; never seen: {_told(new)}"
    is_kept = old.is_right and max(old.seconds, new.seconds) <= IN_TIME
    if subject.name == US:  # the peers look up no activities
        subject.tell(notes_delay=6)
        part = subject.look_up(other)[0]
        told += f"; slow activities: {_told(part)}"
        is_kept = is_kept and part.is_right and part.seconds <= IN_TIME
    return Outcome(told=told, is_kept=is_kept)


def down(subject: Subject) -> Outcome:
    """Ask while the CRM answers 503, and when it is back: a number that was known, and one that was not."""
    known, new = next(_numbers), next(_numbers)
    subject.tell()
    subject.look_up(known)
    subject.tell(status=503)
    answers = [subject.look_up(number)[0] for number in (known, new)]
    subject.tell()
    answers += [subject.look_up(number)[0] for number in (known, new)]
    old, never, old_back, new_back = answers
    told = f"seen before: {_told(old)}, then {_told(old_back)}; never seen: {_told(never)}, then {_told(new_back)}"
    is_kept = old.is_right and never.status >= 500 and old_back.is_right and new_back.is_right
    return Outcome(told=told, is_kept=is_kept)


def twice(subject: Subject) -> Outcome:
    """Post the same call twice at once."""
    subject.tell(delay=0.2)
    before, ask = subject.seen("writes"), subject.log(next(_numbers))
    at_once(subject.port, [ask, ask])
    _wait(lambda: subject.seen("writes") > before)
    time.sleep(SECOND_RECORD)
    writes = subject.seen("writes") - before
    return Outcome(told=f"{writes} records", is_kept=writes == 1)


def recovery(subject: Subject) -> Outcome:
    """Post a call while the CRM answers 503; then the CRM recovers."""
    subject.tell(status=503)
    before = subject.seen("writes")
    answer = at_once(subject.port, [subject.log(next(_numbers))]).answers[0]
    time.sleep(1)
    subject.tell()
    begin = time.perf_counter()
    if answer.status == 200 or subject.name == US:
        _wait(lambda: subject.seen("writes") > before)
    writes = subject.seen("writes") - before
    took = f" {time.perf_counter() - begin:.0f} s after the recovery" if writes else ""
    return Outcome(told=f"{answer.status}, {writes} records{took}", is_kept=writes == 1)


# what, the goal, how it is done, and the peer that is the control: one that does not reach the goal
FAULTS: tuple[tuple[str, str, Callable[[Subject], Outcome], str], ...] = (
    ("4 identical lookups at once: CRM calls / right answers", "1 / 4", identical, CLINQ),
    ("3 lookups of an unknown number: CRM calls", "1", unknown, EXPRESS),
    ("CRM takes 6 s", f"older or partial answer by {IN_TIME} s", slow, EXPRESS),
    ("CRM down, then back", "older answer or an error, then a fresh one", down, EXPRESS),
    ("same call posted twice at once: CRM records", "1", twice, EXPRESS),
    ("CRM answers 503 while a call is logged", "delivered after recovery, once", recovery, EXPRESS),
)


def measure(_rounds: int) -> list[Figure]:
    """Do every fault to everybody; once, since it is no matter of speed."""
    figures = []
    with _subjects() as (subjects, stub):
        for what, goal, fault, control in FAULTS:
            outcomes = {subject.name: fault(subject) for subject in subjects}
            say("\n  ".join([f"gauntlet: {what}", *(f"{name}: {o.told}" for name, o in outcomes.items())]))
            told = "; ".join(f"{name}: {o.told}" for name, o in outcomes.items() if name != control)
            theirs = outcomes[control]
            figures.append(_figure(what, told, goal, outcomes[US], f"{control}: {theirs.told}", theirs))
        return figures + _two_sources(subjects[0], stub)


def _two_sources(us: Subject, stub: Stub) -> list[Figure]:
    """Ask a customer's two CRMs; the peers have one."""

    def ask(first: dict[str, object], second: dict[str, object], expect: str, times: int) -> Outcome:
        stub.tell("first", **{**WELL, "name": "Ada First", **first})
        stub.tell("second", **{**WELL, "name": "Bob Second", **second})
        asks = [ask_m8crm("two", next(_numbers), expect=expect) for _ in range(times)]
        load = at_once(us.port, asks)
        right = times - load.wrong
        told = f"{right} of {times} with {expect}, {load.slowest:.2f} s"
        return Outcome(told=told, is_kept=right == times and load.slowest <= IN_TIME)

    order = ask({"delay": 0.5}, {}, "Ada First", 1)
    no_order = ask({"delay": 2.2}, {}, "Ada First", 1)
    hung = ask({"hang": True}, {}, "Bob Second", 20)
    all_hung = ask({"hang": True}, {"hang": True}, "Bob Second", 4)
    return [
        _figure(
            "the first-listed CRM is slower than the second",
            f"{US}: {order.told}",
            "the first wins inside its window",
            order,
            f"outside its window: {no_order.told}",
            no_order,
        ),
        _figure(
            "one CRM hangs, another is healthy",
            f"{US}: {hung.told}",
            f"unaffected: answered by {IN_TIME} s",
            hung,
            f"both hang: {all_hung.told}",
            all_hung,
        ),
    ]


def _figure(what: str, told: str, goal: str, ours: Outcome, control: str, theirs: Outcome) -> Figure:
    return Figure(
        what=f"gauntlet: {what}",
        figure=told,
        goal=goal,
        reached=ours.is_kept,
        control=control,
        control_reached=theirs.is_kept,
    )


@contextmanager
def _subjects() -> Iterator[tuple[list[Subject], Stub]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        stub = stack.enter_context(run_stub())
        options = {"cache_hit": "0s", "cache_revalidate": "0s"}  # so that an answer is old at once
        add_customer(folder, "acme", stub.url("acme"), adapter="busy-stub", **options)
        add_customer(folder, "two", {name: stub.url(name) for name in ("first", "second")}, **options)
        ours = stack.enter_context(run_m8crm(folder, environ={"M8CRM_DELIVERY": "true"})).port
        express = stack.enter_context(run_express(crm=stub.url("express"))).port
        clinq = stack.enter_context(run_clinq()).port

        def ask_them(number: str) -> Ask:
            return ask_clinq(number, stub.url("clinq"))

        def log_them(number: str) -> Ask:
            headers = f"X-Provider-Key: k\r\nX-Provider-Url: {stub.url('clinq')}\r\n"
            return post("/events/calls", {"id": number}, headers=headers)

        def ask_us(number: str) -> Ask:
            return ask_m8crm("acme", number)

        yield (
            [
                Subject(name=US, port=ours, crm="acme", stub=stub, ask=ask_us, log=_log),
                Subject(name=EXPRESS, port=express, crm="express", stub=stub, ask=ask_express, log=_log),
                Subject(name=CLINQ, port=clinq, crm="clinq", stub=stub, ask=ask_them, log=log_them),
            ],
            stub,
        )


def _log(number: str) -> Ask:
    call = {
        "fromNumber": number,
        "toNumber": "+46846500400",
        "duration": 60_000,
        "startTime": int(time.time() * 1000) - 60_000,
        "callType": "Inbound",
        "body": "Call type: Inbound",
        "userId": "u-1",
    }
    return post("/acme/calllog", call, bearer=SECRET)


def _told(answer: Answer) -> str:
    what = "contact" if answer.is_right else f"{answer.status} and no contact"
    return f"{what} after {answer.seconds:.1f} s"


def _wait(is_done: Callable[[], bool]) -> None:
    end = time.perf_counter() + DELIVERED_BY
    while not is_done() and time.perf_counter() < end:
        time.sleep(0.1)
