"""The demo's console: an account to sign in with, and calls and lookups to look at."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from middleware.settings import Settings

if TYPE_CHECKING:
    from middleware.demo.data import DemoCustomer

NAME = "demo"
FILE = "secrets/console"  # with the password, in the demo's folder
TIMEOUT = 10.0  # seconds for one request to our own server


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAccount:
    """Who may sign in at the demo's console; ``is_new`` in a folder in which no demo ran before."""

    name: str
    password: str = field(repr=False)
    is_new: bool


def open_console(settings: Settings) -> DemoAccount:
    """Make the account where there is none yet; what is there stays, with its password."""
    from middleware.console.roles import Role
    from middleware.console.users import Users
    from middleware.inbox.database import open_database

    path = settings.data / FILE
    if not path.exists():
        path.touch(0o600)
        path.write_text(secrets.token_urlsafe(15), encoding="utf-8")
    password = path.read_text(encoding="utf-8").strip()
    database = open_database(settings.database_url)
    try:
        users = Users(database, lambda: datetime.now(UTC))
        is_new = not users.is_known(NAME)
        if is_new:
            users.add(NAME, Role.HOSTER, password)
    finally:
        database.close()
    return DemoAccount(name=NAME, password=password, is_new=is_new)


def fill_console(customers: list[DemoCustomer], settings: Settings) -> None:
    """Look numbers up and tell of calls as M8Com does, so that the pages have something to show.

    What fails is left out: nobody has asked for it.
    """
    import requests

    from middleware.tenants.registry import Tenants

    tenants = Tenants(settings.customers)
    with requests.Session() as session, suppress(requests.RequestException):
        session.trust_env = False
        for customer in customers:
            tenant, url = tenants.get(customer.id), f"{settings.public_url}/{customer.id}"
            session.headers["Authorization"] = f"Bearer {customer.secrets['insights']}"
            for number in [*customer.known_numbers, customer.unknown_number, "anonymous"]:
                session.get(f"{url}/lookup", params={"fromNumber": number}, timeout=TIMEOUT)
            own = min(tenant.own_numbers if tenant else (), default="+46101234567")
            for body in _call_logs(customer, own):
                session.post(f"{url}/calllog", json=body, timeout=TIMEOUT)


def _call_logs(customer: DemoCustomer, own: str) -> list[dict[str, Any]]:
    """Return calls of today: some that are written, one whose contact nobody has, one that nobody understands."""
    from middleware.demo.samples import SAMPLES, Situation, vary

    first = Situation(
        contact=customer.known_numbers[0],
        own=own,
        began_at=datetime.now(UTC) - timedelta(minutes=5),
        duration=timedelta(seconds=95),
        call_id=secrets.token_hex(12),
        summary="Asked about an order; call back on Monday.",
    )
    known = [vary(first, customer.known_numbers, place) for place in range(1, 5)]
    log = SAMPLES["calllog"]["call"]
    wrong = {**log(first), "startTime": "yesterday"}
    return [*map(log, known), log(vary(first, [customer.unknown_number], 5)), wrong]
