"""What adapters have in common whose requests stand in the customer's file, and not in a class of their own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TypeVar

from middleware.crm.base import Context, CRMAdapter
from middleware.model.activity import Activity, Appointment, Call, Deal, Note, Task, Ticket
from middleware.model.contact import Contact

SettingsT = TypeVar("SettingsT")
ActivityT = TypeVar("ActivityT", bound=Activity)


class DeclaredAdapter(CRMAdapter[SettingsT]):
    """Has all types of activities; which of them a customer's file has a request for is told by :meth:`can`."""

    @abstractmethod
    def _activities(self, kind: type[ActivityT], method: str, contact: Contact, ctx: Context) -> Iterable[ActivityT]:
        """Return what the request for ``method`` finds."""

    def find_notes(self, contact: Contact, ctx: Context) -> Iterable[Note]:
        """Ask for notes."""
        return self._activities(Note, "find_notes", contact, ctx)

    def find_tasks(self, contact: Contact, ctx: Context) -> Iterable[Task]:
        """Ask for tasks."""
        return self._activities(Task, "find_tasks", contact, ctx)

    def find_calls(self, contact: Contact, ctx: Context) -> Iterable[Call]:
        """Ask for calls."""
        return self._activities(Call, "find_calls", contact, ctx)

    def find_tickets(self, contact: Contact, ctx: Context) -> Iterable[Ticket]:
        """Ask for tickets."""
        return self._activities(Ticket, "find_tickets", contact, ctx)

    def find_deals(self, contact: Contact, ctx: Context) -> Iterable[Deal]:
        """Ask for deals."""
        return self._activities(Deal, "find_deals", contact, ctx)

    def find_appointments(self, contact: Contact, ctx: Context) -> Iterable[Appointment]:
        """Ask for appointments."""
        return self._activities(Appointment, "find_appointments", contact, ctx)
