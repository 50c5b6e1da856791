"""The HubSpot adapter against answers as HubSpot's documentation shows them (2026-11)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.hubspot import COLUMNS, HubSpotAdapter, HubSpotSettings
from middleware.crm.base import Bookmark
from middleware.crm.settings import Secret
from middleware.errors import CRMAuthError, CRMRejectedError, RateLimitedError
from middleware.lookup.verify import verified_contacts
from middleware.model.activity import Note
from middleware.model.call import Direction, Ending, LoggedCall
from middleware.model.contact import Contact, ContactDraft, ContactNumber
from middleware.model.phone import parse_number
from tests.adapters.recorded import RecordedCrm, call, context

EXCHANGES = Path(__file__).with_name("exchanges.json")
KEY = "m8crm-conformance-c0ffee"
NUMBER = parse_number("+46701740605", "SE")
ADA = Contact(id="51101", display_name="Ada Webb")
CALLS = "/crm/v3/objects/calls"
TYPES = ["notes", "tasks", "calls", "tickets", "deals", "appointments", "activities"]
PAGE = "https://app-eu1.hubspot.com/contacts/26551111/record"


def hubspot(**settings: Any) -> HubSpotAdapter:
    given = {"token": Secret("pat-eu1-x"), "portal": "26551111", "app": "app-eu1", **settings}
    return HubSpotAdapter(HubSpotSettings(**given))


@pytest.fixture
def crm() -> Iterator[RecordedCrm]:
    with RecordedCrm(EXCHANGES) as crm:
        yield crm


def test_one_search_finds_every_spelling_in_every_phone_property(crm: RecordedCrm) -> None:
    """A lookup costs one search, whatever way the number is written and wherever it stands."""
    adapter = hubspot(phones=("phone", "mobilephone", "assistant_phone"))
    found = list(adapter.find_contacts(NUMBER, context(adapter)))
    assert [contact.id for contact in verified_contacts(found, NUMBER, "SE")] == ["51101"]
    assert crm.told == ["POST /crm/v3/objects/contacts/search"]
    assert crm.sent[0].request.headers["Authorization"] == "Bearer pat-eu1-x"
    groups = crm.sent[0].body["filterGroups"]
    assert len(groups) <= 5  # HubSpot's limit
    filters = {group["filters"][0]["propertyName"]: group["filters"][0] for group in groups}
    assert filters["hs_searchable_calculated_mobile_number"] == {
        "propertyName": "hs_searchable_calculated_mobile_number",
        "operator": "CONTAINS_TOKEN",
        "value": "*01740605",
    }
    assert filters["assistant_phone"]["operator"] == "IN"
    assert {"+46701740605", "0701740605", "070-174 06 05"} <= set(filters["assistant_phone"]["values"])


def test_a_contact_is_read_whole(crm: RecordedCrm) -> None:
    """The card has the contact's names, company, numbers, e-mail and page, and when it was changed."""
    adapter = hubspot()
    contact = list(adapter.find_contacts(NUMBER, context(adapter)))[1]
    assert (contact.display_name, contact.first_name, contact.company, contact.title) == (
        "Ada Webb",
        "Ada",
        "Nordlys AB",
        "Buyer",
    )
    assert contact.numbers == (
        ContactNumber(number="08-465 004 12", comment="phone"),
        ContactNumber(number="070-174 06 05", comment="mobilephone"),
    )
    assert contact.emails[0].address == "ada.webb@nordlys.example"
    assert contact.url == f"{PAGE}/0-1/51101"
    assert contact.updated_at == datetime(2026, 2, 11, 14, 21, 9, 330_000, tzinfo=UTC)


