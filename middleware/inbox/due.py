"""What makes a call due in a CRM, again or for the first time; part of whatever transaction has found out."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, and_, select, update

from middleware.inbox.store import Inbox
from middleware.inbox.tables import call, delivery, lane


class Due:
    """Makes deliveries due; one per process, shared by its threads."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def compose_again(self, connection: Connection, tenant_id: str, call_id: str) -> None:
        """Have the call's log composed anew, since something that it bears has changed, e.g. its recording.

        A log that is written already is due again; one that is being written now is so after that.
        """
        mine = and_(call.c.tenant == tenant_id, call.c.id == call_id)
        connection.execute(update(call).where(mine).values(version=call.c.version + 1))
        again = self._again()
        written = and_(delivery.c.call_seq.in_(select(call.c.seq).where(mine)), delivery.c.state == "delivered")
        connection.execute(update(delivery).where(written).values(again))

    def follow(self, connection: Connection, tenant_id: str, call_seq: int, channel: str) -> None:
        """Have something more done about a call, on a channel of its own."""
        place = {"tenant": tenant_id, "channel": channel}
        new = self._inbox.database.insert(delivery).values(call_seq=call_seq, **place, **self._again())
        connection.execute(new.on_conflict_do_update(index_elements=["call_seq", "channel"], set_=self._again()))
        connection.execute(self._inbox.database.insert(lane).values(place).on_conflict_do_nothing())

    def _again(self) -> dict[str, Any]:
        now = self._inbox.now().timestamp()
        return {"state": "waiting", "due_at": now, "first_attempt_at": None, "crashes": 0}
