"""A call: as a sender reported it, as we know it, and as the CRM keeps it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import BinaryIO, Literal

from middleware.model.contact import Contact
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

    RINGING = "ringing"
    ANSWERED = "answered"
    CALL_ENDED = "call_ended"
    VOICEMAIL = "voicemail"
    RECORDING = "recording"
    ANALYSIS = "analysis"  # what an AI made of the call
    COMPONENT = "component"  # the call has passed a place in the PBX's call flow
    UNKNOWN = "unknown"

    @property
    def is_logged(self) -> bool:
        """Whether an event of this kind, alone, is a call for the CRM; the others only complete one."""
        return self not in (EventKind.RINGING, EventKind.ANSWERED, EventKind.COMPONENT, EventKind.UNKNOWN)


class Ending(Enum):
    """How a call ended for the one who called; the values are the words people read."""

    ANSWERED = "answered"
    MISSED = "missed"
    ABANDONED = "abandoned"  # the caller gave up in a queue or ring group
    TIMED_OUT = "timed out"  # nobody answered in a queue or ring group
    VOICEMAIL = "voicemail"


UNANSWERED = (Ending.MISSED, Ending.ABANDONED, Ending.TIMED_OUT)
MediaKind = Literal["recording", "transcript"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A recording, or a transcript, as the sender has it; ``expires_at`` is when its link dies."""

    url: str
    kind: MediaKind = "recording"
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One stage of a call's journey: who rang or spoke, as a member of which group; transfers make several."""

    started_at: datetime | None = None
    agent: str | None = None
    number: str | None = None
    group: str | None = None
    ending: Ending | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvent:
    """What one request told about one call, or what all of them together did; ``None`` is unknown.

    ``key`` is the sender's own identity of the event: one that comes again with other content is an update.
    Events that share one of ``call_ids`` speak of one call, whoever sent them: a sender whose ids are short
    puts its name before them.  ``other_numbers`` are further numbers of ours that the call reached.  ``facts`` are for
    people: labels and values that have no field of their own.  Moments are aware.
    """

    sender: str
    kind: EventKind
    key: str
    call_ids: tuple[str, ...] = ()
    direction: Direction | None = None
    is_internal: bool = False
    from_number: str | None = None
    to_number: str | None = None
    other_numbers: tuple[str, ...] = ()
    started_at: datetime | None = None
    answered_at: datetime | None = None
    duration: timedelta | None = None  # of the whole call
    talk_time: timedelta | None = None
    wait_time: timedelta | None = None
    ending: Ending | None = None
    agent: str | None = None
    username: str | None = None
    answer_group: str | None = None
    user_id: str | None = None
    referred_to: str | None = None
    referred_by: str | None = None
    call_type: str | None = None
    caller_name: str | None = None
    contact_id: str | None = None  # the contact's id in the CRM, where the sender knows it
    summary: str | None = None
    action_items: tuple[str, ...] = ()
    sentiment: str | None = None
    media: tuple[Media, ...] = ()
    journey: tuple[Leg, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    def lasting_links(self, kind: MediaKind) -> list[str]:
        """Return the links to its media that do not expire, which may stand in a log."""
        return [medium.url for medium in self.media if medium.kind == kind and medium.expires_at is None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One finished call, as an adapter writes it into the CRM.

    ``key`` is unique for the call within the customer and stays the same for every retry: write it into
    the CRM where the CRM can refuse a second one.  ``subject`` and ``body`` are composed by the middleware, in
    the adapter's ``log_format``; the facts stand beside them for CRMs with fields of their own.  ``owner`` is the
    CRM's id of the user who gets the log.  ``recording`` is a link for people.  ``other_contacts`` share the number,
    where the customer wants all of them named: a CRM that can link one call to several contacts links it to them.
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
    ending: Ending | None = None
    wait_time: timedelta | None = None
    talk_time: timedelta | None = None
    owner: str | None = None
    contact_id: str | None = None
    recording: str | None = None
    transcript: str | None = None
    action_items: tuple[str, ...] = ()
    sentiment: str | None = None
    journey: tuple[Leg, ...] = ()
    caller_name: str | None = None
    other_contacts: tuple[Contact, ...] = ()

    @property
    def ended_at(self) -> datetime:
        """When the call was over."""
        return self.started_at + self.duration

    @property
    def from_number(self) -> PhoneNumber:
        """Who called."""
        return self.contact_number if self.direction is Direction.INBOUND else self.own_number

    @property
    def to_number(self) -> PhoneNumber:
        """Who was called."""
        return self.own_number if self.direction is Direction.INBOUND else self.contact_number

    def task_key(self, action_item: str) -> str:
        """Return what tells the task of an action item from all others; the same for every retry."""
        return f"{self.key}-{hashlib.sha256(action_item.encode('utf-8', 'replace')).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedCall:
    """A call as the CRM keeps it: its id there and, where there is one, its page."""

    external_id: str
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFile:
    """A recording of a call, to be attached to its record in the CRM.

    ``key`` is unique for the recording and the same for every retry.  ``file`` is read once, from its front, in pieces:
    it may be an object store's, so it cannot be rewound; ``size`` is how many bytes come.
    """

    key: str
    name: str  # e.g. ``recording-5f2c….wav``
    content_type: str
    size: int
    file: BinaryIO
