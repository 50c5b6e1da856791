"""A customer's admin sees one customer, whatever he asks for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from tests.conftest import House, call_log
from tests.console.conftest import HOME, Person, SignIn, access_of

OTHER = "harbour"
WITHOUT = (
    "console.static",
    "console.signing_in",
    "console.openid",
    "console.nowhere",
)  # sections that show no customer


def _seen(house: House, person: Person, ids: list[str]) -> Iterator[tuple[str, str]]:
    """Ask for every view of the console with every id, as a page, as a fragment and as a form; yield what comes."""
    for rule in list(house.app.url_map.iter_rules()):
        if not rule.rule.startswith(HOME) or rule.endpoint.startswith(WITHOUT):
            continue
        for values in product(ids, repeat=len(rule.arguments)):
            places: Any = dict(zip(sorted(rule.arguments), values, strict=True))
            with house.app.test_request_context():
                path = house.app.url_for(rule.endpoint, **places)
            form = {"customer": OTHER, "id": ids[-1], "number": house.customers[OTHER].known_numbers[0]}
            for more in ({}, {"HX-Request": "true"}):
                if "GET" in (rule.methods or ()):
                    yield path, person.get(path, headers=more).text
                    yield path, person.get(path, query_string=form, headers=more).text
                if "POST" in (rule.methods or ()):
                    token = person.token()
                    yield path, person.client.post(path, data={"csrf": token, **form}, headers=more).text
                    only_id = {"csrf": token, "id": ids[-1]}
                    yield path, person.client.post(path, data=only_id, headers=more).text


def _of_the_other(house: House) -> tuple[list[str], list[str]]:
    """Return the ids that the other customer has, and what nobody else may read."""
    number = house.customers[OTHER].known_numbers[0]
    answer = house.lookup(number, OTHER)
    event = house.client.post(f"/{OTHER}/calllog", json=call_log(fromNumber=number), headers=house.bearer(OTHER)).json
    assert event
    trace_id = answer.headers["X-Request-Id"]
    secret = [OTHER, house.customers[OTHER].name, str((answer.json or {})["displayName"])]
    return [OTHER, event["id"], trace_id], secret


@pytest.mark.parametrize("way", ["account", "link"])
def test_no_page_and_no_fragment_shows_another_customer(console: House, signed_in: SignIn, way: str) -> None:
    """Whatever a customer's admin asks for, with whatever id, nothing of another customer comes."""
    ids, secret = _of_the_other(console)
    person = signed_in("nora")
    if way == "link":
        person = Person(console.app.test_client())
        person.post(f"{HOME}/link/{access_of(console).links.make('nordlys', 'ada')[1]}")
    asked = 0
    for path, text in _seen(console, person, ids):
        asked += 1
        # what he has sent himself may come back in the field that he typed it into, his own page's address likewise
        assert not [word for word in secret if word in text.replace(f'value="{OTHER}"', "")], path
        assert ids[-1] not in text.replace(f'value="{ids[-1]}"', ""), path
    assert asked > 10


def test_the_crawler_sees_what_there_is_to_see(console: House, signed_in: SignIn) -> None:
    """The same crawler, as somebody who may, finds all of it: it looks in the right places."""
    ids, secret = _of_the_other(console)
    texts = " ".join(text for _, text in _seen(console, signed_in("cleo"), ids))
    assert all(word in texts for word in (secret[0], secret[2], ids[-1]))
