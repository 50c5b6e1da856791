"""``Meeting``: finds the call that an event speaks of, so that the order in which events come makes no difference.

What surely speaks of one call is one call.  A word (``Heard.is_word``) that shares no id with anything that has a start
goes to the call whose end is nearest to when it came, and moves when a nearer one is told of later.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, delete, or_, select, update

from middleware.inbox.calls import LATE, LONGEST, Heard, distance, is_same_call, is_surely_same, kin_of
from middleware.inbox.store import Body, Inbox, body_of
from middleware.inbox.tables import attempt, call, delivery, event, logged_call, mark

Hear = Callable[[Body], Heard | None]

_AT_THAT_TIME = and_(
    mark.c.what.in_(bindparam("contacts", expanding=True)),
    mark.c.begin <= bindparam("latest"),
    mark.c.begin >= bindparam("earliest"),
    mark.c.end >= bindparam("earliest_end"),
)
_ALIKE = select(mark.c.event_seq).where(
    mark.c.tenant == bindparam("of"), or_(mark.c.what.in_(bindparam("ids", expanding=True)), _AT_THAT_TIME)
)
_NEAR = select(event).where(event.c.seq.in_(_ALIKE), event.c.call_seq.is_not(None))
_OF_CALL = select(event).where(event.c.call_seq == bindparam("the_call")).order_by(event.c.seq)
_CALLS_OF = (
    select(event.c.call_seq)
    .where(event.c.seq.in_(bindparam("seqs", expanding=True)))
    .distinct()
    .order_by(event.c.call_seq)
)
NEW_CALL = call.insert().returning(call.c.seq)
_NEW_MARKS = mark.insert()


class BusyError(Exception):
    """Nothing can be done about an event now: somebody else does, or one of its calls is being written."""


class Meeting:
    """The calls of one customer as an event meets them, in one transaction; ``touched`` are those that change."""

    def __init__(
        self, connection: Connection, inbox: Inbox, tenant_id: str, hear: Hear, join_within: timedelta
    ) -> None:
        self._connection = connection
        self._inbox = inbox
        self._tenant_id = tenant_id
        self._hear = hear
        self._join_within = join_within
        self.touched: set[int] = set()

    def place(self, row: Row[Any], heard: Heard, near: Mapping[int, Heard]) -> int:
        """Add the event to its call, or to a new one, and return which; raises :class:`BusyError`.

        Events that speak of several calls make them one.
        """
        if row.call_seq is None:  # else it was planned before
            sure = [seq for seq, known in near.items() if is_surely_same(heard, known, self._join_within)]
            self._free([seq for seq in sure if near[seq].is_word])
            calls = self._calls_of(sure)
            self._move([row.seq], self._joined(calls) if calls else self._begin(row.key))
        self.leave_marks(row, heard)
        self._settle([row.seq] if heard.is_word else [seq for seq, known in near.items() if known.is_word])
        (call_seq,) = self._calls_of([row.seq])
        self.touched.add(call_seq)
        return call_seq

    def near(self, heard: Heard) -> dict[int, Heard]:
        """Return the events, of calls, that speak of the same call as far as can be told, by their number."""
        texts = heard.marks()
        ids, contacts = ([self._inbox.hash_mark(self._tenant_id, text) for text in some] for some in texts)
        reach = (LATE + self._join_within).total_seconds()
        moments = {
            "latest": heard.end.timestamp() + reach,
            "earliest": heard.begin.timestamp() - reach - LONGEST.total_seconds(),
            "earliest_end": heard.begin.timestamp() - reach,
        }
        wanted = {"of": self._tenant_id, "ids": ids, "contacts": contacts, **moments}
        known = self._heard(self._connection.execute(_NEAR, wanted).all())
        return {seq: other for seq, other in known.items() if is_same_call(heard, other, self._join_within)}

    def _heard(self, rows: Iterable[Row[Any]]) -> dict[int, Heard]:
        return {row.seq: heard for row in rows if (heard := self._hear(body_of(row)))}

    def _settle(self, words: Collection[int]) -> None:
        """Have each of the words, with those that share its ids, where it belongs by now."""
        for seq in words:
            candidates = [
                (distance(word, known), other)
                for word in self._loose(seq).values()
                for other, known in self.near(word).items()
                if not known.is_word
            ]
            nearest = min(candidates)[1] if candidates else seq
            if len(self._calls_of([seq, nearest])) > 1:
                self._free([seq])
                self._joined(self._calls_of([seq, nearest]))

    def _loose(self, seq: int) -> Mapping[int, Heard]:
        """Return the word with those of its call that are bound to it by ids; none if one of these has a start."""
        (call_seq,) = self._calls_of([seq])
        together = self._heard(self._connection.execute(_OF_CALL, {"the_call": call_seq}).all())
        kin = {other: together[other] for other in kin_of(seq, together, self._join_within)}
        return kin if all(heard.is_word for heard in kin.values()) else {}

    def _free(self, words: Collection[int]) -> None:
        """Give each of the words, with those that share its ids, a call of its own, unless its call is bound to it."""
        for seq in words:
            kin = self._loose(seq)
            (call_seq,) = self._calls_of([seq])
            rows = self._connection.execute(_OF_CALL, {"the_call": call_seq}).all()
            own = [row for row in rows if row.seq in kin]
            if own and len(own) < len(rows):
                self.touched.add(call_seq)
                fresh = secrets.token_hex(32)  # its own may be the key of the call that it leaves
                self._move([row.seq for row in own], self._begin(fresh))

    def _calls_of(self, seqs: Collection[int]) -> list[int]:
        """Return the calls of the events, the oldest first."""
        return list(self._connection.execute(_CALLS_OF, {"seqs": list(seqs)}).scalars())

    def _begin(self, key: str) -> int:
        new = {"id": secrets.token_hex(12), "key": key, "state": "noted", "version": 0}
        call_seq = int(self._connection.execute(NEW_CALL, {"tenant": self._tenant_id, **new}).scalar_one())
        self.touched.add(call_seq)
        return call_seq

    def _move(self, seqs: Collection[int], call_seq: int) -> None:
        self._connection.execute(update(event).where(event.c.seq.in_(seqs)).values(call_seq=call_seq))

    def _joined(self, calls: Collection[int]) -> int:
        """Return the oldest of the calls, made one with the others."""
        first, *others = calls
        busy = select(delivery.c.id).where(delivery.c.call_seq.in_(calls), delivery.c.in_flight).limit(1)
        if others and self._connection.execute(busy).first():
            raise BusyError
        for other in others:
            self._connection.execute(update(event).where(event.c.call_seq == other).values(call_seq=first))
            for theirs in self._connection.execute(select(delivery).where(delivery.c.call_seq == other)).all():
                self._take_over(first, theirs)
            self._connection.execute(delete(logged_call).where(logged_call.c.call_seq == other))
            self._connection.execute(delete(call).where(call.c.seq == other))
        self.touched = (self.touched - {*others}) | {first}
        return first

    def _take_over(self, call_seq: int, theirs: Row[Any]) -> None:
        """Keep one delivery of two to the same channel: the one that is in the CRM; two that are become a duplicate."""
        connection = self._connection
        ours = connection.execute(
            select(delivery).where(delivery.c.call_seq == call_seq, delivery.c.channel == theirs.channel)
        ).first()
        if ours is None:
            connection.execute(update(delivery).where(delivery.c.id == theirs.id).values(call_seq=call_seq))
            return
        kept, gone = (ours, theirs) if ours.external_id or not theirs.external_id else (theirs, ours)
        connection.execute(update(attempt).where(attempt.c.delivery_id == gone.id).values(delivery_id=kept.id))
        connection.execute(delete(delivery).where(delivery.c.id == gone.id))
        changes: dict[str, Any] = {"call_seq": call_seq}
        if gone.external_id:
            changes["maybe_duplicate"] = True
            words = f"The CRM has this call once more, as {gone.external_id}: what showed that it is one came later."
            told = {"at": self._inbox.now().timestamp(), "took_ms": 0, "outcome": "duplicate", "words": words}
            connection.execute(attempt.insert().values(delivery_id=kept.id, **told))
        connection.execute(update(delivery).where(delivery.c.id == kept.id).values(changes))

    def leave_marks(self, row: Row[Any], heard: Heard) -> None:
        """Let others find the event by what it has in common with them."""
        if row.call_seq is not None:  # it was planned before
            self._connection.execute(delete(mark).where(mark.c.event_seq == row.seq))
        place = {"tenant": self._tenant_id, "event_seq": row.seq}
        times = {"begin": heard.begin.timestamp(), "end": heard.end.timestamp()}
        texts = [text for texts in heard.marks() for text in texts]
        rows = [{"what": self._inbox.hash_mark(self._tenant_id, text), **place, **times} for text in texts]
        if rows:
            self._connection.execute(_NEW_MARKS, rows)
