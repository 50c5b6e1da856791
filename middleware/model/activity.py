"""What has happened lately with a contact (specs/001, RESPONSE - Activities).

The fields bear the specification's names in Python's spelling.  Moments are aware datetimes, spans are
``timedelta``; milliseconds exist only at the edge.  ``link`` must be an http(s) URL or is dropped.
Where a moment that the specification requires is unknown to the CRM, leave it ``None``: the answer then
repeats ``timestamp``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

Priority = Literal["HIGH", "MEDIUM", "LOW"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What all activities have in common; adapters build one of the six types below."""

    timestamp: datetime
    body: str = ""
    link: str | None = None
    markdown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Activity):
    """A note (specs/001, Note)."""

    header: str | None = None
    custom_header: str | None = None
    associated_user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Activity):
    """Something to do (specs/001, Task)."""

    due_date: datetime | None = None
    header: str | None = None
    custom_header: str | None = None
    custom_description: str | None = None
    status: str | None = None
    done: bool | None = None
    assigned_user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Activity):
    """An earlier phone call (specs/001, Call)."""

    from_number: str
    to_number: str
    duration: timedelta
    start_time: datetime | None = None
    custom_header: str | None = None
    custom_description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket(Activity):
    """A support case (specs/001, Ticket)."""

    created_date: datetime | None = None
    priority: Priority | None = None
    header: str | None = None
    custom_header: str | None = None
    custom_description: str | None = None
    pipeline: str | None = None
    pipeline_stage: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal(Activity):
    """A sales opportunity (specs/001, Deal)."""

    close_date: datetime | None = None
    currency: str | None = None
    amount: int | float | Decimal | None = None
    done: bool | None = None
    header: str | None = None
    custom_header: str | None = None
    custom_description: str | None = None
    pipeline: str | None = None
    pipeline_stage: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Appointment(Activity):
    """A meeting (specs/001, Appointment)."""

    start_date: datetime
    end_date: datetime | None = None
    all_day: bool | None = None
    venue: str | None = None
    header: str | None = None
    custom_description: str | None = None
    status: str | None = None


ACTIVITY_TYPES: tuple[type[Activity], ...] = (Note, Task, Call, Ticket, Deal, Appointment)