def test_all_types_cost_one_read_and_a_batch_each(crm: RecordedCrm) -> None:
    """The types are asked for side by side; the contact's ids are read once for all of them."""
    adapter = hubspot()
    ctx = context(adapter)
    with ThreadPoolExecutor(7) as pool:
        found = list(pool.map(lambda kind: list(getattr(adapter, f"find_{kind}")(ADA, ctx)), TYPES))
    assert [len(activities) for activities in found] == [2, 2, 2, 1, 1, 1, 1]
    assert sorted(crm.told) == sorted(
        ["GET /crm/v3/objects/contacts/51101"] + [f"POST /crm/v3/objects/{kind}/batch/read" for kind in COLUMNS],
    )
    assert set(crm.sent[0].query["associations"].split(",")) == set(COLUMNS)


def test_what_each_type_tells(crm: RecordedCrm) -> None:
    """Amounts, spans, moments and states arrive as what they are, each with its page."""
    adapter = hubspot()
    ctx = context(adapter)
    deal = next(iter(adapter.find_deals(ADA, ctx)))
    assert (str(deal.amount), deal.currency, deal.done, deal.link) == ("18400.50", "SEK", False, f"{PAGE}/0-3/7401")
    assert deal.close_date == datetime(2026, 3, 31, tzinfo=UTC)
    first, by_hand = adapter.find_calls(ADA, ctx)
    assert (first.duration, first.from_number) == (timedelta(seconds=95), "+46701740605")
    assert (by_hand.duration, by_hand.from_number) == (timedelta(), "unknown")
    assert first.link == f"{PAGE}/0-1/51101?engagement=7201"
    assert [task.done for task in adapter.find_tasks(ADA, ctx)] == [False, True]
    ticket = next(iter(adapter.find_tickets(ADA, ctx)))
    assert (ticket.header, ticket.priority) == ("Invoice 8812 is wrong", "HIGH")
    meeting = next(iter(adapter.find_appointments(ADA, ctx)))
    assert (meeting.venue, meeting.end_date) == ("Malmö", datetime(2026, 3, 3, 9, 30, tzinfo=UTC))
    email = next(iter(adapter.find_activities(ADA, ctx)))
    assert isinstance(email, Note)
    assert (email.header, email.custom_header) == ("Re: offer", "E-mail")


def test_more_than_a_page_of_a_type_is_searched(crm: RecordedCrm) -> None:
    """A contact with hundreds of notes shows the latest: HubSpot lists ids in no order, so a search sorts them."""
    link = {"results": [{"id": "1", "type": "contact_to_note"}], "paging": {"next": {"after": "x"}}}
    crm.answers["GET /crm/v3/objects/contacts/51101"] = (200, {"id": "51101", "associations": {"notes": link}})
    crm.answers["POST /crm/v3/objects/notes/search"] = (
        200,
        {"total": 900, "results": [{"id": "9", "properties": {"hs_timestamp": "2026-02-20T08:12:00Z"}}]},
    )
    adapter = hubspot()
    assert len(list(adapter.find_notes(ADA, context(adapter)))) == 1
    asked = crm.sent[-1].body
    assert asked["filterGroups"][0]["filters"][0] == {
        "propertyName": "associations.contact",
        "operator": "EQ",
        "value": "51101",
    }
    assert asked["sorts"] == [{"propertyName": "hs_timestamp", "direction": "DESCENDING"}]


def test_the_latest_of_many_are_read(crm: RecordedCrm) -> None:
    """Of a page of ids in any order the highest are read: they were created last."""
    ids = [str(number) for number in (*range(95, 120), *range(40, 95))]
    links = {"results": [{"id": one, "type": "contact_to_note"} for one in ids]}
    crm.answers["GET /crm/v3/objects/contacts/51101"] = (200, {"id": "51101", "associations": {"notes": links}})
    adapter = hubspot()
    list(adapter.find_notes(ADA, context(adapter)))
    assert {one["id"] for one in crm.sent[-1].body["inputs"]} == {str(number) for number in range(90, 120)}


