"""``Recordings``: what becomes of the media that senders name: fetched, kept, linked, forgotten."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from sqlalchemy import Row, and_, or_

from middleware.errors import RecordingRefusedError, StorageError
from middleware.inbox.store import Inbox
from middleware.model.call import Media
from middleware.recordings.address import read_url
from middleware.recordings.attachments import Attachments
from middleware.recordings.ledger import Ledger
from middleware.recordings.links import Links, Permit
from middleware.recordings.store import Store, make_incoming
from middleware.recordings.tables import recording
from middleware.tenants.registry import Tenants

GIVE_UP_AFTER = timedelta(hours=24)  # where the sender does not say when his link dies
REMEMBER_REMOVED = timedelta(days=30)  # for so long a link to what is gone says so
_CAN_BE_LINKED = ("kept", "passed", "waiting")  # the best first


class Refusal(Enum):
    """Why a link plays nothing; the values are what the audit has."""

    FORBIDDEN = "forbidden"  # no signature of ours
    EXPIRED = "expired"
    REVOKED = "revoked"
    REMOVED = "removed"
    LOST = "lost"  # it could not be fetched in time
    WAITING = "waiting"  # it is being fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One recording as people see it; ``expires_at`` is the end of keeping and of its links, ``bytes`` its size."""

    id: str
    tenant_id: str
    call_key: str
    kind: str
    state: str
    noted_at: datetime
    link_dies_at: datetime
    expires_at: datetime
    attempts: int
    words: str | None = None
    sha256: str | None = None
    bytes: int = 0
    content_type: str | None = None
    played: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What one network address did with a recording's links within the minute that begins ``at``."""

    at: datetime
    address: str
    outcome: str
    requests: int


