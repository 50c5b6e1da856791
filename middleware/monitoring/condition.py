"""How the inbox and the disk stand at a moment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, or_, select

from middleware.inbox.store import Inbox
from middleware.inbox.tables import delivery, lane
from middleware.index.store import IndexState, NumberStore
from middleware.oauth.tables import oauth_token
from middleware.recordings.tables import recording


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Of the whole installation, for all machines that share its database; spans in seconds.

    ``dead`` and ``lost`` have, by customer, how many dead letters and lost recordings there are; ``paused`` has the
    customers' channels whose CRM refuses the credentials; ``indexes`` are those of CRMs' numbers.  Of OAuth2, by
    customer and ``[[crm]]``: whose connection the CRM has ended (``disconnected``), and how often in a row a token
    could not be renewed (``unrenewed``).
    """

    states: Mapping[str, int]
    oldest_due: float
    oldest_retry: float
    dead: Mapping[str, int]
    paused: tuple[tuple[str, str], ...]
    lost: Mapping[str, int]
    indexes: tuple[IndexState, ...] = ()
    disconnected: tuple[tuple[str, str], ...] = ()
    unrenewed: Mapping[tuple[str, str], int] = field(default_factory=dict)


def condition_of(inbox: Inbox) -> Condition:
    """Read how the inbox stands; raises ``StorageError``."""
    summary = inbox.summary()
    retried = select(func.min(delivery.c.first_attempt_at)).where(delivery.c.state == "waiting")
    dead = select(delivery.c.tenant, func.count()).where(delivery.c.state == "dead")
    paused = select(lane.c.tenant, lane.c.channel).where(lane.c.paused_revision.is_not(None))
    lost = select(recording.c.tenant, func.count()).where(recording.c.state.in_(("failed", "expired")))
    troubled = select(oauth_token).where(or_(oauth_token.c.state == "ended", oauth_token.c.failures > 0))
    with inbox.database.read() as connection:
        first_attempt_at = connection.execute(retried).scalar()
        dead_rows = connection.execute(dead.group_by(delivery.c.tenant)).all()
        paused_rows = connection.execute(paused.order_by(lane.c.tenant, lane.c.channel)).all()
        lost_rows = connection.execute(lost.group_by(recording.c.tenant)).all()
        troubled_rows = connection.execute(troubled.order_by(oauth_token.c.tenant, oauth_token.c.source)).all()
    now = inbox.now().timestamp()
    return Condition(
        states=summary.states,
        oldest_due=summary.oldest_due,
        oldest_retry=max(0.0, now - first_attempt_at) if first_attempt_at else 0.0,
        dead={row[0]: row[1] for row in dead_rows},
        paused=tuple((tenant, channel) for tenant, channel in paused_rows),
        lost={row[0]: row[1] for row in lost_rows},
        indexes=tuple(NumberStore(inbox).list_states()),
        disconnected=tuple((row.tenant, row.source) for row in troubled_rows if row.state == "ended"),
        unrenewed={(row.tenant, row.source): row.failures for row in troubled_rows if row.state != "ended"},
    )


def free_bytes(folder: Path) -> int | None:
    """Return what is left for this user on the folder's disk; ``None`` when nobody can tell."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize
