"""The Freshdesk adapter against answers as its documentation shows them (2026-11)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.freshdesk import MOST_ATTACHED, FreshdeskAdapter, FreshdeskSettings
from middleware.crm.settings import Secret
from middleware.errors import CRMRejectedError, UnsupportedError
from middleware.lookup.verify import find_verified
from middleware.model.call import Ending, LoggedCall, RecordingFile
from middleware.model.contact import Contact, ContactDraft, ContactNumber
from middleware.model.phone import parse_number
from tests.adapters.recorded import RecordedCrm, call, context
from tests.adapters.specification import Specification

EXCHANGES = Path(__file__).with_name("exchanges.json")
KEY = "m8crm-conformance-c0ffee"
NUMBER = parse_number("+46701740605", "SE")
ADA = Contact(id="112", display_name="Ada Webb")
HOST = "https://nordlys.freshdesk.com"
LOGGED = LoggedCall(external_id="41", url=f"{HOST}/a/tickets/41")
UNSPECIFIED = ("GET /api/v2/agents", "GET /api/v2/agents/me")  # the third party's file does not know them


def freshdesk(**settings: Any) -> FreshdeskAdapter:
    return FreshdeskAdapter(FreshdeskSettings(token=Secret("t0ken"), domain="nordlys", **settings))


def recording(size: int = 200_000) -> RecordingFile:
    file = io.BytesIO(b"R" * 200_000)
    return RecordingFile(key="rec-1", name="recording-1.wav", content_type="audio/x-wav", size=size, file=file)


@pytest.fixture
def crm() -> Iterator[RecordedCrm]:
    with RecordedCrm(EXCHANGES) as crm:
        yield crm


def test_everything_that_is_said_fits_the_specification(crm: RecordedCrm) -> None:
    """Every request of the adapter, but for an attachment's form, is one that the API's description has."""
    adapter = freshdesk()
    ctx = context(adapter)
    list(adapter.find_contacts(NUMBER, ctx))
    adapter.find_contact_by_id("112", ctx)
    list(adapter.find_tickets(ADA, ctx))
    crm.answers["GET /api/v2/agents"] = (200, [{"id": 471100}])
    adapter.log_call(call(owner="ellen.berg@nordlys.example"), ADA, ctx)
    adapter.log_call(call(caller_name="Cid"), None, ctx)
    adapter.find_logged_call(call(), ctx)
    adapter.update_call(LOGGED, call(), ctx)
    adapter.has_recording(LOGGED, recording(), call(), ctx)
    adapter.create_task(ADA, "Send the offer to Ada", call(owner="471100"), ctx)
    adapter.create_contact(ContactDraft(number=NUMBER, display_name="Ada Webb"), ctx)
    list(adapter.iter_contacts(datetime(2026, 1, 1, tzinfo=UTC), ctx))
    list(adapter.check(ctx))
    specified = Specification("freshdesk/freshdesk.trim.json", f"{HOST}/api/v2", {})
    checked = [sent.request for sent in crm.sent if str(sent) not in UNSPECIFIED]
    for request in checked:  # answers are not checked: the file says what may be null in a way of its own
        specified.check_request(request)
    assert len(checked) == 17


def test_a_search_is_one_request_for_all_spellings(crm: RecordedCrm) -> None:
    """Both phone fields are searched for the number as people write it; who does not have it is left out."""
    adapter = freshdesk()
    found, count = find_verified(adapter, NUMBER, "e164", context(adapter))
    assert (count, [contact.id for contact in found]) == (2, ["112"])
    assert found[0].numbers == (
        ContactNumber(number="08-465 004 12"),
        ContactNumber(number="070-174 06 05", comment="mobile"),
    )
    assert found[0].url == f"{HOST}/a/contacts/112"
    query = crm.sent[0].query["query"]
    assert query.startswith("\"phone:'+46701740605' OR mobile:'+46701740605' OR phone:'0701740605'")
    assert "mobile:'070-174 06 05'" in query
    assert "phone:'+46 70 174 06 05'" in query
    assert len(crm.sent) == 1


@pytest.mark.parametrize("number", ["+46701740605", "+12015550123", "+4915112345678901", "+8613912345678"])
def test_a_query_is_as_short_as_it_must_be(crm: RecordedCrm, number: str) -> None:
    """Freshdesk refuses a query of more than 512 characters."""
    adapter = freshdesk()
    list(adapter.find_contacts(parse_number(number, "SE"), context(adapter)))
    assert len(crm.sent[0].query["query"]) <= 512


def test_tickets_of_all_times_are_read(crm: RecordedCrm) -> None:
    """One request tells what changed last, in words; a status of the helpdesk's own is left out."""
    adapter = freshdesk()
    fault, moved = adapter.find_tickets(ADA, context(adapter))
    assert (fault.header, fault.priority, fault.pipeline_stage) == ("No sound", "HIGH", "Open")
    assert (fault.custom_description, fault.link) == ("Incident", f"{HOST}/a/tickets/40")
    assert fault.created_date == datetime(2026, 2, 6, 8, 3, 27, tzinfo=UTC)
    assert (moved.priority, moved.pipeline_stage) == ("MEDIUM", None)
    assert crm.sent[0].query["updated_since"] < "2001"
    assert len(crm.sent) == 1


