"""Events that a person looks for: by a number, which only its keyed hashes find, by a text, and by what is plain."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from middleware.delivery.calls import merged_event, record_of, speaks_of
from middleware.delivery.compose import spell_duration
from middleware.errors import ConfigError
from middleware.inbox.finding import Speaks, Story, Wanted
from middleware.inbox.store import Body, Inbox
from middleware.model.call import CallRecord
from middleware.model.phone import parse_number
from middleware.receivers.body import UnreadableBody
from middleware.receivers.fields import FieldErrors
from middleware.tenants.registry import Tenants

_NOWHERE = "ZZ"  # the region of numbers that must have their country
Read = Callable[[bytes, str], str]  # a body with its content type, as somebody may read it


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person asks for, in his words; what is empty does not matter."""

    customer: str | None = None
    state: str | None = None
    sender: str | None = None
    number: str | None = None
    text: str | None = None
    call: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def wanted_of(asked: Asked, inbox: Inbox, tenants: Tenants, read: Read) -> Wanted:
    """Return it as the inbox understands it; raises ``ConfigError`` for a number that is none.

    Without a customer a number must have its country, and is asked for as each one's.  A text is looked for in what
    ``read`` makes of a body: who sees it masked finds no more than he sees.
    """
    wanted = Wanted(
        tenant_id=asked.customer or None,
        state=asked.state or None,
        sender=asked.sender or None,
        since=asked.since,
        until=asked.until,
        call_id=asked.call or None,
        says=_says(asked.text, read) if asked.text else None,
    )
    return _with_number(wanted, asked, inbox, tenants) if asked.number else wanted


def _with_number(wanted: Wanted, asked: Asked, inbox: Inbox, tenants: Tenants) -> Wanted:
    tenant = tenants.get(asked.customer) if asked.customer else None
    number = parse_number(asked.number or "", tenant.region if tenant else _NOWHERE)
    if not number.e164 and tenant is None:
        raise ConfigError("number", ["write it with + and its country, or name the customer"])
    customers = [asked.customer] if asked.customer else tenants.ids()
    hashes = tuple((customer, inbox.hash_mark(customer, f"contact {number}")) for customer in customers)
    return replace(wanted, hashes=hashes, speaks=speaks_of(number, tenant) if tenant else None)


def _says(text: str, read: Read) -> Speaks:
    needle = text.casefold()

    def says(body: Body) -> bool:
        return needle in read(body.raw, body.content_type).casefold()

    return says


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """The log of a call as it is composed for one CRM now."""

    channel: str
    record: CallRecord


def compose_logs(story: Story, tenants: Tenants) -> list[Composed]:
    """Return the call's log for each of the customer's CRMs that it goes to; none where nobody understands it.

    Links to kept recordings are put in as it is written, and not here.
    """
    tenant = tenants.get(story.event.tenant_id)
    if tenant is None or story.call is None:
        return []
    try:
        event = merged_event(story.call.bodies, tenant)
    except (FieldErrors, UnreadableBody):
        return []
    names: Iterable[str] = [written.channel for written in story.written] or tenant.calls.log_to
    sources = [source for source in map(tenant.source, names) if source]
    return [
        Composed(channel=source.name, record=record_of(story.call, event, tenant, source.adapter.log_format))
        for source in sources
    ]


def spoken(record: CallRecord) -> str:
    """Return the call in a few words that tell nothing of whom: ``Inbound, answered, 95 s``."""
    ending = record.ending.value.replace("_", " ") if record.ending else None
    length = spell_duration(record.duration) if record.duration else None
    return ", ".join(word for word in (record.direction.value.capitalize(), ending, length) if word)


def field_errors(reason: str | None) -> dict[str, str]:
    """Return what is wrong with a quarantined event, by field; a reason in words is no field's."""
    try:
        told = json.loads(reason or "")
    except ValueError:
        return {}
    return flat_errors(told) if isinstance(told, dict) else {}


def flat_errors(errors: Mapping[str, Any]) -> dict[str, str]:
    """Return a schema's errors by the field's path: ``cdr.start``."""
    return dict(_flat(errors, ""))


def _flat(told: object, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(told, Mapping):
        for name, inner in told.items():
            yield from _flat(inner, f"{place}.{name}" if place else str(name))
    else:
        yield place, " ".join(map(str, told)) if isinstance(told, list) else str(told)
