"""From what the adapters brought to the card that is answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

from middleware.lookup.card import Card
from middleware.lookup.clean import clean_activity, clean_contact, clean_links
from middleware.lookup.verify import by_latest
from middleware.model.activity import Activity, Call
from middleware.model.contact import Contact, Field
from middleware.tenants.tenant import SeveralPolicy

MAX_PER_TYPE = 10  # specs/001, Activities
SAME_NUMBER = "Same number"  # title of a field that names another contact
SAME_CALL = timedelta(seconds=60)  # CRMs round to minutes, and keep the beginning or the end


def choose(contacts: Sequence[Contact], policy: SeveralPolicy) -> Contact:
    """Return the contact to show of those that share the number; with ``all`` the others become fields."""
    if policy == "first" or len(contacts) == 1:
        return contacts[0]
    chosen, *others = by_latest(contacts)
    if policy == "latest":
        return chosen
    shared = (Field(title=SAME_NUMBER, comment=other.display_name) for other in others)
    return replace(chosen, fields=(*chosen.fields, *shared))


def assemble(cards: Sequence[Card], own_calls: Iterable[Call]) -> Card:
    """Return the finished card of one or, merged, of several sources; the first one's word counts most.

    Their activities are clean and of the specification's six types, ``own_calls`` come as they are.
    """
    contact = cards[0].contact
    for card in cards[1:]:
        contact = _merged(contact, card.contact)
    brought = dict.fromkeys(activity for card in cards for activity in card.activities)
    missing = without_doubles(own_calls, [a for a in brought if isinstance(a, Call)])
    activities = [*brought, *map(clean_activity, missing)]
    links = tuple(dict.fromkeys(link for card in cards for link in card.links))
    return Card(contact=clean_contact(contact), activities=newest(activities), links=clean_links(links))


def newest(activities: Iterable[Activity]) -> tuple[Activity, ...]:
    """Return the activities newest first, at most ten of each type."""
    count: Counter[type[Activity]] = Counter()
    kept = []
    for activity in sorted(activities, key=lambda a: _aware(a.timestamp), reverse=True):
        count[type(activity)] += 1
        if count[type(activity)] <= MAX_PER_TYPE:
            kept.append(activity)
    return tuple(kept)


def without_doubles(own_calls: Iterable[Call], crm_calls: Sequence[Call]) -> list[Call]:
    """Return the calls that the CRM does not show; each of the CRM's stands for one of ours, the nearest."""
    own_calls = list(own_calls)
    near = [(_distance(own, other), i, j) for i, own in enumerate(own_calls) for j, other in enumerate(crm_calls)]
    shown: dict[int, int] = {}
    for distance, i, j in sorted(near):
        if distance <= SAME_CALL and i not in shown and j not in shown.values():
            shown[i] = j
    return [own for i, own in enumerate(own_calls) if i not in shown]


def _distance(own: Call, other: Call) -> timedelta:
    """Return how far apart the two are; nothing is nearer than the same page in the CRM."""
    if own.link and own.link == other.link:
        return timedelta(-1)
    began = _aware(own.start_time or own.timestamp)
    moments = [_aware(moment) for moment in (other.start_time, other.timestamp) if moment]
    return min(min(abs(at - began), abs(at - began - own.duration)) for at in moments)


def _merged(contact: Contact, other: Contact) -> Contact:
    """Return the contact with what only ``other`` knows: single facts where ours is unknown, lists joined."""
    changes: dict[str, object] = {}
    for field in fields(Contact):
        ours, theirs = getattr(contact, field.name), getattr(other, field.name)
        if isinstance(ours, tuple):
            changes[field.name] = tuple(dict.fromkeys((*ours, *theirs)))
        elif ours is None:
            changes[field.name] = theirs
    return replace(contact, **changes)  # type: ignore[arg-type]  # mypy cannot match names to fields


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
