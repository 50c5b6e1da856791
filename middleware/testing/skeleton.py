"""What ``m8crm adapter new`` writes: an adapter that works, and its test; both are tried by the kit's own tests."""

from __future__ import annotations

ADAPTER = '''\
"""Acme CRM: its API of 2026.  Write here where the API is described, and what of it was tried."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, timedelta

from middleware.crm.api import (
    AuthBase,
    Budget,
    CallRecord,
    Contact,
    ContactDraft,
    Context,
    CRMAdapter,
    Finding,
    Link,
    LoggedCall,
    Note,
    PhoneNumber,
    Reader,
    Secret,
    bearer,
    records,
    required,
    row,
    text,
    url_segment,
)

READER = Reader(where="Acme")
CONTACT = {  # what the card shows, and where Acme has it
    "id": "id",
    "display_name": "name",
    "company": "company.name",
    "number": "phone",
    "number_2": "mobile",
    "email": "email",
    "updated_at": "changed",
}
NOTE = {"timestamp": "written", "body": "text", "associated_user": "author.name"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AcmeSettings:
    """The ``[[crm]]`` table of a customer whose CRM is Acme."""

    token: Secret


class AcmeAdapter(CRMAdapter[AcmeSettings]):
    """Contacts, notes and calls of Acme CRM."""

    name = "acme"
    label = "Acme CRM"
    settings_type = AcmeSettings
    base_url = "https://api.acme.example/v1"
    budget = Budget(100, timedelta(seconds=10))

    def auth(self) -> AuthBase:
        """Sign with the token."""
        return bearer(self.settings.token)

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        """Search by the last digits; the middleware keeps those who really have the number."""
        found = ctx.http.get("people", params={"phone": number.suffix}).json()
        return READER.contacts(row(one, CONTACT) for one in records(found, "people") if not one.get("deleted"))

    def find_contact_by_id(self, numeric_id: str, ctx: Context) -> Contact | None:
        """Read one person."""
        found = ctx.http.find(f"people/{url_segment(numeric_id)}")
        return READER.contacts([row(found.json(), CONTACT)])[0] if found else None

    def find_notes(self, contact: Contact, ctx: Context) -> Iterable[Note]:
        """Read the latest notes."""
        found = ctx.http.get(f"people/{url_segment(contact.id)}/notes", params={"limit": 10}).json()
        return [READER.activity(Note, row(one, NOTE)) for one in records(found, "notes")]

    def create_links(self, contact: Contact) -> Iterable[Link]:
        """Offer a new note."""
        yield Link(name="New note", url=f"https://app.acme.example/people/{url_segment(contact.id)}/notes/new")

    def create_contact(self, draft: ContactDraft, ctx: Context) -> Contact:
        """Create the person."""
        person = {"name": draft.display_name, "phone": str(draft.number), "owner": draft.owner}
        created = ctx.http.post("people", json=person).json()
        return READER.contacts([row({**person, "id": required(created, "id")}, CONTACT)])[0]

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        """Write the call."""
        logged = {**_body(call), "person": contact.id if contact else None}
        return LoggedCall(external_id=required(ctx.http.post("calls", json=logged).json(), "id"))

    def find_logged_call(self, call: CallRecord, ctx: Context) -> LoggedCall | None:
        """Search for the key."""
        found = ctx.http.get("calls", params={"key": call.key}).json()
        ids = [required(one, "id") for one in records(found, "calls") if text(one, "key") == call.key]
        return LoggedCall(external_id=ids[0]) if ids else None

    def update_call(self, logged: LoggedCall, call: CallRecord, ctx: Context) -> None:
        """Write the call anew."""
        ctx.http.patch(f"calls/{url_segment(logged.external_id)}", json=_body(call))

    def check(self, ctx: Context) -> Iterable[Finding]:
        """Try what a lookup needs."""
        ctx.http.get("people", params={"limit": 1})
        yield Finding(ok=True, message="read people")


def _body(call: CallRecord) -> dict[str, object]:
    body = {
        "key": call.key,
        "began": call.started_at.astimezone(UTC).isoformat(),
        "duration": call.duration.total_seconds(),
        "direction": call.direction.value,
        "subject": call.subject,
        "text": call.body,
        "owner": call.owner,
        "outcome": call.ending.value if call.ending else None,
        "recording": call.recording,
    }
    return {name: value for name, value in body.items() if value is not None}
'''

TEST = '''\
"""The acme adapter keeps what the middleware promises."""

from adapters.acme import AcmeAdapter, AcmeSettings

from middleware.crm.settings import Secret
from middleware.testing.conformance import Conformance, Exchange
from middleware.testing.conformance.samples import KEY

ADA = {"id": 7, "name": "Ada Webb", "company": {"name": "Nordlys"}, "phone": "08-465 004 12", "mobile": "070-174 06 05"}
ADA |= {"email": "ada@nordlys.example", "changed": "2026-01-14T08:00:00Z", "deleted": False}
NOTE = {"written": "2026-01-14T08:00:00Z", "text": "Wants an offer", "author": {"name": "Ellen Berg"}}


class TestAcme(Conformance):
    """Every check of the kit."""

    adapter = AcmeAdapter
    settings = AcmeSettings(token=Secret("t0ken-of-the-test"))
    exchanges = (
        Exchange(request="GET /v1/people?phone=01740605", answer={"people": [ADA]}),
        Exchange(request="GET /v1/people/7", answer=ADA),
        Exchange(request="GET /v1/people/7/notes?limit=10", answer={"notes": [NOTE]}),
        Exchange(request="GET /v1/people?limit=1", answer={"people": []}),
        Exchange(request="POST /v1/people", status=201, answer={"id": 8}),
        Exchange(request="POST /v1/calls", status=201, answer={"id": 9}),
        Exchange(request=f"GET /v1/calls?key={KEY}", answer={"calls": [{"id": 9, "key": KEY}]}),
        Exchange(request="PATCH /v1/calls/9", answer={"id": 9}),
    )
'''


def written_for(name: str, template: str) -> str:
    """Return the template with ``name`` (``my_crm``) in place of acme."""
    words = name.split("_")
    title = "".join(word.capitalize() for word in words)
    return (
        template.replace("Acme CRM", " ".join(map(str.capitalize, words))).replace("Acme", title).replace("acme", name)
    )
