"""The Upsales adapter against answers shaped as those of Upsales' sandbox (2025) and of its Postman collection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapters.upsales import UpsalesAdapter, UpsalesSettings
from middleware.crm.base import ACTIVITY_METHODS
from middleware.crm.settings import Secret
from middleware.errors import CRMRejectedError, RateLimitedError, UnsupportedError
from middleware.lookup.verify import find_verified
from middleware.model.call import CallRecord, Ending, LoggedCall
from middleware.model.contact import Contact, ContactDraft, ContactNumber
from middleware.model.phone import parse_number
from tests.adapters.recorded import RecordedCrm, context
from tests.adapters.recorded import call as recorded_call
from tests.adapters.specification import FOLDER, missing_specification

HERE = Path(__file__).parent
KEY = "m8crm-conformance-c0ffee"
NUMBER = parse_number("+46701740605", "SE")
ADA = Contact(id="645", display_name="Ada Webb")
PAGE = "https://power.upsales.com/#/contacts/645"
LOGGED = LoggedCall(external_id="41", url=PAGE)


def upsales(**settings: Any) -> UpsalesAdapter:
    return UpsalesAdapter(UpsalesSettings(token=Secret("t0ken"), **{"account": 7, "task_type": 5, **settings}))


def call(**known: Any) -> CallRecord:
    return recorded_call(**{"body": "Hello", **known})


@pytest.fixture
def crm() -> Iterator[RecordedCrm]:
    with RecordedCrm(HERE / "exchanges.json") as crm:
        yield crm


@pytest.fixture
def texts() -> Iterator[RecordedCrm]:
    with RecordedCrm(HERE / "exchanges_with_texts.json") as crm:
        yield crm


@pytest.mark.parametrize("name", ["exchanges", "exchanges_with_texts"])
def test_the_answers_have_the_shape_of_real_ones(name: str) -> None:
    """Every field of the records that these tests answer with is one that Upsales' sandbox answered with."""
    path = FOLDER / "upsales" / "real-response-shapes.json"
    if not path.exists():
        missing_specification(path.name)
    real = json.loads(path.read_text(encoding="utf-8"))
    real["orders"] = real["opportunities"]
    compared = 0
    for exchange in json.loads((HERE / f"{name}.json").read_text(encoding="utf-8")):
        kind = exchange["request"].split("?")[0].split("/")[3]
        answer = exchange["answer"]["data"]
        for record in answer if isinstance(answer, list) else [answer]:
            if kind in real:
                known = real[kind]["record_scrubbed"]
                assert record.keys() <= known.keys(), (exchange["request"], record.keys() - known.keys())
                compared += 1
    assert compared > 10


def test_a_search_is_one_request_for_all_spellings(crm: RecordedCrm) -> None:
    """Both phone fields are searched for the end of the number, however its digits are grouped and separated."""
    adapter = upsales()
    found, count = find_verified(adapter, NUMBER, "e164", context(adapter))
    assert (count, [contact.id for contact in found]) == (2, ["645"])
    assert found[0].numbers == (
        ContactNumber(number="08-465 004 12"),
        ContactNumber(number="070-174 06 05", comment="mobile"),
    )
    assert (found[0].company, found[0].url, found[0].title) == ("Nordlys AB", PAGE, "Buyer")
    assert len(crm.sent) == 1
    either = [one for (one,) in json.loads(crm.sent[0].query["q"])["or"]["q"]]
    assert [one["v"] for one in either if one["a"] == "cellPhone"] == ["1740605", "174 06 05", "174-06-05", "174.06.05"]
    assert {(one["a"], one["c"]) for one in either} == {("phone", "src"), ("cellPhone", "src")}
    assert crm.sent[0].request.headers["Cookie"] == "token=t0ken"
    assert "t0ken" not in str(crm.sent[0].request.url)


