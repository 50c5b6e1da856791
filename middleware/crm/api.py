"""All that an adapter may import, in one place; ``adapters/README.rst`` says what may change, and how.

Whatever is not here is the middleware's own and changes without notice.
"""

from __future__ import annotations

from middleware.crm.auth import AuthBase, HeaderAuth, basic, bearer
from middleware.crm.base import Bookmark, Context, CRMAdapter, Finding, Response
from middleware.crm.budget import Budget
from middleware.crm.form import FileForm
from middleware.crm.limits import rate_limited
from middleware.crm.mapping import Reader
from middleware.crm.mark import is_marked, mark
from middleware.crm.oauth import OAuth2
from middleware.crm.owner import find_owner
from middleware.crm.quote import check_subdomain, decimal_id, is_decimal, ldap_value, soql_text, url_segment
from middleware.crm.reading import columns, number, records, required, row, scalar, text, texts, value
from middleware.crm.rights import try_reading
from middleware.crm.settings import Secret, SettingsError
from middleware.crm.spellings import endings, spellings
from middleware.errors import (
    CRMAuthError,
    CRMError,
    CRMRejectedError,
    CRMResponseError,
    CRMTimeoutError,
    CRMUnavailableError,
    RateLimitedError,
    TransientError,
    UnsupportedError,
)
from middleware.model.activity import Activity, Appointment, Call, Deal, Note, Task, Ticket
from middleware.model.call import CallRecord, Direction, Ending, LoggedCall, RecordingFile, User
from middleware.model.contact import Contact, ContactDraft, ContactNumber, Email, Field, Link
from middleware.model.deadline import Deadline
from middleware.model.phone import NumberForm, PhoneNumber

__all__ = [
    "Activity",
    "Appointment",
    "AuthBase",
    "Bookmark",
    "Budget",
    "CRMAdapter",
    "CRMAuthError",
    "CRMError",
    "CRMRejectedError",
    "CRMResponseError",
    "CRMTimeoutError",
    "CRMUnavailableError",
    "Call",
    "CallRecord",
    "Contact",
    "ContactDraft",
    "ContactNumber",
    "Context",
    "Deadline",
    "Deal",
    "Direction",
    "Email",
    "Ending",
    "Field",
    "FileForm",
    "Finding",
    "HeaderAuth",
    "Link",
    "LoggedCall",
    "Note",
    "NumberForm",
    "OAuth2",
    "PhoneNumber",
    "RateLimitedError",
    "Reader",
    "RecordingFile",
    "Response",
    "Secret",
    "SettingsError",
    "Task",
    "Ticket",
    "TransientError",
    "UnsupportedError",
    "User",
    "basic",
    "bearer",
    "check_subdomain",
    "columns",
    "decimal_id",
    "endings",
    "find_owner",
    "is_decimal",
    "is_marked",
    "ldap_value",
    "mark",
    "number",
    "rate_limited",
    "records",
    "required",
    "row",
    "scalar",
    "soql_text",
    "spellings",
    "text",
    "texts",
    "try_reading",
    "url_segment",
    "value",
]
