"""Corners of pages: files that are broken, people who may less than others, and what is written down."""

from __future__ import annotations

import re

import pytest

from middleware.console.pages.customer import _span
from middleware.errors import StorageError
from tests.conftest import House, call_log
from tests.console.conftest import HOME, Person, SignIn, access_of

SAID = "Wants a red pump."


def _broken(house: House) -> None:
    """Give the house a customer whose file has never been valid."""
    (house.folder / "customers" / "bent.toml").write_text("region = 7")


def _by_link(house: House) -> Person:
    person = Person(house.app.test_client())
    person.post(f"{HOME}/link/{access_of(house).links.make('nordlys', 'ada')[1]}")
    return person


def test_whoever_edits_an_event_has_asked_for_its_body(console: House, signed_in: SignIn) -> None:
    """An edit that is refused shows the body, and so that is written down, too."""
    event_id = (console.post(call_log(summary=SAID)).json or {})["id"]
    console.deliver()
    answer = signed_in("nora").post(f"{HOME}/events/{event_id}/edit", body="{}")
    assert (answer.status_code, SAID in answer.text) == (400, True)
    assert [entry.action for entry in access_of(console).audit.entries("nordlys")][:2] == ["body shown", "edited"]


def test_who_came_by_a_link_renews_no_cache(console: House) -> None:
    """What a link promises, to change nothing, holds for what is kept of lookups: he may ask past it alone."""
    person = _by_link(console)
    assert re.findall(r'name="mode" value="([a-z-]+)"', person.get(f"{HOME}/lookup").text) == ["past"]
    console.lookup()
    asked = {"customer": "nordlys", "number": "+46701740605"}
    for mode in ("renew", "as-is"):
        assert person.post(f"{HOME}/lookup", mode=mode, **asked).status_code == 200
    assert console.lookup().headers["Server-Timing"].startswith("cache"), "it was not forgotten"


def test_the_pages_of_a_customer_whose_file_is_broken_say_so(console: House, signed_in: SignIn) -> None:
    """No link of his page ends nowhere, and what was typed is kept."""
    _broken(console)
    ada = signed_in()
    assert ada.get(f"{HOME}/plots?customer=bent").status_code == 200
    for action in ("", "/send"):
        answer = ada.post(f"{HOME}/sender{action}", customer="bent", event="calllog.call", body="typed")
        assert (answer.status_code, "file is not valid" in answer.text, "typed" in answer.text) == (400, True, True)
    assert ada.post(f"{HOME}/sender", customer="nobody").status_code == 404


def test_the_overview_leads_to_what_is_wrong(console: House, signed_in: SignIn) -> None:
    """Each trouble has the way to the customer, and to the calls that it is about."""
    console.post(call_log())
    console.deliver()
    with console.parts.inbox.database.write() as connection:
        connection.exec_driver_sql("UPDATE delivery SET state = 'dead'")
    text = signed_in("nora").get(HOME).text
    assert f'href="{HOME}/customer/nordlys"' in text
    assert f'href="{HOME}/calls?customer=nordlys&amp;state=dead"' in text


def test_a_customers_page_needs_no_traces(console: House, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this machine's traces cannot be read, the rest of the page is shown."""

    def refuse(*_: object, **__: object) -> None:
        raise StorageError("broken")

    monkeypatch.setattr(console.parts.traces.__class__, "list", refuse)
    assert signed_in().get(f"{HOME}/customer/nordlys").status_code == 200


def test_a_page_beyond_the_last_is_the_last(console: House, signed_in: SignIn) -> None:
    """An old address of a list that has become shorter shows customers, and not that there are none."""
    text = signed_in().get(f"{HOME}/customers?page=999").text
    assert "nordlys" in text
    assert "No customers." not in text


@pytest.mark.parametrize(
    ("seconds", "words"), [(7_776_000, "90d"), (2.6, "2.6s"), (0, "0s"), (300, "5m"), (90, "90s"), (5_400, "90m")]
)
def test_a_span_is_written_as_in_the_file(seconds: float, words: str) -> None:
    """Ninety days are 90d and not seven million seconds."""
    assert _span(seconds) == words


def test_settings_are_words(console: House, signed_in: SignIn) -> None:
    """No setting is shown as a program writes it."""
    text = signed_in().get(f"{HOME}/customer/nordlys").text
    assert "internal: yes; shorter_than: 0s" in text
    assert not re.search(r"datetime|frozenset|Config\(|\{&#39;find", text)
