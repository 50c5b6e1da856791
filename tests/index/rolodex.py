"""A CRM that can list its contacts and find nobody by number, and the installation that keeps an index of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from middleware.crm.base import Context, CRMAdapter
from middleware.inbox.store import Inbox
from middleware.index.passes import Pass
from middleware.index.store import IndexState, NumberStore
from middleware.model.activity import Note
from middleware.model.contact import Contact, ContactNumber
from middleware.model.phone import parse_number
from middleware.tenants.tenant import IndexConfig, Source, Tenant
from tests.conftest import KEY
from tests.lookup.zoo import NOW

PAGE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RolodexSettings:
    """``book`` stands for whatever decides what the CRM lists."""

    book: str = "all"


@dataclass(eq=False)
class Rolodex(CRMAdapter[RolodexSettings]):
    """Lists contacts page by page, each with the moment of its latest change; deleted ones are told if ``tells``."""

    name: ClassVar[str] = "rolodex"
    label: ClassVar[str] = "Rolodex"
    settings_type: ClassVar[type] = RolodexSettings
    settings: RolodexSettings = field(default_factory=RolodexSettings)
    contacts: dict[str, Contact] = field(default_factory=dict)
    changed_at: dict[str, datetime] = field(default_factory=dict)
    asked: list[tuple[datetime | None, str]] = field(default_factory=list)  # since when, from which page
    fails_after: int | None = None  # contacts
    error: Exception | None = None
    on_contact: Callable[[int], object] = lambda _count: None  # told the place of each contact before it is listed

    def put(self, contact_id: str, *numbers: str, at: datetime = NOW, name: str = "") -> Contact:
        stored = tuple(ContactNumber(number=number) for number in numbers)
        contact = Contact(id=contact_id, display_name=name or f"Contact {contact_id}", numbers=stored)
        self.contacts[contact_id], self.changed_at[contact_id] = contact, at
        return contact

    def iter_contacts(self, since: datetime | None, ctx: Context) -> Iterator[Contact]:
        self.asked.append((since, ctx.bookmark.place))
        wanted = [c for c in sorted(self.contacts) if since is None or self.changed_at[c] >= since]
        first = int(ctx.bookmark.place or 0)
        for place in range(first, len(wanted), PAGE):
            with ctx.guard():
                page = wanted[place : place + PAGE]
            for count, contact_id in enumerate(page, start=place):
                if self.fails_after is not None and count >= self.fails_after:
                    assert self.error
                    raise self.error
                self.on_contact(count)
                yield self.contacts[contact_id]
            ctx.bookmark.place = str(place + PAGE)


class ReadableRolodex(Rolodex):
    """The same, with contacts that can be read by id, unless it is down."""

    knows_contact_ids: ClassVar[bool] = True
    down: Exception | None = None

    def find_contact_by_id(self, numeric_id: str, ctx: Context) -> Contact | None:
        with ctx.guard():
            if self.down:
                raise self.down
            return self.contacts.get(numeric_id)

    def find_notes(self, contact: Contact, ctx: Context) -> Iterable[Note]:
        if self.down:
            raise self.down
        return [Note(timestamp=NOW, body=f"about {contact.id}")]


def number_of(place: int) -> str:
    """Return the number of that contact of a crowd."""
    return f"+46701{place:06}"


def crowd(size: int) -> Rolodex:
    """Return a CRM of so many contacts, whose numbers end with their ids."""
    crm = Rolodex()
    for i in range(size):
        crm.put(f"{i:04}", number_of(i), at=NOW - timedelta(days=1))
    return crm


def tenant_with(adapter: CRMAdapter[Any], *, id: str = "acme", index: IndexConfig | None = None) -> Tenant:
    return Tenant(
        id=id,
        name="Acme",
        region="SE",
        timezone=ZoneInfo("Europe/Stockholm"),
        revision="r1",
        secrets={},
        sources=(Source(name="rolodex", adapter=adapter, index=index or IndexConfig()),),
    )


@dataclass
class Town:
    """An inbox's database with the indexes in it, and a clock that the test moves."""

    inbox: Inbox
    now: datetime = NOW
    stopping: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def at(cls, database_url: str) -> Town:
        town = cls.__new__(cls)
        cls.__init__(town, Inbox(database_url, key=KEY, now=lambda: town.now))
        return town

    @property
    def store(self) -> NumberStore:
        return NumberStore(self.inbox)

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)

    def sync(self, tenant: Tenant, *, is_forced: bool = False, is_full: bool = False) -> bool:
        """Do what is due; whether anything was."""
        lease = self.store.claim(tenant, tenant.sources[0], is_forced=is_forced)
        if lease is None:
            return False
        Pass(self.store, lease, self.inbox.now, self.stopping).run(is_full=is_full)
        return True

    def who(self, tenant: Tenant, number: str) -> list[str]:
        found = self.store.find(tenant, tenant.sources[0], parse_number(number, "SE"))
        return [contact.id for contact in found.contacts]

    def is_final(self, tenant: Tenant, number: str = "+46701740699") -> bool:
        return self.store.find(tenant, tenant.sources[0], parse_number(number, "SE")).is_final

    def state(self, tenant: Tenant) -> IndexState:
        return self.store.list_states(tenant.id)[0]
