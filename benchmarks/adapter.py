"""Two adapters for the CRM stub: one whose lookup is exactly one request, one that can do more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from middleware.crm.base import Context, CRMAdapter
from middleware.model.activity import Note
from middleware.model.call import CallRecord, LoggedCall
from middleware.model.contact import Contact, ContactNumber, Email, Field
from middleware.model.phone import PhoneNumber

ENTRY_POINTS = "[m8crm.adapters]\nbenchmarks = benchmarks.adapter\n"  # how the servers under test find this module


@dataclass(frozen=True, slots=True, kw_only=True)
class StubSettings:
    """``url``: the stub's address with the CRM's name as its path."""

    url: str


class StubAdapter(CRMAdapter[StubSettings]):
    """A lookup is one request."""

    name = "stub"
    label = "CRM stub"
    settings_type = StubSettings

    @property
    def base_url(self) -> str:
        """The CRM's own path on the stub."""
        return self.settings.url

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        """Ask once."""
        return [_contact(row) for row in ctx.http.get("contacts", params={"number": number.e164 or ""}).json()]


class BusyStubAdapter(StubAdapter):
    """Finds notes and logs calls, too."""

    name = "busy-stub"
    label = "CRM stub with activities"

    def find_notes(self, contact: Contact, ctx: Context) -> Iterable[Note]:
        """Ask once more."""
        now = datetime.now(UTC)
        return [Note(timestamp=now, body=row["body"]) for row in ctx.http.get("notes").json()]

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        """Write the call under its key."""
        return LoggedCall(external_id=ctx.http.post("calls", json={"key": call.key}).json()["id"])

    def find_logged_call(self, call: CallRecord, ctx: Context) -> LoggedCall | None:
        """Find the call by its key."""
        rows = ctx.http.get("calls", params={"key": call.key}).json()
        return LoggedCall(external_id=rows[0]["id"]) if rows else None


class BlindStubAdapter(StubAdapter):
    """Logs calls, and cannot be asked for one."""

    name = "blind-stub"
    label = "CRM stub that finds no call"

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        """Write the call under its key."""
        return LoggedCall(external_id=ctx.http.post("calls", json={"key": call.key}).json()["id"])


def _contact(row: dict[str, Any]) -> Contact:
    return Contact(
        id=row["id"],
        display_name=row["name"],
        numbers=(ContactNumber(number=row["phone"], comment="Work"),),
        emails=(Email(address=row["email"], comment="Work"),),
        fields=tuple(Field(title=fact["title"], comment=fact["comment"]) for fact in row["facts"]),
    )
