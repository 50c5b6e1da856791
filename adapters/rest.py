"""``rest``: any CRM with JSON over HTTP; its requests and what their answers mean stand in the customer's file.

docs/adapters/rest.rst lists the requests, their placeholders and columns.  A placeholder is quoted by the place in
which it stands; what is wrong with a mapping is told when the file is read, by its line.
It is longer than an adapter should be, since it has all methods, and every way to sign and to turn pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urljoin
from zoneinfo import ZoneInfo

from middleware.crm.auth import AuthBase, HeaderAuth, QueryAuth, basic, bearer
from middleware.crm.base import Context, Finding, Response
from middleware.crm.declared import ActivityT, DeclaredAdapter
from middleware.crm.expressions import Expression
from middleware.crm.login import Login
from middleware.crm.mapped import NOTHING, MappedRequest, Reading, Shape
from middleware.crm.mapping import REQUIRED_OF_CONTACT, Reader, required_columns
from middleware.crm.parameters import CALL, KINDS, NUMBER, call_parameters, number_parameters
from middleware.crm.placeholders import MOMENTS, Values
from middleware.crm.settings import Secret, SettingsError
from middleware.errors import (
    CRMAuthError,
    CRMError,
    CRMNotFoundError,
    CRMRejectedError,
    CRMResponseError,
    CRMUnavailableError,
    RateLimitedError,
    UnsupportedError,
)
from middleware.model.call import CallRecord, LoggedCall
from middleware.model.contact import Contact, ContactDraft, ContactNumber, Link
from middleware.model.phone import NumberForm, PhoneNumber

Auth = Literal["none", "basic", "bearer", "header", "query", "login"]
LogFormat = Literal["text", "html", "markdown"]
PAGES = frozenset({"page", "page_index", "offset", "next"})
SPELLINGS = NUMBER | {"written"}
ID, CONTACT_ID, KEY, TASK_KEY, EXTERNAL_ID = (
    frozenset({name}) for name in ("id", "contact_id", "key", "task_key", "external_id")
)
LOGGED = ("id", "url", "key")
SEVERAL = ("find_contacts", *KINDS)  # may be made of several requests
MAX_ROWS = 200  # of one answer
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
SHAPES: dict[str, Shape] = {
    "login": Shape(method="POST", parameters=frozenset({"user", "token"}), required=("token",), columns=("token",)),
    "find_contacts": Shape(parameters=SPELLINGS, required=REQUIRED_OF_CONTACT, kind=Contact, names=SPELLINGS),
    "find_contact_by_id": Shape(parameters=ID, required=("id",), kind=Contact, names=ID, may_be_one=True),
    **{
        name: Shape(
            parameters=CONTACT_ID, required=required_columns(kind), kind=kind, columns=("id",), names=CONTACT_ID
        )
        for name, kind in KINDS.items()
    },
    "create_contact": Shape(
        method="POST",
        parameters=NUMBER | {"display_name", "first_name", "last_name", "owner"},
        required=("id",),
        columns=LOGGED,
    ),
    "log_call": Shape(method="POST", parameters=CALL, required=("id",), columns=LOGGED),
    "log_call_of_nobody": Shape(method="POST", parameters=CALL - CONTACT_ID, required=("id",), columns=LOGGED),
    "find_logged_call": Shape(parameters=CALL - CONTACT_ID, required=("id",), columns=LOGGED, names=KEY),
    "update_call": Shape(method="PATCH", parameters=(CALL - CONTACT_ID) | EXTERNAL_ID, names=EXTERNAL_ID),
    "create_task": Shape(method="POST", parameters=CALL | TASK_KEY | {"text"}),
    "find_task": Shape(parameters=CALL | TASK_KEY | {"text"}, required=("id",), columns=LOGGED, names=TASK_KEY),
    "iter_contacts": Shape(
        parameters=PAGES | {"since"},
        required=REQUIRED_OF_CONTACT,
        kind=Contact,
        keys=Shape().keys | {"next"},
    ),
}
ERRORS: dict[str, type[CRMError]] = {  # what an answer of 200 may mean
    "auth": CRMAuthError,
    "not_found": CRMNotFoundError,
    "rate_limited": RateLimitedError,
    "unavailable": CRMUnavailableError,
    "rejected": CRMRejectedError,
}
NEEDS = {"create_task": "find_task", "log_call_of_nobody": "log_call", "find_task": "create_task"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RestSettings:
    """The ``[[crm]]`` table of a customer whose CRM is reached by a mapping; docs/adapters/rest.rst tells each key."""

    url: str
    requests: dict[str, Any]
    auth: Auth = "none"
    auth_name: str = ""
    auth_prefix: str = ""
    user: str = ""
    token: Secret | None = None
    timezone: str = "UTC"
    number_forms: list[NumberForm] = field(default_factory=lambda: ["e164"])
    log_format: LogFormat = "text"
    words: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    create_links: dict[str, str] = field(default_factory=dict)


class RestAdapter(DeclaredAdapter[RestSettings]):
    """Contacts, activities and calls by the requests of a mapping."""

    name = "rest"
    label = "REST API"
    settings_type = RestSettings

    def __init__(self, settings: RestSettings) -> None:
        super().__init__(settings)
        reading = Reading()
        self.requests = _requests(settings.requests, reading)
        self._links = {
            name: reading.page(url, f"create_links.{name}", {"id"}) for name, url in settings.create_links.items()
        }
        self._errors = _errors(settings.errors, reading)
        reading.problems += _other_problems(settings)
        asked = [request.names for request in self.requests.get("find_contacts", ())]
        if len(settings.number_forms) > 1 and asked and not any("written" in names for names in asked):
            reading.problems.append("number_forms: nothing in requests.find_contacts is {written}, which they are for")
        if reading.problems:
            raise SettingsError(reading.problems)
        self.number_forms = tuple(settings.number_forms)
        self.log_format = settings.log_format
        self._zone = ZoneInfo(settings.timezone)
        self._login = Login()

    @property
    def base_url(self) -> str:
        """The address that every path is behind."""
        return self.settings.url

    def auth(self) -> AuthBase | None:
        """Sign as the mapping says; with a login each request is signed on its own."""
        settings = self.settings
        token = settings.token or Secret("")
        match settings.auth:
            case "basic":
                return basic(settings.user, token)
            case "bearer":
                return bearer(token)
            case "header":
                return HeaderAuth(settings.auth_name, token, settings.auth_prefix)
            case "query":
                return QueryAuth(settings.auth_name, token)
            case _:
                return None

    def classify(self, response: Response) -> CRMError | None:
        """Return the error that the mapping finds in an answer of 200."""
        if not self._errors or not response.ok:
            return None
        try:
            answer = response.json()
            found = {kind: what for kind, error in self._errors.items() if (what := error.search(answer))}
        except CRMResponseError:
            return None
        kind, what = next(iter(found.items()), (None, None))
        return ERRORS[kind]("the CRM answered 200 with an error", vendor_text=str(what)[:500]) if kind else None

    def can(self, method: str) -> bool:
        """Whether there is a request for ``method``."""
        return method in self.requests or method == "check" or (method == "create_links" and bool(self._links))

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        """Ask with every spelling of the number; somebody whom several requests find comes once."""
        values = {**number_parameters(number), "written": ctx.written}
        rows = [row for request in self.requests["find_contacts"] for row in self._rows(request, values, ctx)]
        return self._reader("find_contacts").contacts(rows)

    def find_contact_by_id(self, numeric_id: str, ctx: Context) -> Contact | None:
        """Ask for one record, which may stand alone or in a list."""
        try:
            rows = self._rows(self.requests["find_contact_by_id"][0], {"id": numeric_id}, ctx)
        except (CRMNotFoundError, UnsupportedError):  # unsupported: what the CRM's ids never look like
            return None
        return next(iter(self._reader("find_contact_by_id").contacts(rows)), None)

    def create_links(self, contact: Contact) -> Iterable[Link]:
        """Return the configured buttons for the contact."""
        known = {"id": contact.id}
        return [Link(name=name, url=page.fill_path(known, self._zone)) for name, page in self._links.items() if page]

    def create_contact(self, draft: ContactDraft, ctx: Context) -> Contact:
        """Create the contact."""
        first, _, last = draft.display_name.rpartition(" ")
        names = {"display_name": draft.display_name, "first_name": first or None, "last_name": last}
        values = {**number_parameters(draft.number), **names, "owner": draft.owner}
        created = self._written("create_contact", values, ctx)
        number = ContactNumber(number=str(draft.number))
        return Contact(id=created.external_id, display_name=draft.display_name, numbers=(number,), url=created.url)

    def create_task(self, contact: Contact, text: str, call: CallRecord, ctx: Context) -> None:
        """Create a task, unless there is one of its key."""
        key = call.task_key(text)
        values = {**_call(call, contact), "task_key": key, "text": text}
        if self._found("find_task", values, key, ctx) is None:
            self._ask(self.requests["create_task"][0], values, ctx)

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        """Write the call; where the CRM refuses it because it has it, that one is found."""
        name = "log_call" if contact else "log_call_of_nobody"
        if name not in self.requests and "contact_id" in self.requests["log_call"][0].names:
            raise UnsupportedError("requests.log_call needs a contact, and there is no log_call_of_nobody")
        try:
            return self._written(name if name in self.requests else "log_call", _call(call, contact), ctx)
        except CRMRejectedError:
            logged = self.find_logged_call(call, ctx) if self.can("find_logged_call") else None
            if logged is None:
                raise
            return logged

    def find_logged_call(self, call: CallRecord, ctx: Context) -> LoggedCall | None:
        """Ask for the call by its key; a record whose column ``key`` does not hold it is another."""
        return self._found("find_logged_call", _call(call, None), call.key, ctx)

    def update_call(self, logged: LoggedCall, call: CallRecord, ctx: Context) -> None:
        """Write the call anew."""
        self._ask(self.requests["update_call"][0], {**_call(call, None), "external_id": logged.external_id}, ctx)

    def iter_contacts(self, since: datetime | None, ctx: Context) -> Iterator[Contact]:
        """Read page after page, until one is empty, is the one before, or names none that follows."""
        request = self.requests["iter_contacts"][0]
        values: dict[str, Any] = {"since": since, "page": 1, "page_index": 0, "offset": 0, "next": None}
        before: list[Contact] = []
        while True:
            page = values["next"] if "next" not in request.names else None
            answer = self._ask(request, values, ctx, page)
            rows = [] if answer is NOTHING else request.rows(answer, self._zone)
            contacts = self._reader("iter_contacts").contacts(rows)
            if not contacts or contacts == before:
                return
            yield from contacts
            following = request.next.search(answer) if request.next else None
            has_more = following and following != values["next"] if request.next else request.names & PAGES
            if not has_more:
                return
            before, offset = contacts, values["offset"] + len(rows)
            values |= {"page": values["page"] + 1, "page_index": values["page"], "offset": offset, "next": following}

    def explain(self, name: str, method: str, path: str, answer: Any) -> Iterator[tuple[str, Any]]:
        """Yield what the expressions of the request ``name`` find in the answer to ``method`` and ``path``."""
        chain = [request for one in self.requests.get(name, ()) for request in one.chain()]
        like = next((request for request in chain if request.is_like(method, path)), None)
        if like:
            yield from like.explain(answer)

    def check(self, ctx: Context) -> Iterable[Finding]:
        """Send every request that finds something, for a number and an id that nobody has; nothing is written."""
        for name, requests in self.requests.items():
            if name.startswith("find_"):
                yield from (self._check(name, request, ctx) for request in requests)

    def _check(self, name: str, request: MappedRequest, ctx: Context) -> Finding:
        nobody = dict.fromkeys(SHAPES[name].parameters - MOMENTS, "0")
        try:
            self._rows(request, {**nobody, **dict.fromkeys(MOMENTS, LONG_AGO)}, ctx)
        except CRMNotFoundError:  # of an id that nobody has; that there are no contacts at all is none
            return Finding(ok=name != "find_contacts", message=f"{request.where}: the CRM answers 404")
        except (CRMAuthError, CRMRejectedError, CRMResponseError) as error:
            return Finding(ok=False, message=f"{request.where}: {error}")
        return Finding(ok=True, message=f"{request.where}: answers")

    def _activities(self, kind: type[ActivityT], method: str, contact: Contact, ctx: Context) -> list[ActivityT]:
        reader, values = self._reader(method), {"contact_id": contact.id}
        rows = [row for request in self.requests[method] for row in self._rows(request, values, ctx)]
        return [reader.activity(kind, row) for row in rows]

    def _found(self, name: str, values: Values, key: str, ctx: Context) -> LoggedCall | None:
        """Return the record of that key; a record whose column ``key`` does not hold it is another."""
        request = self.requests[name][0]
        try:
            rows = self._rows(request, values, ctx)
        except CRMNotFoundError:
            return None
        whole = re.compile(rf"(?<![\w-]){re.escape(key)}(?![\w-])")  # a search by words finds longer ones as well
        mine = [row for row in rows if "key" not in request.fields or whole.search(str(row["key"]))]
        return _logged(mine[0], request) if mine else None

    def _written(self, name: str, values: Values, ctx: Context) -> LoggedCall:
        request = self.requests[name][0]
        answer = self._ask(request, values, ctx)
        found = request.records.search(answer) if request.records and answer is not NOTHING else answer
        return _logged(request.row(found, self._zone), request)

    def _rows(self, request: MappedRequest, values: Values, ctx: Context) -> list[dict[str, Any]]:
        answer = self._ask(request, values, ctx)
        return [] if answer is NOTHING else request.rows(answer, self._zone)[:MAX_ROWS]

    def _ask(self, request: MappedRequest, values: Values, ctx: Context, page: object = None) -> Any:
        """Send the request, or read the ``page`` that an answer named, and return the answer or ``NOTHING``."""
        worded = {**values, **{name: _worded(values[name], words) for name, words in self._words(values)}}

        def send(**more: Any) -> Any:
            if page is None:
                return request.answer(worded, ctx.http, self._zone, **more)
            return request.following(urljoin(f"{self.settings.url.rstrip('/')}/", str(page)), ctx.http, **more)

        if self.settings.auth != "login":
            return send()
        name, prefix = self.settings.auth_name, self.settings.auth_prefix
        return self._login.use(
            lambda: self._log_in(ctx), lambda token: send(auth=HeaderAuth(name, token, prefix)), ctx.deadline
        )

    def _log_in(self, ctx: Context) -> Secret:
        """Return the token that the CRM gives for user and password."""
        request, token = self.requests["login"][0], self.settings.token
        known = {"user": self.settings.user, "token": token.reveal() if token else ""}
        given = request.row(request.answer(known, ctx.http, self._zone), self._zone)["token"]
        if not isinstance(given, str) or not given:
            raise CRMResponseError(f"{request.where}.fields.token: finds no text")
        return Secret(given)

    def _words(self, values: Values) -> list[tuple[str, dict[str, Any]]]:
        return [(name, words) for name, words in self.settings.words.items() if name in values]

    def _reader(self, name: str) -> Reader:
        return Reader(where=f"requests.{name}", zone=self._zone)


def _worded(value: Any, words: dict[str, Any]) -> Any:
    """Return the CRM's own word for one of ours; one that is not listed stays."""
    return words.get(str(value), value)