def test_a_type_that_may_not_be_read_spoils_no_other(crm: RecordedCrm) -> None:
    """A missing scope costs its own type alone."""
    crm.answers["POST /crm/v3/objects/tickets/batch/read"] = (403, {"category": "MISSING_SCOPES"})
    adapter = hubspot()
    ctx = context(adapter)
    with pytest.raises(CRMAuthError):
        list(adapter.find_tickets(ADA, ctx))
    assert len(list(adapter.find_notes(ADA, ctx))) == 2


def test_a_call_is_one_write_with_its_key_owner_and_contacts(crm: RecordedCrm) -> None:
    """One request writes the call, its key, whose it is, and all who share the number."""
    adapter = hubspot()
    other = Contact(id="51177", display_name="Bo")
    written = call(owner="471100", recording="https://m8.example/r/1", other_contacts=(other,))
    logged = adapter.log_call(written, ADA, context(adapter))
    assert logged == LoggedCall(external_id="7299", url=f"{PAGE}/0-1/51101?engagement=7299")
    assert crm.told == [f"POST {CALLS}"]
    body = crm.sent[0].body
    assert body["properties"] == {
        "hs_timestamp": "1768469405000",
        "hs_call_title": "Inbound call",
        "hs_call_body": "<p>Hello</p>",
        "hs_call_direction": "INBOUND",
        "hs_call_duration": "95000",
        "hs_call_from_number": "+46701740605",
        "hs_call_to_number": "+46851970000",
        "hs_call_status": "COMPLETED",
        "hs_call_recording_url": "https://m8.example/r/1",
        "hubspot_owner_id": "471100",
        "m8crm_key": KEY,
    }
    assert [each["to"]["id"] for each in body["associations"]] == ["51101", "51177"]
    assert body["associations"][0]["types"] == [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 194}]


def test_an_outbound_call_that_nobody_took(crm: RecordedCrm) -> None:
    """Numbers and direction are HubSpot's way round, and a missed call is none that was held."""
    adapter = hubspot(key_property="")
    adapter.log_call(call(direction=Direction.OUTBOUND, ending=Ending.MISSED), ADA, context(adapter))
    properties = crm.sent[0].body["properties"]
    assert (properties["hs_call_to_number"], properties["hs_call_direction"]) == ("+46701740605", "OUTBOUND")
    assert properties["hs_call_status"] == "NO_ANSWER"
    assert "m8crm_key" not in properties


def test_an_owner_may_be_named_by_mail(crm: RecordedCrm) -> None:
    """Who keeps e-mail addresses need not look ids up; an unknown one leaves the call without owner."""
    adapter = hubspot()
    crm.answers["GET /crm/v3/owners"] = (200, {"results": [{"id": "471100", "email": "ellen.berg@nordlys.example"}]})
    adapter.log_call(call(owner="ellen.berg@nordlys.example"), ADA, context(adapter))
    crm.answers["GET /crm/v3/owners"] = (200, {"results": []})
    adapter.log_call(call(owner="gone@nordlys.example"), ADA, context(adapter))
    written = [sent.body["properties"].get("hubspot_owner_id") for sent in crm.sent if sent.method == "POST"]
    assert written == ["471100", None]


def test_a_call_is_found_by_its_key_at_once(crm: RecordedCrm) -> None:
    """After an unknown outcome the call is read by its key, not searched: HubSpot's index is seconds late."""
    adapter = hubspot()
    assert adapter.find_logged_call(call(), context(adapter)) == LoggedCall(external_id="7299")
    assert adapter.find_logged_call(call(key="another"), context(adapter)) is None
    assert crm.told == [f"GET {CALLS}/{KEY}", f"GET {CALLS}/another"]


def test_a_second_one_with_the_key_is_the_first(crm: RecordedCrm) -> None:
    """HubSpot refuses a key it has: then the call is there, and is not told as refused."""
    refusal = {"status": "error", "category": "VALIDATION_ERROR", "message": "CONFLICTING_UNIQUE_VALUE"}
    crm.answers[f"POST {CALLS}"] = (400, refusal)
    adapter = hubspot()
    assert adapter.log_call(call(), ADA, context(adapter)).external_id == "7299"
    crm.answers[f"POST {CALLS}"] = (400, {"category": "VALIDATION_ERROR", "message": "PROPERTY_DOESNT_EXIST"})
    with pytest.raises(CRMRejectedError):
        adapter.log_call(call(), ADA, context(adapter))


