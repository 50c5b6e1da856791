"""Asks a real CRM what a lookup asks, and keeps what was asked and answered, scrubbed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
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
from middleware.testing.conformance.trial import MAX_ITEMS, has_number

SPAN = timedelta(seconds=30)  # for each method


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The exchanges without people, and which methods failed, in words."""

    exchanges: list[Exchange]
    failed: dict[str, str]


@dataclass(slots=True)
class _Recorder:
    """Sends as the transport does, and keeps what passes."""

    transport: Transport = field(default_factory=Transport)
    passed: list[tuple[requests.PreparedRequest, Answer]] = field(default_factory=list)

    def send(self, request: requests.PreparedRequest, crm: str, host: str, seconds: float, max_bytes: int) -> Answer:
        answer = self.transport.send(request, crm, host, seconds, max_bytes)
        self.passed.append((request, answer))
        return answer


def record_lookup(
    adapter: CRMAdapter[Any],
    raw_number: str,
    region: str,
    auth: Callable[[Deadline], AuthBase | None] | None = None,
) -> Recorded:
    """Run every method of ``adapter`` that only reads, and return what was said; ``auth`` signs in its place."""
    recorder, failed = _Recorder(), dict[str, str]()
    number = parse_number(raw_number, region)

    def context(written: str) -> Context:
        deadline = Deadline.after(SPAN)
        signer = auth(deadline) if auth else adapter.auth()
        http = CRMSession(adapter.base_url, deadline, auth=signer, classify=adapter.classify, sender=recorder)
        return Context(deadline=deadline, http=http, region=region, written=written)

    def run(method: str, *asked: Any, written: str = "") -> list[Any]:
        try:
            found = getattr(adapter, method)(*asked, context(written))
            return list(islice(found, MAX_ITEMS)) if method != "find_contact_by_id" else [found]
        except CRMError as error:
            failed[method] = f"{type(error).__name__}: {error}"
            return []

    contacts: list[Contact] = []
    for method, asked, written in _searches(adapter, number):
        contacts = [each for each in run(method, asked, written=written) if has_number(each, number, region)]
        if contacts:
            break
    for contact in contacts[:1]:
        for method in filter(adapter.can, ACTIVITY_METHODS):
            run(method, contact)
        if adapter.can("find_contact_by_id"):
            run("find_contact_by_id", contact.id)
    if adapter.can("check"):
        run("check")
    secrets = [value.reveal() for value in _settings(adapter) if isinstance(value, Secret)]
    scrubber = Scrubber(number, secrets, urlsplit(adapter.base_url or "").hostname or "")
    return Recorded(exchanges=_exchanges(recorder, scrubber), failed=failed)


def _searches(adapter: CRMAdapter[Any], number: PhoneNumber) -> list[tuple[str, PhoneNumber | None, str]]:
    """Return what may bring the contact: a method, what it is asked for, and how that is written."""
    if not adapter.is_searchable:
        return [("iter_contacts", None, "")]
    spellings = dict.fromkeys(getattr(number, form) for form in adapter.number_forms)
    return [("find_contacts", number, written) for written in spellings]


def _settings(adapter: CRMAdapter[Any]) -> Iterator[Any]:
    for each in fields(adapter.settings):
        yield getattr(adapter.settings, each.name)


def _exchanges(recorder: _Recorder, scrubber: Scrubber) -> list[Exchange]:
    """Return each exchange once; answers are scrubbed first, for requests repeat what earlier ones told."""
    answers = [scrubber.answer(_json(answer.content)) for _, answer in recorder.passed]
    found: dict[str, Exchange] = {}
    for (request, answer), scrubbed in zip(recorder.passed, answers, strict=True):
        parts = urlsplit(request.url or "")
        target = scrubber.target(f"{parts.path}?{parts.query}" if parts.query else parts.path)
        body = request.body.decode("utf-8", "replace") if isinstance(request.body, bytes) else request.body
        sent = scrubber.asked(_json(body)) if isinstance(body, str) else None
        exchange = Exchange(
            request=f"{request.method} {target}",
            sent=sent,
            status=answer.status_code,
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