def _call(call: CallRecord, contact: Contact | None) -> dict[str, object]:
    return {**call_parameters(call, contact), "started_at": call.started_at, "ended_at": call.ended_at}


def _logged(row: dict[str, Any], request: MappedRequest) -> LoggedCall:
    """Return what was written or found; an answer without an id is no success."""
    if not isinstance(row.get("id"), str | int) or row["id"] == "" or isinstance(row["id"], bool):
        raise CRMResponseError(f"{request.where}.fields.id: finds nothing")
    return LoggedCall(external_id=str(row["id"]), url=str(row["url"]) if row.get("url") else None)


def _requests(tables: dict[str, Any], reading: Reading) -> dict[str, tuple[MappedRequest, ...]]:
    """Read every request, and say which are missing."""
    found = {}
    for name, table in tables.items():
        if name not in SHAPES:
            reading.unknown(f"requests.{name}", name, SHAPES)
            continue
        several = isinstance(table, list) and name in SEVERAL
        where = [f"requests.{name}.{place}" for place in range(len(table))] if several else [f"requests.{name}"]
        requests = [
            reading.request(each, place, SHAPES[name])
            for each, place in zip(table if several else [table], where, strict=True)
        ]
        found[name] = tuple(request for request in requests if request)
    if "find_contacts" not in tables:
        reading.problems.append("requests.find_contacts: is missing; it finds contacts by number")
    reading.problems += [
        f"requests.{name}: is of no use without requests.{other}"
        for name, other in NEEDS.items()
        if name in tables and other not in tables
    ]
    return found