def test_a_call_is_one_ticket_with_its_key(crm: RecordedCrm) -> None:
    """One request writes a closed ticket of the contact's, from the telephone, with owner and key."""
    adapter = freshdesk()
    assert adapter.log_call(call(owner="471100", ending=Ending.ANSWERED), ADA, context(adapter)) == LOGGED
    assert crm.told == ["POST /api/v2/tickets"]
    assert crm.sent[0].body == {
        "subject": "Inbound call",
        "description": f"<p>Hello</p><p>m8crm {KEY}</p>",
        "source": 3,
        "priority": 1,
        "status": 5,
        "tags": ["inbound", "answered"],
        "requester_id": 112,
        "responder_id": 471100,
    }
    assert crm.sent[0].request.headers["Authorization"] == "Basic dDBrZW46WA=="  # t0ken:X


def test_a_call_of_nobody_makes_a_contact(crm: RecordedCrm) -> None:
    """Freshdesk has no ticket without a requester: it is told number and name; without a number nothing is written."""
    adapter = freshdesk(status=2)
    adapter.log_call(call(caller_name="Cid"), None, context(adapter))
    written = crm.sent[0].body
    assert (written["phone"], written["name"], written["status"]) == ("+46701740605", "Cid", 2)
    with pytest.raises(UnsupportedError):
        adapter.log_call(call(contact_number=parse_number("anonymous", "SE")), None, context(adapter))
    with pytest.raises(CRMRejectedError, match="owners"):
        adapter.log_call(call(owner="Ellen"), ADA, context(adapter))
    assert len(crm.sent) == 1


def test_an_owner_may_be_an_address(crm: RecordedCrm) -> None:
    """Who has the address is asked for; without such an agent the ticket is nobody's."""
    adapter = freshdesk()
    crm.answers["GET /api/v2/agents"] = (200, [{"id": 471100}])
    adapter.log_call(call(owner="ellen.berg@nordlys.example"), ADA, context(adapter))
    assert crm.sent[-1].body["responder_id"] == 471100
    crm.answers["GET /api/v2/agents"] = (200, [])
    adapter.log_call(call(owner="nobody@nordlys.example"), ADA, context(adapter))
    assert "responder_id" not in crm.sent[-1].body


def test_a_call_is_found_by_its_key(crm: RecordedCrm) -> None:
    """After an unknown outcome the tickets since the call are listed: a search would know them minutes later."""
    adapter = freshdesk()
    assert adapter.find_logged_call(call(), context(adapter)) == LOGGED
    assert crm.sent[0].query["updated_since"] == "2026-01-15T08:31:40Z"
    assert adapter.find_logged_call(call(key=f"{KEY}-2"), context(adapter)) is None


def test_the_search_for_a_call_ends(crm: RecordedCrm) -> None:
    """Tickets that were created before the call are not read page after page, however many were changed since."""
    adapter = freshdesk()
    old = {"id": 1, "created_at": "2025-12-01T00:00:00Z", "description": ""}
    crm.answers["GET /api/v2/tickets"] = (200, [old] * 30)
    assert adapter.find_logged_call(call(), context(adapter)) is None
    assert len(crm.sent) == 1


def test_a_call_is_completed(crm: RecordedCrm) -> None:
    """What comes late replaces subject and description, and nothing else."""
    adapter = freshdesk()
    adapter.update_call(LOGGED, call(body="<p>Later</p>"), context(adapter))
    assert crm.told == ["PUT /api/v2/tickets/41"]
    assert crm.sent[0].body == {"subject": "Inbound call", "description": f"<p>Later</p><p>m8crm {KEY}</p>"}


def test_a_recording_is_attached_as_a_form(crm: RecordedCrm) -> None:
    """The file arrives whole; one that is larger than Freshdesk takes is not sent."""
    adapter = freshdesk()
    adapter.attach_recording(LOGGED, recording(), call(), context(adapter))
    sent = crm.sent[0].request
    assert isinstance(sent.body, bytes)
    assert b'name="attachments[]"; filename="recording-1.wav"\r\nContent-Type: audio/x-wav\r\n\r\n' in sent.body
    assert sent.body.count(b"R" * 200_000) == 1
    with pytest.raises(UnsupportedError):
        adapter.attach_recording(LOGGED, recording(MOST_ATTACHED + 1), call(), context(adapter))
    assert len(crm.sent) == 1


