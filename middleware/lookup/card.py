"""What a lookup finds and how it ends: typed, so that an error is never taken for a miss."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from middleware.errors import in_words
from middleware.model.activity import Activity
from middleware.model.contact import Contact, Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A verified contact with activities (newest first, at most ten per type) and create links, cleaned."""

    contact: Contact
    activities: tuple[Activity, ...] = ()
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one source brought, not yet cleaned, sorted and capped; ``is_partial`` when some of it is missing."""

    card: Card
    is_partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A contact was found; ``body`` is the JSON answer.

    ``is_partial`` says that something late or failed is left out, ``is_stale`` that the answer is an older one
    because the CRM gave none in time.
    """

    body: bytes
    is_partial: bool = False
    is_stale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """Nobody has the number; ``reason`` is a sentence for people."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Every slot of the customer's CRM is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The CRM failed; ``reason`` names the error's class, ``retry_after`` what the CRM asked for."""

    reason: str
    retry_after: timedelta | None = None

    @property
    def words(self) -> str:
        """What happened, for people."""
        return in_words(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    """The deadline passed with nothing to show."""


Result = Hit | Miss | Busy | Failed | TimedOut
