"""What five senders tell of a set of calls is that set of calls, however their events are shuffled and delayed."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from middleware.delivery.calls import hear_body, merged_event
from middleware.demo.samples import SAMPLES, Situation
from middleware.inbox.calls import Heard
from middleware.inbox.planning import Plan, Planner
from middleware.inbox.store import Body, Inbox, bodies_of, body_of
from middleware.inbox.tables import call, event
from middleware.model.call import CallEvent
from middleware.receivers.registry import RECEIVERS
from middleware.tenants.tenant import Tenant
from tests.lookup.zoo import Zoo, tenant_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DESK, SECOND, WITHHELD = "+46101234567", "+46101234568", "anonymous"
CONTACTS = ("+46701740605", "070-174 06 99", "+4790000001")
Document = dict[str, Any]
_tenants = count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One request: which call it is really about, and when it comes at the latest."""

    call: int
    sender: str
    document: Document
    ended_at: datetime
    version: int = 0

    @property
    def key(self) -> str:
        return RECEIVERS[self.sender].parse(self.document).key

    @property
    def is_word(self) -> bool:
        return RECEIVERS[self.sender].parse(self.document).started_at is None


@st.composite
def calls(draw: st.DrawFn) -> list[Told]:
    """Return what is told of up to four calls, among them transfers, answer groups and withheld numbers."""
    told: list[Told] = []
    began = NOON
    for place in range(draw(st.integers(1, 4))):
        length = timedelta(seconds=draw(st.integers(20, 300)))
        situation = Situation(
            contact=draw(st.sampled_from([*CONTACTS, *CONTACTS, WITHHELD])),
            own=DESK,
            began_at=began,
            duration=length,
            call_id=f"{'x' * draw(st.integers(0, 16))}-call-{place}",
            summary=f"About matter {place}.",
            is_inbound=draw(st.booleans()),
        )
        shape = draw(st.sampled_from([_plain, _plain, _transferred, _group]))
        if situation.contact == WITHHELD:
            shape = _group  # its parts meet by their id alone
        told += shape(draw, place, situation)
        began += 2 * length + timedelta(minutes=draw(st.integers(1, 30)))
    return told


def _plain(draw: st.DrawFn, place: int, of: Situation) -> list[Told]:
    """Return what some senders tell of the call: each with a clock, and with names, of his own."""
    names = ["calllog call", "recording v2", "recording v1", "pbx queue_call", "pbx voicemail", "cdr answered"]
    if of.is_inbound:  # an AI agent takes calls and makes none
        names.append("postcall full")
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, unique_by=lambda name: name.rstrip("12")))
    if not of.is_inbound:
        chosen = [name.replace("queue_call", "user_outbound_completed") for name in chosen if "voicemail" not in name]
    if {*chosen} <= {"pbx voicemail", "postcall full"}:  # words alone are taken for words of another call
        chosen.append("calllog call")
    return [one for name in chosen for one in _versions(draw, place, of, name)]


def _versions(draw: st.DrawFn, place: int, of: Situation, name: str) -> Iterator[Told]:
    """Yield the event, and perhaps a later version of it that says something else."""
    sender, _, sample = name.partition(" ")
    document = SAMPLES[sender][sample](replace(of, began_at=of.began_at + _seconds(draw, 2)))
    yield Told(call=place, sender=sender, document=document, ended_at=of.ended_at)
    if draw(st.booleans()) and sender != "calllog":  # its content is its identity
        changed = json.loads(json.dumps(document).replace("Ada Webb", "Eve Holm").replace("Sales", "Care"))
        yield Told(call=place, sender=sender, document=changed, ended_at=of.ended_at, version=1)


def _transferred(draw: st.DrawFn, place: int, of: Situation) -> list[Told]:
    """Return the two legs of a call that was handed on, as two senders tell them."""
    of = replace(of, is_inbound=True)
    following = replace(of, began_at=of.ended_at + _seconds(draw, 3), own=SECOND)
    told = []
    for leg, header in ((of, f"Referred to: {SECOND}\n"), (following, f"Referred by: {DESK}\n")):
        log = SAMPLES["calllog"]["call"](leg)
        log["body"] = header + log["body"]
        told.append(Told(call=place, sender="calllog", document=log, ended_at=leg.ended_at))
        if draw(st.booleans()):
            cdr = SAMPLES["cdr"]["answered"](replace(leg, call_id=f"leg-{place}-{leg.own}"))
            told.append(Told(call=place, sender="cdr", document=cdr, ended_at=leg.ended_at))
    return told


def _group(draw: st.DrawFn, place: int, of: Situation) -> list[Told]:
    """Return what a PBX tells of a call that rings several users: every one of them, and how it ended."""
    of = replace(of, is_inbound=True)
    told = []
    for user in range(draw(st.integers(1, 3))):
        ringing = SAMPLES["pbx"]["user_inbound"](of) | {"user_number": f"30{user}", "user_name": f"User {user}"}
        told.append(Told(call=place, sender="pbx", document=ringing, ended_at=of.ended_at))
    names = ("user_inbound_completed", "ring_group_call", "voicemail", "webhook_component_event")
    chosen = [name for name in names if name == "ring_group_call" or draw(st.booleans())]
    told += [Told(call=place, sender="pbx", document=SAMPLES["pbx"][name](of), ended_at=of.ended_at) for name in chosen]
    return told


