"""Several events, one call: whatever the order, the repeats and the delays."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.inbox.calls import Heard, hear, is_same_call, merge
from middleware.model.call import CallEvent, Direction, Ending, EventKind, Media
from tests.lookup.zoo import Zoo, tenant_of

TENANT = tenant_of(Zoo())  # own number +46101234567
WITHIN = timedelta(seconds=5)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADA, BOB, DESK, AGENT = "+46701740605", "+46701740699", "+46101234567", "+46101234568"


def told(sender: str = "calllog", kind: EventKind = EventKind.CALL_ENDED, **facts: object) -> CallEvent:
    """Return a minute's call of Ada's to the desk, as a sender tells it."""
    usual = {
        "direction": Direction.INBOUND,
        "from_number": ADA,
        "to_number": DESK,
        "started_at": NOON,
        "duration": timedelta(minutes=1),
        "key": f"{sender} {kind.value} {sorted(facts)} {facts.get('started_at', NOON)}",
    }
    return CallEvent(sender=sender, kind=kind, **{**usual, **facts})  # type: ignore[arg-type]


def heard(event: CallEvent, later: timedelta = timedelta(minutes=2)) -> Heard:
    return hear(event, (event.started_at or NOON) + later, TENANT)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


SAME = {
    "an id": (told(call_ids=("x" * 16,)), told("pbx", call_ids=("x" * 16,), from_number=BOB, started_at=after(9999))),
    "numbers and start": (told(), told("cdr", started_at=after(4))),
    "numbers written otherwise": (told(), told("cdr", from_number="070-174 06 05", to_number="010-123 45 67")),
    "another of our numbers": (told(to_number=AGENT), told("pbx", other_numbers=(AGENT,))),
    "the other direction's words": (told(), told("cdr", direction=None)),
    "a transfer to": (told(referred_to=AGENT), told(to_number=AGENT, started_at=after(61))),
    "a transfer under another id": (
        told("cdr", call_ids=("cdr:1",), referred_to=AGENT),
        told("cdr", call_ids=("cdr:2",), to_number=AGENT, started_at=after(61)),
    ),
    "recordings of an agent and of his group": (
        told("recording", call_ids=("recording:1",)),
        told("recording", call_ids=("recording:2",), agent="Ada"),
    ),
    "a transfer by": (told(), told(to_number=AGENT, started_at=after(58), referred_by=DESK)),
    "what came without a start": (told(), told("postcall", started_at=None, duration=None, to_number=None)),
}
DIFFERENT = {
    "a later start": (told(), told("cdr", started_at=after(6))),
    "another contact": (told(), told("cdr", from_number=BOB)),
    "another of our numbers": (told(), told("cdr", to_number=AGENT)),
    "a transfer elsewhere": (told(referred_to=BOB), told(to_number=AGENT, started_at=after(61))),
    "a transfer long after": (told(referred_to=AGENT), told(to_number=AGENT, started_at=after(90))),
    "one sender's other id": (told("pbx", call_ids=("pbx:1",)), told("pbx", call_ids=("pbx:2",), started_at=after(2))),
    "a voicemail under another id": (
        told("pbx", call_ids=("pbx:1",)),
        told("pbx", EventKind.VOICEMAIL, call_ids=("pbx:2",), started_at=None, duration=None),
    ),
    "a word of another": (told(), told("postcall", started_at=None, duration=None, from_number=BOB, to_number=None)),
}


@pytest.mark.parametrize("name", SAME)
def test_same_call_is_known(name: str) -> None:
    """Ids, numbers with their start, transfers and late words tell that two events speak of one call."""
    one, other = map(heard, SAME[name])
    assert is_same_call(one, other, WITHIN)
    assert is_same_call(other, one, WITHIN)


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_calls_are_told_apart(name: str) -> None:
    """What merely looks alike is another call."""
    one, other = map(heard, DIFFERENT[name])
    assert not is_same_call(one, other, WITHIN)
    assert not is_same_call(other, one, WITHIN)


def test_late_word_long_after_is_a_call_of_its_own() -> None:
    """What an AI says an hour after a call does not belong to it."""
    late = told("postcall", started_at=None, duration=None, to_number=None)
    assert not is_same_call(heard(told()), heard(late, timedelta(hours=1)), WITHIN)


def test_every_sender_adds_what_he_knows() -> None:
    """The record has each fact from whoever knows it, and from the better one where two do."""
    parts = [
        told(agent="ada@acme.se", duration=timedelta(seconds=50)),
        told("pbx", EventKind.RINGING, duration=None, agent="Ada", caller_name="Mary"),
        told("pbx", answer_group="Support", ending=Ending.ABANDONED, key="queue"),
        told("cdr", ending=Ending.ANSWERED, wait_time=timedelta(seconds=7), contact_id="c-1"),
        told("recording", EventKind.RECORDING, media=(Media(url="https://r/1"),), summary="Asked."),
        told("postcall", EventKind.ANALYSIS, started_at=None, duration=None, action_items=("Call back",)),
    ]
    whole = merge(map(heard, parts), WITHIN)
    assert (whole.kind, whole.agent, whole.caller_name) == (EventKind.CALL_ENDED, "ada@acme.se", "Mary")
    assert (whole.duration, whole.wait_time) == (timedelta(seconds=50), timedelta(seconds=7))
    assert (whole.ending, whole.answer_group, whole.contact_id) == (Ending.ANSWERED, "Support", "c-1")
    assert (whole.media, whole.summary, whole.action_items) == ((Media(url="https://r/1"),), "Asked.", ("Call back",))


def test_transfer_is_one_call_with_its_journey() -> None:
    """The legs of a transferred call are one call from the first one's start to the last one's end, in their order."""
    first = told(referred_to=AGENT, answer_group="Support", agent="Ada")
    second = told(to_number=AGENT, started_at=after(62), referred_by=DESK, agent="Bob", duration=timedelta(seconds=30))
    whole = merge([heard(second), heard(first)], WITHIN)
    assert (whole.started_at, whole.duration, whole.to_number) == (NOON, timedelta(seconds=92), DESK)
    assert [(leg.agent, leg.group) for leg in whole.journey] == [("Ada", "Support"), ("Bob", None)]


def test_person_is_one_stage_however_senders_name_him() -> None:
    """A call that nobody handed on has one stage, though each sender calls its agent something else."""
    parts = [
        told(username="ada@acme.se"),
        told("recording", EventKind.RECORDING, agent="Ada Webb", answer_group="Support"),
        told("pbx", agent="Ada W", answer_group="Support", ending=Ending.ANSWERED),
        told("pbx", EventKind.RECORDING, agent="Ada W"),
    ]
    assert len(merge(map(heard, parts), WITHIN).journey) == 1


def test_who_only_rang_did_not_speak() -> None:
    """Of a ring group's users those who did not answer are stages that were missed, and come before the one who did."""
    parts = [
        told("pbx", agent="Ada", ending=Ending.ANSWERED, answered_at=after(9)),
        told("pbx", EventKind.RINGING, agent="Ada", duration=None),
        told("pbx", EventKind.RINGING, agent="Zoe", duration=None),
    ]
    journey = merge(map(heard, parts), WITHIN).journey
    assert [(leg.agent, leg.ending) for leg in journey] == [("Zoe", Ending.MISSED), ("Ada", Ending.ANSWERED)]


def test_what_is_sent_again_takes_the_place_of_what_was() -> None:
    """A newer version of an event counts, and the older one no more."""
    old, new = told("cdr", key="c", agent="Wrong"), told("cdr", key="c", agent=None)
    assert merge([heard(old), heard(new, timedelta(minutes=9))], WITHIN).agent is None


@given(seed=st.integers(), shift=st.floats(-2, 2))
def test_order_does_not_matter(seed: int, shift: float) -> None:
    """Whatever the order in which events come, they say the same."""
    parts = [*SAME["a transfer to"], told("cdr", started_at=after(shift), ending=Ending.ANSWERED)]
    parts += [told("pbx", EventKind.ANSWERED, agent="Ada", duration=None, started_at=after(shift / 2))]
    shuffled: Sequence[CallEvent] = random.Random(seed).sample(parts, len(parts))
    usual = merge(map(heard, parts), WITHIN)
    assert merge(map(heard, shuffled), WITHIN) == replace(usual)
