"""Calls and deliveries in the console, on both engines: found, read by those who may, delivered again."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta
from typing import Any

import pytest

from middleware.inbox.tables import delivery, event
from tests.conftest import House, call_log
from tests.console.conftest import HOME, Person, SignIn, access_of

KNOWN, OTHER = "+46701740605", "+46701740606"
SAID = "Asked about the red pump."


@pytest.fixture
def console_database(database_url: str) -> str:
    return database_url


def log(house: House, number: str = KNOWN, text: str = SAID, customer: str = "nordlys", **changes: Any) -> str:
    """Have M8Com tell of a call, and return the event's id."""
    lines = f"Call to user: ada.webb@emca.inc\nCall from: {number}\nCall type: Outbound\n{text}"
    answer = house.post(call_log(fromNumber=number, body=lines, **changes), customer).json
    assert answer
    return str(answer["id"])


def quarantined(house: House) -> str:
    """Have M8Com tell of a call in a way that nobody understands."""
    answer = house.post(call_log(startTime="yesterday", body=SAID)).json
    assert answer
    assert answer["status"] == "quarantined"
    return str(answer["id"])


def set_state(house: House, state: str) -> None:
    """Let what was delivered have ended otherwise."""
    with house.parts.inbox.database.write() as connection:
        connection.execute(delivery.update().values(state=state, external_id=None, url=None, finished_at=None))


def shown(text: str) -> list[str]:
    """Return the ids of the events on a page of calls."""
    return re.findall(rf'href="{HOME}/events/([0-9a-f]{{24}})"', text)


def search(person: Person, **form: object) -> list[str]:
    return shown(person.post(f"{HOME}/calls", **form).text)


def test_an_events_page_tells_what_became_of_it(console: House, signed_in: SignIn) -> None:
    """Customer Care sees the state, the call, every attempt in words, and of the body nothing of whom or what."""
    event_id = log(console)
    person = signed_in("cleo")
    assert "accepted, not looked at yet" in person.get(f"{HOME}/events/{event_id}").text
    console.deliver()
    text = person.get(f"{HOME}/events/{event_id}").text
    assert "in the CRM" in text
    assert "Inbound" in text
    assert "…05" in text
    assert "delivered" in text
    for secret in (SAID, KNOWN, "ada.webb"):
        assert secret not in text
    assert "8762790" in text, "how long it took is nobody's secret"


@pytest.mark.parametrize(("name", "may"), [("ada", True), ("nora", True), ("cleo", False)])
def test_a_body_is_shown_when_somebody_asks_who_may(console: House, signed_in: SignIn, name: str, may: bool) -> None:
    """The body and the composed log are shown on request, which is written down; to Customer Care never."""
    event_id = log(console)
    console.deliver()
    person = signed_in(name)
    assert SAID not in person.get(f"{HOME}/events/{event_id}").text
    answer = person.post(f"{HOME}/events/{event_id}/body")
    assert answer.status_code == (200 if may else 403)
    assert answer.text.count(SAID) == (2 if may else 0), "in the body and in the log"
    noted = [entry.about for entry in access_of(console).audit.entries() if entry.action == "body shown"]
    assert noted == ([event_id] if may else [])


def test_who_came_by_a_link_sees_no_body_and_changes_nothing(console: House) -> None:
    """A read-only link shows what became of a call, not even a masked body, and replays nothing."""
    event_id = log(console)
    console.deliver()
    set_state(console, "dead")
    person = Person(console.app.test_client())
    person.post(f"{HOME}/link/{access_of(console).links.make('nordlys', 'ada')[1]}")
    text = person.get(f"{HOME}/events/{event_id}").text
    assert "dead letter" in text
    assert "What was sent" not in text
    assert "Replay" not in text
    assert person.post(f"{HOME}/calls", text=SAID).status_code == 200
    assert "Text in what was sent" not in person.get(f"{HOME}/calls").text
    for path in (f"events/{event_id}/body", f"events/{event_id}/replay", f"events/{event_id}/edit", "sender/send"):
        assert person.post(f"{HOME}/{path}", customer="nordlys", event="calllog.call", body="{}").status_code == 403


