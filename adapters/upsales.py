"""Upsales: API v2, with an API key.

Sources: Upsales' Postman collection (filters, limits, phone calls, ``q`` with ``or``) and answers of its sandbox.  Not
verified against a live account: ``src`` (part of a text), which only Upsales' own pages use, the filter ``contact.id``
of activities and appointments, creating an activity, and the pages that links lead to.

Longer than others: two ways to log a call, since a phone call of Upsales has no text and an activity no duration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from middleware.crm.api import (
    Activity,
    Appointment,
    AuthBase,
    Budget,
    Call,
    CallRecord,
    Contact,
    ContactDraft,
    Context,
    CRMAdapter,
    CRMError,
    Deal,
    Finding,
    HeaderAuth,
    Link,
    LoggedCall,
    Note,
    PhoneNumber,
    Reader,
    Response,
    Secret,
    Task,
    Ticket,
    UnsupportedError,
    columns,
    decimal_id,
    endings,
    find_owner,
    is_decimal,
    is_marked,
    mark,
    rate_limited,
    records,
    required,
    row,
    scalar,
    text,
    try_reading,
    url_segment,
    value,
)
from middleware.crm.api import number as read_number

LATEST = "30"  # of a type are read
PAGE = 250  # contacts, some 2 kB each
MOST_DESCRIPTION, MOST_URL = 100, 512  # characters
HIDDEN = ("isArchived", "private")  # a ticket, an appointment
READER = Reader(where="Upsales")
Row = dict[str, Any]
ActivityT = TypeVar("ActivityT", bound=Activity)

CONTACT = columns(
    "id display_name=name first_name=firstName last_name=lastName title company=client.name email number=phone"
    " number_2=cellPhone field_journey_step=journeyStep updated_at=modDate"
)
COLUMNS = {
    "activities": columns(
        "timestamp=regDate due_date=date header=description body=notes custom_header=activityType.name"
        " assigned_user=users[].name"
    ),
    "appointments": columns(
        "timestamp=date start_date=date end_date=endDate header=description body=notes venue=location status=outcome"
    ),
    "phoneCall": columns("timestamp=date duration=durationInS custom_header=user.name link=conversationUrl"),
    "orders": columns(
        "timestamp=modDate header=description body=notes amount=value currency close_date=date"
        " pipeline_stage=stage.name"
    ),
    "tickets": columns("timestamp=regDate header=title custom_header=type.name pipeline_stage=status.name"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsalesSettings:
    """The ``[[crm]]`` table of a customer whose CRM is Upsales.

    ``account`` is the id of the company that unknown callers are added to.  ``call_type`` and ``task_type`` are ids of
    activity types: with ``call_type`` a call is logged as a closed activity with its text, else as a phone call
    without.
    """

    token: Secret
    account: int = 0
    call_type: int = 0
    task_type: int = 0


class UpsalesAdapter(CRMAdapter[UpsalesSettings]):
    """Contacts of Upsales with their activities, appointments, phone calls, orders and tickets."""

    name = "upsales"
    label = "Upsales"
    settings_type = UpsalesSettings
    base_url = "https://integration.upsales.com/api/v2"
    knows_contact_ids = True
    budget = Budget(200, timedelta(seconds=10))

    def auth(self) -> AuthBase:
        """Sign with the key, which Upsales takes as a cookie, or in the URL, where logs would show it."""
        return HeaderAuth("Cookie", self.settings.token, "token=")

    def classify(self, response: Response) -> CRMError | None:
        """Return for how long to wait, which Upsales says in a header of its own."""
        return rate_limited(response, "x-ratelimit-reset", "Upsales")

    def can(self, method: str) -> bool:
        """Whether the settings allow ``method``."""
        wants = {
            "create_contact": self.settings.account,
            "create_task": self.settings.task_type,
            "find_notes": self.settings.call_type,
        }
        return super().can(method) and bool(wants.get(method, True))

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        """Search both phone fields once, for the end of the number as people group and separate its digits."""
        either = [[{"a": field, "c": "src", "v": end}] for field in ("phone", "cellPhone") for end in endings(number)]
        asked = {"q": json.dumps({"or": {"q": either}}), "sort": "-modDate", "limit": "50"}
        return [_contact(one) for one in records(ctx.http.get("contacts", params=asked).json(), "data")]

    def find_contact_by_id(self, numeric_id: str, ctx: Context) -> Contact | None:
        """Return the contact with Upsales' id."""
        found = ctx.http.find(f"contacts/{numeric_id}") if is_decimal(numeric_id) else None
        contact = value(found.json(), "data") if found else {"active": 0}
        return _contact(contact) if _is_active(contact) else None

    def find_notes(self, contact: Contact, ctx: Context) -> Iterable[Note]:
        """Take the calls that were logged as activities."""
        return self._activities(Note, "activities", contact, ctx, is_call=True)

    def find_tasks(self, contact: Contact, ctx: Context) -> Iterable[Task]:
        """Take the other activities."""
        return self._activities(Task, "activities", contact, ctx, is_call=False)

    def find_calls(self, contact: Contact, ctx: Context) -> Iterable[Call]:
        """Read the latest phone calls; the link of one leads to its recording."""
        return self._activities(Call, "phoneCall", contact, ctx)

    def find_tickets(self, contact: Contact, ctx: Context) -> Iterable[Ticket]:
        """Read the latest tickets."""
        return self._activities(Ticket, "tickets", contact, ctx)

    def find_deals(self, contact: Contact, ctx: Context) -> Iterable[Deal]:
        """Read the latest orders, which are opportunities until they are won or lost."""
        return self._activities(Deal, "orders", contact, ctx)

    def find_appointments(self, contact: Contact, ctx: Context) -> Iterable[Appointment]:
        """Read the latest appointments."""
        return self._activities(Appointment, "appointments", contact, ctx)

    def create_links(self, contact: Contact) -> Iterable[Link]:
        """Return the button that opens the contact, on whose page everything is created."""
        return [Link(name="New activity", url=_page(contact.id))]

    def create_contact(self, draft: ContactDraft, ctx: Context) -> Contact:
        """Create the contact in the company for unknown callers; a contact of Upsales' has no owner."""
        asked = {"name": draft.display_name, "phone": str(draft.number), "client": {"id": self.settings.account}}
        return _contact(value(ctx.http.post("contacts", json=asked).json(), "data"))

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        """Write the call on the contact and his company, which is asked for first: Upsales wants both."""
        if contact is None:
            raise UnsupportedError("Upsales takes no call without a contact")
        path, asked = self._logs, self._properties(call) | self._place([contact, *call.other_contacts], call.owner, ctx)
        if path == "phoneCall":  # which has one contact and one user
            contacts, users = asked.pop("contacts"), asked.pop("users")
            asked |= {"contact": contacts[0], **({"user": users[0]} if users else {})}
        written = ctx.http.post(path, json=asked).json()
        return LoggedCall(external_id=required(written, "data.id"), url=_page(contact.id))

    def find_logged_call(self, call: CallRecord, ctx: Context) -> LoggedCall | None:
        """Search for the key."""
        wanted = {"externalId": call.key} if self._logs == "phoneCall" else {"notes": f"src:{call.key}"}
        for one in records(ctx.http.get(self._logs, params={**wanted, "limit": LATEST}).json(), "data"):
            if text(one, "externalId") == call.key or is_marked(scalar(one, "notes"), call.key):
                return LoggedCall(external_id=required(one, "id"))
        return None

    def update_call(self, logged: LoggedCall, call: CallRecord, ctx: Context) -> None:
        """Write the call anew; whose it is stays as people may have changed it."""
        ctx.http.put(f"{self._logs}/{url_segment(logged.external_id)}", json=self._properties(call))

    def create_task(self, contact: Contact, text: str, call: CallRecord, ctx: Context) -> None:
        """Create an activity that is due a day after the call, unless one of the contact's holds its key."""
        key, due = call.task_key(text), call.ended_at.astimezone(UTC) + timedelta(days=1)
        if any(is_marked(scalar(one, "notes"), key) for one in self._latest("activities", contact, ctx)):
            return
        asked = _activity(self.settings.task_type, text, text, key) | {"date": due.date().isoformat()}
        ctx.http.post("activities", json=asked | self._place([contact], call.owner, ctx))

    def iter_contacts(self, since: datetime | None, ctx: Context) -> Iterator[Contact]:
        """Read all contacts in the order of their ids, as Upsales advises; an inactive one comes without numbers."""
        asked = {"sort": "id", "limit": str(PAGE), **({"modDate": f"gte:{_utc(since)}"} if since else {})}
        last = ctx.bookmark.place or "0"
        while True:
            page = records(ctx.http.get("contacts", params={**asked, "id": f"gt:{last}"}).json(), "data")
            yield from map(_contact, page)
            if len(page) < PAGE:
                return
            ctx.bookmark.place = last = required(page[-1], "id")

    def check(self, ctx: Context) -> Iterable[Finding]:
        """Read one record of each kind, and what the settings name; nothing is written."""
        settings = self.settings
        for kind in ("contacts", *COLUMNS, "users"):
            yield try_reading(f"read {kind}", kind, ctx)
        if settings.account:
            yield try_reading("account: the company is there", f"accounts/{settings.account}", ctx)
        types = {"call_type": settings.call_type, "task_type": settings.task_type}
        if any(types.values()):
            known = [text(one, "id") for one in records(ctx.http.get("activitytypes/activity").json(), "data")]
            for name, wanted in types.items():
                is_there = not wanted or str(wanted) in known
                yield Finding(ok=is_there, message=f"{name}: the activity type is {'there' if is_there else 'missing'}")

    @property
    def _logs(self) -> str:
        """Where calls are written."""
        return "activities" if self.settings.call_type else "phoneCall"

    def _properties(self, call: CallRecord) -> Row:
        if self.settings.call_type:
            day = {"date": _utc(call.started_at), "closeDate": call.ended_at.astimezone(UTC).date().isoformat()}
            return _activity(self.settings.call_type, call.subject, call.body, call.key) | day
        recording = call.recording if call.recording and len(call.recording) <= MOST_URL else None
        return {
            "date": _utc(call.started_at),
            "durationInS": round(call.duration.total_seconds()),
            "phoneNumber": str(call.contact_number),
            "type": " ".join([call.direction.value, *([call.ending.value] if call.ending else [])]),
            "externalId": call.key,
            **({"conversationUrl": recording} if recording else {}),
        }

    def _place(self, contacts: list[Contact], owner: str | None, ctx: Context) -> Row:
        """Return contacts, their company and whose it is; the first one's company is asked for."""
        client = required(ctx.http.get(f"contacts/{url_segment(contacts[0].id)}").json(), "data.client.id")
        owner = find_owner(owner, lambda email: records(ctx.http.get("users", params={"email": email}).json(), "data"))
        return {
            "client": {"id": decimal_id(client)},
            "contacts": [{"id": decimal_id(contact.id)} for contact in contacts],
            "users": [{"id": decimal_id(owner)}] if owner else [],
        }

    def _latest(self, path: str, contact: Contact, ctx: Context) -> list[Row]:
        """Return what belongs to the contact, whatever the filter let through; nothing that is not for everybody."""
        asked = {"contact.id": contact.id, "sort": f"-{COLUMNS[path]['timestamp']}", "limit": LATEST}
        found = records(ctx.once(path, lambda: ctx.http.get(path, params=asked).json()), "data")
        return [one for one in found if contact.id in _contacts_of(one) and not any(scalar(one, key) for key in HIDDEN)]

    def _activities(
        self, kind: type[ActivityT], path: str, contact: Contact, ctx: Context, *, is_call: bool | None = None
    ) -> Iterator[ActivityT]:
        for one in self._latest(path, contact, ctx):
            if is_call in (None, text(one, "activityType.id") == str(self.settings.call_type)):
                read = {"link": _page(contact.id)} | {k: v for k, v in row(one, COLUMNS[path]).items() if v is not None}
                yield READER.activity(kind, read | (COMPLETE[path](one) if path in COMPLETE else {}))


