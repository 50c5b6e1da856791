"""Asks a CRM who has a number; a contact counts only when one of its numbers is the number that was asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Any

from middleware.crm.base import Context, CRMAdapter
from middleware.model.contact import Contact
from middleware.model.phone import NumberForm, PhoneNumber, iter_stored_numbers

MAX_ITEMS = 200  # of what an adapter yields; a CRM that pages for ever ends here


def written_forms(adapter: CRMAdapter[Any], number: PhoneNumber) -> list[NumberForm]:
    """Return the forms to write the number in, in the adapter's order, each spelling once."""
    forms: dict[str, NumberForm] = {}
    for form in adapter.number_forms:
        forms.setdefault(getattr(number, form) or "", form)
    return [form for spelling, form in forms.items() if spelling]


def find_verified(
    adapter: CRMAdapter[Any], number: PhoneNumber, form: NumberForm, ctx: Context
) -> tuple[list[Contact], int]:
    """Ask for the number as ``form`` writes it; return who really has it, and how many the CRM brought."""
    written = getattr(number, form)
    ctx = ctx if ctx.written == written else replace(ctx, written=written)  # a lookup's says so already
    found = list(islice(adapter.find_contacts(number, ctx), MAX_ITEMS))
    return verified_contacts(found, number, ctx.region), len(found)


def verified_contacts(contacts: Iterable[Contact], number: PhoneNumber, region: str) -> list[Contact]:
    """Return the contacts that carry ``number``, each once, in the adapter's order."""
    verified = {contact.id: contact for contact in contacts if has_number(contact, number, region)}
    return list(verified.values())


def has_number(contact: Contact, number: PhoneNumber, region: str) -> bool:
    """Whether one of the contact's numbers, however written, is ``number``."""
    return number.e164 is not None and any(
        number.e164 in iter_stored_numbers(stored.number, region) for stored in contact.numbers
    )


def by_latest(contacts: Iterable[Contact]) -> list[Contact]:
    """Return the contacts, the most recently updated first; those without a date keep their order at the end."""
    return sorted(
        contacts,
        key=lambda contact: contact.updated_at.timestamp() if contact.updated_at else 0.0,
        reverse=True,
    )
