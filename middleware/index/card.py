"""A contact as text, for the index: all that a card shows of it, and back."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from middleware.model.contact import Contact, ContactNumber, Email, Field

MAX_BYTES = 64 * 1024  # of one contact; a larger one loses what is not needed to know who calls
MAX_NUMBERS = 50  # that a contact is found by
_LISTS: dict[str, type[Any]] = {"numbers": ContactNumber, "emails": Email, "fields": Field}
_COLUMNS = {name: tuple(field.name for field in fields(kind)) for name, kind in _LISTS.items()}
_encode = json.JSONEncoder(separators=(",", ":")).encode
_NAMES = tuple(field.name for field in fields(Contact))


def dump_contact(contact: Contact) -> str:
    """Return the contact as JSON in ASCII, without what is unknown; the same contact gives the same text."""
    told = {name: value for name in _NAMES if (value := getattr(contact, name)) not in (None, ())}
    for name, columns in _COLUMNS.items():
        if name in told:
            told[name] = [[getattr(one, column) for column in columns] for one in told[name]]
    if contact.updated_at:
        told["updated_at"] = contact.updated_at.isoformat()
    text = _encode(told)
    if len(text) <= MAX_BYTES:
        return text
    least = Contact(id=contact.id, display_name=contact.display_name[:200], updated_at=contact.updated_at)
    numbers = tuple(ContactNumber(number=stored.number[:200]) for stored in contact.numbers[:MAX_NUMBERS])
    return dump_contact(replace(least, numbers=numbers))


def load_contact(text: str) -> Contact:
    """Return the contact that :func:`dump_contact` has written."""
    told: dict[str, Any] = json.loads(text)
    for name, kind in _LISTS.items():
        columns = _COLUMNS[name]
        told[name] = tuple(kind(**dict(zip(columns, one, strict=True))) for one in told.get(name, ()))
    if "updated_at" in told:
        told["updated_at"] = datetime.fromisoformat(told["updated_at"])
    return Contact(**told)
