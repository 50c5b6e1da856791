"""The Pipedrive adapter against answers as its specification and documentation show them (2026-11)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from adapters.pipedrive import PipedriveAdapter, PipedriveSettings
from middleware.crm.base import ACTIVITY_METHODS
from middleware.crm.settings import Secret
from middleware.errors import CRMRejectedError, RateLimitedError, UnsupportedError
from middleware.lookup.verify import find_verified, verified_contacts
from middleware.model.call import Direction, Ending, LoggedCall, RecordingFile
from middleware.model.contact import Contact, ContactDraft, ContactNumber
from middleware.model.phone import parse_number
from tests.adapters.recorded import RecordedCrm, call, context
from tests.adapters.specification import Specification, check_all

EXCHANGES = Path(__file__).with_name("exchanges.json")
KEY = "m8crm-conformance-c0ffee"
NUMBER = parse_number("+46701740605", "SE")
ADA = Contact(id="51", display_name="Ada Webb")
HOST = "https://nordlys.pipedrive.com"
LOG = "CAd92b224eb4a39b5ad8fea92ff0e"
USERS = {"success": True, "data": [{"id": 471100, "email": "ellen.berg@nordlys.example"}]}
LOGGED = LoggedCall(external_id=f"{LOG}:7299", url=f"{HOST}/activities/7299")
TRAP = "paths /callLogs post requestBody content application/json schema properties"


def pipedrive() -> PipedriveAdapter:
    return PipedriveAdapter(PipedriveSettings(token=Secret("t0ken"), company="nordlys"))


def recording() -> RecordingFile:
    return RecordingFile(
        key="rec-1", name="recording-1.wav", content_type="audio/x-wav", size=200_000, file=io.BytesIO(b"R" * 200_000)
    )


@pytest.fixture
def crm() -> Iterator[RecordedCrm]:
    with RecordedCrm(EXCHANGES) as crm:
        yield crm


def test_everything_that_is_said_fits_the_vendors_specification(crm: RecordedCrm) -> None:
    """Every request of the adapter, and every answer that these tests give it, is one that Pipedrive specifies."""
    adapter = pipedrive()
    ctx = context(adapter)
    find_verified(adapter, NUMBER, "suffix", ctx)
    adapter.find_contact_by_id("51", ctx)
    for method in filter(adapter.can, ACTIVITY_METHODS):
        list(getattr(adapter, method)(ADA, ctx))
    crm.answers["GET /v1/users/find"] = (200, USERS)
    adapter.log_call(call(owner="ellen.berg@nordlys.example"), ADA, ctx)
    adapter.find_logged_call(call(), ctx)
    adapter.find_logged_call(call(key="another"), ctx)
    adapter.update_call(LOGGED, call(), ctx)
    adapter.has_recording(LOGGED, recording(), call(), ctx)
    adapter.attach_recording(LOGGED, recording(), call(), ctx)
    adapter.create_task(ADA, "Send the offer to Ada", call(owner="471100"), ctx)
    adapter.create_contact(ContactDraft(number=NUMBER, display_name="Ada Maria Webb", owner="471100"), ctx)
    list(adapter.iter_contacts(None, ctx))
    list(adapter.iter_contacts(datetime(2026, 1, 1, tzinfo=UTC), ctx))
    list(adapter.check(ctx))
    specified = [
        # the vendor types as date-time what it documents, and takes, as "YYYY-MM-DD HH:MM:SS"
        Specification(
            "pipedrive/pipedrive-v1.trim.json",
            f"{HOST}/v1",
            {f"{TRAP} {name} format": None for name in ("start_time", "end_time")},
        ),
        Specification("pipedrive/pipedrive-v2.trim.json", f"{HOST}/api/v2", {}),
    ]
    assert check_all(crm, specified) == len(crm.sent) == 25


def test_a_search_finds_persons_with_their_numbers(crm: RecordedCrm) -> None:
    """A hit costs one search by the end of the number; who does not have it is left out."""
    adapter = pipedrive()
    found, count = find_verified(adapter, NUMBER, "suffix", context(adapter))
    assert (count, [contact.id for contact in found]) == (2, ["51"])
    assert found[0].numbers[1] == ContactNumber(number="070-174 06 05")
    assert (found[0].company, found[0].url) == ("Nordlys AB", f"{HOST}/person/51")
    assert crm.sent[0].query == {"term": "01740605", "fields": "phone", "limit": "50"}
    assert crm.sent[0].request.headers["x-api-token"] == "t0ken"


def test_activities_are_read_once_and_told_apart(crm: RecordedCrm) -> None:
    """One request brings meetings, tasks and calls, whoever of the three asks first; a planned call is a task."""
    adapter = pipedrive()
    ctx = context(adapter)
    with ThreadPoolExecutor(5) as pool:
        kinds = ("notes", "deals", "tasks", "calls", "appointments")
        methods = {kind: getattr(adapter, f"find_{kind}") for kind in kinds}
        asked = {kind: pool.submit(lambda find: list(find(ADA, ctx)), find) for kind, find in methods.items()}
        found = {kind: future.result() for kind, future in asked.items()}
    assert {kind: len(activities) for kind, activities in found.items()} == {
        "notes": 1,
        "deals": 1,
        "tasks": 2,
        "calls": 1,
        "appointments": 1,
    }
    assert sorted(crm.told) == ["GET /api/v2/activities", "GET /api/v2/deals", "GET /v1/notes"]
    assert [task.custom_header for task in found["tasks"]] == ["Task", "Call"]
    assert found["calls"][0].duration == timedelta(seconds=95)
    meeting = found["appointments"][0]
    assert (meeting.start_date, meeting.end_date, meeting.venue, meeting.all_day) == (
        datetime(2026, 3, 3, 8, tzinfo=UTC),
        datetime(2026, 3, 3, 9, 30, tzinfo=UTC),
        "Malmö",
        False,
    )
    assert (str(found["deals"][0].amount), found["deals"][0].done) == ("18400.5", False)
    assert (found["notes"][0].associated_user, found["notes"][0].timestamp.tzinfo) == ("Ellen Berg", UTC)


def test_no_notes_are_null(crm: RecordedCrm) -> None:
    """Pipedrive writes null for an empty list in v1; in v2 that would be an answer nobody can read."""
    crm.answers["GET /v1/notes"] = (200, {"success": True, "data": None})
    adapter = pipedrive()
    assert list(adapter.find_notes(ADA, context(adapter))) == []


def test_a_call_is_one_write_with_its_key(crm: RecordedCrm) -> None:
    """One request writes numbers, times in UTC, outcome, owner, person, and the key in the note."""
    adapter = pipedrive()
    started = datetime(2026, 1, 15, 10, 30, 5, tzinfo=ZoneInfo("Europe/Stockholm"))
    assert adapter.log_call(call(owner="471100", started_at=started), ADA, context(adapter)) == LOGGED
    assert crm.told == ["POST /v1/callLogs"]
    assert crm.sent[0].body == {
        "subject": "Inbound call",
        "note": f"<p>Hello</p><p>m8crm {KEY}</p>",
        "duration": "95",
        "outcome": "connected",
        "from_phone_number": "+46701740605",
        "to_phone_number": "+46851970000",
        "start_time": "2026-01-15 09:30:05",
        "end_time": "2026-01-15 09:31:40",
        "person_id": 51,
        "user_id": 471100,
    }


@pytest.mark.parametrize(
    ("ending", "outcome"), [(Ending.ABANDONED, "no_answer"), (Ending.VOICEMAIL, "left_voicemail"), (None, "connected")]
)
def test_how_a_call_ended(crm: RecordedCrm, ending: Ending | None, outcome: str) -> None:
    """Pipedrive has words of its own for how a call ended, and outbound numbers the other way round."""
    adapter = pipedrive()
    adapter.log_call(call(ending=ending, direction=Direction.OUTBOUND), ADA, context(adapter))
    assert (crm.sent[0].body["outcome"], crm.sent[0].body["to_phone_number"]) == (outcome, "+46701740605")


def test_an_owner_is_an_id_or_an_address(crm: RecordedCrm) -> None:
    """Who writes something else is told before anything is written."""
    adapter = pipedrive()
    crm.answers["GET /v1/users/find"] = (200, USERS)
    adapter.log_call(call(owner="ellen.berg@nordlys.example"), ADA, context(adapter))
    assert crm.sent[-1].body["user_id"] == 471100
    with pytest.raises(CRMRejectedError, match="owners"):
        adapter.log_call(call(owner="Ellen"), ADA, context(adapter))
    assert crm.told.count("POST /v1/callLogs") == 1


def test_a_call_is_found_by_its_key(crm: RecordedCrm) -> None:
    """After an unknown outcome the key is looked for among call logs, then among everybody's activities."""
    adapter = pipedrive()
    assert adapter.find_logged_call(call(), context(adapter)) == LOGGED
    crm.answers["GET /v1/callLogs"] = (200, {"success": True, "data": None})  # those of another user are not told
    found = adapter.find_logged_call(call(), context(adapter))
    assert found == LoggedCall(external_id=":7299", url=f"{HOST}/activities/7299")
    assert crm.sent[-1].query["updated_since"] == "2026-01-15T08:31:40Z"
    assert adapter.find_logged_call(call(key="another"), context(adapter)) is None


