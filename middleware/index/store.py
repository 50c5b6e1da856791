"""``NumberStore``: the mirrored contacts in the database, found by number, and written by whoever has the lease.

One short transaction per batch: who acknowledges events waits behind it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, delete, func, or_, select, update

from middleware.errors import StorageError
from middleware.inbox.store import Inbox
from middleware.inbox.tables import Told
from middleware.index.card import MAX_NUMBERS, dump_contact, load_contact
from middleware.index.tables import indexed_contact, indexed_number, number_index
from middleware.lookup.indexed import Indexed
from middleware.lookup.verify import MAX_ITEMS
from middleware.model.contact import Contact
from middleware.model.phone import PhoneNumber, iter_stored_numbers
from middleware.tenants.tenant import Source, Tenant

LEASE = 120.0  # seconds; longer than any step of a pass
LEASES_AHEAD = 10  # leases that lie further ahead were made before a clock was put back
BATCH = 250  # contacts in one transaction: who stores an event waits for it
_clean = Told().process_bind_param
_FIND = (  # built once: that takes longer than the database does
    select(number_index.c.fingerprint, number_index.c.synced_at, number_index.c.contacts, indexed_contact.c.card)
    .select_from(
        number_index.outerjoin(
            indexed_number,
            and_(indexed_number.c.index_id == number_index.c.id, indexed_number.c.number == bindparam("hashed")),
        ).outerjoin(
            indexed_contact,
            and_(
                indexed_contact.c.index_id == indexed_number.c.index_id,
                indexed_contact.c.contact_id == indexed_number.c.contact_id,
            ),
        )
    )
    .where(number_index.c.tenant == bindparam("tenant_id"), number_index.c.source == bindparam("source_name"))
    .order_by(indexed_contact.c.contact_id)
    .limit(MAX_ITEMS)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexState:
    """How an index stands.

    ``synced_at``: it is as the CRM was then, at the least; ``age``: since then, in seconds; ``seen``: contacts of the
    full pass that is under way or was interrupted; ``is_waiting``: there is one, which the next worker goes on with;
    ``error``: class of the last failure, ``failures`` in a row.
    """

    tenant_id: str
    source: str
    contacts: int
    seen: int
    is_building: bool
    is_waiting: bool
    built_at: datetime | None
    synced_at: datetime | None
    age: float | None
    due_at: datetime
    failures: int
    error: str | None

    @property
    def word(self) -> str:
        """How it stands, in a word."""
        if self.is_building:
            return "building"
        if self.is_waiting:
            return "waiting for a worker"
        if self.failures:
            return "failing"
        return "ready" if self.built_at else "not built"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write one index; ``row`` is how it stood when it was taken."""

    id: int
    tenant: Tenant
    source: Source
    owner: str
    row: Row[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """What becomes of the contacts of one batch."""

    cards: Mapping[str, str]  # of those that are new or changed
    numbers: Mapping[str, Sequence[str]]  # theirs, as hashes
    same: Sequence[str]
    gone: Sequence[str]
    known: frozenset[str]

    @property
    def growth(self) -> int:
        return len(self.cards.keys() - self.known) - len(self.gone)


class NumberStore:
    """The indexes of all customers; shared by threads."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._database = inbox.database

    # lookups ----------------------------------------------------------------------------------------
    def find(self, tenant: Tenant, source: Source, number: PhoneNumber) -> Indexed:
        """Return who has ``number``; what the index was read from with other settings counts for nothing."""
        if source.index is None or not number.e164:
            return Indexed()
        try:
            rows = self._rows(tenant.id, source.name, number.e164)
        except StorageError:
            return Indexed(words="the index cannot be read")
        if not rows or rows[0].fingerprint != fingerprint_of(tenant, source):
            return Indexed(words="the index is not built yet")
        contacts = tuple(load_contact(row.card) for row in rows if row.card)
        synced_at = rows[0].synced_at
        who = f"{len(contacts)} of {rows[0].contacts} have the number"
        if synced_at is None:
            return Indexed(contacts=contacts, words=f"{who}; the index is not built yet")
        age = self._now() - synced_at
        is_final = age <= source.index.trusted_for.total_seconds()
        old = "" if is_final else ", too old to believe that nobody has it"
        moment = datetime.fromtimestamp(synced_at, UTC)
        return Indexed(contacts=contacts, is_final=is_final, words=f"{who}, as of {moment:%Y-%m-%d %H:%M:%S} UTC{old}")

    def _rows(self, tenant_id: str, source: str, e164: str) -> Sequence[Any]:
        """Return the index's row once for each contact, with its card, or once without."""
        asked = {"tenant_id": tenant_id, "source_name": source, "hashed": self._hash(tenant_id, e164)}
        with self._database.read() as connection:
            return connection.execute(_FIND, asked).all()

    def list_states(self, tenant_id: str | None = None) -> list[IndexState]:
        """Return how every index stands, or those of one customer."""
        mine = number_index.c.tenant == tenant_id if tenant_id else number_index.c.id.is_not(None)
        with self._database.read() as connection:
            query = select(number_index).where(mine).order_by(number_index.c.tenant, number_index.c.source)
            rows = connection.execute(query).all()
        return [self._state(row) for row in rows]

    def list_contacts(self, tenant_id: str, number: str) -> list[tuple[str, Contact]]:
        """Return the contacts that are kept of a number (E.164), each with the name of its source."""
        with self._database.read() as connection:
            query = select(number_index.c.source, indexed_contact.c.card).where(self._has(tenant_id, number))
            return [(row.source, load_contact(row.card)) for row in connection.execute(query)]

    def forget(self, tenant_id: str, number: str) -> int:
        """Remove the contacts that have the number (E.164); return how many; a full pass brings them anew."""
        query = select(indexed_contact.c.index_id, indexed_contact.c.contact_id).where(self._has(tenant_id, number))
        with self._database.write() as connection:
            rows = connection.execute(query).all()
            for row in rows:
                self._remove(connection, row.index_id, [row.contact_id])
        return len(rows)

    def _has(self, tenant_id: str, number: str) -> ColumnElement[bool]:
        return and_(
            number_index.c.tenant == tenant_id,
            indexed_contact.c.index_id == number_index.c.id,
            indexed_number.c.index_id == number_index.c.id,
            indexed_number.c.contact_id == indexed_contact.c.contact_id,
            indexed_number.c.number == self._hash(tenant_id, number),
        )

    # whoever keeps it -------------------------------------------------------------------------------
    def claim(self, tenant: Tenant, source: Source, *, is_forced: bool = False) -> Lease | None:
        """Lease the source's index if it is due, of other settings or ``is_forced``, and nobody else has it."""
        now, owner = self._now(), secrets.token_hex(8)
        mine = and_(number_index.c.tenant == tenant.id, number_index.c.source == source.name)
        clock = self._database.lease_clock(now)
        is_free = _is_free(clock)
        # a moment further ahead than any pause was set before a clock was put back
        is_due = or_(
            number_index.c.due_at <= now,
            number_index.c.due_at > now + timedelta(days=1).total_seconds(),
            number_index.c.fingerprint != fingerprint_of(tenant, source),
        )
        wanted = and_(mine, is_free) if is_forced else and_(mine, is_free, is_due)
        with self._database.read() as connection:  # nothing is written while nothing is due
            if connection.execute(select(number_index.c.id).where(mine, ~wanted)).first():
                return None
        with self._database.write() as connection:
            new = self._database.insert(number_index).values(tenant=tenant.id, source=source.name)
            connection.execute(new.on_conflict_do_nothing())
            taken = update(number_index).where(wanted).values(owner=owner, lease_until=clock + LEASE)
            if not connection.execute(taken).rowcount:
                return None
            row = connection.execute(select(number_index).where(mine)).one()
        return Lease(id=row.id, tenant=tenant, source=source, owner=owner, row=row)

    def request(self, tenant_id: str, source: str) -> bool:
        """Have the next worker read all contacts; ``False`` while one has the index, and then nothing is changed."""
        now = self._now()
        mine = and_(number_index.c.tenant == tenant_id, number_index.c.source == source)
        free = and_(mine, _is_free(self._database.lease_clock(now)))
        begun = {"begun_at": now, "generation": number_index.c.generation + 1, "seen": 0}
        with self._database.write() as connection:
            new = self._database.insert(number_index).values(tenant=tenant_id, source=source)
            connection.execute(new.on_conflict_do_nothing())
            # one that was interrupted goes on where it was
            connection.execute(update(number_index).where(free, number_index.c.begun_at.is_(None)).values(begun))
            return connection.execute(update(number_index).where(free).values(due_at=now)).rowcount == 1

    def read(self, lease: Lease) -> Row[Any]:
        """Return how the index stands now; raises ``StorageError`` when it is gone."""
        with self._database.read() as connection:
            row = connection.execute(select(number_index).where(number_index.c.id == lease.id)).first()
        if row is None:
            raise StorageError("the index was dropped")
        return row

    def change(self, lease: Lease, **changes: Any) -> None:
        """Write how the index stands; raises ``StorageError`` when another worker has taken it over."""
        with self._database.write() as connection:
            self._change(connection, lease, changes)

    def release(self, lease: Lease, **changes: Any) -> None:
        """Give the lease back."""
        self.change(lease, owner=None, lease_until=0.0, **changes)

    def renew(self, lease: Lease) -> None:
        """Keep the lease for another while."""
        self.change(lease, lease_until=self._lease_end())

    def write(self, lease: Lease, contacts: Sequence[Contact], generation: int, **changes: Any) -> None:
        """Store a batch of contacts as they are now, and ``changes`` with it; those without numbers are removed."""
        latest = {_id_of(contact): contact for contact in contacts}
        cards = {contact_id: dump_contact(contact) for contact_id, contact in latest.items() if contact.numbers}
        digests = {contact_id: hashlib.sha256(card.encode()).hexdigest()[:32] for contact_id, card in cards.items()}
        with self._database.read() as connection:
            known = self._known(connection, lease.id, latest)
        same = [contact_id for contact_id in cards if known.get(contact_id) == digests[contact_id]]
        changed = cards.keys() - set(same)
        hashes = {contact_id: self._hashes(lease.tenant, latest[contact_id]) for contact_id in changed}
        numbers = {contact_id: several for contact_id, several in hashes.items() if several}
        batch = _Batch(
            cards={contact_id: cards[contact_id] for contact_id in numbers},
            numbers=numbers,
            same=same,
            gone=[contact_id for contact_id in known if contact_id not in numbers and contact_id not in same],
            known=frozenset(known),
        )
        with self._database.write() as connection:
            changes |= {"contacts": number_index.c.contacts + batch.growth, "lease_until": self._lease_end()}
            self._change(connection, lease, changes)  # first: who has lost the lease writes nothing
            self._store(connection, lease.id, batch, digests, generation)

    def _store(
        self, connection: Connection, index_id: int, batch: _Batch, digests: Mapping[str, str], generation: int
    ) -> None:
        old = [contact_id for contact_id in batch.cards if contact_id in batch.known]
        self._delete(connection, index_id, [*old, *batch.gone])
        rows = [
            {"index_id": index_id, "contact_id": contact_id, "generation": generation, "digest": digests[contact_id]}
            | {"card": card}
            for contact_id, card in batch.cards.items()
        ]
        numbers = [
            {"index_id": index_id, "contact_id": contact_id, "number": number}
            for contact_id, several in batch.numbers.items()
            for number in several
        ]
        if rows:
            connection.execute(indexed_contact.insert(), rows)
        if numbers:
            connection.execute(indexed_number.insert(), numbers)
        mine = and_(indexed_contact.c.index_id == index_id, indexed_contact.c.contact_id.in_(batch.same))
        if batch.same:
            seen = update(indexed_contact).where(mine, indexed_contact.c.generation != generation)
            connection.execute(seen.values(generation=generation))

    def count_unseen(self, lease: Lease, generation: int) -> int:
        """Return how many contacts no pass of ``generation`` or later has seen."""
        query = select(func.count()).select_from(indexed_contact).where(_is_older(lease.id, generation))
        with self._database.read(is_long=True) as connection:
            return int(connection.execute(query).scalar_one())

    def remove_unseen(self, lease: Lease, generation: int) -> None:
        """Remove the contacts that no pass of ``generation`` or later has seen."""
        wanted = select(indexed_contact.c.contact_id).where(_is_older(lease.id, generation)).limit(BATCH)
        while True:
            with self._database.write() as connection:
                self._change(connection, lease, {"lease_until": self._lease_end()})
                ids = connection.execute(wanted).scalars().all()
                self._remove(connection, lease.id, ids)
            if len(ids) < BATCH:
                return

    def empty(self, lease: Lease, **changes: Any) -> None:
        """Remove all contacts, and with them all that is known of how far the index is."""
        self.remove_unseen(lease, lease.row.generation + 2)
        nothing = dict.fromkeys(("begun_at", "bookmark", "built_at", "synced_at", "since", "error"))
        self.change(lease, **nothing, seen=0, failures=0, contacts=0, **changes)

    def drop(self, tenant_id: str, source: str) -> int:
        """Remove the index, whoever is building it; return how many contacts it had."""
        mine = and_(number_index.c.tenant == tenant_id, number_index.c.source == source)
        with self._database.write() as connection:
            row = connection.execute(select(number_index).where(mine)).first()
            taken = {"owner": "dropped", "lease_until": self._lease_end(), "fingerprint": ""}
            connection.execute(update(number_index).where(mine).values(taken))
        if row is None:
            return 0
        while self._drop_some(row.id):
            pass
        self._database.compact()
        return int(row.contacts)

    def _drop_some(self, index_id: int) -> bool:
        mine = indexed_contact.c.index_id == index_id
        with self._database.write() as connection:
            ids = connection.execute(select(indexed_contact.c.contact_id).where(mine).limit(BATCH)).scalars().all()
            self._delete(connection, index_id, ids)
            if not ids:
                connection.execute(delete(number_index).where(number_index.c.id == index_id))
        return bool(ids)

    # parts of transactions ----------------------------------------------------------------------------
    def _change(self, connection: Connection, lease: Lease, changes: Mapping[str, Any]) -> None:
        held = and_(number_index.c.id == lease.id, number_index.c.owner == lease.owner)
        if not connection.execute(update(number_index).where(held).values(**changes)).rowcount:
            raise StorageError("another worker has taken the index over")

    def _known(self, connection: Connection, index_id: int, ids: Iterable[str]) -> dict[str, str]:
        mine = and_(indexed_contact.c.index_id == index_id, indexed_contact.c.contact_id.in_(list(ids)))
        rows = connection.execute(select(indexed_contact.c.contact_id, indexed_contact.c.digest).where(mine))
        return {row.contact_id: row.digest for row in rows}

    def _remove(self, connection: Connection, index_id: int, ids: Sequence[str]) -> None:
        self._delete(connection, index_id, ids)
        mine = update(number_index).where(number_index.c.id == index_id)
        connection.execute(mine.values(contacts=number_index.c.contacts - len(ids)))

    @staticmethod
    def _delete(connection: Connection, index_id: int, ids: Sequence[str]) -> None:
        if ids:
            for table in (indexed_number, indexed_contact):
                connection.execute(delete(table).where(table.c.index_id == index_id, table.c.contact_id.in_(ids)))

    def _hashes(self, tenant: Tenant, contact: Contact) -> list[str]:
        texts = (stored.number for stored in contact.numbers[:MAX_NUMBERS])
        numbers = dict.fromkeys(number for text in texts for number in iter_stored_numbers(text, tenant.region))
        return [self._hash(tenant.id, number) for number in numbers]

    def _hash(self, tenant_id: str, number: str) -> str:
        return self._inbox.hash_number(tenant_id, number)[:32]

    def _state(self, row: Row[Any]) -> IndexState:
        is_held = row.owner is not None and row.lease_until >= self._now()
        return IndexState(
            tenant_id=row.tenant,
            source=row.source,
            contacts=row.contacts,
            seen=row.seen,
            is_building=is_held and row.begun_at is not None,
            is_waiting=not is_held and row.begun_at is not None and row.due_at <= self._now(),
            built_at=_moment(row.built_at),
            synced_at=_moment(row.synced_at),
            age=None if row.synced_at is None else round(max(0.0, self._now() - row.synced_at), 1),
            due_at=datetime.fromtimestamp(row.due_at, UTC),
            failures=row.failures,
            error=row.error,
        )

    def _lease_end(self) -> ColumnElement[float]:
        return self._database.lease_clock(self._now()) + LEASE

    def _now(self) -> float:
        return self._inbox.now().timestamp()


def fingerprint_of(tenant: Tenant, source: Source) -> str:
    """Return what stands for the settings that decide what is in the index; secrets are not in it: they are renewed."""
    adapter = source.adapter
    told = repr((adapter.name, adapter.base_url, adapter.settings, tenant.region))
    return hashlib.sha256(told.encode(errors="replace")).hexdigest()[:32]


def indexed_sources(tenant: Tenant) -> Iterator[Source]:
    """Yield the customer's sources that have an index."""
    return (source for source in tenant.sources if source.index is not None)


def _id_of(contact: Contact) -> str:
    return _clean(contact.id, None) or ""


def _is_free(clock: Any) -> ColumnElement[bool]:
    return or_(number_index.c.lease_until < clock, number_index.c.lease_until > clock + LEASES_AHEAD * LEASE)


def _is_older(index_id: int, generation: int) -> ColumnElement[bool]:
    return and_(indexed_contact.c.index_id == index_id, indexed_contact.c.generation < generation)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
