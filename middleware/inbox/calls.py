"""Several events, one call: which of them speak of the same, and what they say together.

Events meet by an id that they share; else by the two numbers and starts that are the same but for a few seconds
(``join_within``), unless one PBX or CDR platform has two ids for them; else by a transfer: a leg with the same
contact that begins while the one before it lasts, or right after, at the number that one was referred to, or by the
number that referred it.  An event without a start (specs/004) meets a call of its number that has just ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from middleware.model.call import CallEvent, Direction, Ending, EventKind, Leg
from middleware.model.phone import NumberKind, PhoneNumber, parse_number
from middleware.tenants.tenant import Tenant

LATE = timedelta(minutes=15)  # after the end of a call, in which what an AI made of it is expected
LONGEST = timedelta(days=1)  # call; events further apart are not compared
SENDERS = ("calllog", "recording", "cdr", "pbx", "postcall")  # whose word counts first
NUMBERED = ("pbx", "cdr")  # with one id for a call, so that two ids are two calls; M8Com's may be of a recording
KINDS = tuple(
    EventKind[name] for name in "CALL_ENDED VOICEMAIL RECORDING ANALYSIS ANSWERED RINGING COMPONENT UNKNOWN".split()
)
ENDINGS = (Ending.ANSWERED, Ending.VOICEMAIL, Ending.TIMED_OUT, Ending.ABANDONED, Ending.MISSED)  # who was reached wins
_NEVER = datetime.max.replace(tzinfo=UTC)
_SINGLE = (
    "agent username answer_group user_id referred_to referred_by call_type caller_name contact_id summary sentiment "
    "answered_at talk_time wait_time"
).split()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An event with what the comparison needs: its numbers as E.164 or as they came, and when it was received."""

    event: CallEvent
    received_at: datetime
    contact: str | None
    own: frozenset[str]
    referred_to: str | None = None
    referred_by: str | None = None

    @property
    def begin(self) -> datetime:
        """When its call, or leg, began, as far as is known."""
        return self.event.started_at or self.received_at

    @property
    def end(self) -> datetime:
        """When its call, or leg, was over."""
        return self.begin + (self.event.duration or timedelta())

    @property
    def is_word(self) -> bool:
        """Whether it is a word about a call, and does not tell when that began."""
        return self.event.started_at is None

    def marks(self) -> tuple[list[str], list[str]]:
        """Return what others of the same call have one of in common with it: ids, and the contact at that time."""
        ids = [f"id {call_id}" for call_id in self.event.call_ids]
        return ids, [f"contact {self.contact}"] if self.contact else []


def hear(event: CallEvent, received_at: datetime, tenant: Tenant) -> Heard:
    """Return the event with its sides told apart."""
    _, contact, own = tell_sides(event, tenant)
    is_withheld = contact.kind is NumberKind.ANONYMOUS  # by whom is not told: several may call at once
    others = {_text(number, tenant) for number in event.other_numbers}
    return Heard(
        event=event,
        received_at=received_at,
        contact=None if is_withheld else str(contact),
        own=frozenset(number for number in {str(own), *others} if number),
        referred_to=_text(event.referred_to, tenant),
        referred_by=_text(event.referred_by, tenant),
    )


def tell_sides(event: CallEvent, tenant: Tenant) -> tuple[Direction, PhoneNumber, PhoneNumber]:
    """Return the direction, the contact's number and the customer's own.

    A number of the customer's, an extension or the user's id is never the contact's while the other one may be.
    """
    caller, called = (parse_number(number or "", tenant.region) for number in (event.from_number, event.to_number))
    caller_is_ours, called_is_ours = (_is_ours(number, event, tenant) for number in (caller, called))
    direction = event.direction
    if caller_is_ours != called_is_ours:
        direction = Direction.OUTBOUND if caller_is_ours else Direction.INBOUND
    elif direction is None:  # only now may an id in place of a number tell
        from_user = caller.opaque_id is not None and called.is_diallable
        direction = Direction.OUTBOUND if from_user else Direction.INBOUND
    return (direction, caller, called) if direction is Direction.INBOUND else (direction, called, caller)


def is_same_call(one: Heard, other: Heard, join_within: timedelta) -> bool:
    """Whether the two speak of one call; symmetric."""
    if set(one.event.call_ids) & set(other.event.call_ids):
        return True
    if one.contact is None or one.contact != other.contact:
        return False
    is_apart = _has_another_id(one.event, other.event)
    if one.is_word or other.is_word:
        return not is_apart and (_is_late_word(one, other, join_within) or _is_late_word(other, one, join_within))
    if not is_apart and one.own & other.own and abs(one.begin - other.begin) <= join_within:
        return True
    return _is_transfer(one, other, join_within) or _is_transfer(other, one, join_within)


def is_surely_same(one: Heard, other: Heard, join_within: timedelta) -> bool:
    """Whether nothing that is told later can show that the two speak of different calls; symmetric."""
    if one.is_word or other.is_word:
        return bool(set(one.event.call_ids) & set(other.event.call_ids))
    return is_same_call(one, other, join_within)


def kin_of(start: int, together: Mapping[int, Heard], join_within: timedelta) -> set[int]:
    """Return the event and those that are bound to it, directly or by others of them."""
    kin, fresh = {start}, [start]
    while fresh:
        one = together[fresh.pop()]
        found = {seq for seq in together.keys() - kin if is_surely_same(one, together[seq], join_within)}
        kin |= found
        fresh += found
    return kin


def distance(word: Heard, call: Heard) -> tuple[bool, timedelta, str, str]:
    """Return how far the end of a call is from when the word came, to compare: what begins later is far."""
    span = abs(word.received_at - call.end)
    return call.begin > word.received_at, span, call.event.sender, call.event.key


