"""A contact counts only when one of its numbers is the number that was asked for."""

from __future__ import annotations

from collections.abc import Iterable

from middleware.model.contact import Contact
from middleware.model.phone import PhoneNumber, iter_stored_numbers


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