@pytest.mark.parametrize(
    ("stored", "dialled"),
    [
        ("070-1740605", "+46701740605"),
        ("+46 (0)70-174 06 05", "+46701740605"),
        ("0701740605", "+46701740605"),
        ("08-465 004 12", "+46846500412"),
        ("+45 32 12 34 56", "+4532123456"),
        ("(201) 555-0123", "+12015550123"),
        ("201.555.0123", "+12015550123"),
        ("+47 22 86 44 00", "+4722864400"),
    ],
)
def test_a_spelling_holds_one_of_the_ends(crm: RecordedCrm, stored: str, dialled: str) -> None:
    """Numbers as people write them hold, as a part, one of the texts that are searched for."""
    adapter = upsales()
    list(adapter.find_contacts(parse_number(dialled, "SE"), context(adapter)))
    either = json.loads(crm.sent[0].query["q"])["or"]["q"]
    assert any(one["v"] in stored for (one,) in either)


def test_activities_are_the_contact_s(crm: RecordedCrm) -> None:
    """One request for each type; what another contact has, and what is private, stays out."""
    adapter = upsales()
    ctx = context(adapter)
    found = {m: list(getattr(adapter, m)(ADA, ctx)) for m in filter(adapter.can, ACTIVITY_METHODS)}
    assert {method: [one.timestamp.day for one in several] for method, several in found.items()} == {
        "find_tasks": [18],
        "find_calls": [15, 6],
        "find_tickets": [6],
        "find_deals": [26],
        "find_appointments": [3],
    }
    assert len(crm.sent) == 5
    assert crm.sent[0].query == {"contact.id": "645", "sort": "-regDate", "limit": "30"}
    (task,), (deal,), (meeting,) = found["find_tasks"], found["find_deals"], found["find_appointments"]
    assert (task.header, task.done, task.assigned_user, task.custom_header) == (
        "Send the price list",
        False,
        "Ellen Berg",
        "To-do",
    )
    assert (str(deal.amount), deal.currency, deal.done, deal.pipeline_stage) == ("18400.5", "SEK", False, "Offer sent")
    assert (meeting.end_date, meeting.venue) == (datetime(2026, 3, 3, 9, 30, tzinfo=UTC), "Malmö")


def test_a_call_leads_to_its_recording(crm: RecordedCrm) -> None:
    """The link of a call is its recording's, and what was written here tells who called."""
    adapter = upsales()
    crm.answers["GET /api/v2/phoneCall"] = (200, {"data": [phone_call("outbound answered"), phone_call("31")]})
    ours, older = adapter.find_calls(ADA, context(adapter))
    assert (ours.link, ours.duration) == ("https://m8.example/recordings/c0ffee", timedelta(seconds=95))
    assert (ours.from_number, ours.to_number) == ("unknown", "+46701740605")
    assert (older.from_number, older.to_number) == ("+46701740605", "unknown")


def phone_call(kind: str) -> dict[str, Any]:
    known = json.loads((HERE / "exchanges.json").read_text(encoding="utf-8"))
    written: dict[str, Any] = next(one["answer"]["data"] for one in known if one["request"] == "POST /api/v2/phoneCall")
    return {**written, "type": kind}


def test_a_call_is_one_write_with_its_key(crm: RecordedCrm) -> None:
    """The contact's company is asked for, then one write has time, duration, recording, key and owner."""
    adapter = upsales()
    started = datetime(2026, 1, 15, 10, 30, 5, tzinfo=ZoneInfo("Europe/Stockholm"))
    record = call(owner="471100", started_at=started, ending=Ending.ANSWERED, recording="https://m8.example/r/1")
    assert adapter.log_call(record, ADA, context(adapter)) == LOGGED
    assert crm.told == ["GET /api/v2/contacts/645", "POST /api/v2/phoneCall"]
    assert crm.sent[1].body == {
        "date": "2026-01-15T09:30:05.000Z",
        "durationInS": 95,
        "phoneNumber": "+46701740605",
        "type": "inbound answered",
        "externalId": KEY,
        "conversationUrl": "https://m8.example/r/1",
        "client": {"id": 102},
        "contact": {"id": 645},
        "user": {"id": 471100},
    }