def test_events_are_found_by_all_that_is_known_of_them(console: House, signed_in: SignIn) -> None:
    """Customer, sender, state, number in any spelling, text, time and call each narrow the list down."""
    one = log(console)
    two = log(console, OTHER, "About an invoice.", startTime=1772370000000)
    british = log(console, "+447700900101", customer="harbour")
    console.deliver()
    three = log(console, OTHER, "Not looked at.", startTime=1772380000000)
    ada = signed_in()
    assert search(ada) == [three, british, two, one]
    assert search(ada, customer="harbour") == [british]
    assert search(ada, sender="pbx") == []
    assert search(ada, state="delivered", customer="nordlys") == [two, one]
    assert search(ada, state="queued") == [three]
    assert search(ada, customer="nordlys", number="070-174 06 06") == [three, two], "also what is part of no call yet"
    assert search(ada, number=OTHER) == [two], "as every customer's"
    assert search(ada, text="RED PUMP") == [british, one]
    assert search(ada, text="invoice", number=KNOWN) == []
    assert search(ada, since="2026-03-01T00:00") == [three, british, two, one]
    assert search(ada, until="2026-01-01T00:00") == []
    call = console.parts.inbox.find_event(two)
    assert call
    assert shown(ada.get(f"{HOME}/calls?call={call.call_id}").text) == [two]


def test_a_text_is_found_only_by_who_may_read_it(console: House, signed_in: SignIn) -> None:
    """Customer Care cannot learn from a search what the masked body does not show."""
    log(console)
    assert search(signed_in("cleo"), text="pump") == []
    assert search(signed_in("nora"), text="pump")
    looked = [(entry.who, entry.customer) for entry in access_of(console).audit.entries() if "text" in entry.action]
    assert looked == [("nora", "nordlys"), ("cleo", None)]
    assert search(signed_in("cleo"), text="outbound"), "what is shown is found"


@pytest.mark.parametrize(
    "form", [{"number": "070-174 06 06"}, {"since": "now"}, {"since": "0001-01-01"}, {"state": "x"}]
)
def test_what_cannot_be_understood_is_said(console: House, signed_in: SignIn, form: dict[str, str]) -> None:
    """A number without country and customer, or a moment that is none, is answered with what to write."""
    assert signed_in().post(f"{HOME}/calls", **form).status_code == 400


def test_pages_follow_one_another(console: House, signed_in: SignIn) -> None:
    """Older pages go on where the one before ended, and the last one says that it is."""
    ids = [log(console, startTime=1772366400000 + 60_000_000 * number) for number in range(60)][::-1]
    person = signed_in()
    first = person.get(f"{HOME}/calls").text
    before = re.search(r'name="before" value="(\d+)"', first)
    assert before
    second = person.post(f"{HOME}/calls", before=before[1]).text
    assert shown(first) + shown(second) == ids
    assert 'name="before"' not in second


def test_a_replay_of_all_that_match_is_followed(console: House, signed_in: SignIn) -> None:
    """Dead letters of one customer are delivered again, with what becomes of them on the page; other states stay."""
    for number in range(3):
        log(console, startTime=1772366400000 + 60_000_000 * number)
    console.deliver()
    set_state(console, "dead")
    person = signed_in("cleo")
    answer = person.post(f"{HOME}/replays", customer="nordlys", state="dead")
    assert answer.status_code == 200, answer.text
    assert "waits to be written" in answer.text
    replay_id = re.search(rf"{HOME}/replays/([0-9a-f]{{24}})", answer.text)
    assert replay_id
    console.deliver()
    done = person.get(f"{HOME}/replays/{replay_id[1]}").text
    assert "Done." in done
    assert "<dt>in the CRM</dt><dd>3</dd>" in done
    assert person.post(f"{HOME}/replays", customer="nordlys", state="delivered").status_code == 400
    assert signed_in("nora").get(f"{HOME}/replays/{replay_id[1]}").status_code == 200
    everybodys = person.post(f"{HOME}/replays", state="dead").text
    assert "Events replayed</dt><dd>0" in everybodys


