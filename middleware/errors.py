"""Every exception of the product, grouped by what the middleware does about it.

::

    M8CRMError
    ├── ConfigError              a person must mend a file or a variable; the last good version stays in use
    ├── FailpointError           a tester wants it so (failpoints.py)
    ├── CrowdError               too many people sign in at once: try again
    ├── VaultError               tokens cannot be decrypted: a machine lacks the key
    ├── StorageError             the inbox cannot keep an event: 503, the sender tries again
    ├── RecordingError           a recording cannot be fetched now: tried again until its link dies
    │   └── RecordingRefusedError    … or will never be: tried no more
    └── CRMError                 what an adapter may raise; the session raises nearly all of them
        ├── TransientError           try again later
        │   ├── CRMTimeoutError          no answer before the deadline: the outcome of a write is unknown
        │   ├── CRMUnavailableError      refused, reset, 5xx: the outcome of a write is unknown
        │   └── RateLimitedError         429: wait ``retry_after``, no attempt is used up
        │       └── NotAskedError            the same, and nothing was sent: it is still the CRM's pause
        │           ├── NoTokenError             … or its token has run out and cannot be renewed now
        │           ├── BudgetError              … or our own budget for the account is used up
        │           ├── BreakerOpenError         … or the CRM has failed time and again
        │           └── IndexNotReadyError       … or it finds nobody by number, and our index cannot tell yet
        ├── CRMShrunkError           it lists less than half of its contacts: the index keeps them until a person acts
        ├── CRMResponseError         an answer nobody can read: a few more tries, then a dead letter
        ├── CRMAuthError             401, 403: the customer's deliveries pause until a person acts
        │   └── NotConnectedError        the CRM was never authorised (OAuth2), or has ended that
        ├── CRMRejectedError         any other 4xx: a dead letter at once, with the vendor's text
        │   └── CRMNotFoundError         404, 410: the record is not there (any more)
        └── UnsupportedError         the CRM has no such thing: a dead letter at once

Not found is ``None`` and never an exception of an adapter's.  A message may be shown to people and written to logs: it
never holds a secret, a phone number or a body.
"""

from __future__ import annotations

from datetime import timedelta


def place_of(error: BaseException) -> str:
    """Return file and line where ``error`` was raised: all that a log may say of one whose message is not ours."""
    step = error.__traceback__
    while step and step.tb_next:
        step = step.tb_next
    return f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}" if step else ""


class M8CRMError(Exception):
    """Anything this product raises on purpose."""


class CrowdError(M8CRMError):
    """More people sign in at this moment than are heard beside lookups and events."""


class AdapterFaultError(M8CRMError):
    """An adapter returned what it may not, perhaps after it wrote; the message says what, in words of ours."""


class ConfigError(M8CRMError):
    """A file or variable that a person must mend; says where, what is wrong and what to do.

    ``problems`` holds one sentence per fault, each naming its key.
    """

    def __init__(self, where: str, problems: list[str]) -> None:
        super().__init__(f"{where}: " + "; ".join(problems))
        self.where = where
        self.problems = problems


class FailpointError(M8CRMError):
    """A tester has a step fail; whatever is done about it is what is done about a fault of ours."""


class StorageError(M8CRMError):
    """The inbox could not store or read; nothing was acknowledged."""


class VaultError(M8CRMError):
    """What is encrypted in the database cannot be read with the keys that this machine has."""


class RecordingError(M8CRMError):
    """A recording could not be fetched; it may work later."""


class RecordingRefusedError(RecordingError):
    """A recording will not be fetched: its address, its size or its content is refused."""


class CRMError(M8CRMError):
    """What an adapter raises; ``vendor_text`` is the CRM's own explanation, for people, never for logs."""

    def __init__(self, message: str, *, vendor_text: str | None = None) -> None:
        super().__init__(message)
        self.vendor_text = vendor_text


class TransientError(CRMError):
    """It may work later."""


class CRMTimeoutError(TransientError):
    """The deadline passed before the CRM answered; a write may have happened."""


class CRMUnavailableError(TransientError):
    """The CRM could not be reached or answered 5xx; a write may have happened."""


class RateLimitedError(TransientError):
    """The CRM asked us to slow down; nothing happened."""

    def __init__(self, message: str, *, retry_after: timedelta | None = None, vendor_text: str | None = None) -> None:
        super().__init__(message, vendor_text=vendor_text)
        self.retry_after = retry_after


class NotAskedError(RateLimitedError):
    """We spare the CRM for now; nothing was sent."""


class NoTokenError(NotAskedError):
    """The CRM's access token has run out, and there is no other one now."""


class BudgetError(NotAskedError):
    """The budget of the CRM's account is used up."""


class BreakerOpenError(NotAskedError):
    """The CRM failed so often that it is left alone for a while."""


class IndexNotReadyError(NotAskedError):
    """The CRM cannot search by number, and our index of its numbers is not built or too old to say "nobody"."""


class CRMShrunkError(CRMError):
    """The CRM lists less than half of the contacts that it had; ``m8crm index drop`` believes it."""


class CRMResponseError(CRMError):
    """The CRM answered something that cannot be read."""


class CRMAuthError(CRMError):
    """The CRM refuses our credentials or a right is missing; ``is_unauthorized``: it said 401."""

    def __init__(self, message: str, *, vendor_text: str | None = None, is_unauthorized: bool = False) -> None:
        super().__init__(message, vendor_text=vendor_text)
        self.is_unauthorized = is_unauthorized


class NotConnectedError(CRMAuthError):
    """A person must authorise us at the CRM: ``m8crm tenant connect``."""


class CRMRejectedError(CRMError):
    """The CRM understood the request and refuses it; trying again will not help."""


class CRMNotFoundError(CRMRejectedError):
    """The CRM has no such record; ``ctx.http.find`` turns it into ``None``."""


class UnsupportedError(CRMError):
    """The CRM or its adapter cannot do this."""


_WORDS = {
    CRMTimeoutError: "it did not answer in time",
    CRMUnavailableError: "it could not be reached, or answered with a fault of its own",
    RateLimitedError: "it wants to be asked less often",
    NotAskedError: "it wants a pause",
    NoTokenError: "its token has run out and cannot be renewed now",
    BudgetError: "the budget of requests to it is used up",
    BreakerOpenError: "it failed time and again and is left alone for a while",
    IndexNotReadyError: "it cannot search by number, and its index is not built or too old; see m8crm index status",
    CRMShrunkError: "it lists less than half of its contacts; m8crm index drop believes it",
    CRMResponseError: "its answer cannot be read",
    CRMAuthError: "it refuses the credentials, or a right is missing",
    NotConnectedError: "it is not connected, or not any more: m8crm tenant connect",
    CRMRejectedError: "it refuses the request",
    CRMNotFoundError: "it does not have the record, or not any more",
    UnsupportedError: "it has no such thing",
}
_BY_NAME = {kind.__name__: words for kind, words in _WORDS.items()}


def in_words(name: str) -> str:
    """Return what the error class called ``name`` says of a CRM, for people, with the name to search a log for."""
    return f"{_BY_NAME.get(name, 'its adapter has a fault; the log has the place')} ({name})"
