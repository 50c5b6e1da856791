"""A whole installation on real sockets: the middleware's HTTP, and CRMs that fall ill when a test wants them to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

from werkzeug.serving import make_server

from middleware.app import create_app
from middleware.crm.base import Context, CRMAdapter
from middleware.model.activity import Note
from middleware.model.call import CallRecord, LoggedCall
from middleware.model.contact import Contact, ContactNumber
from middleware.model.phone import PhoneNumber
from middleware.parts import Parts, build_worker
from middleware.settings import load_settings
from middleware.testing.faults import FaultServer, Received

SECRET = "a-secret-of-the-town"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class TownCRM(FaultServer):
    """A CRM that calls everybody who has one of its ``numbers`` by its own name, and keeps calls."""

    def __init__(self, name: str = "Ada Webb", *, numbers: Iterable[str] | None = None) -> None:
        super().__init__({"/people": self._people, "/notes": self._notes, "/calls": self._log, "/logged": self._logged})
        self.name = name
        self.calls: list[dict[str, Any]] = []
        self._numbers = None if numbers is None else set(numbers)  # None: everybody is known

    def asked(self, path: str) -> int:
        """Return how many requests have reached ``path``."""
        return sum(urlsplit(request.target).path == path for request in self.requests)

    def _people(self, request: Received) -> list[dict[str, str]]:
        (phone,) = parse_qs(urlsplit(request.target).query)["phone"]
        is_known = self._numbers is None or phone in self._numbers
        return [{"id": "7", "name": self.name, "phone": phone}] if is_known else []

    def _notes(self, _: Received) -> list[dict[str, str]]:
        return [{"text": f"a note of {self.name}"}]

    def _log(self, request: Received) -> dict[str, str]:
        self.calls.append(json.loads(request.body))
        return {"id": str(len(self.calls))}

    def _logged(self, request: Received) -> list[dict[str, Any]]:
        (key,) = parse_qs(urlsplit(request.target).query)["key"]
        return [{"id": str(place)} for place, call in enumerate(self.calls, 1) if call["key"] == key]


@dataclass(frozen=True, slots=True, kw_only=True)
class TownSettings:
    """Where the CRM is."""

    url: str


class TownAdapter(CRMAdapter[TownSettings]):
    """An adapter as the recipe has it."""

    name: ClassVar[str] = "town"
    label: ClassVar[str] = "Town"
    settings_type: ClassVar[type] = TownSettings

    @property
    def base_url(self) -> str:
        return self.settings.url

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        for person in ctx.http.get("people", params={"phone": ctx.written}).json():
            numbers = (ContactNumber(number=person["phone"]),)
            yield Contact(id=person["id"], display_name=person["name"], numbers=numbers)

    def find_notes(self, contact: Contact, ctx: Context) -> Iterable[Note]:
        for note in ctx.http.get("notes", params={"contact": contact.id}).json():
            yield Note(timestamp=NOW, body=note["text"])

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        return LoggedCall(external_id=ctx.http.post("calls", json={"key": call.key}).json()["id"])

    def find_logged_call(self, call: CallRecord, ctx: Context) -> LoggedCall | None:
        found = ctx.http.get("logged", params={"key": call.key}).json()
        return LoggedCall(external_id=found[0]["id"]) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What M8Com is answered, and after how many seconds."""

    status: int
    name: str | None
    notes: int
    took: float


@dataclass
class Town:
    """The running middleware; ``moment`` is the time in the inbox, which only the test moves."""

    folder: Path
    moment: datetime = NOW
    parts: Parts = field(init=False)

    def __enter__(self) -> Town:
        (self.folder / "customers").mkdir(parents=True)
        app = create_app(load_settings(self.folder))
        self.parts = app.extensions["m8crm"]
        self._worker = build_worker(self.parts)
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.parts.close()

    def settle(self, *crms: TownCRM, customer: str = "acme", lookup: str = "") -> None:
        """Write the file of a customer with these CRMs, in order of priority."""
        tables = [f'[[crm]]\nadapter = "town"\nname = "crm{i}"\nurl = "{crm.url}"\n' for i, crm in enumerate(crms)]
        digest = sha256(SECRET.encode()).hexdigest()
        head = f'name = "Acme"\nregion = "SE"\n[secrets]\ninsights = ["sha256:{digest}"]\n[lookup]\n{lookup}\n'
        calls = '[calls]\nlog_to = ["crm0"]\n'
        (self.folder / "customers" / f"{customer}.toml").write_text("\n".join([head, calls, *tables]))

    def lookup(self, number: str, customer: str = "acme") -> Told:
        """Ask as M8Com does."""
        began = time.monotonic()
        status, body = self._ask("GET", f"/{customer}/lookup?{urlencode({'fromNumber': number})}")
        card = body if status == 200 else {}
        name, activities = card.get("displayName"), card.get("activities", [])
        return Told(status=status, name=name, notes=len(activities), took=time.monotonic() - began)

    def post(self, call: dict[str, Any], customer: str = "acme") -> int:
        """Post a call log as M8Com does."""
        return self._ask("POST", f"/{customer}/calllog", json.dumps(call))[0]

    def deliver(self, **later: float) -> int:
        """Let the worker have its turn, after a while."""
        self.moment += timedelta(**later)
        return self._worker.run_once()

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self._server.server_port, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else {}
        finally:
            connection.close()


def at_once(count: int, work: Any, *args: Iterable[Any]) -> list[Any]:
    """Do ``work`` ``count`` times at the same time, with the arguments of ``map``."""
    start = threading.Barrier(count)

    def run(*given: Any) -> Any:
        start.wait(30)
        return work(*given)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, *args))
