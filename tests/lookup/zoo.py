"""Adapters that behave and misbehave, and the tenant and service that ask them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar
from zoneinfo import ZoneInfo

from middleware.crm.base import Context, CRMAdapter
from middleware.generations import Generations
from middleware.lookup.card import Card, Result
from middleware.lookup.indexed import NoIndex, NumberIndex
from middleware.lookup.service import Limits, LookupService
from middleware.lookup.shared import SharedAnswers
from middleware.lookup.trace import Trace
from middleware.model.activity import Call, Note, Task
from middleware.model.call import LookupQuery, User
from middleware.model.contact import Contact, ContactNumber
from middleware.model.deadline import Deadline
from middleware.model.phone import PhoneNumber, parse_number
from middleware.shared_store import SharedStore
from middleware.tenants.tenant import LookupConfig, Source, Tenant
from tests.conftest import KEY

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ADA = Contact(id="1", display_name="Ada Webb", numbers=(ContactNumber(number="070-174 06 05"),))
NUMBER = "+46701740605"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSettings:
    """An adapter without settings."""


@dataclass
class Zoo(CRMAdapter[NoSettings]):
    """An adapter whose methods are given; counts how often it is asked."""

    name: ClassVar[str] = "zoo"
    label: ClassVar[str] = "Zoo"
    settings_type: ClassVar[type] = NoSettings
    contacts: Callable[[], Iterable[Contact]] = lambda: [ADA]
    notes: Callable[[], Iterable[Note]] | None = None
    tasks: Callable[[], Iterable[Task]] | None = None
    by_id: dict[str, Contact] | None = None
    asked: list[PhoneNumber] = field(default_factory=list)

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        self.asked.append(number)
        return self.contacts()

    def find_contact_by_id(self, numeric_id: str, ctx: Context) -> Contact | None:
        assert self.by_id is not None
        return self.by_id.get(numeric_id)

    def find_notes(self, contact: Contact, ctx: Context) -> Iterable[Note]:
        assert self.notes is not None
        return self.notes()

    def find_tasks(self, contact: Contact, ctx: Context) -> Iterable[Task]:
        assert self.tasks is not None
        return self.tasks()

    def can(self, method: str) -> bool:
        given = {"find_notes": self.notes, "find_tasks": self.tasks, "find_contact_by_id": self.by_id}
        return given.get(method) is not None


def note(days_ago: int, body: str = "") -> Note:
    return Note(timestamp=NOW - timedelta(days=days_ago), body=body or f"{days_ago} days ago")


def tenant_of(*adapters: Zoo, id: str = "acme", lookup: LookupConfig | None = None) -> Tenant:
    return Tenant(
        id=id,
        name="Acme",
        region="SE",
        timezone=ZoneInfo("Europe/Stockholm"),
        revision="r1",
        secrets={},
        sources=tuple(Source(name=f"zoo{i}", adapter=adapter) for i, adapter in enumerate(adapters)),
        own_numbers=frozenset({"+46101234567"}),
        lookup=lookup or LookupConfig(),
    )


@dataclass
class Desk:
    """A lookup service whose cards are kept for the test to look at; ``now`` moves its clock."""

    path: Path
    now: float = 1000.0
    cards: list[Card] = field(default_factory=list)
    own_calls: list[Call] = field(default_factory=list)
    trace: Trace = field(default_factory=Trace)  # of the latest lookup
    store: SharedStore | None = None
    limits: Limits = field(default_factory=Limits)
    index: NumberIndex = field(default_factory=NoIndex)

    def __post_init__(self) -> None:
        self.generations = Generations(self.path, KEY)
        self.shared = SharedAnswers(self.store, self.generations) if self.store else None
        self.service = LookupService(
            dump=self._dump,
            generations=self.generations,
            own_calls=lambda _tenant, _number: self.own_calls,
            shared=self.shared,
            limits=self.limits,
            index=self.index,
            clock=lambda: self.now,
        )

    def close(self) -> None:
        if self.shared:
            self.shared.close()
        self.generations.close()

    def _dump(self, card: Card, deprecated_names: bool) -> bytes:
        self.cards.append(card)
        return card.contact.display_name.encode()

    def ask(
        self,
        tenant: Tenant,
        number: str = NUMBER,
        to: str | None = None,
        user: User | None = None,
        numeric_id: str | None = None,
        patience: float = 5.0,
        trace_id: str = "",
    ) -> Result:
        query = LookupQuery(
            number=parse_number(number, "SE"),
            to_number=parse_number(to, "SE") if to else None,
            user=user,
            numeric_id=numeric_id,
        )
        self.trace = trace = Trace(id=trace_id)
        return self.service.lookup(tenant, query, Deadline.after(timedelta(seconds=patience)), trace)


class Hanging:
    """A call that returns only when the test lets it."""

    def __init__(self, *contacts: Contact) -> None:
        self.contacts = contacts or (ADA,)
        self.release = threading.Event()
        self.entered = threading.Semaphore(0)

    def __call__(self) -> Iterator[Contact]:
        self.entered.release()
        self.release.wait(30)
        yield from self.contacts