def test_a_recording_that_is_there_is_known_by_its_name(crm: RecordedCrm) -> None:
    """After an unknown outcome the ticket's attachments are looked at."""
    adapter = freshdesk()
    assert not adapter.has_recording(LOGGED, recording(), call(), context(adapter))
    crm.answers["GET /api/v2/tickets/41"] = (200, {"id": 41, "attachments": [{"name": "recording-1.wav"}]})
    assert adapter.has_recording(LOGGED, recording(), call(), context(adapter))


def test_a_task_is_an_open_ticket_once(crm: RecordedCrm) -> None:
    """An action item becomes a ticket, unless one of the contact's has its key."""
    adapter = freshdesk()
    adapter.create_task(ADA, "Send <it>", call(owner="471100"), context(adapter))
    written = crm.sent[-1].body
    assert (written["status"], written["subject"], written["responder_id"]) == (2, "Send <it>", 471100)
    assert written["description"].startswith("Send &lt;it&gt;<p>m8crm ")
    crm.answers["GET /api/v2/tickets"] = (200, [{"id": 1, "description": written["description"]}])
    adapter.create_task(ADA, "Send <it>", call(), context(adapter))
    assert crm.told.count("POST /api/v2/tickets") == 1


def test_somebody_unknown_is_created(crm: RecordedCrm) -> None:
    """A caller becomes a contact with his number, once, though a search knows him only minutes later."""
    adapter = freshdesk()
    created = adapter.create_contact(ContactDraft(number=NUMBER, display_name="Ada Webb"), context(adapter))
    assert (created.id, created.numbers[0].number) == ("99", "+46701740605")
    assert crm.sent[-1].body == {"name": "Ada Webb", "phone": "+46701740605"}
    known = [{"id": 7, "name": "Bo"}, {"id": 99, "name": "Ada Webb", "phone": "+46701740605"}]
    crm.answers["GET /api/v2/contacts"] = (200, known)
    again = adapter.create_contact(ContactDraft(number=NUMBER, display_name="Ada Webb"), context(adapter))
    assert (again.id, crm.told.count("POST /api/v2/contacts")) == ("99", 1)


def test_a_typed_id_is_a_contact(crm: RecordedCrm) -> None:
    """A deleted contact is nobody; what is no id of Freshdesk's costs no request."""
    adapter = freshdesk()
    found = adapter.find_contact_by_id("112", context(adapter))
    assert found
    assert found.title == "Buyer"
    crm.answers["GET /api/v2/contacts/112"] = (200, {"id": 112, "name": "Ada", "deleted": True})
    assert adapter.find_contact_by_id("112", context(adapter)) is None
    assert adapter.find_contact_by_id("404", context(adapter)) is None
    assert adapter.find_contact_by_id("1/../2", context(adapter)) is None
    assert len(crm.sent) == 3


def test_all_contacts_come_page_by_page(crm: RecordedCrm) -> None:
    """The number index gets every contact; later what was changed, and who was deleted without numbers."""
    adapter = freshdesk()
    page = [{"id": number, "name": "N", "phone": "08-465 004 12"} for number in range(100)]
    crm.answers["GET /api/v2/contacts"] = (200, page)
    contacts = adapter.iter_contacts(None, context(adapter))
    assert [next(contacts).id for _ in range(101)][-1] == "0"
    assert [sent.query["page"] for sent in crm.sent] == ["1", "2"]
    crm.answers["GET /api/v2/contacts"] = (200, page[:1])
    changed = list(adapter.iter_contacts(datetime(2026, 1, 1, tzinfo=UTC), context(adapter)))
    assert [len(contact.numbers) for contact in changed] == [1, 0]
    assert (crm.sent[-1].query["state"], crm.sent[-1].query["updated_since"]) == ("deleted", "2026-01-01T00:00:00Z")


def test_check_names_what_is_missing(crm: RecordedCrm) -> None:
    """An agent who sees few tickets, and a right that is missing, are told before the first call."""
    adapter = freshdesk()
    assert [finding.message for finding in adapter.check(context(adapter)) if not finding.ok] == []
    crm.answers["GET /api/v2/agents/me"] = (200, {"ticket_scope": 3})
    crm.answers["GET /api/v2/contacts"] = (403, {"code": "access_denied"})
    messages = [finding.message for finding in adapter.check(context(adapter)) if not finding.ok]
    assert ["global access" in messages[0], "read contacts" in messages[1], len(messages)] == [True, True, 2]
    assert {sent.method for sent in crm.sent} == {"GET"}


@pytest.mark.parametrize("domain", ["", "https://nordlys.freshdesk.com", "evil.example/", "a.b", "Nordlys"])
def test_a_domain_is_one_word(domain: str) -> None:
    """The key goes to no other host than the helpdesk's."""
    with pytest.raises(ValueError, match="domain"):
        FreshdeskAdapter(FreshdeskSettings(token=Secret("t"), domain=domain))