class Recordings:
    """The recordings of all customers; one per process, shared by its threads."""

    def __init__(self, inbox: Inbox, tenants: Tenants, store: Store, *, key: bytes, public_url: str) -> None:
        self.ledger = Ledger(inbox.database)
        self.store = store
        self.attachments = Attachments(inbox.database, store)
        self.tenants = tenants
        self.now = inbox.now
        self._hash_number = inbox.hash_number
        self._key = key
        self._links = Links(public_url, key)

    def note(self, tenant_id: str, call_key: str, media: Iterable[Media], numbers: Iterable[str] = ()) -> int:
        """Remember what a sender has named for a call, as the customer wants; return how much of it is new.

        ``numbers`` (E.164, or as they came) are those of the call: :meth:`forget` finds it by them.  Nothing is fetched
        here; noting the same again changes nothing.
        """
        tenant = self.tenants.get(tenant_id)
        config = tenant.recordings if tenant else None
        if config is None or not (config.fetch or config.pass_through):
            return 0
        state = "waiting" if config.fetch else "passed"
        rows = [self._row(tenant_id, call_key, found, state, config.keep) for found in media]
        whose = {self._hash_number(tenant_id, number) for number in numbers}
        return self.ledger.add(rows, sorted(whose)) if rows else 0

    def _row(self, tenant_id: str, call_key: str, media: Media, state: str, keep: timedelta) -> dict[str, Any]:
        now = self.now()
        words = None
        if state == "passed":
            try:
                read_url(media.url)
            except RecordingRefusedError as error:  # javascript: and the like do not get into a CRM
                state, words = "failed", str(error)
        return {
            "id": secrets.token_hex(12),
            "tenant": tenant_id,
            "call_key": call_key,
            "source": self._source(tenant_id, media.url),
            "kind": media.kind,
            "state": state,
            "url": media.url,
            "noted_at": now.timestamp(),
            "link_dies_at": (media.expires_at or now + GIVE_UP_AFTER).timestamp(),
            "due_at": now.timestamp(),
            "expires_at": (now + keep).timestamp(),
            "words": words,
        }

    def _source(self, tenant_id: str, url: str) -> str:
        """Return what the table has in place of a sender's link."""
        seen = f"{tenant_id}\0recording\0{url}".encode(errors="replace")
        return hmac.new(self._key, seen, hashlib.sha256).hexdigest()

    def linked(self, tenant_id: str, call_key: str, media: Sequence[Media]) -> tuple[Media, ...]:
        """Return what can be heard or read of a call, with the links that its log bears, the best of a kind first.

        Our links are the same for every log of the call, and there as soon as a recording is noted: until it is fetched
        the page says so.  Of ``media``, what senders have named, those that are not kept stay as they are.
        """
        places = {self._source(tenant_id, one.url): place for place, one in enumerate(media)}
        rows = [row for row in self.ledger.of_call(tenant_id, call_key) if row.state in _CAN_BE_LINKED]
        rows.sort(key=lambda row: (_CAN_BE_LINKED.index(row.state), places.get(row.source, len(places))))
        contents = {row.sha256 or row.id: row for row in reversed(rows)}  # two links may have brought the same
        ours = [row for row in rows if contents[row.sha256 or row.id] is row]
        sources = {row.source for row in rows}
        others = [one for one in media if self._source(tenant_id, one.url) not in sources]
        return (*(Media(url=self._public(row), kind=row.kind) for row in ours), *others)

    def _public(self, row: Row[Any]) -> str:
        return str(row.url) if row.state == "passed" else self._link(row)

    def kept_links(self, tenant_id: str, call_keys: Sequence[str]) -> dict[str, str]:
        """Return by call the link to its latest recording that is kept, for a customer who has them fetched."""
        tenant = self.tenants.get(tenant_id)
        if not call_keys or tenant is None or not tenant.recordings.fetch:  # nearly all: nothing is asked
            return {}
        return {row.call_key: self._link(row) for row in self.ledger.kept(tenant_id, call_keys)}

    def loss_of(self, tenant_id: str, call_key: str) -> str | None:
        """Return what a call's log says when its recording could not be fetched and will not be."""
        states = {row.state for row in self.ledger.of_call(tenant_id, call_key) if row.kind == "recording"}
        lost = {"expired", "failed"} & states
        return "lost: it could not be fetched while the sender had it" if lost else None

    def link(self, recording_id: str, lifetime: timedelta | None = None) -> str | None:
        """Return a link to one recording, good for ``lifetime``, at most and by default as long as it is kept."""
        row = self.ledger.find(recording_id)
        if row is None or row.state not in ("waiting", "kept"):
            return None
        return self._link(row, lifetime)

    def _link(self, row: Row[Any], lifetime: timedelta | None = None) -> str:
        end = datetime.fromtimestamp(row.expires_at, UTC)
        end = end if lifetime is None else min(end, self.now() + lifetime)
        return self._links.make(row.tenant, row.id, Permit(expires_at=end, links=row.links))

    def open(self, tenant_id: str, recording_id: str, signature: str, *, address: str) -> Recording | Refusal:
        """Return what a link plays, or why it plays nothing; whoever had a link of ours is remembered.

        ``address`` is the network address of who asks.
        """
        permit = self._links.read(tenant_id, recording_id, signature)
        if permit is None:
            return Refusal.FORBIDDEN
        row = self.ledger.find(recording_id)
        found = _judged(row, permit, self.now())
        if row is not None:
            outcome = found.value if isinstance(found, Refusal) else "played"
            self.ledger.audit(recording_id, self.now().timestamp(), address, outcome)
        return found

    def read(self, kept: Recording, start: int, length: int) -> Iterator[bytes]:
        """Return a part of a recording in pieces; raises ``StorageError`` before the first one."""
        if kept.sha256 is None:
            return iter(())
        return self.store.read(kept.tenant_id, kept.sha256, start, length)

    def list_recordings(
        self, tenant_id: str | None = None, state: str | None = None, limit: int = 50
    ) -> list[Recording]:
        """Return the latest recordings that match, newest first."""
        return [_recording(row) for row in self.ledger.latest(tenant_id, state, limit)]

    def list_accesses(self, recording_id: str) -> list[Access]:
        """Return who has used the recording's links, in order of time."""
        return [
            Access(
                at=datetime.fromtimestamp(row.minute * 60, UTC),
                address=row.address,
                outcome=row.outcome,
                requests=row.requests,
            )
            for row in self.ledger.accesses(recording_id)
        ]

    def revoke(self, ids: Sequence[str]) -> int:
        """End all links that were given to these recordings; return to how many.

        What is composed or asked for later has new ones.
        """
        return self.ledger.change(recording.c.id.in_(ids), links=recording.c.links + 1)

    def retry(self, ids: Sequence[str]) -> int:
        """Have these recordings fetched again at once, where their links are still known; return how many."""
        wanted = and_(recording.c.id.in_(ids), recording.c.state.in_(("waiting", "failed", "expired")))
        known = and_(wanted, recording.c.url.is_not(None))
        return self.ledger.change(known, state="waiting", due_at=self.now().timestamp())

    def find(self, tenant_id: str, call_keys: Sequence[str], number: str) -> list[Recording]:
        """Return the recordings of these calls and of ``number``, the oldest first."""
        rows = self.ledger.find_all(tenant_id, call_keys, self._hash_number(tenant_id, number))
        return [_recording(row) for row in rows]

    def forget(self, tenant_id: str, call_keys: Sequence[str], number: str | None = None) -> int:
        """Remove the recordings of these calls and of ``number``, their files, and who listened; return how many.

        When this returns nothing of them is left.  Raises ``StorageError`` when a file could not be removed yet: it is
        tried again at the next :meth:`purge`, and whoever asks again is told until it is gone.
        """
        hashed = None if number is None else self._hash_number(tenant_id, number)
        ids = [row.id for row in self.ledger.find_all(tenant_id, call_keys, hashed)]
        count = self.ledger.withdraw(ids)
        for path in make_incoming(self.store).iterdir():  # what a killed fetch has left, or one that is under way
            if path.name.partition("-")[0] in ids:
                path.unlink(missing_ok=True)
        self.remove_files()
        if self.ledger.is_removing(tenant_id):
            raise StorageError("a recording's file is being removed by another process: do it again in three minutes")
        self.ledger.compact()
        return count

    def purge(self) -> int:
        """Remove what has been kept long enough, and links that are dead; return how many recordings went."""
        now = self.now().timestamp()
        is_over = recording.c.expires_at <= now
        count = self.ledger.remove(and_(recording.c.state == "kept", is_over), words="Kept as long as it is to be.")
        self.remove_files()
        lost = recording.c.state.in_(("failed", "expired"))
        self.ledger.change(and_(lost, recording.c.link_dies_at <= now, recording.c.url.is_not(None)), url=None)
        long_gone = recording.c.expires_at <= now - REMEMBER_REMOVED.total_seconds()
        self.ledger.erase(and_(recording.c.state != "waiting", or_(long_gone, and_(is_over, ~_is_kept()))))
        return count

    def remove_files(self) -> None:
        """Delete the files of removed recordings that nobody else needs; raises ``StorageError``."""
        while rows := self.ledger.begin_removals(self.now().timestamp()):
            for row in rows:
                self.store.delete(row.tenant, row.sha256)
                self.ledger.end_removal(row)
        self.ledger.erase(and_(recording.c.state == "removed", recording.c.call_key == recording.c.id))


def _is_kept() -> Any:
    return recording.c.state.in_(("kept", "removed"))


def _judged(row: Row[Any] | None, permit: Permit, now: datetime) -> Recording | Refusal:
    if permit.expires_at <= now:
        return Refusal.EXPIRED
    if row is None or row.state == "removed":
        return Refusal.REMOVED
    if permit.links != row.links:
        return Refusal.REVOKED
    match row.state:
        case "kept":
            return _recording(row)
        case "waiting":
            return Refusal.WAITING
    return Refusal.LOST


def _recording(row: Row[Any]) -> Recording:
    moments = {name: datetime.fromtimestamp(getattr(row, name), UTC) for name in ("noted_at", "expires_at")}
    return Recording(
        id=row.id,
        tenant_id=row.tenant,
        call_key=row.call_key,
        kind=row.kind,
        state=row.state,
        **moments,
        link_dies_at=datetime.fromtimestamp(row.link_dies_at, UTC),
        attempts=row.attempts,
        words=row.words,
        sha256=row.sha256,
        bytes=row.bytes or 0,
        content_type=row.content_type,
        played=getattr(row, "played", 0),
    )
