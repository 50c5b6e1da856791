"""A customer's admin sees one customer, whatever he asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from sqlalchemy import select

from middleware.inbox.tables import event
from tests.conftest import House
from tests.console.conftest import HOME, Person, SignIn, access_of
from tests.console.test_calls import SAID, log, set_state

OTHER = "harbour"
WITHOUT = (
    "console.static",
    "console.signing_in",
    "console.openid",
    "console.nowhere",
)  # sections that show no customer
ASKED = {  # what the forms of all pages send, beside ids and the customer
    "state": "dead",
    "sender": "calllog",
    "event": "calllog.call",
    "body": '{"fromNumber": "+447700900101"}',
    "receiver": "insights",
    "name": "Taken over",
    "crm": "sql",
    "text": "pump",
    "window": "30d",
    "mode": "renew",
}


def _seen(house: House, person: Person, ids: list[str]) -> Iterator[tuple[str, str]]:
    """Ask for every view of the console with every id, as a page, as a fragment and as a form; yield what comes."""
    for rule in list(house.app.url_map.iter_rules()):
        if not rule.rule.startswith(HOME) or rule.endpoint.startswith(WITHOUT):
            continue
        for values in product(ids, repeat=len(rule.arguments)):
            places: Any = dict(zip(sorted(rule.arguments), values, strict=True))
            with house.app.test_request_context():
                path = house.app.url_for(rule.endpoint, **places)
            number = house.customers[OTHER].known_numbers[0]
            form = {**ASKED, "customer": OTHER, "id": ids[-1], "call": ids[2], "link": ids[3], "number": number}
            for more in ({}, {"HX-Request": "true"}):
                if "GET" in (rule.methods or ()):
                    yield path, person.get(path, headers=more).text
                    yield path, person.get(path, query_string=form, headers=more).text
                if "POST" in (rule.methods or ()):
                    token = person.token()
                    yield path, person.client.post(path, data={"csrf": token, **form}, headers=more).text
                    only_id = {"csrf": token, "id": ids[-1], "call": ids[2]}
                    yield path, person.client.post(path, data=only_id, headers=more).text


def _of_the_other(house: House, staff: Person) -> tuple[list[str], list[str]]:
    """Return the ids that the other customer has, a trace's at the end, and what nobody else may read."""
    number = house.customers[OTHER].known_numbers[0]
    answer = house.lookup(number, OTHER)
    event_id = log(house, number, customer=OTHER)
    house.deliver()
    set_state(house, "dead")
    replay = re.search(rf"{HOME}/replays/([0-9a-f]+)", staff.post(f"{HOME}/replays", customer=OTHER, state="dead").text)
    found = house.parts.inbox.find_event(event_id)
    assert replay
    assert found
    link, _ = access_of(house).links.make(OTHER, "ada")
    trace_id = answer.headers["X-Request-Id"]
    ids = [OTHER, event_id, str(found.call_id), link.id, replay[1], trace_id]
    return ids, [OTHER, house.customers[OTHER].name, str((answer.json or {})["displayName"]), SAID]


@pytest.mark.parametrize("way", ["account", "link"])
def test_no_page_and_no_fragment_shows_another_customer(console: House, signed_in: SignIn, way: str) -> None:
    """Whatever a customer's admin asks for or sends, with whatever id: nothing of another comes, or changes."""
    ids, secret = _of_the_other(console, signed_in("cleo"))
    person = signed_in("nora")
    if way == "link":
        person = Person(console.app.test_client())
        person.post(f"{HOME}/link/{access_of(console).links.make('nordlys', 'ada')[1]}")
    before = _state(console)
    asked = 0
    for path, text in _seen(console, person, ids):
        asked += 1
        # what he has sent himself may come back in the field that he typed it into, his own page's address likewise
        shown = re.sub(f'value="({"|".join(ids)})"', "", text)
        assert not [word for word in (*secret, *ids) if word in shown], path
    assert asked > 100
    assert _state(console) == before


def _state(house: House) -> list[object]:
    """Return what is the other customer's: his file, his links, his events, and what was done about him."""
    access = access_of(house)
    with house.parts.inbox.database.read() as connection:
        query = select(event.c.id, event.c.state).where(event.c.tenant == OTHER)
        events: list[object] = [tuple(row) for row in connection.execute(query.order_by(event.c.id))]
    file = (house.folder / "customers" / f"{OTHER}.toml").read_bytes()
    return [file, *events, *access.links.list_links(OTHER), *access.audit.entries(OTHER)]


def test_the_crawler_sees_what_there_is_to_see(console: House, signed_in: SignIn) -> None:
    """The same crawler, as somebody who may, finds all of it: it looks in the right places."""
    cleo = signed_in("cleo")
    ids, secret = _of_the_other(console, cleo)
    before = _state(console)
    texts = " ".join(text for _, text in _seen(console, cleo, ids))
    assert all(word in texts for word in (*secret[:3], *ids))
    assert _state(console) != before