def _contact(found: Mapping[str, Any]) -> Contact:
    """Return the contact, without numbers if he is no longer active."""
    read = {**row(found, CONTACT), "number_2_comment": "mobile", "url": _page(required(found, "id"))}
    (contact,) = READER.contacts([read])
    return contact if _is_active(found) else replace(contact, numbers=())


def _is_active(found: object) -> bool:
    return scalar(found, "active") != 0  # true where it is not told


def _contacts_of(one: Mapping[str, Any]) -> list[str]:
    several = records(one, "contacts", is_optional=True)
    return [text(one, "contact.id"), *(text(contact, "id") for contact in several)]


def _sides(one: Mapping[str, Any]) -> Row:
    """Return both numbers: Upsales keeps the contact's, and only what we wrote tells who called."""
    contact, is_outbound = text(one, "phoneNumber") or "unknown", text(one, "type").startswith("outbound")
    sides = ("unknown", contact) if is_outbound else (contact, "unknown")
    return {"from_number": sides[0], "to_number": sides[1]}


def _activity(kind: int, subject: str, body: str, key: str) -> Row:
    return {
        "activityType": {"id": kind},
        "description": subject[:MOST_DESCRIPTION],
        "notes": mark(body, key),
    }


def _page(contact_id: str) -> str:
    return f"https://power.upsales.com/#/contacts/{url_segment(contact_id)}"


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


COMPLETE: dict[str, Callable[[Row], Row]] = {  # what a column alone does not tell
    "activities": lambda one: {"done": bool(text(one, "closeDate"))},
    "phoneCall": _sides,
    "orders": lambda one: {"done": read_number(one, "probability") in (0, 100)},  # lost or won
}
