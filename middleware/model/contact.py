"""A person or company as the CRM knows it (specs/001, RESPONSE - Basic)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from middleware.model.phone import PhoneNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    """An e-mail address; ``comment`` says where it is used, e.g. ``Work``."""

    address: str
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactNumber:
    """A phone number exactly as the CRM stores it, however untidy; ``comment`` says where it is used."""

    number: str
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One more fact on the card: ``title`` is its label, ``comment`` its text."""

    title: str
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A button that opens the CRM, e.g. to create a note for the contact."""

    name: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Who is calling.

    ``numbers`` must hold every number of the contact as the CRM stores it: the middleware shows a contact
    only when one of them, normalised, is the number that was asked for.  ``updated_at`` (aware) decides
    between several contacts that share a number.  Unknown values stay ``None``.
    """

    id: str
    display_name: str
    numbers: tuple[ContactNumber, ...] = ()
    first_name: str | None = None
    last_name: str | None = None
    emails: tuple[Email, ...] = ()
    company: str | None = None
    title: str | None = None
    fields: tuple[Field, ...] = ()
    avatar_url: str | None = None
    cover_photo_url: str | None = None
    url: str | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactDraft:
    """Somebody who called and is not in the CRM yet; ``owner`` is the CRM's id of the user who gets the contact.

    ``display_name`` is what the sender calls him, else his number as it is written abroad.
    """

    number: PhoneNumber
    display_name: str
    owner: str | None = None