def test_a_call_is_completed_in_its_activity(crm: RecordedCrm) -> None:
    """What comes late replaces the note, and the key stays in it."""
    adapter = pipedrive()
    adapter.update_call(LOGGED, call(body="<p>Later</p>"), context(adapter))
    assert crm.sent[0].body == {"subject": "Inbound call", "note": f"<p>Later</p><p>m8crm {KEY}</p>"}


def test_a_recording_is_uploaded_as_a_form(crm: RecordedCrm) -> None:
    """The file arrives whole in the field that Pipedrive wants, with a length."""
    adapter = pipedrive()
    adapter.attach_recording(LOGGED, recording(), call(), context(adapter))
    sent = crm.sent[0].request
    assert isinstance(sent.body, bytes)
    assert int(sent.headers["Content-Length"]) == len(sent.body)
    assert b'name="file"; filename="recording-1.wav"\r\nContent-Type: audio/x-wav\r\n\r\n' + b"R" * 200_000 in sent.body
    assert adapter.has_recording(LOGGED, recording(), call(), context(adapter)) is False
    with pytest.raises(UnsupportedError):
        adapter.attach_recording(LoggedCall(external_id=":7299"), recording(), call(), context(adapter))


def test_a_task_is_created_once(crm: RecordedCrm) -> None:
    """An action item becomes a task of the person, unless one of the activities has its key."""
    adapter = pipedrive()
    adapter.create_task(ADA, "Send <it>", call(), context(adapter))
    written = crm.sent[-1].body
    assert written["participants"] == [{"person_id": 51, "primary": True}]
    assert (written["due_date"], written["subject"]) == ("2026-01-16", "Send <it>")
    assert written["note"].startswith("Send &lt;it&gt;")
    crm.answers["GET /api/v2/activities"] = (200, {"data": [{"id": 1, "note": written["note"]}]})
    adapter.create_task(ADA, "Send <it>", call(), context(adapter))
    assert crm.told.count("POST /api/v2/activities") == 1