def merge(heard: Iterable[Heard], join_within: timedelta) -> CallEvent:
    """Return what all events of one call say together, in whatever order they came."""
    latest = _latest(heard)
    ranked = sorted(latest, key=_rank)
    first = ranked[0].event
    started_at, duration = _span(ranked)
    events = [one.event for one in ranked]
    timed = [one for one in ranked if not one.is_word] or ranked
    earliest = min(one.begin for one in timed)
    beginning = next(one.event for one in timed if one.begin - earliest <= join_within)
    changes: dict[str, Any] = {name: _first(events, name) for name in _SINGLE}
    return replace(
        first,
        kind=min((event.kind for event in events), key=KINDS.index),
        call_ids=tuple(sorted({call_id for event in events for call_id in event.call_ids})),
        direction=beginning.direction or _first(events, "direction"),
        is_internal=all(event.is_internal for event in events if event.direction)
        and any(e.is_internal for e in events),
        from_number=beginning.from_number or _first(events, "from_number"),
        to_number=beginning.to_number or _first(events, "to_number"),
        other_numbers=tuple(sorted({number for event in events for number in event.other_numbers})),
        started_at=started_at,
        duration=duration,
        ending=min((event.ending for event in events if event.ending), key=ENDINGS.index, default=None),
        action_items=tuple(dict.fromkeys(item for event in events for item in event.action_items)),
        media=tuple({media.url: media for event in reversed(events) for media in reversed(event.media)}.values())[::-1],
        journey=_journey(ranked),
        facts={label: fact for event in reversed(events) for label, fact in event.facts.items()},
        **changes,
    )


def _is_ours(number: PhoneNumber, event: CallEvent, tenant: Tenant) -> bool:
    is_user = bool(event.user_id) and number.raw == event.user_id
    return number.e164 in tenant.own_numbers or number.kind is NumberKind.INTERNAL or is_user


def _text(number: str | None, tenant: Tenant) -> str | None:
    return str(parse_number(number, tenant.region)) or None if number else None


def _has_another_id(one: CallEvent, other: CallEvent) -> bool:
    """Whether one sender has two ids for them: people who share a number call at the same time."""
    return one.sender == other.sender and one.sender in NUMBERED and not {*one.call_ids} & {*other.call_ids}


def _is_late_word(late: Heard, call: Heard, join_within: timedelta) -> bool:
    return late.is_word and not call.is_word and call.begin - join_within <= late.received_at <= call.end + LATE


def _is_transfer(leg: Heard, following: Heard, join_within: timedelta) -> bool:
    if not leg.begin - join_within <= following.begin <= leg.end + join_within:
        return False
    return leg.referred_to in following.own or following.referred_by in leg.own


def _latest(heard: Iterable[Heard]) -> list[Heard]:
    """Return the latest version of every event: a sender who sends one again knows more by then."""
    known: dict[tuple[str, str], Heard] = {}
    for one in sorted(heard, key=lambda one: one.received_at):
        known[one.event.sender, one.event.key] = one
    return list(known.values())


def _rank(one: Heard) -> tuple[int, int, datetime, str]:
    event = one.event
    sender = SENDERS.index(event.sender) if event.sender in SENDERS else len(SENDERS)
    begin = event.started_at or _NEVER  # when a word came tells nothing of the call
    return sender, KINDS.index(event.kind), begin, event.key


def _span(ranked: Sequence[Heard]) -> tuple[datetime | None, timedelta | None]:
    """Return begin and length as one sender has them: each counts ringing and talking in his own way."""
    timed = [one for one in ranked if one.event.started_at]
    measured = [one for one in timed if one.event.duration is not None]
    if not timed:
        return None, _first([one.event for one in ranked], "duration")
    sender = (measured or timed)[0].event.sender
    legs = [one for one in measured or timed if one.event.sender == sender]
    begin = min(one.begin for one in legs)
    return begin, max(one.end for one in legs) - begin if measured else None


def _journey(ranked: Sequence[Heard]) -> tuple[Leg, ...]:
    """Return the stages in order, as the sender who tells most has them: each names people in his own way."""
    told: dict[str, dict[tuple[object, ...], Leg]] = {}
    for one in ranked:
        legs = told.setdefault(one.event.sender, {})
        for leg in one.event.journey or _own_leg(one.event):
            legs.setdefault((leg.agent, leg.group), leg)
    stages = max((_without_echoes(legs) for legs in told.values()), key=len, default=[])
    timed = sorted((leg for leg in stages if leg.started_at), key=attrgetter("started_at"))
    return (*timed, *(leg for leg in stages if not leg.started_at))


def _own_leg(event: CallEvent) -> tuple[Leg, ...]:
    """Return an event as a stage, if it has an agent or a group; who only rang has missed it."""
    agent = event.agent or event.username
    if not (agent or event.answer_group):
        return ()
    has_rung = event.kind is EventKind.RINGING and event.direction is Direction.INBOUND
    leg = Leg(
        started_at=event.answered_at or event.started_at,
        agent=agent,
        group=event.answer_group,
        ending=event.ending or (Ending.MISSED if has_rung else None),
        user_id=event.user_id,
    )
    return (leg,)


def _without_echoes(legs: Mapping[tuple[object, ...], Leg]) -> list[Leg]:
    """Leave out an agent without a group where another event has his."""
    agents = {leg.agent for leg in legs.values() if leg.group}
    return [leg for leg in legs.values() if leg.group or leg.agent not in agents]


def _first(events: Iterable[CallEvent], name: str) -> Any:
    return next((value for event in events if (value := getattr(event, name)) is not None), None)


assert set(_SINGLE) <= {field.name for field in fields(CallEvent)}
