"""A CRM that answers as its exchanges in a file say, and remembers what it was sent."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import requests
import responses

from middleware.crm.base import Context, CRMAdapter
from middleware.crm.context import build_context
from middleware.model.call import CallRecord, Direction
from middleware.model.deadline import Deadline
from middleware.model.phone import parse_number
from middleware.testing.conformance.samples import KEY

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One request: ``body`` is its JSON, where it is JSON."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    request: requests.PreparedRequest = field(repr=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class RecordedCrm:
    """Answers what the file knows, the likest query first, and 404 to anything else; ``answers`` change some of it."""

    def __init__(self, path: Path) -> None:
        self.exchanges: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        self.sent: list[Sent] = []
        self.exchanged: list[tuple[requests.PreparedRequest, requests.Response]] = []
        self.answers: dict[str, tuple[int, Any]] = {}  # by method and path, instead of the file's
        self.headers = {"Content-Type": "application/json"}
        self.mock = responses.RequestsMock(assert_all_requests_are_fired=False)
        for method in METHODS:
            self.mock.add_callback(method, re.compile(r"https://.*"), self._answer)

    def __enter__(self) -> RecordedCrm:
        self.mock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.mock.stop(allow_assert=False)
        self.mock.reset()

    @property
    def told(self) -> list[str]:
        """Method and path of each request, in order."""
        return [str(sent) for sent in self.sent]

    def _answer(self, request: requests.PreparedRequest) -> tuple[int, Mapping[str, str], str]:
        stream: Any = request.body
        if hasattr(stream, "read"):  # it is read once, by whoever sends it
            request.body = stream.read()
        sent = _read(request)
        self.sent.append(sent)
        if str(sent) in self.answers:
            status, answer = self.answers[str(sent)]
        else:
            known = max((one for one in self.exchanges if _is_like(one, sent)), key=_length, default=None)
            status, answer = (known.get("status", 200), known["answer"]) if known else (404, {"message": "not found"})
        self.exchanged.append((request, self._response(status, answer)))
        return status, self.headers, json.dumps(answer)

    def _response(self, status: int, answer: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response._content = status, json.dumps(answer).encode()
        response.headers.update(self.headers)
        return response


def _read(request: requests.PreparedRequest) -> Sent:
    parts = urlsplit(request.url or "")
    body = request.body
    try:
        read = json.loads(body) if isinstance(body, str | bytes) else body
    except ValueError:
        read = body
    query = dict(parse_qsl(parts.query))
    return Sent(method=request.method or "", path=unquote(parts.path), query=query, body=read, request=request)


def _is_like(exchange: dict[str, Any], sent: Sent) -> bool:
    method, _, target = exchange["request"].partition(" ")
    parts = urlsplit(target)
    known = parse_qsl(parts.query)
    return method == sent.method and unquote(parts.path) == sent.path and set(known) <= set(sent.query.items())


def _length(exchange: dict[str, Any]) -> int:
    return len(exchange["request"])


def context(adapter: CRMAdapter[Any]) -> Context:
    """Return what an adapter is given for one call of it."""
    return build_context(adapter, region="SE", deadline=Deadline.after(timedelta(seconds=30)))


def call(**known: Any) -> CallRecord:
    """Return a call as it is written into a CRM; ``known`` are the fields that matter."""
    known = {
        "id": "1",
        "key": KEY,
        "direction": Direction.INBOUND,
        "contact_number": parse_number("+46701740605", "SE"),
        "own_number": parse_number("+46851970000", "SE"),
        "started_at": datetime(2026, 1, 15, 9, 30, 5, tzinfo=UTC),
        "duration": timedelta(seconds=95),
        "subject": "Inbound call",
        "body": "<p>Hello</p>",
        **known,
    }
    return CallRecord(**known)