def test_what_upsales_does_not_take_is_not_written(crm: RecordedCrm) -> None:
    """A link that is too long, an owner who is none, and a call of nobody."""
    adapter = upsales()
    adapter.log_call(call(recording="https://m8.example/" + "r" * 500), ADA, context(adapter))
    assert {"conversationUrl", "user"}.isdisjoint(crm.sent[-1].body)
    with pytest.raises(UnsupportedError):
        adapter.log_call(call(), None, context(adapter))
    with pytest.raises(CRMRejectedError, match="owners"):
        adapter.log_call(call(owner="Ellen"), ADA, context(adapter))
    assert crm.told.count("POST /api/v2/phoneCall") == 1


def test_an_owner_may_be_an_address(crm: RecordedCrm) -> None:
    """Who has the address is asked for."""
    adapter = upsales()
    crm.answers["GET /api/v2/users"] = (200, {"data": [{"id": 471100}]})
    adapter.log_call(call(owner="ellen.berg@nordlys.example"), ADA, context(adapter))
    assert crm.sent[-1].body["user"] == {"id": 471100}
    assert crm.sent[1].query == {"email": "ellen.berg@nordlys.example"}


def test_a_call_is_found_by_its_key_and_completed(crm: RecordedCrm) -> None:
    """After an unknown outcome Upsales is asked for the key; a recording that comes late is written."""
    adapter = upsales()
    assert adapter.find_logged_call(call(), context(adapter)) == LoggedCall(external_id="41")
    similar = phone_call("inbound") | {"externalId": f"{KEY}-2"}
    crm.answers["GET /api/v2/phoneCall"] = (200, {"data": [similar]})
    assert adapter.find_logged_call(call(), context(adapter)) is None
    adapter.update_call(LOGGED, call(recording="https://m8.example/r/2"), context(adapter))
    assert (crm.told[-1], crm.sent[-1].body["conversationUrl"]) == (
        "PUT /api/v2/phoneCall/41",
        "https://m8.example/r/2",
    )
    assert {"user", "contact", "client"}.isdisjoint(crm.sent[-1].body)


def test_a_call_with_its_text_is_a_closed_activity(texts: RecordedCrm) -> None:
    """With an activity type for calls, subject and body are written, on all contacts who share the number."""
    adapter = upsales(call_type=9)
    other = Contact(id="646", display_name="Bo Ek")
    logged = adapter.log_call(call(owner="471100", other_contacts=(other,)), ADA, context(adapter))
    assert logged == LoggedCall(external_id="1690", url=PAGE)
    assert texts.sent[-1].body == {
        "activityType": {"id": 9},
        "description": "Inbound call",
        "notes": f"Hello\n\nm8crm {KEY}",
        "date": "2026-01-15T09:30:05.000Z",
        "closeDate": "2026-01-15",
        "client": {"id": 102},
        "contacts": [{"id": 645}, {"id": 646}],
        "users": [{"id": 471100}],
    }
    assert adapter.find_logged_call(call(), context(adapter)) == LoggedCall(external_id="1690")
    assert texts.sent[-1].query["notes"] == f"src:{KEY}"
    adapter.update_call(logged, call(body="Later"), context(adapter))
    assert texts.sent[-1].body["notes"] == f"Later\n\nm8crm {KEY}"


def test_a_call_with_its_text_is_shown_as_a_note(texts: RecordedCrm) -> None:
    """What was logged so is no task; notes and tasks are read with one request."""
    adapter = upsales(call_type=9)
    ctx = context(adapter)
    assert [note.header for note in adapter.find_notes(ADA, ctx)] == ["Outbound call"]
    assert [task.header for task in adapter.find_tasks(ADA, ctx)] == ["Send the price list"]
    assert len(texts.sent) == 1
    assert not upsales().can("find_notes")


def test_the_type_of_calls_is_not_that_of_an_appointment(texts: RecordedCrm) -> None:
    """Types of activities and of appointments are numbered each for themselves."""
    adapter = upsales(call_type=6)
    assert [meeting.header for meeting in adapter.find_appointments(ADA, context(adapter))] == ["Site visit"]