def test_somebody_unknown_is_created(crm: RecordedCrm) -> None:
    """A caller becomes a person with his number."""
    adapter = pipedrive()
    created = adapter.create_contact(ContactDraft(number=NUMBER, display_name="Ada Maria Webb"), context(adapter))
    assert (created.id, [number.number for number in created.numbers]) == ("99", ["+46701740605"])
    assert crm.sent[0].body["phones"] == [{"value": "+46701740605", "primary": True, "label": "work"}]


def test_a_typed_id_is_a_person(crm: RecordedCrm) -> None:
    """A deleted person is nobody; what is no id of Pipedrive's costs no request."""
    adapter = pipedrive()
    found = adapter.find_contact_by_id("51", context(adapter))
    assert found
    assert found.numbers[1] == ContactNumber(number="070-174 06 05", comment="mobile")
    assert verified_contacts([found], NUMBER, "SE")
    crm.answers["GET /api/v2/persons/51"] = (200, {"data": {"id": 51, "name": "Ada", "is_deleted": True}})
    assert adapter.find_contact_by_id("51", context(adapter)) is None
    assert adapter.find_contact_by_id("404", context(adapter)) is None
    assert adapter.find_contact_by_id("5/../1", context(adapter)) is None
    assert len(crm.told) == 3


def test_all_persons_come_page_by_page(crm: RecordedCrm) -> None:
    """The number index gets every person, and a deleted one without numbers."""
    adapter = pipedrive()
    ctx = context(adapter)
    listed = adapter.iter_contacts(None, ctx)
    assert [next(listed).id, next(listed).id] == ["77", "51"]
    assert ctx.bookmark.place  # the second page
    again = replace(context(adapter), bookmark=ctx.bookmark)
    assert [contact.id for contact in adapter.iter_contacts(None, again)] == ["51"]
    gone = {"id": 77, "name": "Bo", "is_deleted": True, "phones": [{"value": "+46701740605"}]}
    crm.answers["GET /api/v2/persons"] = (200, {"data": [gone]})
    changed = list(adapter.iter_contacts(datetime(2026, 1, 1, tzinfo=UTC), context(adapter)))
    assert [(contact.id, contact.numbers) for contact in changed] == [("77", ())]
    assert crm.sent[-1].query["updated_since"] == "2026-01-01T00:00:00Z"


def test_a_limit_is_obeyed_for_as_long_as_pipedrive_says(crm: RecordedCrm) -> None:
    """The seconds stand in a header of Pipedrive's own."""
    adapter = pipedrive()
    crm.headers["x-ratelimit-reset"] = "2"
    crm.answers["GET /api/v2/persons/search"] = (429, {"success": False})
    with pytest.raises(RateLimitedError) as caught:
        list(adapter.find_contacts(NUMBER, context(adapter)))
    assert caught.value.retry_after == timedelta(seconds=2)


def test_check_names_what_is_missing(crm: RecordedCrm) -> None:
    """Another company's token and a missing right are told before the first call."""
    adapter = pipedrive()
    assert [finding.message for finding in adapter.check(context(adapter)) if not finding.ok] == []
    crm.answers["GET /v1/users/me"] = (200, {"data": {"company_domain": "other", "access": [{"app": "sales"}]}})
    crm.answers["GET /v1/callLogs"] = (403, {"error": "Scope and URL mismatch"})
    messages = [finding.message for finding in adapter.check(context(adapter)) if not finding.ok]
    assert ["not of nordlys" in messages[0], "callLogs" in messages[1], "settings" in messages[2]] == [True] * 3
    assert {sent.method for sent in crm.sent} == {"GET"}


@pytest.mark.parametrize("company", ["", "https://nordlys.pipedrive.com", "evil.example/", "a.b", "Nordlys"])
def test_a_company_is_one_word(company: str) -> None:
    """The token goes to no other host than the company's."""
    with pytest.raises(ValueError, match="company"):
        PipedriveAdapter(PipedriveSettings(token=Secret("t"), company=company))