def test_a_long_replay_goes_on_step_by_step(console: House, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into one step is done by those that follow, each event once."""
    monkeypatch.setattr("middleware.console.pages.replays.AT_ONCE", 2)
    for number in range(3):
        log(console, startTime=1772366400000 + 60_000_000 * number)
    console.deliver()
    set_state(console, "dead")
    person = signed_in("nora")
    first = person.post(f"{HOME}/replays", state="dead").text
    path = re.search(rf'action="({HOME}/replays/[0-9a-f]+)"', first)
    before = re.search(r'name="before" value="(\d+)"', first)
    assert path
    assert before
    assert "Events replayed</dt><dd>2" in first
    second = person.post(path[1], state="dead", before=before[1]).text
    assert "Events replayed</dt><dd>3" in second
    assert 'name="before"' not in second


def test_one_event_is_replayed(console: House, signed_in: SignIn) -> None:
    """A dead letter is delivered again by its button, which is written down."""
    event_id = log(console)
    console.deliver()
    set_state(console, "dead")
    person = signed_in("cleo")
    assert "Replay" in person.get(f"{HOME}/events/{event_id}").text
    assert person.post(f"{HOME}/events/{event_id}/replay").status_code == 303
    console.deliver()
    assert "in the CRM" in person.get(f"{HOME}/events/{event_id}").text
    assert [entry.action for entry in access_of(console).audit.entries("nordlys")] == ["replayed"]


def test_a_quarantined_event_is_edited_and_delivered(console: House, signed_in: SignIn) -> None:
    """What is not understood shows its fields, is edited until it is understood, and what came stays."""
    event_id = quarantined(console)
    person = signed_in()
    page = person.get(f"{HOME}/events/{event_id}").text
    assert "<code>startTime</code>" in page
    assert "<textarea" in person.post(f"{HOME}/events/{event_id}/body").text
    wrong = person.post(f"{HOME}/events/{event_id}/edit", body='{"duration": "x"}')
    assert wrong.status_code == 400
    assert "<code>duration</code>" in wrong.text
    assert person.post(f"{HOME}/events/{event_id}/edit", body="{").status_code == 400
    assert search(person) == [event_id], "nothing was stored by that"
    right = person.post(f"{HOME}/events/{event_id}/edit", body=json.dumps(call_log()))
    assert right.status_code == 303
    console.deliver()
    assert "in the CRM" in person.get(right.location).text
    assert "replaced" in person.get(f"{HOME}/events/{event_id}").text
    with console.parts.inbox.database.read() as connection:
        raw = connection.execute(event.select().where(event.c.id == event_id)).one().raw
    assert b"yesterday" in raw
    assert person.post(f"{HOME}/events/{event_id}/edit", body=json.dumps(call_log())).status_code == 400


@pytest.mark.parametrize("kind", ["calllog.call", "pbx.queue_call", "cdr.answered", "recording.v2", "postcall.full"])
def test_a_sample_becomes_a_call(console: House, signed_in: SignIn, kind: str) -> None:
    """Whoever acts as a sender gets a sample to edit, sends it, and sees on its page what becomes of it."""
    person = signed_in("cleo")
    made = person.post(f"{HOME}/sender", customer="nordlys", event=kind, number=KNOWN).text
    body = re.search(r"<textarea[^>]*>(.*?)</textarea>", made, re.S)
    assert body

    sent = person.post(f"{HOME}/sender/send", customer="nordlys", event=kind, body=html.unescape(body[1]))
    assert sent.status_code == 303
    console.deliver()
    page = person.get(sent.location).text
    assert re.search(r"in the CRM|waits to be written", page)
    (entry,) = access_of(console).audit.entries("nordlys")
    assert entry.action == "test event sent"


def test_a_sample_that_is_none_is_answered_as_the_sender_would_be(console: House, signed_in: SignIn) -> None:
    """What is no JSON is refused, what has wrong fields is quarantined; nobody acts for another customer."""
    person = signed_in()
    form = {"customer": "nordlys", "event": "calllog.call"}
    assert "400" in person.post(f"{HOME}/sender/send", **form, body="{").text
    sent = person.post(f"{HOME}/sender/send", **form, body='{"fromNumber": 1}')
    assert "quarantined" in person.get(sent.location).text
    nora = signed_in("nora")
    for path in ("sender", "sender/send"):
        wrong = {"customer": "harbour", "event": "calllog.call", "body": "{}", "number": KNOWN}
        assert nora.post(f"{HOME}/{path}", **wrong).status_code == 404


def test_a_removed_customers_events_are_still_seen(console: House, signed_in: SignIn) -> None:
    """Events of a customer without a file have a page, without a log that nobody can compose."""
    event_id = log(console)
    (console.folder / "customers" / "nordlys.toml").unlink()
    console.parts.tenants._clock = lambda: timedelta(days=1).total_seconds() * 10_000
    assert signed_in().get(f"{HOME}/events/{event_id}").status_code == 200
