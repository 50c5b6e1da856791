"""Freshdesk: API v2, with an agent's API key.

Sources: developers.freshdesk.com (contacts, filter contacts, tickets, attachments, rate limits).  Not verified against
a live account: that a search by phone compares the whole text, and the pages that links lead to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

from middleware.crm.api import (
    AuthBase,
    Budget,
    CallRecord,
    Contact,
    ContactDraft,
    Context,
    CRMAdapter,
    FileForm,
    Finding,
    Link,
    LoggedCall,
    PhoneNumber,
    Reader,
    RecordingFile,
    Secret,
    Ticket,
    UnsupportedError,
    basic,
    check_subdomain,
    columns,
    decimal_id,
    find_owner,
    is_decimal,
    is_marked,
    mark,
    records,
    required,
    row,
    scalar,
    spellings,
    text,
    try_reading,
    url_segment,
)

API = "api/v2"
PAGE = 100  # contacts; Freshdesk's most
TICKETS = 30  # of a page, since their texts may be long mails
LATEST = 10  # tickets of a contact
EVER = "2000-01-01T00:00:00Z"  # without it Freshdesk tells the last 30 days
LOW, OPEN, PHONE = 1, 2, 3  # a priority, a status, a source
MOST_SUBJECT = 255  # characters
MOST_ATTACHED = 20_000_000  # bytes of all attachments of a ticket
PRIORITIES = {"1": "LOW", "2": "MEDIUM", "3": "HIGH", "4": "HIGH"}  # 4 is urgent
STATUSES = {"2": "Open", "3": "Pending", "4": "Resolved", "5": "Closed"}  # a helpdesk may have others
READER = Reader(where="Freshdesk")
Row = dict[str, Any]

CONTACT = columns("id display_name=name title=job_title email number=phone number_2=mobile updated_at")
TICKET = columns("timestamp=updated_at created_date=created_at header=subject body=description custom_description=type")


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshdeskSettings:
    """The ``[[crm]]`` table of a customer whose CRM is Freshdesk.

    ``domain`` is what stands before .freshdesk.com.  ``status`` is that of a call's ticket: 5 is closed, 2 open.
    """

    token: Secret
    domain: str
    status: int = 5


class FreshdeskAdapter(CRMAdapter[FreshdeskSettings]):
    """Contacts of Freshdesk with their tickets."""

    name = "freshdesk"
    label = "Freshdesk"
    settings_type = FreshdeskSettings
    log_format = "html"
    knows_contact_ids = True
    budget = Budget(200, timedelta(minutes=1))  # of the smallest plan, which has 20 ticket lists a minute beside it

    def __init__(self, settings: FreshdeskSettings) -> None:
        super().__init__(settings)
        check_subdomain("domain", settings.domain, "freshdesk.com")

    @property
    def base_url(self) -> str:
        """The helpdesk's own address."""
        return f"https://{self.settings.domain}.freshdesk.com"

    def auth(self) -> AuthBase:
        """Sign with the key, which is the user; the password may be anything."""
        return basic(self.settings.token.reveal(), Secret("X"))

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        """Search both phone fields once, for every way to write the number."""
        either = [f"{field}:'{written}'" for written in spellings(number) for field in ("phone", "mobile")]
        answer = ctx.http.get(f"{API}/search/contacts", params={"query": f'"{" OR ".join(either)}"'}).json()
        return [self._contact(one) for one in records(answer, "results")]

    def find_contact_by_id(self, numeric_id: str, ctx: Context) -> Contact | None:
        """Return the contact with Freshdesk's id."""
        found = ctx.http.find(f"{API}/contacts/{numeric_id}") if is_decimal(numeric_id) else None
        return self._contact(found.json()) if found and not scalar(found.json(), "deleted") else None

    def find_tickets(self, contact: Contact, ctx: Context) -> Iterable[Ticket]:
        """Read the tickets that changed last."""
        for one in self._tickets(contact, ctx):
            known = {
                "priority": PRIORITIES.get(text(one, "priority")),
                "pipeline_stage": STATUSES.get(text(one, "status")),
                "link": self._page("tickets", required(one, "id")),
            }
            yield READER.activity(Ticket, row(one, TICKET) | known)

    def create_links(self, contact: Contact) -> Iterable[Link]:
        """Return the button that opens the contact, on whose page a ticket is created."""
        return [Link(name="New ticket", url=self._page("contacts", contact.id))]

    def create_contact(self, draft: ContactDraft, ctx: Context) -> Contact:
        """Create the contact with the number, unless one was created that the search does not know yet."""
        number = str(draft.number)
        for one in records(ctx.http.get(f"{API}/contacts", params={"phone": number}).json()):
            if text(one, "phone") == number:
                return self._contact(one)
        asked = {"name": draft.display_name, "phone": number}  # a contact of Freshdesk's has no owner
        return self._contact(ctx.http.post(f"{API}/contacts", json=asked).json())

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        """Write the call as a ticket of the contact; of nobody it makes Freshdesk create a contact with the number."""
        if contact is None and not call.contact_number.is_diallable:
            raise UnsupportedError("Freshdesk takes no ticket of somebody without a number")
        number = str(call.contact_number)
        caller = {"phone": number, "name": call.caller_name or number}
        asked = _texts(call) | ({"requester_id": decimal_id(contact.id)} if contact else caller)
        tags = [call.direction.value, *([call.ending.value] if call.ending else [])]
        return self._logged(self._create(asked | {"status": self.settings.status, "tags": tags}, call.owner, ctx))

    def find_logged_call(self, call: CallRecord, ctx: Context) -> LoggedCall | None:
        """Look for the key in the tickets since the call; unlike a search the list has what was created just now."""
        since = _utc(call.ended_at - timedelta(hours=1))  # clocks differ
        asked = {"updated_since": since, "order_by": "created_at", "order_type": "desc", "include": "description"}
        for one in self._pages("tickets", asked, ctx, TICKETS):
            if is_marked(scalar(one, "description"), call.key):
                return self._logged(one)
            if text(one, "created_at") < since:
                return None
        return None

    def update_call(self, logged: LoggedCall, call: CallRecord, ctx: Context) -> None:
        """Write subject and description anew; its status stays as people may have changed it."""
        ctx.http.put(self._ticket(logged), json=_texts(call))

    def attach_recording(self, logged: LoggedCall, recording: RecordingFile, call: CallRecord, ctx: Context) -> None:
        """Attach the file to the ticket."""
        if recording.size > MOST_ATTACHED:
            raise UnsupportedError("Freshdesk takes no more than 20 MB")
        kind, name = recording.content_type, recording.name
        form = FileForm("attachments[]", name=name, content_type=kind, size=recording.size, file=recording.file)
        ctx.http.put(self._ticket(logged), data=form, headers=form.headers)

    def has_recording(self, logged: LoggedCall, recording: RecordingFile, call: CallRecord, ctx: Context) -> bool:
        """Look for a file of its name among the ticket's attachments."""
        answer = ctx.http.get(self._ticket(logged)).json()
        return any(text(one, "name") == recording.name for one in records(answer, "attachments"))

    def create_task(self, contact: Contact, text: str, call: CallRecord, ctx: Context) -> None:
        """Create an open ticket, since Freshdesk has no tasks, unless one of the contact's has its key."""
        key = call.task_key(text)
        if any(is_marked(scalar(one, "description"), key) for one in self._tickets(contact, ctx)):
            return
        asked = {"subject": text[:MOST_SUBJECT], "description": mark(escape(text), key, is_html=True), "status": OPEN}
        self._create(asked | {"requester_id": decimal_id(contact.id)}, call.owner, ctx)

    def iter_contacts(self, since: datetime | None, ctx: Context) -> Iterator[Contact]:
        """Read all contacts, or those that were changed; a deleted one comes without numbers."""
        asked = {"updated_since": _utc(since)} if since else {}
        yield from map(self._contact, self._pages("contacts", asked, ctx))
        for one in self._pages("contacts", asked | {"state": "deleted"}, ctx) if since else ():
            yield replace(self._contact(one), numbers=())

    def check(self, ctx: Context) -> Iterable[Finding]:
        """Read whose key it is, and one record of each kind; nothing is written."""
        sees_all = text(ctx.http.get(f"{API}/agents/me").json(), "ticket_scope") == "1"
        words = "sees all tickets" if sees_all else "needs global access, else tickets are missing"
        yield Finding(ok=sees_all, message=f"the key's agent {words}")
        for kind in ("contacts", "tickets"):
            yield try_reading(f"read {kind}", f"{API}/{kind}", ctx, {"per_page": "1"})
        yield try_reading("search contacts", f"{API}/search/contacts", ctx, {"query": "\"phone:'0'\""})

    def _contact(self, found: object) -> Contact:
        url = self._page("contacts", required(found, "id"))
        return READER.contacts([{**row(found, CONTACT), "number_2_comment": "mobile", "url": url}])[0]

    def _tickets(self, contact: Contact, ctx: Context) -> list[Row]:
        asked = {"requester_id": contact.id, "updated_since": EVER, "order_by": "updated_at", "include": "description"}
        asked |= {"order_type": "desc", "per_page": str(LATEST)}
        return records(ctx.http.get(f"{API}/tickets", params=asked).json())

    def _create(self, asked: Row, owner: str | None, ctx: Context) -> Any:
        owner = find_owner(owner, lambda email: records(ctx.http.get(f"{API}/agents", params={"email": email}).json()))
        responder = {"responder_id": decimal_id(owner)} if owner else {}
        return ctx.http.post(f"{API}/tickets", json={"source": PHONE, "priority": LOW, **asked, **responder}).json()

    def _pages(self, kind: str, asked: dict[str, str], ctx: Context, size: int = PAGE) -> Iterator[Row]:
        number = 1
        while True:
            params = {**asked, "per_page": str(size), "page": str(number)}
            page = records(ctx.http.get(f"{API}/{kind}", params=params).json())
            yield from page
            if len(page) < size:
                return
            number += 1

    def _logged(self, ticket: object) -> LoggedCall:
        found = required(ticket, "id")
        return LoggedCall(external_id=found, url=self._page("tickets", found))

    def _ticket(self, logged: LoggedCall) -> str:
        return f"{API}/tickets/{url_segment(logged.external_id)}"

    def _page(self, kind: str, record: str) -> str:
        return f"{self.base_url}/a/{kind}/{url_segment(record)}"


def _texts(call: CallRecord) -> Row:
    return {"subject": call.subject[:MOST_SUBJECT], "description": mark(call.body, call.key, is_html=True)}


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"
