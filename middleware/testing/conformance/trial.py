"""``Trial``: runs an adapter's methods against recorded answers and tells what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import Any

from middleware.crm.base import OPTIONAL_METHODS, Context, CRMAdapter
from middleware.crm.session import CRMSession
from middleware.errors import CRMError, place_of
from middleware.model.call import CallRecord, LoggedCall
from middleware.model.contact import Contact, ContactDraft
from middleware.model.deadline import Deadline
from middleware.model.phone import PhoneNumber, iter_stored_numbers, parse_number
from middleware.testing.conformance import samples
from middleware.testing.conformance.exchanges import Book, Exchange
from middleware.testing.conformance.wire import (
    Answering,
    EndlessError,
    FakeClock,
    Sent,
    UnansweredError,
    Wire,
    as_recorded,
    in_turn,
)

MAX_ITEMS = 200  # of what a method yields; the core reads no more of a lookup
SPAN = timedelta(seconds=30)
WRITES = ("log_call", "update_call", "create_contact", "attach_recording", "create_task")


def fault_of(error: BaseException) -> str:
    """Return what went wrong in an author's own code, and where; for him alone, so with the message."""
    return f"{type(error).__name__} ({error}) at {place_of(error)}"


class ConformanceError(AssertionError):
    """A check that failed: what is wrong, and how it is mended."""

    def __init__(self, wrong: str, mend: str) -> None:
        super().__init__(f"{wrong}\n  How to mend it: {mend}")


class NotApplicableError(Exception):
    """The adapter has not what the check is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the methods are asked with."""

    number: PhoneNumber
    numeric_id: str
    contact: Contact | None
    call: CallRecord
    logged: LoggedCall
    draft: ContactDraft
    action_item: str = samples.ACTION_ITEM
    tape: samples.Tape = field(default_factory=samples.Tape)
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of one call of a method: its result or its error, and what was sent."""

    method: str
    result: Any = None
    error: BaseException | None = None
    sent: Sequence[Sent] = ()

    @property
    def writes(self) -> list[Sent]:
        """The requests that change something."""
        return [sent for sent in self.sent if sent.is_write]

    def told(self) -> str:
        """Return the result or the error in words."""
        return f"{type(self.error).__name__}: {self.error}" if self.error else f"{self.result!r}"[:200]


def _find_contacts(adapter: CRMAdapter[Any], inputs: Inputs, ctx: Context) -> list[Contact]:
    """Ask as the core does: in one form after the other, until somebody really has the number."""
    found: list[Contact] = []
    for written in dict.fromkeys(getattr(inputs.number, form) for form in adapter.number_forms):
        found = _listed(adapter.find_contacts(inputs.number, replace(ctx, written=written)))
        if any(has_number(contact, inputs.number, ctx.region) for contact in found):
            break
    return found


def has_number(contact: Contact, number: PhoneNumber, region: str) -> bool:
    """Whether one of the contact's numbers, however it is written, is ``number``."""
    return number.e164 is not None and any(
        number.e164 in iter_stored_numbers(str(each.number), region) for each in contact.numbers
    )


def _listed(found: Any) -> Any:
    return list(islice(found, MAX_ITEMS)) if isinstance(found, Iterable) else found


Ask = Callable[[Any, Inputs, Context], Any]
ASKS: dict[str, Ask] = {
    "find_contacts": _find_contacts,
    "find_contact_by_id": lambda adapter, asked, ctx: adapter.find_contact_by_id(asked.numeric_id, ctx),
    "create_links": lambda adapter, asked, _ctx: adapter.create_links(asked.contact),
    "create_contact": lambda adapter, asked, ctx: adapter.create_contact(asked.draft, ctx),
    "log_call": lambda adapter, asked, ctx: adapter.log_call(asked.call, asked.contact, ctx),
    "find_logged_call": lambda adapter, asked, ctx: adapter.find_logged_call(asked.call, ctx),
    "update_call": lambda adapter, asked, ctx: adapter.update_call(asked.logged, asked.call, ctx),
    "attach_recording": lambda adapter, asked, ctx: adapter.attach_recording(
        asked.logged, samples.sample_recording(asked.tape), asked.call, ctx
    ),
    "has_recording": lambda adapter, asked, ctx: adapter.has_recording(
        asked.logged, samples.sample_recording(asked.tape), asked.call, ctx
    ),
    "create_task": lambda adapter, asked, ctx: adapter.create_task(asked.contact, asked.action_item, asked.call, ctx),
    "iter_contacts": lambda adapter, asked, ctx: adapter.iter_contacts(asked.since, ctx),
    "check": lambda adapter, _asked, ctx: adapter.check(ctx),
}


def ask_of(method: str) -> Ask:
    """Return what calls ``method``; all that find activities are called alike."""
    return ASKS.get(method, lambda adapter, asked, ctx: getattr(adapter, method)(asked.contact, ctx))


