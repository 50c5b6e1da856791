"""From what the adapter brought to the card that is answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from middleware.lookup.card import Card
from middleware.lookup.clean import clean_card
from middleware.lookup.verify import by_latest
from middleware.model.activity import ACTIVITY_TYPES, Activity
from middleware.model.contact import Contact, Field, Link
from middleware.tenants.tenant import SeveralPolicy

MAX_PER_TYPE = 10  # specs/001, Activities


def choose(contacts: Sequence[Contact], policy: SeveralPolicy) -> Contact:
    """Return the contact to show of those that share the number; with ``all`` the others become fields."""
    if policy == "first" or len(contacts) == 1:
        return contacts[0]
    chosen, *others = by_latest(contacts)
    if policy == "latest":
        return chosen
    shared = (Field(title="Same number", comment=other.display_name) for other in others)
    return replace(chosen, fields=(*chosen.fields, *shared))


def newest(activities: Iterable[Activity]) -> tuple[Activity, ...]:
    """Return the activities newest first, at most ten of each type."""
    count: Counter[type[Activity]] = Counter()
    kept = []
    for activity in sorted(activities, key=lambda a: _aware(a.timestamp), reverse=True):
        count[type(activity)] += 1
        if count[type(activity)] <= MAX_PER_TYPE:
            kept.append(activity)
    return tuple(kept)


def assemble(contact: Contact, activities: Iterable[object], links: Iterable[Link]) -> Card:
    """Return the finished card; what is no activity of the specification's six types is left out."""
    known = [activity for activity in activities if isinstance(activity, ACTIVITY_TYPES)]
    return clean_card(Card(contact=contact, activities=newest(known), links=tuple(links)))


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
