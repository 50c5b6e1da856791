"""Every page of the console, on both engines, with something stored that it shows."""

from __future__ import annotations

from typing import Any

import pytest

from middleware.console.pages import overview, system
from middleware.console.states import STATES
from middleware.inbox.replays import Replays
from middleware.inbox.tables import delivery
from middleware.monitoring.alarms import OF_THE_DATABASE, Ledger, Reading
from tests.conftest import House
from tests.console.conftest import HOME, SignIn, access_of
from tests.console.test_calls import KNOWN, SAID, log, quarantined, search

# who is here has signed in, and is somewhere
WITHOUT = ("console.static", "console.openid", "console.signing_in.page", "console.nowhere")
# what each page has to say of what is stored, by its endpoint: a new page is one line here
SAYS = {
    "overview.page": "1 calls could not be written into the CRM",
    "lookup.page": "nordlys",
    "calls.page": "dead letter: nobody tries again until you do",
    "events.page": "dead letter: nobody tries again until you do",
    "replays.page": "dead",
    "sender.page": "nordlys",
    "traces.page": "nordlys",
    "traces.one": "contact",
    "customers.page": "1 calls could not be written",
    "customers.form": "Add",
    "customer.page": "Could not be written</dt><dd>1</dd>",
    "plots.page": "Lookups by outcome: hit 1.",
    "adapters.page": "sql",
    "system.page": "dead_letters raised (nordlys)",
    "audit.page": "body shown",
    "signing_in.link": "nordlys",
}


@pytest.fixture
def console_database(database_url: str) -> str:
    return database_url


@pytest.fixture
def places(console: House) -> dict[str, str]:
    """Let something of everything be stored, and return what stands in addresses."""
    trace_id = console.lookup().headers["X-Request-Id"]
    event_id = log(console)
    console.deliver()
    replays, access = Replays(console.parts.inbox), access_of(console)
    replay_id = replays.begin("ada", "nordlys")
    replays.add(replay_id, [event_id])
    with console.parts.inbox.database.write() as connection:
        connection.execute(delivery.update().values(state="dead"))
    quarantined(console)
    Ledger(console.parts.inbox).note([Reading(kind="dead_letters", subject="nordlys")], OF_THE_DATABASE)
    access.audit.note("ada", "body shown", "nordlys", event_id, address="203.0.113.7")
    _, link = access.links.make("nordlys", "ada")
    return {
        "event_id": event_id,
        "replay_id": replay_id,
        "trace_id": trace_id,
        "customer": "nordlys",
        "text": link,
    }


def test_every_page_shows_what_is_stored(console: House, signed_in: SignIn, places: dict[str, str]) -> None:
    """No page of the console fails, and each shows what the database has for it."""
    person = signed_in()
    for rule in list(console.app.url_map.iter_rules()):
        if not rule.rule.startswith(HOME) or "GET" not in (rule.methods or ()) or rule.endpoint.startswith(WITHOUT):
            continue
        with console.app.test_request_context():
            values: Any = {name: places[name] for name in rule.arguments}
            path = console.app.url_for(rule.endpoint, **values)
        answer = person.get(path)
        assert answer.status_code == 200, path
        assert SAYS[rule.endpoint.removeprefix("console.")] in answer.text, path


@pytest.mark.parametrize("customer", ["", "nordlys"])
def test_every_search_finds_what_is_stored(
    console: House, signed_in: SignIn, places: dict[str, str], customer: str
) -> None:
    """Each field, alone and together with the customer, finds what has it and nothing else."""
    person, dead = signed_in(), places["event_id"]
    (unread,) = set(search(person)) - {dead}
    for state in STATES:
        found = {"dead": [dead], "quarantined": [unread]}.get(state, [])
        assert search(person, customer=customer, state=state) == found, state
    unplanned = [unread] if customer else []  # read only where the customer is named
    assert search(person, customer=customer, number=KNOWN) == [*unplanned, dead]
    assert search(person, customer=customer, text=SAID) == [unread, dead]
    assert search(person, customer=customer, sender="pbx") == []
    assert search(person, customer=customer, since="2026-01-01T00:00") == [unread, dead]
    assert search(person, customer=customer, until="2026-01-01T00:00") == []


@pytest.mark.parametrize(("path", "most"), [(HOME, overview.MOST), (f"{HOME}/system", system.MOST)])
def test_a_page_of_troubles_has_an_end(console: House, signed_in: SignIn, path: str, most: int) -> None:
    """However many customers have alarms, a page shows so many and says how many more there are."""
    readings = [Reading(kind="dead_letters", subject=f"customer-{i}") for i in range(most + 3)]
    Ledger(console.parts.inbox).note(readings, OF_THE_DATABASE)
    text = signed_in().get(path).text
    assert text.count("customer-") == most
    assert "And 3 " in text