@dataclass
class Trial:
    """One adapter, its settings and its exchanges, ready to be tried."""

    kind: type[CRMAdapter[Any]]
    settings: Any
    exchanges: Sequence[Exchange] = ()
    raw_number: str = samples.NUMBER
    region: str = samples.REGION
    numeric_id: str | None = None

    @cached_property
    def adapter(self) -> CRMAdapter[Any]:
        """The one instance that all calls share, as threads do."""
        return self.kind(self.settings)

    @cached_property
    def _book(self) -> Book:
        return Book(self.exchanges)

    @cached_property
    def number(self) -> PhoneNumber:
        """The number that the recorded contact has."""
        return parse_number(self.raw_number, self.region)

    @property
    def methods(self) -> list[str]:
        """What the adapter offers."""
        search = ["find_contacts"] if self.adapter.is_searchable else []
        return [*search, *(name for name in OPTIONAL_METHODS if self.adapter.can(name))]

    @property
    def speaks_http(self) -> bool:
        """Whether there are requests to look at."""
        return self.adapter.base_url is not None

    @cached_property
    def first(self) -> Run:
        """The very first call, in which nothing can be kept yet, and which brings the recorded contact."""
        return self._run("find_contacts" if self.adapter.is_searchable else "iter_contacts", self._first_inputs)

    @cached_property
    def contact(self) -> Contact:
        """The recorded contact."""
        contacts = self.first.result if isinstance(self.first.result, list) else []
        verified = [
            contact
            for contact in contacts
            if isinstance(contact, Contact) and has_number(contact, self.number, self.region)
        ]
        if not verified:
            raise NotApplicableError("no contact was found; mend `the_recorded_contact_is_found` first")
        return verified[0]

    @property
    def _first_inputs(self) -> Inputs:
        return Inputs(
            number=self.number,
            numeric_id=self.numeric_id or "1",
            contact=None,
            call=samples.sample_call(self.number),
            logged=LoggedCall(external_id="1"),
            draft=ContactDraft(number=self.number, display_name="Ada Webb", owner=samples.OWNER),
        )

    @cached_property
    def inputs(self) -> Inputs:
        """The usual inputs: the recorded contact, and the record that ``log_call`` has made."""
        inputs = replace(self._first_inputs, contact=self.contact, numeric_id=self.numeric_id or self.contact.id)
        if "log_call" in self.methods:
            logged = self._run("log_call", inputs).result
            inputs = replace(inputs, logged=logged) if isinstance(logged, LoggedCall) else inputs
        return inputs

    def fresh(self, **changes: Any) -> Inputs:
        """Return the usual inputs with ``changes`` and a recording that nobody has read."""
        return replace(self.inputs, **{"tape": samples.Tape(), **changes})

    def needs(self, *methods: str) -> list[str]:
        """Return those of ``methods`` that the adapter offers; raises ``NotApplicableError`` if there are none."""
        found = [method for method in methods if method in self.methods]
        if not found:
            raise NotApplicableError(f"the adapter has no {' or '.join(methods)}")
        return found

    def usual(self, method: str) -> Run:
        """Return what ``method`` does with the recorded answers; one that fails is another check's affair."""
        run = self.run(method)
        if run.error is not None:
            raise NotApplicableError(f"{method} fails as recorded; mend `the_exchanges_answer_every_method` first")
        return run

    def each_usual(self, *methods: str, http: bool = True) -> list[Run]:
        """Return the usual runs of those of ``methods`` (default: all) that work; with ``http``, that send anything."""
        if http and not self.speaks_http:
            raise NotApplicableError("the adapter does not speak HTTP")
        runs = [self.run(method) for method in (self.needs(*methods) if methods else self.methods)]
        runs = [run for run in runs if run.error is None and (run.sent or not http)]
        if not runs:
            raise NotApplicableError("no such method works as recorded")
        return runs

    def run(
        self,
        method: str,
        *,
        answering: Answering | None = None,
        like: Run | None = None,
        guard: Callable[[], AbstractContextManager[None]] = nullcontext,
        is_late: bool = False,
        **changes: Any,
    ) -> Run:
        """Call ``method`` with the usual inputs and ``changes``; ``like`` answers as in that run, whatever is asked."""
        if like is not None:
            answering = in_turn([sent.reply for sent in like.sent])
        return self._run(method, self.fresh(**changes), answering, guard, is_late)

    def _run(
        self,
        method: str,
        inputs: Inputs,
        answering: Answering | None = None,
        guard: Callable[[], AbstractContextManager[None]] = nullcontext,
        is_late: bool = False,
    ) -> Run:
        clock = FakeClock()
        deadline = Deadline.after(SPAN, clock)
        wire = Wire(self._book, clock, answering or as_recorded)
        if is_late:
            clock.now += SPAN.total_seconds()
        adapter = self.adapter
        http = CRMSession(
            adapter.base_url, deadline, auth=adapter.auth(), classify=adapter.classify, guard=guard, sender=wire
        )
        ctx = Context(deadline=deadline, http=http, region=self.region, user=samples.USER, guard=guard)
        result, error = None, None
        try:
            result = _listed(ask_of(method)(adapter, inputs, ctx))
        except (Exception, EndlessError, UnansweredError) as raised:
            error = raised
        return Run(method=method, result=result, error=error, sent=wire.sent)


def is_told(run: Run, *kinds: type[CRMError]) -> bool:
    """Whether the run ended with one of these errors; ``check`` may say so in a finding instead."""
    if run.method == "check" and run.error is None:
        return any(not finding.ok for finding in run.result or ())
    return isinstance(run.error, kinds)
