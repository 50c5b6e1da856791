"""A call: as a sender reported it, as we know it, and as the CRM keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from middleware.model.phone import PhoneNumber


class Direction(Enum):
    """Seen from the customer who owns the phones, as CRMs do.

    M8Com's ``callType`` is seen from the contact and is turned round in the receiver.
    """

    INBOUND = "inbound"  # the contact called us
    OUTBOUND = "outbound"  # we called the contact


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The M8Com user who looks a number up or takes part in a call (specs/001, User)."""

    id: str | None = None
    display_name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    mobile_phone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupQuery:
    """What M8Com asks: who has ``number``?  ``numeric_id`` is what a caller typed on the way in."""

    number: PhoneNumber
    to_number: PhoneNumber | None = None
    user: User | None = None
    numeric_id: str | None = None


class EventKind(Enum):
    """What an event tells; a kind nobody knows is a value, never an error."""

    CALL_ENDED = "call_ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One finished call, as an adapter writes it into the CRM.

    ``key`` is unique for the call within the customer and stays the same for every retry: write it into
    the CRM where the CRM can refuse a second one.  ``subject`` and ``body`` are composed by the middleware
    (plain text); the facts stand beside them for CRMs with fields of their own.
    """

    id: str
    key: str
    direction: Direction
    contact_number: PhoneNumber
    own_number: PhoneNumber
    started_at: datetime
    duration: timedelta
    subject: str
    body: str
    agent: str | None = None
    answer_group: str | None = None
    user_id: str | None = None
    referred_to: str | None = None
    referred_by: str | None = None
    summary: str | None = None

    @property
    def ended_at(self) -> datetime:
        """When the call was over."""
        return self.started_at + self.duration


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvent:
    """What one request told about one call, parsed and not yet composed (specs/001, Automatic Call Logging).

    ``key`` is the sender's own identity of the call; two events with one key speak of one call.
    """

    sender: str
    kind: EventKind
    key: str
    direction: Direction
    from_number: str
    to_number: str
    started_at: datetime
    duration: timedelta
    agent: str | None = None
    username: str | None = None
    answer_group: str | None = None
    user_id: str | None = None
    referred_to: str | None = None
    referred_by: str | None = None
    call_type: str | None = None
    summary: str | None = None
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedCall:
    """A call as the CRM keeps it: its id there and, where there is one, its page."""

    external_id: str
    url: str | None = None