def test_a_call_is_completed(crm: RecordedCrm) -> None:
    """What comes late replaces the text and adds the recording; owner and contacts stay as people left them."""
    adapter = hubspot()
    adapter.update_call(LoggedCall(external_id="7299"), call(recording="https://m8.example/r/1"), context(adapter))
    assert crm.told == [f"PATCH {CALLS}/7299"]
    assert crm.sent[0].body["properties"]["hs_call_recording_url"] == "https://m8.example/r/1"
    assert not {"hubspot_owner_id", "m8crm_key"} & crm.sent[0].body["properties"].keys()


def test_a_task_is_created_once(crm: RecordedCrm) -> None:
    """An action item becomes a task on the contact, and one that HubSpot has is left alone."""
    adapter = hubspot()
    adapter.create_task(ADA, "Send the offer", call(), context(adapter))
    properties = crm.sent[-1].body["properties"]
    assert properties["m8crm_key"] == call().task_key("Send the offer")
    assert properties["hs_timestamp"] == "1768555900000"  # a day after the call's end
    assert crm.sent[-1].body["associations"][0]["types"][0]["associationTypeId"] == 204
    crm.answers[f"GET /crm/v3/objects/tasks/{call().task_key('Send the offer')}"] = (200, {"id": "7199"})
    adapter.create_task(ADA, "Send the offer", call(), context(adapter))
    assert crm.told.count("POST /crm/v3/objects/tasks") == 1


def test_somebody_unknown_is_created(crm: RecordedCrm) -> None:
    """A caller becomes a contact with his number, and is known as what he was created."""
    adapter = hubspot()
    draft = ContactDraft(number=NUMBER, display_name="Ada Maria Webb", owner="471100")
    created = adapter.create_contact(draft, context(adapter))
    assert (created.id, created.display_name, created.numbers[0].number) == ("51999", "Ada Maria Webb", "+46701740605")
    properties = crm.sent[0].body["properties"]
    assert (properties["firstname"], properties["lastname"], properties["hubspot_owner_id"]) == (
        "Ada Maria",
        "Webb",
        "471100",
    )


def test_a_typed_id_is_a_contact(crm: RecordedCrm) -> None:
    """A caller who types his number with the customer is found; what is no id of HubSpot's costs no request."""
    adapter = hubspot()
    found = adapter.find_contact_by_id("51101", context(adapter))
    assert found
    assert found.display_name == "Ada Webb"
    assert adapter.find_contact_by_id("404", context(adapter)) is None
    assert adapter.find_contact_by_id("../calls", context(adapter)) is None
    assert len(crm.told) == 2


def test_all_contacts_come_page_by_page(crm: RecordedCrm) -> None:
    """The number index gets every contact."""
    adapter = hubspot()
    assert [contact.id for contact in adapter.iter_contacts(None, context(adapter))] == ["51177", "51101"]
    assert [sent.query.get("after") for sent in crm.sent] == [None, "51178"]


def test_an_interrupted_list_is_read_on(crm: RecordedCrm) -> None:
    """Whoever was killed on the second page begins there."""
    adapter, ctx = hubspot(), context(hubspot())
    listed = adapter.iter_contacts(None, ctx)
    assert next(listed).id == "51177"
    assert ctx.bookmark.place == ""
    assert next(listed).id == "51101"
    assert ctx.bookmark.place == "51178"
    again = replace(context(adapter), bookmark=Bookmark("51178"))
    assert [contact.id for contact in adapter.iter_contacts(None, again)] == ["51101"]


