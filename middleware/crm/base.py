"""``CRMAdapter``: one class per CRM, and only one of its methods must be written.

Dear author, write ``find_contacts``; only for a CRM that cannot search by number ``iter_contacts`` stands in for it,
and the middleware keeps an index of the numbers.  Override any other method and the middleware offers what it brings:
overriding *is* the capability, nothing is declared twice.  You never write: HTTP (``ctx.http`` does it),
time-outs (``ctx.deadline`` is enforced around you), rate limits (``budget`` is kept), retries, caching, sorting,
the limit of ten activities, cleaning of text, or the check that a contact really has the number (the
middleware keeps only those).
Raise nothing but :class:`middleware.errors.CRMError` subclasses; not found is ``None`` or nothing yielded.
An instance is shared by threads and lives as long as the customer's configuration: keep no state of a call.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, TypeVar

from requests import Response

from middleware.crm.budget import Budget
from middleware.crm.once import Once
from middleware.errors import CRMError
from middleware.model.activity import Activity, Appointment, Call, Deal, Note, Task, Ticket
from middleware.model.call import CallRecord, LoggedCall, RecordingFile, User
from middleware.model.contact import Contact, ContactDraft, Link
from middleware.model.deadline import Deadline
from middleware.model.phone import NumberForm, PhoneNumber

if TYPE_CHECKING:
    from requests.auth import AuthBase

    from middleware.crm.oauth import OAuth2
    from middleware.crm.session import CRMSession

__all__ = ["ACTIVITY_METHODS", "OPTIONAL_METHODS", "Bookmark", "CRMAdapter", "Context", "Finding", "Response"]

SettingsT = TypeVar("SettingsT")


@dataclass(slots=True)
class Bookmark:
    """Where ``iter_contacts`` goes on after an interruption: any text, e.g. the cursor of the next page."""

    place: str = ""  # the beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What belongs to one call of an adapter: time, the way out, and who asks.

    ``region`` is the customer's country (ISO 3166, e.g. ``SE``); ``user`` the M8Com user, when known.
    ``written`` is the number as ``find_contacts`` is to search for it this time: one of the adapter's
    ``number_forms`` after the other, until a contact is found that really has it.  ``http`` keeps budget,
    pause and breaker of the account; an adapter with another way out does each of its requests
    ``with ctx.guard(): …``, and they hold for it as well.  ``ctx.once(name, work)`` does ``work`` once for
    all methods of the same lookup, which run side by side: for what one request tells of several types of activities.
    ``iter_contacts`` begins at ``bookmark.place``, and sets it after the last contact of each page.
    """

    deadline: Deadline
    http: CRMSession
    region: str
    user: User | None = None
    written: str = ""
    guard: Callable[[], AbstractContextManager[None]] = nullcontext
    once: Once = field(default_factory=Once)
    bookmark: Bookmark = field(default_factory=Bookmark)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One result of :meth:`CRMAdapter.check`; ``message`` says what to do when ``ok`` is false."""

    ok: bool
    message: str


class CRMAdapter(ABC, Generic[SettingsT]):
    """The base class of every adapter; ``class Acme(CRMAdapter[AcmeSettings])``.

    ``SettingsT`` is a frozen dataclass; its fields are the keys of the ``[[crm]]`` table in a customer's
    file, :class:`middleware.crm.settings.Secret` marks what never shows.
    """

    name: ClassVar[str]  # in customers' files and databases: never changes
    label: ClassVar[str]  # for people
    settings_type: ClassVar[type]  # the frozen dataclass of the settings
    number_forms: tuple[NumberForm, ...] = ("e164",)  # to search for, in this order: ``ctx.written``
    log_format: Literal["text", "html", "markdown"] = "text"  # of ``call.body``, as the CRM shows it
    knows_contact_ids: ClassVar[bool] = False  # find_contact_by_id takes Contact.id, too, and tells all numbers
    budget: ClassVar[Budget | None] = None  # requests that the vendor allows an account; None: not counted

    def __init__(self, settings: SettingsT) -> None:
        self.settings = settings

    @property
    def base_url(self) -> str | None:
        """The CRM's address that ``ctx.http`` is bound to; ``None`` for a CRM that is not reached by HTTP."""
        return None

    # required, unless the CRM cannot search by number and iter_contacts is there ---------------------
    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        """Yield contacts that may have ``number``.  Ask broadly: the middleware verifies every one."""
        raise NotImplementedError

    # optional: override what the CRM has ----------------------------------------------------------
    def find_contact_by_id(self, numeric_id: str, ctx: Context) -> Contact | None:
        """Return the contact with the id that a caller typed or that stands in place of a number."""
        raise NotImplementedError

    def find_notes(self, contact: Contact, ctx: Context) -> Iterable[Note]:
        """Yield the contact's latest notes."""
        raise NotImplementedError

    def find_tasks(self, contact: Contact, ctx: Context) -> Iterable[Task]:
        """Yield the contact's latest tasks."""
        raise NotImplementedError

    def find_calls(self, contact: Contact, ctx: Context) -> Iterable[Call]:
        """Yield the contact's latest calls."""
        raise NotImplementedError

    def find_tickets(self, contact: Contact, ctx: Context) -> Iterable[Ticket]:
        """Yield the contact's latest tickets."""
        raise NotImplementedError

    def find_deals(self, contact: Contact, ctx: Context) -> Iterable[Deal]:
        """Yield the contact's latest deals."""
        raise NotImplementedError

    def find_appointments(self, contact: Contact, ctx: Context) -> Iterable[Appointment]:
        """Yield the contact's latest and coming appointments."""
        raise NotImplementedError

    def find_activities(self, contact: Contact, ctx: Context) -> Iterable[Activity]:
        """Yield activities of any type, where one request brings them all."""
        raise NotImplementedError

    def create_links(self, contact: Contact) -> Iterable[Link]:
        """Yield the buttons that create an activity for the contact in the CRM; no request is made."""
        raise NotImplementedError

    def create_contact(self, draft: ContactDraft, ctx: Context) -> Contact:
        """Create the contact with exactly one write; asked only after nobody was found who has the number."""
        raise NotImplementedError

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        """Write the call with exactly one write, ``call.key`` in it; never repeat a write yourself."""
        raise NotImplementedError

    def find_logged_call(self, call: CallRecord, ctx: Context) -> LoggedCall | None:
        """Return the call if the CRM has it already: asked before a retry whose outcome is unknown."""
        raise NotImplementedError

    def update_call(self, logged: LoggedCall, call: CallRecord, ctx: Context) -> None:
        """Complete a call that the CRM has with what came later."""
        raise NotImplementedError

    def attach_recording(self, logged: LoggedCall, recording: RecordingFile, call: CallRecord, ctx: Context) -> None:
        """Attach the recording to a call that the CRM has, with exactly one write, streamed from ``recording.file``.

        Asked once for each recording and record, when the file is kept here and the call is written; ``ctx.http.post(…,
        data=recording.file)`` sends it as it is read.  An error leaves the written call as it is, and this is asked
        again later.
        """
        raise NotImplementedError

    def has_recording(self, logged: LoggedCall, recording: RecordingFile, call: CallRecord, ctx: Context) -> bool:
        """Whether the record has it already: asked before a retry whose outcome is unknown; ``file`` is not read."""
        raise NotImplementedError

    def create_task(self, contact: Contact, text: str, call: CallRecord, ctx: Context) -> None:
        """Create a task from an action item of the call, unless there is one of the key ``call.task_key(text)``.

        The middleware asks again for the same one whenever more becomes known of the call: override this where the
        CRM can refuse a second one, or can be asked for it.
        """
        raise NotImplementedError

    def iter_contacts(self, since: datetime | None, ctx: Context) -> Iterator[Contact]:
        """Yield every contact, or those that were changed at ``since`` (aware) or later, page by page.

        One that is known to be deleted is yielded without numbers.  It may take long, and be interrupted: a CRM of
        many contacts is read on from ``ctx.bookmark``.
        """
        raise NotImplementedError

    def check(self, ctx: Context) -> Iterable[Finding]:
        """Try the credentials and every right that the methods above need, one finding each."""
        raise NotImplementedError

    # hooks with defaults ---------------------------------------------------------------------------
    def auth(self) -> AuthBase | None:
        """Return what signs the requests of ``ctx.http``, as ``requests`` has it."""
        return None

    def oauth2(self) -> OAuth2 | None:
        """Return how the CRM authorises us; with ``auth = "oauth2"`` its tokens sign instead of :meth:`auth`."""
        return None

    def classify(self, response: Response) -> CRMError | None:
        """Return the error that ``response`` means, for APIs whose status lies; ``None`` leaves it to the status."""
        return None

    def close(self) -> None:
        """Give back what the instance holds, e.g. a connection pool; called when its configuration is replaced."""

    @classmethod
    @cache
    def capabilities(cls) -> frozenset[str]:
        """Return the names of the optional methods that this adapter overrides."""
        return frozenset(name for name in OPTIONAL_METHODS if getattr(cls, name) is not getattr(CRMAdapter, name))

    @property
    def is_searchable(self) -> bool:
        """Whether the CRM finds contacts by number; one that does not is looked up in an index of its contacts."""
        return type(self).find_contacts is not CRMAdapter.find_contacts

    def can(self, method: str) -> bool:
        """Whether this instance offers ``method``; an adapter whose settings decide overrides this."""
        return method in self.capabilities()


ACTIVITY_METHODS = (
    "find_notes",
    "find_tasks",
    "find_calls",
    "find_tickets",
    "find_deals",
    "find_appointments",
    "find_activities",
)
OPTIONAL_METHODS = (
    "find_contact_by_id",
    *ACTIVITY_METHODS,
    "create_links",
    "create_contact",
    "log_call",
    "find_logged_call",
    "update_call",
    "attach_recording",
    "has_recording",
    "create_task",
    "iter_contacts",
    "check",
)
