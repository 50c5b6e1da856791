"""HubSpot: CRM API v3, with the token of a private app or a service key, or OAuth2.

Sources: developers.hubspot.com (CRM API, objects, search, owners, properties, private apps) and HubSpot's OpenAPI
files.  Not verified against a live account: the links to a single activity (``engagement=``), and that a search finds
its wildcard in the calculated numbers without their country code (third-party clients rely on both).

Longer than others: seven types of activities, whose ids come without their records, and a search that ends at 10,000.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
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
    CRMRejectedError,
    Deal,
    Ending,
    Finding,
    Link,
    LoggedCall,
    Note,
    OAuth2,
    PhoneNumber,
    RateLimitedError,
    Reader,
    Response,
    Secret,
    Task,
    Ticket,
    bearer,
    columns,
    find_owner,
    is_decimal,
    number,
    records,
    required,
    row,
    scalar,
    text,
    texts,
    try_reading,
    url_segment,
    value,
)

OBJECTS = "crm/v3/objects"
PAGE = 100  # records; HubSpot's most
MOST_FOUND = 10_000  # records of one search; HubSpot answers 400 beyond
LATEST = 30  # of a type are read: those that were created last
PAUSES = {"SECONDLY": timedelta(seconds=1), "DAILY": timedelta(hours=1)}  # by the limit that was reached
READ = "crm.objects.contacts.read"  # of contacts and of most that hangs on them
SCOPES = {"deals": "crm.objects.deals.read", "tickets": "tickets", "emails": "sales-email-read"}
WRITE = "crm.objects.contacts.write"  # the scope that also lets calls and tasks be written
SEARCHABLE = ("hs_searchable_calculated_phone_number", "hs_searchable_calculated_mobile_number")
PROPERTIES = "properties."
TO_CONTACT = {"calls": 194, "tasks": 204}  # HubSpot's ids of these associations
BUTTONS = {
    "note": "New note",
    "task": "New task",
    "call": "Log a call",
    "meeting": "New meeting",
    "email": "New e-mail",
}
TYPES = {"meetings": "appointments", "emails": "activities"}  # where we call them otherwise
PAGES_OF = {"tickets": "0-5", "deals": "0-3"}  # types with pages of their own; others are shown on the contact's
CONTACT = columns(
    "id first_name=properties.firstname last_name=properties.lastname company=properties.company email=properties.email"
    " title=properties.jobtitle field_lifecycle_stage=properties.lifecyclestage updated_at=updatedAt"
)
COLUMNS = {
    "notes": columns("timestamp=properties.hs_timestamp body=properties.hs_note_body"),
    "emails": columns(
        "timestamp=properties.hs_timestamp header=properties.hs_email_subject body=properties.hs_email_text"
    ),
    "tasks": columns(
        "timestamp=createdAt due_date=properties.hs_timestamp header=properties.hs_task_subject"
        " body=properties.hs_task_body status=properties.hs_task_status"
    ),
    "calls": columns(
        "timestamp=properties.hs_timestamp duration=properties.hs_call_duration body=properties.hs_call_body"
        " from_number=properties.hs_call_from_number to_number=properties.hs_call_to_number"
        " custom_header=properties.hs_call_title"
    ),
    "tickets": columns(
        "timestamp=createdAt header=properties.subject body=properties.content priority=properties.hs_ticket_priority"
    ),
    "deals": columns(
        "timestamp=updatedAt header=properties.dealname body=properties.description amount=properties.amount"
        " currency=properties.deal_currency_code close_date=properties.closedate done=properties.hs_is_closed"
    ),
    "meetings": columns(
        "timestamp=properties.hs_timestamp start_date=properties.hs_meeting_start_time"
        " end_date=properties.hs_meeting_end_time header=properties.hs_meeting_title body=properties.hs_meeting_body"
        " venue=properties.hs_meeting_location status=properties.hs_meeting_outcome"
    ),
}
Row = dict[str, Any]
COMPLETE: dict[str, Callable[[Row], Row]] = {  # what a column alone does not tell
    "calls": lambda read: {**read, **_call_columns(read)},
    "tasks": lambda read: {**read, "done": read["status"] == "COMPLETED"},
    "meetings": lambda read: {**read, "start_date": read["start_date"] or read["timestamp"]},
    "emails": lambda read: {**read, "custom_header": "E-mail"},
}
READER = Reader(where="HubSpot")
ActivityT = TypeVar("ActivityT", bound=Activity)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSpotSettings:
    """The ``[[crm]]`` table of a customer whose CRM is HubSpot.

    ``portal`` is the account's number, for links; ``app`` is ``app-eu1`` for an account in Europe.  ``phones`` are the
    contact properties that hold numbers, three at most.  ``activities`` are the types to show: leave out what the
    token may not read.  ``key_property`` is the property, of calls and tasks, whose values are unique; empty for none.
    """

    token: Secret | None = None
    portal: str = ""
    app: str = "app"
    phones: tuple[str, ...] = ("phone", "mobilephone")
    activities: tuple[str, ...] = tuple(COLUMNS)
    key_property: str = "m8crm_key"


class HubSpotAdapter(CRMAdapter[HubSpotSettings]):
    """Contacts of HubSpot with all that hangs on them."""

    name = "hubspot"
    label = "HubSpot"
    settings_type = HubSpotSettings
    base_url = "https://api.hubapi.com"
    log_format = "html"
    knows_contact_ids = True
    budget = Budget(100, timedelta(seconds=10))  # private app, Free and Starter; searches have 5 a second beside it

    def __init__(self, settings: HubSpotSettings) -> None:
        super().__init__(settings)
        unknown = set(settings.activities) - set(COLUMNS)
        if unknown:
            raise ValueError(f"activities: {min(unknown)} is unknown; known: {', '.join(COLUMNS)}")
        if not 1 <= len(settings.phones) <= 3:
            raise ValueError("phones: name one to three properties; HubSpot searches no more at once")

    def auth(self) -> AuthBase | None:
        """Sign with the token, where there is one."""
        return bearer(self.settings.token) if self.settings.token else None

    def oauth2(self) -> OAuth2:
        """Ask for what the shown activities need; HubSpot's old name of an ended grant is known, too."""
        types = [scope for kind, scope in SCOPES.items() if kind in self.settings.activities]
        return OAuth2(
            authorize_url="https://app.hubspot.com/oauth/authorize",
            token_url="https://api.hubapi.com/oauth/v3/token",  # noqa: S106 - an address
            scopes=("oauth", READ, WRITE, "crm.objects.owners.read", *types),
            client_auth="client_secret_post",
            replaces="token",
            ended=("invalid_grant", "BAD_REFRESH_TOKEN"),
        )

    def classify(self, response: Response) -> CRMError | None:
        """Return for how long to wait: HubSpot names the limit, and seldom the time."""
        if response.status_code != 429 or "Retry-After" in response.headers:
            return None
        pause = next((wait for name, wait in PAUSES.items() if f'"{name}"'.encode() in response.content), None)
        return RateLimitedError("api.hubapi.com answered 429", retry_after=pause or timedelta(seconds=10))

    def can(self, method: str) -> bool:
        """Whether the settings allow ``method``."""
        settings = self.settings
        refused = {f"find_{TYPES.get(kind, kind)}" for kind in COLUMNS if kind not in settings.activities}
        refused |= set() if settings.portal else {"create_links"}
        refused |= set() if settings.key_property else {"find_logged_call", "create_task"}
        return super().can(method) and method not in refused

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        """Search once: by the end of the numbers that HubSpot made searchable, and every spelling in each property."""
        ends = {"operator": "CONTAINS_TOKEN", "value": f"*{number.suffix}"}
        spellings = {"operator": "IN", "values": list(number.variants())}
        filters: list[Row] = [{"propertyName": name, **ends} for name in SEARCHABLE]
        filters += [{"propertyName": name, **spellings} for name in self.settings.phones]
        return self._contacts(records(self._search("contacts", filters, ctx), "results"))

    def find_contact_by_id(self, numeric_id: str, ctx: Context) -> Contact | None:
        """Return the contact with HubSpot's record id."""
        asked = {"properties": ",".join(self._properties("contacts"))}
        found = ctx.http.find(f"{OBJECTS}/contacts/{numeric_id}", params=asked) if is_decimal(numeric_id) else None
        return next(iter(self._contacts([found.json()])), None) if found else None

    def find_notes(self, contact: Contact, ctx: Context) -> Iterable[Note]:
        """Read the latest notes."""
        return self._activities(Note, "notes", contact, ctx)

    def find_tasks(self, contact: Contact, ctx: Context) -> Iterable[Task]:
        """Read the latest tasks."""
        return self._activities(Task, "tasks", contact, ctx)

    def find_calls(self, contact: Contact, ctx: Context) -> Iterable[Call]:
        """Read the latest calls."""
        return self._activities(Call, "calls", contact, ctx)

    def find_tickets(self, contact: Contact, ctx: Context) -> Iterable[Ticket]:
        """Read the latest tickets."""
        return self._activities(Ticket, "tickets", contact, ctx)

    def find_deals(self, contact: Contact, ctx: Context) -> Iterable[Deal]:
        """Read the latest deals."""
        return self._activities(Deal, "deals", contact, ctx)

    def find_appointments(self, contact: Contact, ctx: Context) -> Iterable[Appointment]:
        """Read the latest meetings."""
        return self._activities(Appointment, "meetings", contact, ctx)

    def find_activities(self, contact: Contact, ctx: Context) -> Iterable[Activity]:
        """Read the latest e-mails, which are shown as notes."""
        return self._activities(Note, "emails", contact, ctx)

    def create_links(self, contact: Contact) -> Iterable[Link]:
        """Return the buttons that open HubSpot's editors on the contact."""
        return [Link(name=name, url=f"{self._page(contact.id)}?interaction={kind}") for kind, name in BUTTONS.items()]

    def create_contact(self, draft: ContactDraft, ctx: Context) -> Contact:
        """Create the contact; searches find it only some seconds later."""
        first, _, last = draft.display_name.rpartition(" ")
        properties = {"firstname": first, "lastname": last, self.settings.phones[0]: str(draft.number)}
        asked = {"properties": properties | self._owned_by(draft.owner, ctx), "associations": []}
        created = ctx.http.post(f"{OBJECTS}/contacts", json=asked).json()
        return self._contacts([{"id": required(created, "id"), "properties": properties}])[0]

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        """Create the call on its contacts; HubSpot refuses a second one with the same key."""
        properties = _properties_of(call) | self._owned_by(call.owner, ctx)
        contacts = [contact, *call.other_contacts] if contact else []
        try:
            logged_id = self._create("calls", call.key, properties, contacts, ctx)
        except CRMRejectedError as error:
            is_there = self.settings.key_property and "conflict" in (error.vendor_text or "").lower()
            logged = self.find_logged_call(call, ctx) if is_there else None
            if logged is None:
                raise
            return logged
        return LoggedCall(external_id=logged_id, url=self._page(contact.id, shows=logged_id) if contact else None)

    def find_logged_call(self, call: CallRecord, ctx: Context) -> LoggedCall | None:
        """Read the call by its key: unlike a search this finds what was created a moment ago."""
        found = self._id_by_key("calls", call.key, ctx)
        return LoggedCall(external_id=found) if found else None

    def update_call(self, logged: LoggedCall, call: CallRecord, ctx: Context) -> None:
        """Write the call's properties anew; whose it is stays as people may have changed it."""
        ctx.http.patch(f"{OBJECTS}/calls/{url_segment(logged.external_id)}", json={"properties": _properties_of(call)})

    def create_task(self, contact: Contact, text: str, call: CallRecord, ctx: Context) -> None:
        """Create a task that is due a day after the call, unless HubSpot has it by its key."""
        key = call.task_key(text)
        if self._id_by_key("tasks", key, ctx) is None:
            due = _milliseconds(call.ended_at + timedelta(days=1))
            properties = {
                "hs_timestamp": due,
                "hs_task_subject": text[:255],
                "hs_task_body": text,
                "hs_task_status": "NOT_STARTED",
            }
            self._create("tasks", key, properties | self._owned_by(call.owner, ctx), [contact], ctx)

    def iter_contacts(self, since: datetime | None, ctx: Context) -> Iterator[Contact]:
        """Read the list of all, or search for what was changed; deleted contacts are not told."""
        after = ctx.bookmark.place
        while True:
            answer = self._changed(since, after, ctx) if since else self._listed(after, ctx)
            contacts = self._contacts(records(answer, "results"))
            yield from contacts
            after = text(answer, "paging.next.after")
            if not after:
                return
            if since and after.isdecimal() and int(after) >= MOST_FOUND:
                latest = contacts[-1].updated_at if contacts else None
                since, after = (latest if latest and latest > since else None), ""
            ctx.bookmark.place = after

    def check(self, ctx: Context) -> Iterable[Finding]:
        """Read one record of each kind, the key properties, and what the token may do; nothing is written."""
        for kind in ("contacts", *self.settings.activities):
            yield try_reading(f"read {kind} (scope {SCOPES.get(kind, READ)})", f"{OBJECTS}/{kind}", ctx)
        yield try_reading("read owners (scope crm.objects.owners.read)", "crm/v3/owners", ctx)
        for kind in ("calls", "tasks") if self.settings.key_property else ():
            yield self._key_finding(kind, ctx)
        if self.settings.token is None:  # who authorised us saw the scopes
            return
        token = {"tokenKey": self.settings.token.reveal()}
        try:
            told = texts(ctx.http.post("oauth/v2/private-apps/get/access-token-info", json=token).json(), "scopes")
        except CRMRejectedError:
            yield Finding(ok=True, message=f"HubSpot does not tell this token's scopes; it needs {WRITE} as well")
            return
        can_write = WRITE in told
        yield Finding(ok=can_write, message=f"write: scope {WRITE} {'is granted' if can_write else 'is missing'}")

    def _key_finding(self, kind: str, ctx: Context) -> Finding:
        name = self.settings.key_property
        found = ctx.http.find(f"crm/v3/properties/{kind}/{url_segment(name)}")
        is_unique = found is not None and value(found.json(), "hasUniqueValue") is True
        words = "is unique" if is_unique else "is missing or not unique: create it as docs/adapters/hubspot.rst says"
        return Finding(ok=is_unique, message=f"property {name} of {kind} {words}")

    def _properties(self, kind: str) -> list[str]:
        paths = CONTACT if kind == "contacts" else COLUMNS[kind]
        names = [path.removeprefix(PROPERTIES) for path in paths.values() if path.startswith(PROPERTIES)]
        return [*names, *(self.settings.phones if kind == "contacts" else ())]

    def _contacts(self, found: Iterable[Mapping[str, Any]]) -> list[Contact]:
        return READER.contacts(self._contact_row(one) for one in found if not scalar(one, "archived"))

    def _contact_row(self, found: Mapping[str, Any]) -> dict[str, Any]:
        read = row(found, CONTACT)
        for place, name in enumerate(self.settings.phones, start=1):
            read |= {f"number_{place}": text(found, PROPERTIES + name), f"number_{place}_comment": name}
        name = " ".join(text(found, PROPERTIES + part) for part in ("firstname", "lastname")).strip()
        return {**read, "display_name": name, "url": self._page(required(found, "id"))}

    def _activities(self, kind: type[ActivityT], name: str, contact: Contact, ctx: Context) -> Iterator[ActivityT]:
        for found in self._latest(name, contact, ctx):
            read = row(found, COLUMNS[name])
            is_own_page = name in PAGES_OF
            record = required(found, "id")
            read["link"] = self._page(record, PAGES_OF[name]) if is_own_page else self._page(contact.id, shows=record)
            yield READER.activity(kind, COMPLETE.get(name, dict)(read))

    def _latest(self, name: str, contact: Contact, ctx: Context) -> list[dict[str, Any]]:
        """Return the contact's records of a type: the ids of all types are read once, then the records of each."""
        held = ctx.once("associations", lambda: self._associations(contact, ctx))
        if text(held, f"associations.{name}.paging.next.after"):  # ids come in no order: only a search knows the latest
            by = "createdate" if name in PAGES_OF else "hs_timestamp"
            on_contact = {"propertyName": "associations.contact", "operator": "EQ", "value": contact.id}
            return records(self._search(name, [on_contact], ctx, sorts=_sorts(by, "DESCENDING")), "results")
        found = records(held, f"associations.{name}.results", is_optional=True)
        ids = sorted({required(one, "id") for one in found}, key=lambda one: (len(one), one))[-LATEST:]
        if not ids:
            return []
        asked = {"inputs": [{"id": one} for one in ids], "properties": self._properties(name)}
        answer = ctx.http.post(f"{OBJECTS}/{name}/batch/read", json={**asked, "propertiesWithHistory": []}).json()
        return records(answer, "results")

    def _associations(self, contact: Contact, ctx: Context) -> Any:
        asked = {"associations": ",".join(self.settings.activities), "properties": "hs_object_id"}
        answer = ctx.http.get(f"{OBJECTS}/contacts/{url_segment(contact.id)}", params=asked).json()
        required(answer, "id")  # else it is no contact, and having no activities would be a guess
        return answer

    def _listed(self, after: str, ctx: Context) -> Any:
        asked = {"limit": str(PAGE), "properties": ",".join(self._properties("contacts"))}
        return ctx.http.get(f"{OBJECTS}/contacts", params=asked | ({"after": after} if after else {})).json()

    def _changed(self, since: datetime, after: str, ctx: Context) -> Any:
        changed = {"propertyName": "lastmodifieddate", "operator": "GTE", "value": _milliseconds(since)}
        sorts = _sorts("lastmodifieddate", "ASCENDING")
        return self._search("contacts", [changed], ctx, sorts=sorts, limit=PAGE, after=after or "0")

    def _search(self, kind: str, filters: list[Row], ctx: Context, **changes: Any) -> Any:
        """Search for what passes one of the filters: the latest, unless ``changes`` say otherwise."""
        groups = [{"filters": [one]} for one in filters]
        asked = {"filterGroups": groups, "properties": self._properties(kind), "limit": LATEST, "after": "0"}
        asked |= {"sorts": _sorts("lastmodifieddate", "DESCENDING"), **changes}
        return ctx.http.post(f"{OBJECTS}/{kind}/search", json=asked).json()

    def _create(self, kind: str, key: str, properties: Row, contacts: Iterable[Contact], ctx: Context) -> str:
        kept = {self.settings.key_property: key} if self.settings.key_property else {}
        association = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": TO_CONTACT[kind]}
        held_by = [{"to": {"id": contact.id}, "types": [association]} for contact in contacts]
        asked = {"properties": {**properties, **kept}, "associations": held_by}
        return required(ctx.http.post(f"{OBJECTS}/{kind}", json=asked).json(), "id")

    def _id_by_key(self, kind: str, key: str, ctx: Context) -> str | None:
        asked = {"idProperty": self.settings.key_property}
        found = ctx.http.find(f"{OBJECTS}/{kind}/{url_segment(key)}", params=asked)
        return required(found.json(), "id") if found else None

    def _owned_by(self, owner: str | None, ctx: Context) -> Row:
        """Return the property that says whose it is; an owner may be named by e-mail, which costs a request."""
        asked = "crm/v3/owners"
        owner = find_owner(owner, lambda email: records(ctx.http.get(asked, params={"email": email}).json(), "results"))
        return {"hubspot_owner_id": owner} if owner else {}

    def _page(self, record: str, kind: str = "0-1", shows: str = "") -> str | None:
        """Return the page of a record, with an activity in view, where the account's number is known."""
        place = f"contacts/{self.settings.portal}/record/{kind}/{url_segment(record)}"
        view = f"?engagement={url_segment(shows)}" if shows else ""
        return f"https://{self.settings.app}.hubspot.com/{place}{view}" if self.settings.portal else None


def _properties_of(call: CallRecord) -> Row:
    properties = {
        "hs_timestamp": _milliseconds(call.started_at),
        "hs_call_title": call.subject,
        "hs_call_body": call.body,
        "hs_call_direction": call.direction.name,
        "hs_call_duration": str(round(call.duration.total_seconds() * 1000)),
        "hs_call_from_number": str(call.from_number),
        "hs_call_to_number": str(call.to_number),
        "hs_call_status": "COMPLETED" if call.ending in (None, Ending.ANSWERED) else "NO_ANSWER",
    }
    return properties | ({"hs_call_recording_url": call.recording} if call.recording else {})


def _sorts(by: str, direction: str) -> list[Row]:
    return [{"propertyName": by, "direction": direction}]


def _milliseconds(moment: datetime) -> str:
    return str(round(moment.timestamp() * 1000))


def _call_columns(read: Row) -> Row:
    """Return what a call that somebody wrote down by hand may lack."""
    numbers = {side: read[side] or "unknown" for side in ("from_number", "to_number")}
    return {**numbers, "duration": number(read, "duration") / 1000}