def _errors(texts: dict[str, str], reading: Reading) -> dict[str, Expression]:
    found = {}
    for kind in (kind for kind in texts if kind not in ERRORS):
        reading.unknown(f"errors.{kind}", kind, ERRORS)
    for kind in (kind for kind in ERRORS if kind in texts):
        expression = reading.expression(texts, kind, "errors")
        if expression:
            found[kind] = expression
    return found


def _other_problems(settings: RestSettings) -> Iterator[str]:
    host = r"https://[^/?#@\s]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?"
    if not re.fullmatch(rf"({host})(/[^?#\s]*)?", settings.url):
        yield "url: write https://host/path, without a user and without a ?"
    if settings.auth != "none" and settings.token is None:
        yield "token: is missing; it is what `auth` sends, the password of basic and login"
    if settings.auth in ("header", "query", "login") and not settings.auth_name:
        yield "auth_name: is missing; it names the header or the parameter"
    if settings.auth == "login" and "login" not in settings.requests:
        yield "requests.login: is missing; it fetches the token"
    try:
        ZoneInfo(settings.timezone)
    except (ValueError, LookupError, OSError):
        yield "timezone: is unknown; write it as in the tz database, e.g. Europe/Stockholm"
    for name in settings.words.keys() - CALL:
        yield f"words.{name}: is no placeholder of a call; known: {', '.join(sorted(CALL))}"
