"""How a customer stands, in the database and on his page; on SQLite and on PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from sqlalchemy import insert

from middleware.console.standing import Glance, arrivals, channel, glance
from middleware.inbox.store import Inbox
from middleware.inbox.tables import attempt, call, delivery, event, lane
from middleware.metrics.names import BREAKER_OPEN_UNTIL
from middleware.tenants import config, registry
from tests.conftest import KEY, NOW, House
from tests.console.conftest import HOME, SignIn
from tests.oauth.acme import AcmeAdapter, add_customer
from tests.oauth.provider import Provider

T = NOW.timestamp()


@pytest.fixture
def inbox(database_url: str) -> Iterator[Inbox]:
    inbox = Inbox(database_url, key=KEY, now=lambda: NOW)
    yield inbox
    inbox.close()


def _call(inbox: Inbox, seq: int, customer: str, state: str, *, due: float = 0, error: str | None = None) -> None:
    """Store a call that came ``seq`` seconds ago, and how an attempt to write it ended."""
    name = f"{customer}-{seq}"
    with inbox.database.write() as connection:
        connection.execute(insert(call).values(seq=seq, id=name, tenant=customer, key=name, version=1, state="logged"))
        came = {"id": name, "tenant": customer, "sender": "calllog", "key": name, "digest": name, "raw": b"{}"}
        more = {"content_type": "", "received_at": T - seq, "state": "planned", "call_seq": seq}
        connection.execute(insert(event).values(**came, **more))
        row = {"id": seq, "call_seq": seq, "tenant": customer, "channel": "crm", "state": state, "due_at": T - due}
        connection.execute(insert(delivery).values(row))
        tried = {
            "delivery_id": seq,
            "at": T - seq,
            "took_ms": 5,
            "outcome": state,
            "error": error,
            "words": error or "ok",
        }
        connection.execute(insert(attempt).values(tried))


def test_each_customer_is_counted_alone(inbox: Inbox) -> None:
    """What waits, is parked or dead, which channel is paused and what came last is each customer's own."""
    for seq, (customer, state) in enumerate(
        [("acme", "dead"), ("acme", "dead"), ("acme", "delivered"), ("nova", "parked"), ("nova", "waiting")], 1
    ):
        _call(inbox, seq, customer, state)
    with inbox.database.write() as connection:
        connection.execute(insert(lane).values(tenant="nova", channel="crm", paused_revision="1"))
    assert glance(inbox, ["acme", "nova", "none"]) == {
        "acme": Glance(unfinished={"dead": 2}, last_event=NOW - timedelta(seconds=3)),
        "nova": Glance(unfinished={"parked": 1, "waiting": 1}, paused=("crm",), last_event=NOW - timedelta(seconds=5)),
        "none": Glance(),
    }
    assert channel(inbox, "nova", "crm").is_paused
    assert not channel(inbox, "acme", "crm").is_paused


def test_the_last_error_is_that_of_what_is_not_written(inbox: Inbox) -> None:
    """An error of a call that was written in the end is not told, the latest of the others is."""
    _call(inbox, 9, "acme", "dead", error="the older")
    _call(inbox, 7, "acme", "waiting", due=70, error="the latest")
    _call(inbox, 5, "acme", "delivered", error="mended")
    _call(inbox, 3, "nova", "dead", error="another's")
    found = channel(inbox, "acme", "crm")
    assert found.failure
    assert (found.failure.words, found.failure.at) == ("the latest", NOW - timedelta(seconds=7))
    assert found.age == 70
    assert channel(inbox, "none", "crm").failure is None


def test_events_that_nobody_has_read_grow_old(inbox: Inbox) -> None:
    """The age is that of the oldest unread event, and there is none without."""
    assert (arrivals(inbox, "acme").age, arrivals(inbox, "acme").last_event) == (0.0, None)
    row = {"id": "1", "tenant": "acme", "sender": "pbx", "key": "1", "digest": "1", "raw": b"", "content_type": ""}
    with inbox.database.write() as connection:
        connection.execute(insert(event).values(**row, received_at=T - 30, state="queued"))
    assert arrivals(inbox, "acme").age == 30


def test_a_crm_that_is_left_alone_is_told(console: House, signed_in: SignIn) -> None:
    """While a breaker is open, list and page say so; afterwards they do not."""
    now = console.parts.inbox.now().timestamp()
    console.parts.counts.set(BREAKER_OPEN_UNTIL, now + 600, "nordlys", "sql")
    cleo = signed_in("cleo")
    assert "fails time and again: sql" in cleo.get(f"{HOME}/customers").text
    assert "left alone until" in cleo.get(f"{HOME}/customer/nordlys").text
    console.parts.counts.set(BREAKER_OPEN_UNTIL, now - 1, "nordlys", "sql")
    assert "left alone until" not in cleo.get(f"{HOME}/customer/nordlys").text


def test_customer_care_connects_a_crm(
    console: House, signed_in: SignIn, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The button gives a link to the CRM; once somebody has allowed it there, the page says connected."""
    monkeypatch.setattr(config, "load_adapters", lambda: {"acme": AcmeAdapter})
    monkeypatch.setattr(registry, "LOOK_EVERY", 0.0)
    add_customer(Path(console.folder), provider.url)
    cleo = signed_in("cleo")
    assert "not connected" in cleo.get(f"{HOME}/customer/nova").text
    asked = cleo.post(f"{HOME}/customer/nova/connect", crm="acme")
    found = re.search(r'<pre id="url"[^>]*>([^<]+)</pre>', asked.text)
    assert found, asked.text
    link = found[1].replace("&amp;", "&")
    back = requests.get(link, allow_redirects=False, timeout=20).headers["Location"]
    assert console.client.get(back).status_code == 200
    text = cleo.get(f"{HOME}/customer/nova").text
    assert '<span class="good">connected</span>' in text
    assert "Connect anew" in text
    assert cleo.post(f"{HOME}/customer/nova/connect", crm="other").status_code == 404
    assert not [token for token in provider.access if token in text]