def _seconds(draw: st.DrawFn, most: int) -> timedelta:
    return timedelta(milliseconds=draw(st.integers(-1000 * most, 1000 * most)))


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inbox]:
    """Return an inbox for all examples: each of them is a customer of its own."""
    inbox = Inbox(f"sqlite:///{tmp_path_factory.mktemp('order') / 'm.db'}", key=b"k" * 32, now=lambda: NOON)
    yield inbox
    inbox.close()


def plan(inbox: Inbox, told: list[Told], seed: int) -> dict[frozenset[str], CallEvent]:
    """Return what each call, named by the bodies of its events, says when they come as ``seed`` shuffles them."""
    mix = random.Random(seed)
    tenant = tenant_of(Zoo(), id=f"customer{next(_tenants)}")
    planner = Planner(inbox)
    for one, received_at in _shuffled(told, mix):
        inbox.now = lambda received_at=received_at: received_at  # type: ignore[misc]
        raw = json.dumps(one.document).encode()
        inbox.accept(tenant.id, one.sender, key=one.key, raw=raw, content_type="application/json")
        if mix.random() < 0.7:  # else several are planned at once
            _plan_all(planner, tenant)
    _plan_all(planner, tenant)
    found = {}
    with inbox.database.read() as connection:
        rows = connection.execute(select(call).where(call.c.tenant == tenant.id)).all()
        assert len({row.key for row in rows}) == len(rows)  # by which CRMs tell calls apart
        for row in rows:
            bodies = bodies_of(connection, row.seq)
            found[frozenset(body.raw.decode() for body in bodies)] = _undated(merged_event(bodies, tenant))
        assert not connection.execute(
            select(event).where(event.c.tenant == tenant.id, event.c.call_seq.is_(None))
        ).all()
    return found


def _shuffled(told: list[Told], mix: random.Random) -> list[tuple[Told, datetime]]:
    """Return the requests in another order, some more than once; versions stay in theirs, and words come in time."""
    arriving = []
    for one in mix.sample(told, len(told)) + mix.choices(told, k=2):
        late = mix.choice([2, 40, 45]) if one.is_word else mix.choice([1, 60, 7200, 86_400])
        arriving.append((one, one.ended_at + timedelta(seconds=late)))
    mix.shuffle(arriving)
    first: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, (one, _) in enumerate(arriving):
        first[one.sender, one.key].append(place)
    for places in first.values():
        ordered = sorted((arriving[place] for place in places), key=lambda at: at[0].version)
        moments = sorted(moment for _, moment in ordered)
        for place, (one, _), moment in zip(places, ordered, moments, strict=True):
            arriving[place] = (one, moment)
    return arriving


def _plan_all(planner: Planner, tenant: Tenant) -> None:
    def known(body: Body) -> Heard:
        return hear_body(body, tenant)

    for row in planner.queued(tenant.id, limit=1000):
        planner.plan(row, known(body_of(row)), known, tenant.calls.join_within, lambda _bodies: Plan())


def _undated(event: CallEvent) -> CallEvent:
    """Return the event without the moments when links die: these are counted from when they came."""
    return replace(event, media=tuple(replace(medium, expires_at=None) for medium in event.media))


@settings(
    deadline=None,
    max_examples=30,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(told=calls(), seeds=st.lists(st.integers(0, 2**32), min_size=2, max_size=2, unique=True))
def test_any_order_of_any_calls_gives_the_same_calls(inbox: Inbox, told: list[Told], seeds: list[int]) -> None:
    """Shuffled, repeated and delayed, the events of a set of calls are those calls, and say the same of each."""
    one, other = (plan(inbox, told, seed) for seed in seeds)
    truth: dict[int, set[str]] = defaultdict(set)
    for part in told:
        truth[part.call].add(json.dumps(part.document))
    assert {frozenset(parts) for parts in truth.values()} == set(one)
    for parts, said in one.items():
        assert said == other[parts]


@pytest.mark.parametrize("word", ["postcall full", "pbx voicemail"])
def test_word_leaves_its_call_for_a_nearer_one(inbox: Inbox, word: str) -> None:
    """A word of a call goes to that call, though the one before it was told of first, and makes the two no one."""
    before, its = (
        Situation(
            contact=CONTACTS[0],
            own=DESK,
            began_at=NOON + timedelta(minutes=minutes),
            duration=timedelta(minutes=1),
            call_id=f"call-{minutes}",
            summary="",
        )
        for minutes in (0, 5)
    )
    sender, _, sample = word.partition(" ")
    told = [
        Told(call=0, sender="calllog", document=SAMPLES["calllog"]["call"](before), ended_at=before.ended_at),
        Told(call=1, sender="pbx", document=SAMPLES["pbx"]["queue_call"](its), ended_at=its.ended_at),
        Told(call=1, sender=sender, document=SAMPLES[sender][sample](its), ended_at=its.ended_at),
    ]
    for seed in range(36):
        assert sorted(map(len, plan(inbox, told, seed))) == [1, 2]
