"""Pipedrive: API v2, and v1 where there is no v2 (notes, call logs, users), with a user's API token or OAuth2.

Sources: Pipedrive's OpenAPI files (v1, v2) and developers.pipedrive.com.  Not verified against a live account: that
a search by phone disregards how a number is written (other clients rely on it), that the note of a call log is that
of its activity, and the limits of short bursts.

Longer than others: two versions of the API, two shapes of a person, and a call that is a log and an activity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

from middleware.crm.api import (
    Appointment,
    AuthBase,
    Bookmark,
    Budget,
    Call,
    CallRecord,
    Contact,
    ContactDraft,
    Context,
    CRMAdapter,
    CRMError,
    CRMResponseError,
    Deal,
    Ending,
    FileForm,
    Finding,
    HeaderAuth,
    Link,
    LoggedCall,
    Note,
    OAuth2,
    PhoneNumber,
    Reader,
    RecordingFile,
    Response,
    Secret,
    Task,
    UnsupportedError,
    check_subdomain,
    columns,
    decimal_id,
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

V1, V2 = "v1", "api/v2"
LATEST = {"limit": "50", "sort_direction": "desc"}
PAGE = "500"  # Pipedrive's most
OUTCOMES = {None: "connected", Ending.ANSWERED: "connected", Ending.VOICEMAIL: "left_voicemail"}
MEETINGS = ("meeting", "lunch")  # types of activities; a company may have others, which are shown as tasks
READER = Reader(where="Pipedrive")
Row = dict[str, Any]

FOUND = columns("id display_name=name company=organization.name number=phones[] email=emails[]")  # by a search
PERSON = columns(
    "id display_name=name first_name last_name title=job_title updated_at=update_time number=phones[].value"
    " number_comment=phones[].label email=emails[].value email_comment=emails[].label"
)
NOTE = columns("timestamp=add_time body=content associated_user=user.name")
DEAL = columns(
    "timestamp=update_time header=title amount=value currency custom_description=status close_date=expected_close_date"
)
ACTIVITY = columns("header=subject body=note done venue=location.value")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipedriveSettings:
    """The ``[[crm]]`` table of a customer whose CRM is Pipedrive; ``company`` is what stands before .pipedrive.com."""

    token: Secret | None = None
    company: str


class PipedriveAdapter(CRMAdapter[PipedriveSettings]):
    """Persons of Pipedrive with their notes, activities and deals."""

    name = "pipedrive"
    label = "Pipedrive"
    settings_type = PipedriveSettings
    number_forms = ("suffix", "e164", "national")
    log_format = "html"
    knows_contact_ids = True
    budget = Budget(20, timedelta(seconds=2))  # of the smallest plan; each day has its tokens beside it

    def __init__(self, settings: PipedriveSettings) -> None:
        super().__init__(settings)
        check_subdomain("company", settings.company, "pipedrive.com")

    @property
    def base_url(self) -> str:
        """The company's own address."""
        return f"https://{self.settings.company}.pipedrive.com"

    def auth(self) -> AuthBase | None:
        """Sign with the token, where there is one."""
        return HeaderAuth("x-api-token", self.settings.token) if self.settings.token else None

    def oauth2(self) -> OAuth2:
        """Ask for what the app was given in Pipedrive's developer hub: its links name no scopes."""
        return OAuth2(
            authorize_url="https://oauth.pipedrive.com/oauth/authorize",
            token_url="https://oauth.pipedrive.com/oauth/token",  # noqa: S106 - an address
            replaces="token",
            revoke_url="https://oauth.pipedrive.com/oauth/revoke",
        )

    def classify(self, response: Response) -> CRMError | None:
        """Return for how long to wait, which Pipedrive says in a header of its own."""
        return rate_limited(response, "x-ratelimit-reset", "Pipedrive")

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        """Search the phone numbers of persons."""
        asked = {"term": ctx.written or number.suffix, "fields": "phone", "limit": "50"}
        found = records(ctx.http.get(f"{V2}/persons/search", params=asked).json(), "data.items")
        return [self._contact(value(one, "item"), FOUND) for one in found]

    def find_contact_by_id(self, numeric_id: str, ctx: Context) -> Contact | None:
        """Return the person with Pipedrive's id."""
        found = ctx.http.find(f"{V2}/persons/{numeric_id}") if is_decimal(numeric_id) else None
        person = value(found.json(), "data") if found else {"is_deleted": True}
        return None if scalar(person, "is_deleted") else self._contact(person)

    def find_notes(self, contact: Contact, ctx: Context) -> Iterable[Note]:
        """Read the latest notes."""
        asked = {"person_id": contact.id, "sort": "add_time DESC", "limit": "50"}
        found = _listed(ctx.http.get(f"{V1}/notes", params=asked).json())
        return [READER.activity(Note, {**row(one, NOTE), "link": self._page("person", contact.id)}) for one in found]

    def find_deals(self, contact: Contact, ctx: Context) -> Iterable[Deal]:
        """Read the deals that changed last."""
        asked = {"person_id": contact.id, "sort_by": "update_time", **LATEST}
        for one in records(ctx.http.get(f"{V2}/deals", params=asked).json(), "data"):
            state = {"done": text(one, "status") != "open", "link": self._page("deal", text(one, "id"))}
            yield READER.activity(Deal, {**row(one, DEAL), **state})

    def find_tasks(self, contact: Contact, ctx: Context) -> Iterable[Task]:
        """Take what is to be done, planned calls included."""
        for one in self._activities(contact, ctx):
            kind = text(one, "type")
            if kind not in MEETINGS and not (kind == "call" and scalar(one, "done")):
                read = self._activity(one)
                status = {"due_date": read["timestamp"], "status": "done" if read["done"] else "open"}
                yield READER.activity(Task, {**read, **status, "custom_header": kind.capitalize()})

    def find_calls(self, contact: Contact, ctx: Context) -> Iterable[Call]:
        """Take the calls that were held; Pipedrive's activities do not tell their numbers."""
        for one in self._activities(contact, ctx):
            if text(one, "type") == "call" and scalar(one, "done"):
                read = self._activity(one)
                numbers = {"from_number": "unknown", "to_number": "unknown", "custom_header": read["header"]}
                yield READER.activity(Call, {**read, **numbers, "duration": _span(one)})

    def find_appointments(self, contact: Contact, ctx: Context) -> Iterable[Appointment]:
        """Take the meetings."""
        for one in self._activities(contact, ctx):
            if text(one, "type") in MEETINGS:
                read = self._activity(one)
                when = {"start_date": read["timestamp"], "all_day": not text(one, "due_time")}
                meeting = READER.activity(Appointment, {**read, **when})
                yield replace(meeting, end_date=meeting.start_date + _span(one))

    def create_links(self, contact: Contact) -> Iterable[Link]:
        """Return the button that opens the person, whose page begins with the editor of notes and activities."""
        return [Link(name="New note or activity", url=self._page("person", contact.id))]

    def create_contact(self, draft: ContactDraft, ctx: Context) -> Contact:
        """Create the person with the number."""
        phones = [{"value": str(draft.number), "primary": True, "label": "work"}]
        owner = self._owner("owner_id", draft.owner, ctx)
        asked = {"name": draft.display_name, "phones": phones, **owner}
        return self._contact(value(ctx.http.post(f"{V2}/persons", json=asked).json(), "data"))

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        """Write a call log, which Pipedrive shows as an activity of the person; its note ends with the key."""
        asked = {
            "subject": call.subject,
            "note": mark(call.body, call.key, is_html=True),
            "duration": str(round(call.duration.total_seconds())),
            "outcome": OUTCOMES.get(call.ending, "no_answer"),
            "from_phone_number": str(call.from_number),
            "to_phone_number": str(call.to_number),
            "start_time": _utc(call.started_at, " "),
            "end_time": _utc(call.ended_at, " "),
            **({"person_id": decimal_id(contact.id)} if contact else {}),
            **self._owner("user_id", call.owner, ctx),
        }
        return self._logged(value(ctx.http.post(f"{V1}/callLogs", json=asked).json(), "data"))

    def find_logged_call(self, call: CallRecord, ctx: Context) -> LoggedCall | None:
        """Look for the key in the latest call logs of the token's user, then in all activities since the call."""
        logs = ctx.http.get(f"{V1}/callLogs", params={"limit": "50"}).json()
        for one in _listed(logs):
            if is_marked(text(one, "note"), call.key):
                return self._logged(one)
        since = f"{_utc(call.ended_at - timedelta(hours=1), 'T')}Z"  # clocks differ
        asked = {"updated_since": since, "sort_by": "update_time", "sort_direction": "desc"}
        for one in self._pages(f"{V2}/activities", asked, ctx):
            if text(one, "type") == "call" and is_marked(text(one, "note"), call.key):
                return self._logged({"activity_id": scalar(one, "id")})
        return None

    def update_call(self, logged: LoggedCall, call: CallRecord, ctx: Context) -> None:
        """Write subject and note of the call's activity anew; a call log itself cannot be changed."""
        _, activity = _ids(logged)
        asked = {"subject": call.subject, "note": mark(call.body, call.key, is_html=True)}
        ctx.http.patch(f"{V2}/activities/{url_segment(activity)}", json=asked)

    def attach_recording(self, logged: LoggedCall, recording: RecordingFile, call: CallRecord, ctx: Context) -> None:
        """Upload the recording to the call log, where Pipedrive plays it; it takes one."""
        kind, name = recording.content_type, recording.name
        form = FileForm("file", name=name, content_type=kind, size=recording.size, file=recording.file)
        ctx.http.post(f"{self._call_log(logged)}/recordings", data=form, headers=form.headers)

    def has_recording(self, logged: LoggedCall, recording: RecordingFile, call: CallRecord, ctx: Context) -> bool:
        """Ask the call log."""
        answer = ctx.http.get(self._call_log(logged)).json()
        required(answer, "data.id")  # else it is no call log
        return scalar(answer, "data.has_recording") is True

    def create_task(self, contact: Contact, text: str, call: CallRecord, ctx: Context) -> None:
        """Create a task that is due a day after the call, unless one of the person's activities holds its key."""
        key, due = call.task_key(text), call.ended_at.astimezone(UTC) + timedelta(days=1)
        if any(is_marked(scalar(one, "note"), key) for one in self._activities(contact, ctx)):
            return
        asked = {
            "subject": text[:255],
            "type": "task",
            "due_date": due.date().isoformat(),
            "note": mark(escape(text), key, is_html=True),
            "participants": [{"person_id": decimal_id(contact.id), "primary": True}],
            **self._owner("owner_id", call.owner, ctx),
        }
        ctx.http.post(f"{V2}/activities", json=asked)

    def iter_contacts(self, since: datetime | None, ctx: Context) -> Iterator[Contact]:
        """Read all persons, or those that were changed; a deleted one comes without numbers."""
        asked = {"updated_since": f"{_utc(since, 'T')}Z", "sort_by": "update_time"} if since else {"sort_by": "id"}
        for one in self._pages(f"{V2}/persons", asked, ctx, ctx.bookmark):
            contact = self._contact(one)
            yield replace(contact, numbers=()) if scalar(one, "is_deleted") else contact

    def check(self, ctx: Context) -> Iterable[Finding]:
        """Read whose token it is, and one record of each kind; nothing is written."""
        me = value(ctx.http.get(f"{V1}/users/me").json(), "data")
        is_ours = text(me, "company_domain") == self.settings.company
        yield Finding(ok=is_ours, message=f"the token is {'' if is_ours else 'not '}of {self.settings.company}")
        for kind in ("persons", "activities", "deals"):
            yield try_reading(f"read {kind}", f"{V2}/{kind}", ctx)
        for kind in ("notes", "callLogs"):
            yield try_reading(f"read {kind}", f"{V1}/{kind}", ctx)
        apps = [text(one, "app") for one in records(me, "access", is_optional=True)]
        is_admin = "account_settings" in apps
        words = "has" if is_admin else "needs"
        yield Finding(ok=is_admin, message=f"calls of other users: the token's user {words} account settings access")

    def _contact(self, found: Mapping[str, Any], table: Mapping[str, str] = PERSON) -> Contact:
        """Return a person as it is read, or, by another table, as a search tells it."""
        return READER.contacts([{**row(found, table), "url": self._page("person", required(found, "id"))}])[0]

    def _activities(self, contact: Contact, ctx: Context) -> list[dict[str, Any]]:
        """Return the person's latest activities of all types, which are read once for all methods."""
        asked = {"person_id": contact.id, "sort_by": "due_date", **LATEST}
        answer = ctx.once("activities", lambda: ctx.http.get(f"{V2}/activities", params=asked).json())
        return records(answer, "data")

    def _activity(self, one: Mapping[str, Any]) -> Row:
        day, hour = text(one, "due_date"), text(one, "due_time")
        when = f"{day}T{hour}" if day and hour else day or text(one, "add_time")
        return {**row(one, ACTIVITY), "timestamp": when, "link": self._page("activities", text(one, "id"))}

    def _pages(
        self, path: str, asked: dict[str, str], ctx: Context, bookmark: Bookmark | None = None
    ) -> Iterator[dict[str, Any]]:
        reached = bookmark or Bookmark()
        while True:
            cursor = {"cursor": reached.place} if reached.place else {}
            page = ctx.http.get(path, params={**asked, "limit": PAGE, **cursor}).json()
            yield from records(page, "data")
            reached.place = text(page, "additional_data.next_cursor")
            if not reached.place:
                return

    def _owner(self, field: str, owner: str | None, ctx: Context) -> dict[str, int]:
        """Return the field that says whose it is; an owner may be named by e-mail, which costs a request."""
        find, asked = f"{V1}/users/find", {"search_by_email": "1"}
        owner = find_owner(owner, lambda email: _listed(ctx.http.get(find, params={"term": email, **asked}).json()))
        return {field: decimal_id(owner)} if owner else {}

    def _logged(self, found: object) -> LoggedCall:
        """Return the call by the ids of its call log and its activity, either of which may be unknown."""
        log, activity = text(found, "id"), text(found, "activity_id")
        if not (log or activity):
            raise CRMResponseError("Pipedrive does not tell the id of the call")
        url = self._page("activities", activity) if activity else None
        return LoggedCall(external_id=f"{log}:{activity}", url=url)

    def _call_log(self, logged: LoggedCall) -> str:
        log, _ = _ids(logged)
        if not log:
            raise UnsupportedError("the call was found as an activity, which takes no recording")
        return f"{V1}/callLogs/{url_segment(log)}"

    def _page(self, kind: str, record: str) -> str:
        return f"{self.base_url}/{kind}/{url_segment(record)}"


def _listed(answer: object) -> list[dict[str, Any]]:
    """Return the list of an answer of v1, which is null when it is empty."""
    return records(answer, "data", is_optional=value(answer, "success") is True)


def _ids(logged: LoggedCall) -> tuple[str, str]:
    log, _, activity = logged.external_id.partition(":")
    return log, activity


def _utc(moment: datetime, between: str) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=between, timespec="seconds")


def _span(one: Mapping[str, Any]) -> timedelta:
    """Return how long an activity takes, which Pipedrive writes as ``01:30`` or ``01:30:00``."""
    hours, minutes, seconds, *_ = [*text(one, "duration").split(":"), "", "", ""]
    parts = {"hours": hours, "minutes": minutes, "seconds": seconds}
    try:
        return timedelta(**{part: read_number(parts, part) for part in parts})
    except (OverflowError, ValueError):
        raise CRMResponseError("Pipedrive: the column duration cannot be read") from None
