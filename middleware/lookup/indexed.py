"""What a lookup asks of an index of numbers, whoever keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from middleware.model.contact import Contact
from middleware.model.phone import PhoneNumber
from middleware.tenants.tenant import Source, Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """Who has a number by the index, as the CRM had them then; ``words`` tell people of which moment that is.

    ``is_final``: the index is whole and young enough to believe that nobody else has it.
    """

    contacts: tuple[Contact, ...] = ()
    is_final: bool = False
    words: str = "there is no index"


class NumberIndex(Protocol):
    """Finds contacts by number without asking their CRM."""

    def find(self, tenant: Tenant, source: Source, number: PhoneNumber) -> Indexed:
        """Return what the source's index knows of ``number``; never raises."""


class NoIndex:
    """Knows nobody."""

    def find(self, _tenant: Tenant, _source: Source, _number: PhoneNumber) -> Indexed:
        """Return nobody, which is not to be believed."""
        return Indexed()
