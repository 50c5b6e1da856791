"""What the author of an adapter should know of what it brought, before it is cleaned; in words without its texts.

Found only where a person asks for it (the console, ``m8crm lookup --explain``): a ringing phone waits for none of this.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta

from middleware.lookup.assemble import MAX_PER_TYPE
from middleware.lookup.clean import MAX_TEXT, clean_body, has_html, web_url
from middleware.lookup.verify import MAX_ITEMS
from middleware.model.activity import ACTIVITY_TYPES, Activity, Appointment, Call
from middleware.model.contact import Contact

_IMAGE = re.compile(r"!\[[^\[\]]*+\]\(|<img\b", re.I)
_FIRST_YEAR = 1990  # before it are seconds that were taken for milliseconds, and noughts
_LONGEST_CALL = timedelta(days=1)


def remarks_on_contacts(contacts: Sequence[Contact], brought: int) -> list[str]:
    """Return what is odd about those who have the number, of all that the CRM ``brought`` for it."""
    remarks = []
    if brought > len(contacts):
        remarks.append(f"contacts: of {brought} only {len(contacts)} have the number in `numbers`; no other is shown")
    if brought >= MAX_ITEMS:
        remarks.append(f"contacts: only the first {MAX_ITEMS} are looked at")
    if len(contacts) > 1 and not all(contact.updated_at for contact in contacts):
        remarks.append("contacts: several have the number, and not all say `updated_at`: the latest is not known")
    return remarks + _counted("contact", (word for contact in contacts for word in _of_contact(contact)))


def remarks_on_activities(part: str, items: Sequence[object]) -> list[str]:
    """Return what is odd about the activities that ``part`` (``notes``, ``calls`` …) brought."""
    activities = [item for item in items if isinstance(item, ACTIVITY_TYPES)]
    remarks = []
    if len(items) >= MAX_ITEMS:
        remarks.append(f"{part}: only the first {MAX_ITEMS} are looked at")
    if len(activities) < len(items):
        remarks.append(f"{part}: {len(items) - len(activities)} are no activity of the specification and are dropped")
    for kind, count in Counter(map(type, activities)).items():
        if count > MAX_PER_TYPE:
            remarks.append(f"{part}: {count} of type {kind.__name__} were brought, the newest {MAX_PER_TYPE} are shown")
    return remarks + _counted(part, (word for activity in activities for word in _of_activity(activity)))


def _counted(part: str, words: Iterable[str]) -> list[str]:
    counts = Counter(words).items()
    return [f"{part}, {count} times: {word}" if count > 1 else f"{part}: {word}" for word, count in counts]


def _of_contact(contact: Contact) -> Iterable[str]:
    if not contact.display_name.strip():
        yield "`display_name` is empty: another name stands in for it"
    for name in ("url", "avatar_url", "cover_photo_url"):
        if getattr(contact, name) and not web_url(getattr(contact, name)):
            yield f"`{name}` is no http(s) address and is left out"
    if any(not (field.title.strip() and field.comment.strip()) for field in contact.fields):
        yield "a field without title or text is left out"


def _of_activity(activity: Activity) -> Iterable[str]:
    for field in fields(activity):
        value = getattr(activity, field.name)
        if isinstance(value, datetime):
            if value.year < _FIRST_YEAR:
                yield f"`{field.name}` is in {value.year}: seconds where the CRM has milliseconds, or 0?"
            if value.tzinfo is None:
                yield f"`{field.name}` has no time zone and is read as UTC"
    if isinstance(activity, Call):
        yield from _of_duration(activity.duration)
    if isinstance(activity, Appointment) and activity.end_date:
        ends_before = activity.end_date.timestamp() < activity.start_date.timestamp()
        yield from ["`end_date` is before `start_date`"] if ends_before else []
    if activity.link and not web_url(activity.link):
        yield "`link` is no http(s) address and is left out"
    yield from _of_body(activity)


def _of_duration(duration: timedelta) -> Iterable[str]:
    if duration > _LONGEST_CALL:
        yield f"`duration` is {duration.days} days: milliseconds taken for seconds?"
    if timedelta() < duration < timedelta(seconds=1):
        yield "`duration` is less than a second: seconds taken for milliseconds?"
    if duration < timedelta():
        yield "`duration` is negative"


def _of_body(activity: Activity) -> Iterable[str]:
    body = activity.body
    if len(body) > MAX_TEXT:
        yield f"`body` is longer than {MAX_TEXT} characters and is cut"
    if _IMAGE.search(body) and (activity.markdown or has_html(body)):
        yield "`body` has an image, which M8Com does not show: its description stands there"
    if not activity.markdown and has_html(body):
        yield "`body` is HTML and becomes markdown"
    if activity.markdown and not clean_body(body, is_markdown=True)[1]:
        yield "`body` has a link that is no web, mail or phone link, so it is shown as text, not as markdown"