def test_a_task_is_created_once(crm: RecordedCrm) -> None:
    """An action item becomes an activity of the contact, unless one of his has its key."""
    adapter = upsales()
    adapter.create_task(ADA, "Send it", call(owner="471100"), context(adapter))
    written = crm.sent[-1].body
    assert (written["date"], written["activityType"], written["contacts"]) == ("2026-01-16", {"id": 5}, [{"id": 645}])
    crm.answers["GET /api/v2/activities"] = (200, {"data": [{"id": 1, **written}]})
    adapter.create_task(ADA, "Send it", call(), context(adapter))
    assert crm.told.count("POST /api/v2/activities") == 1
    assert not upsales(task_type=0).can("create_task")


def test_somebody_unknown_is_created_in_a_company(crm: RecordedCrm) -> None:
    """Upsales has no contact without a company: the customer names the one for unknown callers."""
    adapter = upsales()
    created = adapter.create_contact(ContactDraft(number=NUMBER, display_name="Ada Webb"), context(adapter))
    assert (created.id, created.numbers[0].number) == ("99", "+46701740605")
    assert crm.sent[0].body == {"name": "Ada Webb", "phone": "+46701740605", "client": {"id": 7}}
    assert not upsales(account=0).can("create_contact")


def test_who_is_inactive_is_nobody_s_caller(crm: RecordedCrm) -> None:
    """An inactive contact is not found, and the number index forgets him; an id that is none costs no request."""
    adapter = upsales()
    gone = {"id": 645, "name": "Ada Webb", "active": 0, "cellPhone": "070-174 06 05"}
    crm.answers["GET /api/v2/contacts"] = (200, {"data": [gone]})
    assert find_verified(adapter, NUMBER, "e164", context(adapter)) == ([], 1)
    assert [contact.numbers for contact in adapter.iter_contacts(None, context(adapter))] == [()]
    assert adapter.find_contact_by_id("645", context(adapter))
    crm.answers["GET /api/v2/contacts/645"] = (200, {"data": gone})
    assert adapter.find_contact_by_id("645", context(adapter)) is None
    sent = len(crm.sent)
    assert adapter.find_contact_by_id("6/../45", context(adapter)) is None
    assert len(crm.sent) == sent


def test_all_contacts_come_in_the_order_of_their_ids(crm: RecordedCrm) -> None:
    """A full page is followed by one after its last id; later only what was changed is asked for."""
    adapter = upsales()
    crm.answers["GET /api/v2/contacts"] = (200, {"data": [{"id": n, "name": "N", "active": 1} for n in range(1, 251)]})
    contacts = adapter.iter_contacts(datetime(2026, 1, 1, tzinfo=UTC), context(adapter))
    assert [next(contacts).id for _ in range(251)][-1] == "1"
    asked = [sent.query for sent in crm.sent]
    assert [one["id"] for one in asked] == ["gt:0", "gt:250"]
    assert asked[0] | {"id": ""} == {"sort": "id", "limit": "250", "modDate": "gte:2026-01-01T00:00:00.000Z", "id": ""}


def test_a_limit_is_obeyed_for_as_long_as_upsales_says(crm: RecordedCrm) -> None:
    """The seconds stand in a header of Upsales' own."""
    adapter = upsales()
    crm.headers["x-ratelimit-reset"] = "7"
    crm.answers["GET /api/v2/contacts"] = (429, {"error": "Too many requests"})
    with pytest.raises(RateLimitedError) as caught:
        list(adapter.find_contacts(NUMBER, context(adapter)))
    assert caught.value.retry_after == timedelta(seconds=7)


def test_check_names_what_is_missing(crm: RecordedCrm) -> None:
    """A type that the key may not read, and a company that is not there, are told before the first call."""
    adapter = upsales()
    assert [finding.message for finding in adapter.check(context(adapter)) if not finding.ok] == []
    crm.answers["GET /api/v2/tickets"] = (403, {"error": "no access"})
    crm.answers["GET /api/v2/accounts/7"] = (404, {"error": "not found"})
    crm.answers["GET /api/v2/activitytypes/activity"] = (200, {"data": [{"id": 6}]})
    messages = [finding.message for finding in adapter.check(context(adapter)) if not finding.ok]
    assert ["tickets" in messages[0], "account" in messages[1], "task_type" in messages[2]] == [True] * 3
    assert len(messages) == 3
    assert {sent.method for sent in crm.sent} == {"GET"}
