"""Asks a real CRM what a lookup asks, and keeps what was asked and answered, scrubbed."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, fields
from datetime import timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import requests

from middleware.crm.auth import AuthBase
from middleware.crm.base import ACTIVITY_METHODS, Context, CRMAdapter
from middleware.crm.session import CRMSession
from middleware.crm.settings import Secret
from middleware.crm.transport import Answer, Transport
from middleware.errors import CRMError
from middleware.model.contact import Contact
from middleware.model.deadline import Deadline
from middleware.model.phone import PhoneNumber, parse_number
from middleware.testing.conformance.exchanges import READS, Exchange
from middleware.testing.conformance.scrub import Scrubber
from middleware.testing.conformance.trial import MAX_ITEMS, fault_of, has_number

Signer = Callable[[Deadline], AuthBase | None]
SPAN = timedelta(seconds=30)  # for each method


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The exchanges without people, and which methods failed, in words; ``is_found`` if there is a contact in them."""

    exchanges: list[Exchange]
    failed: dict[str, str]
    is_found: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it was sent, with the adapter's method that sent it, and its answer; with people in it."""

    method: str
    request: requests.PreparedRequest
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A lookup step by step: what passed, what each method gave, and which failed."""

    passed: list[Asked]
    found: dict[str, list[Any]]
    failed: dict[str, CRMError]


@dataclass(slots=True)
class _Recorder:
    """Sends as the transport does, and keeps what passes."""

    transport: Transport = field(default_factory=Transport)
    passed: list[Asked] = field(default_factory=list)
    method: str = ""

    def send(self, request: requests.PreparedRequest, crm: str, host: str, seconds: float, max_bytes: int) -> Answer:
        answer = self.transport.send(request, crm, host, seconds, max_bytes)
        self.passed.append(Asked(method=self.method, request=request, answer=answer))
        return answer


def record_lookup(adapter: CRMAdapter[Any], raw_number: str, region: str, auth: Signer | None = None) -> Recorded:
    """Run every method of ``adapter`` that only reads, and return what was said; ``auth`` signs in its place."""
    tried = try_lookup(adapter, raw_number, region, auth, ("find_contact_by_id", "check"))
    scrubber = Scrubber(
        parse_number(raw_number, region), secrets_of(adapter), urlsplit(adapter.base_url or "").hostname or ""
    )
    failed = {method: f"{type(error).__name__}: {error}" for method, error in tried.failed.items()}
    is_found = any(tried.found.get(method) for method in ("find_contacts", "iter_contacts"))
    return Recorded(exchanges=_exchanges(tried.passed, scrubber), failed=failed, is_found=is_found)


def try_lookup(
    adapter: CRMAdapter[Any], raw_number: str, region: str, auth: Signer | None = None, more: Collection[str] = ()
) -> Tried:
    """Find the contact and its activities, run what of ``more`` there is, and return what was asked and found."""
    recorder, number = _Recorder(), parse_number(raw_number, region)
    tried = Tried(passed=recorder.passed, found={}, failed={})

    def context(written: str) -> Context:
        deadline = Deadline.after(SPAN)
        signer = auth(deadline) if auth else adapter.auth()
        http = CRMSession(adapter.base_url, deadline, auth=signer, classify=adapter.classify, sender=recorder)
        return Context(deadline=deadline, http=http, region=region, written=written)

    def run(method: str, *asked: Any, written: str = "") -> list[Any]:
        recorder.method = method
        try:
            found = getattr(adapter, method)(*asked, context(written))
            tried.found[method] = list(islice(found, MAX_ITEMS)) if method != "find_contact_by_id" else [found]
        except Exception as error:  # also a fault of the adapter's: what passed until then is what its author needs
            fault = CRMError(f"the adapter has a fault: {fault_of(error)}")
            tried.failed[method] = error if isinstance(error, CRMError) else fault
            tried.found[method] = []
        return tried.found[method]

    contacts: list[Contact] = []
    for method, asked, written in _searches(adapter, number):
        contacts = [each for each in run(method, asked, written=written) if has_number(each, number, region)]
        if contacts:
            break
    for contact in contacts[:1]:
        for method in filter(adapter.can, ACTIVITY_METHODS):
            run(method, contact)
        if "find_contact_by_id" in more and adapter.can("find_contact_by_id"):
            run("find_contact_by_id", contact.id)
    if "check" in more and adapter.can("check"):
        run("check")
    return tried


def secrets_of(adapter: CRMAdapter[Any]) -> list[str]:
    """Return what must not be shown."""
    return [value.reveal() for value in _settings(adapter) if isinstance(value, Secret)]


def _searches(adapter: CRMAdapter[Any], number: PhoneNumber) -> list[tuple[str, PhoneNumber | None, str]]:
    """Return what may bring the contact: a method, what it is asked for, and how that is written."""
    if not adapter.is_searchable:
        return [("iter_contacts", None, "")]
    spellings = dict.fromkeys(getattr(number, form) for form in adapter.number_forms)
    return [("find_contacts", number, written) for written in spellings]


def _settings(adapter: CRMAdapter[Any]) -> Iterator[Any]:
    for each in fields(adapter.settings):
        yield getattr(adapter.settings, each.name)


def _exchanges(passed: list[Asked], scrubber: Scrubber) -> list[Exchange]:
    """Return each exchange once; answers are scrubbed first, for requests repeat what earlier ones told."""
    answers = [scrubber.answer(_json(each.answer.content)) for each in passed]
    found: dict[str, Exchange] = {}
    for each, scrubbed in zip(passed, answers, strict=True):
        request = each.request
        parts = urlsplit(request.url or "")
        target = scrubber.target(f"{parts.path}?{parts.query}" if parts.query else parts.path)
        body = request.body.decode("utf-8", "replace") if isinstance(request.body, bytes) else request.body
        sent = scrubber.asked(_json(body)) if isinstance(body, str) else None
        exchange = Exchange(
            request=f"{request.method} {target}",
            sent=sent,
            status=each.answer.status_code,
            answer=scrubbed,
            reads=request.method not in READS,
        )
        found.setdefault(f"{exchange.request} {json.dumps(sent)}", exchange)
    return list(found.values())


def _json(body: str | bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return "this was no JSON and is left out"