def test_changes_beyond_ten_thousand_are_read_on_from_the_last(crm: RecordedCrm) -> None:
    """A search ends at 10,000: the next begins where it stopped, so that no change is lost."""
    adapter = hubspot()
    since = datetime(2026, 1, 1, tzinfo=UTC)
    contact = {"id": "1", "properties": {}, "updatedAt": "2026-02-01T00:00:00Z"}
    full = (200, {"results": [contact], "paging": {"next": {"after": "10000"}}})
    crm.answers["POST /crm/v3/objects/contacts/search"] = full
    changed = adapter.iter_contacts(since, context(adapter))
    next(changed)
    crm.answers["POST /crm/v3/objects/contacts/search"] = (200, {"results": []})
    assert list(changed) == []
    asked = [sent.body["filterGroups"][0]["filters"][0]["value"] for sent in crm.sent]
    assert asked == ["1767225600000", "1769904000000"]
    assert [sent.body["after"] for sent in crm.sent] == ["0", "0"]


@pytest.mark.parametrize(("policy", "seconds"), [("SECONDLY", 1), ("TEN_SECONDLY_ROLLING", 10), ("DAILY", 3600)])
def test_a_limit_is_obeyed_for_as_long_as_it_lasts(crm: RecordedCrm, policy: str, seconds: int) -> None:
    """HubSpot names the limit that was reached and not the time: a search's is over in a second."""
    crm.answers["POST /crm/v3/objects/contacts/search"] = (429, {"errorType": "RATE_LIMIT", "policyName": policy})
    adapter = hubspot()
    with pytest.raises(RateLimitedError) as caught:
        list(adapter.find_contacts(NUMBER, context(adapter)))
    assert caught.value.retry_after == timedelta(seconds=seconds)


def test_check_names_what_is_missing(crm: RecordedCrm) -> None:
    """A missing scope, key property or right to write is told by its name before the first call."""
    adapter = hubspot()
    assert [finding.message for finding in adapter.check(context(adapter)) if not finding.ok] == []
    assert {sent.method for sent in crm.sent if "token-info" not in sent.path} == {"GET"}
    crm.answers["GET /crm/v3/objects/tickets"] = (403, {"message": "required: tickets"})
    crm.answers["GET /crm/v3/properties/tasks/m8crm_key"] = (200, {"hasUniqueValue": False})
    crm.answers["POST /oauth/v2/private-apps/get/access-token-info"] = (200, {"scopes": ["tickets"]})
    messages = [finding.message for finding in adapter.check(context(adapter)) if not finding.ok]
    assert ["(scope tickets)" in messages[0], "tasks" in messages[1], ".write" in messages[2]] == [True] * 3
    assert len(messages) == 3


def test_a_token_that_does_not_tell_its_scopes_is_no_fault(crm: RecordedCrm) -> None:
    """A service key is as good as a private app's token."""
    crm.answers["POST /oauth/v2/private-apps/get/access-token-info"] = (400, {"message": "not a private app"})
    adapter = hubspot()
    assert all(finding.ok for finding in adapter.check(context(adapter)))


def test_settings_say_what_is_offered() -> None:
    """What the token may not read is left out, and without a unique key no retry is called safe."""
    assert {m for m in ("find_deals", "find_activities", "create_links") if hubspot().can(m)} == {
        "find_deals",
        "find_activities",
        "create_links",
    }
    less = hubspot(activities=("notes",), portal="", key_property="")
    assert less.can("find_notes")
    assert less.can("log_call")
    refused = ("find_deals", "find_activities", "find_appointments", "create_links", "find_logged_call", "create_task")
    assert not any(map(less.can, refused))
    with pytest.raises(ValueError, match="activities: faxes is unknown"):
        hubspot(activities=("faxes",))
    with pytest.raises(ValueError, match="one to three"):
        hubspot(phones=("a", "b", "c", "d"))


def test_buttons_open_hubspots_editors() -> None:
    """A note or task is one click away, on the contact."""
    links = {link.name: link.url for link in hubspot().create_links(replace(ADA, id="51101"))}
    assert links["New note"] == f"{PAGE}/0-1/51101?interaction=note"
