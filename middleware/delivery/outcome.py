"""How an attempt ended: one type per thing the worker does about it, with words for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from middleware.errors import (
    AdapterFaultError,
    CRMAuthError,
    CRMError,
    CRMRejectedError,
    NotAskedError,
    NotConnectedError,
    RateLimitedError,
    TransientError,
    UnsupportedError,
)
from middleware.model.call import LoggedCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The CRM has the call; ``maybe_duplicate`` when nobody can know whether it has it twice."""

    words: str
    logged: LoggedCall
    maybe_duplicate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """Nobody in the CRM has the number yet."""

    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """The customer does not want this call in his CRM."""

    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Try again later; ``is_lane`` when the CRM as a whole is down, ``is_unknown`` when it may have written."""

    words: str
    error: str
    is_lane: bool
    is_unknown: bool
    is_unreadable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The CRM is spared for a while; no attempt is used up."""

    words: str
    wait: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """The CRM refuses the credentials: a person must act."""

    words: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """Trying again will not help; ``is_unknown`` when it may have written."""

    words: str
    error: str
    is_unknown: bool = False


Outcome = Delivered | Parked | Ignored | Retry | Wait | Paused | Dead


def outcome_of(error: BaseException, what: str = "the call") -> Outcome:
    """Return what to do about what an adapter raised as it wrote ``what``; not a ``CRMError``: the adapter's bug."""
    name = type(error).__name__
    text = f": {error.vendor_text}" if isinstance(error, CRMError) and error.vendor_text else ""
    match error:
        case RateLimitedError():
            is_spared = isinstance(error, NotAskedError)
            words = f"Nothing was sent ({error})." if is_spared else "The CRM asked us to slow down."
            return Wait(words=words, wait=error.retry_after)
        case TransientError():
            return Retry(words=f"The CRM failed ({error}){text}", error=name, is_lane=True, is_unknown=True)
        case NotConnectedError():
            return Paused(words=f"The CRM is not connected ({error}).", error=name)
        case CRMAuthError():
            words = f"The CRM refuses the credentials or a right is missing{text}. Mend the customer's file, or retry."
            return Paused(words=words, error=name)
        case CRMRejectedError() | UnsupportedError() | AdapterFaultError():
            is_fault = isinstance(error, AdapterFaultError)
            fault = f"The adapter has a fault: {error}. Mend it; the CRM may have {what} already."
            words = fault if is_fault else f"The CRM refuses {what} ({error}){text}"
            return Dead(words=words, error=name, is_unknown=is_fault)
        case CRMError():
            words = f"The CRM's answer cannot be read ({error}){text}"
        case _:  # its message may hold anything
            words = f"The adapter has a fault ({name}). The log has the place."
    return Retry(words=words, error=name, is_lane=False, is_unknown=True, is_unreadable=True)
