"""The kit catches adapters that are broken on purpose, each with a defect that was seen in the field."""

from __future__ import annotations

from pathlib import Path

import pytest

from middleware.testing.conformance.registry import CHECKS
from tests.testing.acme import judge, load

PEOPLE = 'found = ctx.http.get("people", params={"phone": number.suffix}).json()'
YIELD = 'return READER.contacts(row(one, CONTACT) for one in records(found, "people") if not one.get("deleted"))'
NOTES = 'found = ctx.http.get(f"people/{url_segment(contact.id)}/notes", params={"limit": 10}).json()'
EACH_NOTE = 'return [READER.activity(Note, row(one, NOTE)) for one in records(found, "notes")]'
WRITE = 'return LoggedCall(external_id=required(ctx.http.post("calls", json=logged).json(), "id"))'
FIND_CALL = 'found = ctx.http.get("calls", params={"key": call.key}).json()'
IDS = 'ids = [required(one, "id") for one in records(found, "calls") if text(one, "key") == call.key]'
CREATE = 'created = ctx.http.post("people", json=person).json()'
BY_ID = 'found = ctx.http.find(f"people/{url_segment(numeric_id)}")'
UPDATE = 'ctx.http.patch(f"calls/{url_segment(logged.external_id)}", json=_body(call))'
BEGAN = '"began": call.started_at.astimezone(UTC).isoformat(),'
IMPORT = "from collections.abc import Iterable"
AT_ALL = "\n        "


def swallowing(statement: str, error: str, result: str = "[]") -> str:
    """Return the statement of a method in a ``try`` that catches ``error`` and returns ``result``."""
    indented = statement.replace("\n", "\n    ")
    lines = (
        f"from middleware.errors import {error}",
        "try:",
        f"    {indented}",
        f"except {error}:",
        f"    return {result}",
    )
    return AT_ALL.join(lines)


ATTACH = """
    def attach_recording(self, logged: LoggedCall, recording: object, call: CallRecord, ctx: Context) -> None:
        ctx.http.put(f"calls/{url_segment(logged.external_id)}/audio", data=recording.file)
"""
TASK = """
    def create_task(self, contact: Contact, text: str, call: CallRecord, ctx: Context) -> None:
        text_key = "text"
        ctx.http.post(f"people/{url_segment(contact.id)}/tasks", json={text_key: text})
"""
ITER = """
    def iter_contacts(self, since: object, ctx: Context) -> Iterable[Contact]:
        found = ctx.http.get("people", params={"after": str(since)}).json()
        yield from READER.contacts(row(one, CONTACT) for one in records(found, "people"))
"""
MORE = """        Exchange(request="PUT /v1/calls/9/audio", status=204),
        Exchange(request="POST /v1/people/7/tasks", status=201, answer={"id": 11}),
        Exchange(request="GET /v1/people?after=None", answer={"people": [ADA]}),
"""


def with_more(*methods: str) -> dict[str, str]:
    """Return the changes that give the skeleton further methods, with the exchanges of all of them."""
    last, first = "    def check(self", '        Exchange(request="PATCH'
    return {last: "".join(methods).lstrip("\n") + "\n" + last, first: MORE + first}


BROKEN: dict[str, tuple[str, dict[str, str]]] = {
    "a 429 becomes nobody": ("status_429_is_no_miss", {PEOPLE: swallowing(PEOPLE, "RateLimitedError")}),
    "a 500 becomes nobody": ("status_500_is_told", {PEOPLE: swallowing(PEOPLE, "CRMUnavailableError")}),
    "a 503 becomes no notes": ("status_503_is_told", {NOTES: swallowing(NOTES, "TransientError")}),
    "a 401 becomes nobody": ("status_401_is_told", {PEOPLE: swallowing(PEOPLE, "CRMAuthError")}),
    "a 403 becomes no notes": ("status_403_is_told", {NOTES: swallowing(NOTES, "CRMAuthError")}),
    "a 400 becomes nobody": ("status_400_is_told", {PEOPLE: swallowing(PEOPLE, "CRMRejectedError")}),
    "a 422 becomes a logged call": (
        "status_422_is_told",
        {WRITE: swallowing(WRITE, "CRMRejectedError", 'LoggedCall(external_id="0")')},
    ),
    "a 409 becomes a logged call": (
        "status_409_is_told",
        {WRITE: swallowing(WRITE, "CRMRejectedError", 'LoggedCall(external_id="0")')},
    ),
    "a write that met 404 is a success": (
        "status_404_is_no_crash",
        {WRITE: swallowing(WRITE, "CRMNotFoundError", 'LoggedCall(external_id="0")')},
    ),
    "a time-out becomes nobody": ("a_time_out_is_told", {PEOPLE: swallowing(PEOPLE, "CRMTimeoutError")}),
    "a reset becomes nobody": ("a_reset_is_told", {PEOPLE: swallowing(PEOPLE, "TransientError")}),
    "a redirect to a login becomes nobody": ("a_redirect_is_told", {PEOPLE: swallowing(PEOPLE, "CRMResponseError")}),
    "a late lookup finds nobody": (
        "nothing_happens_after_the_deadline",
        {PEOPLE: swallowing(PEOPLE, "CRMTimeoutError")},
    ),
    "a breaker becomes nobody": ("a_pause_is_obeyed", {PEOPLE: swallowing(PEOPLE, "RateLimitedError")}),
    "a write is repeated": (
        "nothing_is_repeated_after_an_error",
        {WRITE: swallowing(WRITE, "TransientError", WRITE.removeprefix("return "))},
    ),
    "every error is swallowed": (
        "errors_are_not_swallowed_whole",
        {PEOPLE: PEOPLE.join(("try:\n            ", AT_ALL + "except Exception:\n            return []"))},
    ),
    "a log without an answer is a success": (
        "an_unknown_outcome_is_no_success",
        {WRITE: 'return LoggedCall(external_id=str(ctx.http.post("calls", json=logged).json().get("id")))'},
    ),
    "an error in a 200 is an empty list": (
        "an_error_with_status_200_is_told",
        {YIELD: YIELD.replace('records(found, "people")', '(found or {}).get("people", [])')},
    ),
    "an empty 200 is nobody": (
        "an_empty_answer_is_told",
        {PEOPLE: PEOPLE.replace(".json()", "") + AT_ALL + 'found = found.json() if found.content else {"people": []}'},
    ),
    "a login page is nobody": (
        "a_web_page_is_told",
        {
            PEOPLE: PEOPLE.replace(".json()", "")
            + AT_ALL
            + 'found = {"people": []} if "html" in found.headers.get("Content-Type", "") else found.json()'
        },
    ),
    "broken JSON is a ValueError": (
        "an_answer_that_is_no_json_is_told",
        {PEOPLE: PEOPLE.replace(".json()", "") + AT_ALL + "found = __import__('json').loads(found.content)"},
    ),
    "a missing key is a KeyError": (
        "a_dropped_key_is_no_crash",
        {'if not one.get("deleted")': 'if not one["deleted"]'},
    ),
    "a null is an AttributeError": (
        "a_null_is_no_crash",
        {EACH_NOTE: EACH_NOTE.replace("records(", 'found["notes"][0]["author"].get("name") and records(')},
    ),
    "a number where a text was is a TypeError": (
        "another_type_is_no_crash",
        {YIELD: YIELD.replace('not one.get("deleted")', 'one["name"] + "!"')},
    ),
    "an impossible date is a ValueError": (
        "an_unreadable_moment_is_told",
        {
            EACH_NOTE: EACH_NOTE.replace(
                "READER.activity(Note, row(one, NOTE))", 'Note(timestamp=datetime.fromisoformat(text(one, "written")))'
            ),
            "from datetime import UTC,": "from datetime import UTC, datetime,",
        },
    ),
    "nobody without a company is found": (
        "a_null_costs_no_contact",
        {YIELD: YIELD.replace('not one.get("deleted")', 'text(one, "company.name")')},
    ),
    "a top-level list is a TypeError": (
        "json_of_another_shape_is_no_crash",
        {YIELD: YIELD.replace('records(found, "people")', 'found["people"]')},
    ),
    "a new key is refused": (
        "unknown_keys_change_nothing",
        {YIELD: YIELD.replace('not one.get("deleted")', "len(one) == 8")},
    ),
    "one request for each hit": (
        "a_huge_answer_is_survived",
        {
            YIELD: f'for one in records(found, "people"):{AT_ALL}    ctx.http.get("people", params={{"limit": 1}}){AT_ALL}{YIELD}'
        },
    ),
    "a 204 is a TypeError": (
        "a_204_is_nothing",
        {
            PEOPLE: PEOPLE.replace(".json()", "")
            + AT_ALL
            + 'found = found.json() if found.content else None; found["people"]'
        },
    ),
    "pages without end": (
        "pages_come_to_an_end",
        {
            PEOPLE: PEOPLE + AT_ALL + 'while found.get("has_more"):' + AT_ALL + "    " + PEOPLE,
            'answer={"people": [ADA]}': 'answer={"people": [ADA], "has_more": False}',
        },
    ),
    "an own HTTP library": ("no_http_library_is_imported", {IMPORT: f"import socket\n{IMPORT}"}),
    "a sleep before a retry": (
        "nothing_waits_or_runs_beside",
        {PEOPLE: f"import time{AT_ALL}time.sleep(0){AT_ALL}{PEOPLE}"},
    ),
    "a print that was forgotten": ("nothing_is_printed", {PEOPLE: f"print(number){AT_ALL}{PEOPLE}"}),
    "a log line with the number": (
        "nothing_is_said_aloud",
        {PEOPLE: f'import logging{AT_ALL}logging.getLogger("acme").warning("looking for %s", number){AT_ALL}{PEOPLE}'},
    ),
    "the number in an error": (
        "no_message_holds_a_secret",
        {
            PEOPLE: swallowing(PEOPLE, "CRMRejectedError").replace(
                "return []", "raise CRMRejectedError(f'no {number.suffix}') from None"
            )
        },
    ),
    "the token in the address": (
        "no_secret_is_in_an_address",
        {'"phone": number.suffix}': '"phone": number.suffix, "token": self.settings.token.reveal()}'},
    ),
    "requests that nobody signed": (
        "requests_are_signed",
        {PEOPLE: PEOPLE.replace("suffix}", "suffix}, auth=lambda r: r")},
    ),
    "a token in plain text": (
        "secrets_are_declared",
        {
            "token: Secret": "token: str",
            "bearer(self.settings.token)": "bearer(Secret(self.settings.token))",
            'token=Secret("t0ken-of-the-test")': 'token="t0ken"',
        },
    ),
    "settings that change": ("the_settings_are_a_frozen_dataclass", {"frozen=True, slots=True, ": "slots=True, "}),
    "a misspelt method": ("no_method_is_misspelt", {"def find_notes": "def find_note"}),
    "other parameters": (
        "the_signatures_are_the_base_class_s",
        {
            "def find_notes(self, contact: Contact, ctx: Context)": "def find_notes(self, contact: Contact, ctx: Context, limit: int = 10)"
        },
    ),
    "a name with capitals": ("the_name_is_an_identifier", {'name = "acme"': 'name = "Acme CRM!"'}),
    "no label": ("the_label_is_for_people", {'label = "Acme CRM"': 'label = ""'}),
    "plain http": ("the_address_is_https", {"https://api.acme": "http://api.acme"}),
    "an unknown form": (
        "the_number_forms_are_known",
        {'label = "Acme CRM"': 'label = "Acme"\n    number_forms = ("digits",)'},
    ),
    "an unknown format": ("the_log_format_is_known", {'label = "Acme CRM"': 'label = "Acme"\n    log_format = "rtf"'}),
    "a budget that is a number": ("the_budget_is_one", {"Budget(100, timedelta(seconds=10))": "100"}),
    "a log that nobody can look for": (
        "capabilities_belong_together",
        {"def find_logged_call": "def _find_logged_call"},
    ),
    "a close that fails the second time": (
        "closing_twice_is_fine",
        {"    def auth(self)": "    def close(self) -> None:\n        del self.settings\n\n    def auth(self)"},
    ),
    "a number with undefined in it": (
        "results_are_of_the_right_types",
        {YIELD: YIELD.replace("row(one, CONTACT)", '{**row(one, CONTACT), "number_3": "070undefined174"}')},
    ),
    "a number that was cleaned": (
        "numbers_are_as_the_crm_has_them",
        {
            YIELD: YIELD.replace(
                "row(one, CONTACT)", '{**row(one, CONTACT), "number_2": text(one, "mobile").replace("-", "")}'
            )
        },
    ),
    "the mobile is forgotten": (
        "every_number_of_a_contact_is_told",
        {'"mobile": "070-174 06 05"': '"mobile": "070-174 06 05", "phone2": "070-111 22 33"'},
    ),
    "the first number only": ("the_recorded_contact_is_found", {'    "number_2": "mobile",\n': ""}),
    "everybody is copied": (
        "the_search_names_the_number",
        {'"phone": number.suffix': '"all": 1', "people?phone=01740605": "people?all=1"},
    ),
    "nobody found is an IndexError": ("nobody_found_is_nothing", {PEOPLE: f'{PEOPLE}{AT_ALL}found["people"][0]'}),
    "deleted people are found": ("deleted_people_are_left_out", {' if not one.get("deleted")': ""}),
    "a contact comes twice": ("each_contact_comes_once", {YIELD: YIELD + " * 2"}),
    "everybody's notes": (
        "activities_are_of_the_contact",
        {NOTES: 'found = ctx.http.get("people/7/notes", params={"limit": 10}).json()'},
    ),
    "a lookup that writes": (
        "finding_changes_nothing",
        {NOTES: f'ctx.http.post("people", json={{"name": "x"}}){AT_ALL}{NOTES}'},
    ),
    "a request for each of many pages": (
        "one_lookup_is_few_requests",
        {NOTES: f"for _ in range(5):{AT_ALL}    {NOTES}"},
    ),
    "an unknown id is an error": ("an_unknown_id_is_none", {BY_ID: BY_ID.replace("find(f", "get(f")}),
    "a link without https": ("links_open_the_crm", {"https://app.acme": "acme://app"}),
    "a link with anything in it": (
        "links_are_quoted",
        {"people/{url_segment(contact.id)}/notes/new": "people/{contact.id}/notes/new"},
    ),
    "a check that says nothing": ("findings_are_sentences", {'message="read people"': 'message=""'}),
    "an exchange that nobody needs": (
        "every_exchange_is_asked_for",
        {'Exchange(request="PATCH': 'Exchange(request="GET /v1/old"), Exchange(request="PATCH'},
    ),
    "a path that was never recorded": ("the_exchanges_answer_every_method", {'/notes", params': '/remarks", params'}),
    "a loop until somebody is found": (
        "withheld_numbers_ask_nothing_wild",
        {PEOPLE: f"while not number.e164:{AT_ALL}    {PEOPLE}{AT_ALL}{PEOPLE}"},
    ),
    "an id pasted into the path": (
        "ids_do_not_steer_requests",
        {NOTES: NOTES.replace("url_segment(contact.id)", "contact.id")},
    ),
    "SOQL made of the caller's number": (
        "numbers_do_not_steer_requests",
        {PEOPLE: 'found = ctx.http.get("people", params={"phone": f"WHERE Phone = \'{number.raw}\'"}).json()'},
    ),
    "OData made of the key": (
        "call_keys_do_not_steer_requests",
        {'{"key": call.key}).json()': '{"key": f"key eq \'{call.key}\'"}).json()'},
    ),
    "GraphQL made of the text": (
        "texts_do_not_steer_requests",
        {"logged = {**_body(call), ": 'logged = {**_body(call), "query": f\'{{ subject: "{call.subject}" }}\', '},
    ),
    "ASCII only": (
        "texts_arrive_as_they_are",
        {'"text": call.body,': '"text": call.body.encode("ascii", "ignore").decode(),'},
    ),
    "two writes for a call": ("a_write_is_one_write", {WRITE: f'ctx.http.post("people", json=logged){AT_ALL}{WRITE}'}),
    "a log without its key": ("the_log_has_the_key", {'        "key": call.key,\n': ""}),
    "a log on nobody": ("the_log_is_on_the_contact", {'"person": contact.id if contact else None': '"person": None'}),
    "a log without its owner": ("the_log_has_its_owner", {'        "owner": call.owner,\n': ""}),
    "a log without its text": ("the_log_has_its_text", {'        "text": call.body,\n': ""}),
    "all calls are incoming": ("the_log_has_its_direction", {"call.direction.value": '"inbound"'}),
    "outgoing calls are incoming": (
        "the_log_has_its_direction",
        {"call.direction.value": '("external" if call.direction.value == "inbound" else "Incoming")'},
    ),
    "directions are swapped": (
        "the_log_has_its_direction",
        {"call.direction.value": '("outbound" if call.direction.value == "inbound" else "inbound")'},
    ),
    "seconds taken for milliseconds": (
        "the_log_has_its_duration",
        {"call.duration.total_seconds()": "call.duration.total_seconds() / 1000"},
    ),
    "a missed call has no talk time": (
        "a_missed_call_is_no_answered_one",
        {"call.duration.total_seconds()": "call.talk_time.total_seconds()"},
    ),
    "the text None": (
        "what_is_unknown_is_not_written",
        {'"owner": call.owner,\n        "outcome"': '"owner": str(call.owner),\n        "outcome"'},
    ),
    "a call of nobody crashes": (
        "a_call_of_nobody_is_written_or_refused",
        {"contact.id if contact else None": "contact.id"},
    ),
    "an id of one's own": (
        "the_record_s_id_is_the_crm_s",
        {WRITE: WRITE.replace("required(ctx", "call.id + required(ctx")},
    ),
    "a call that is not found again": (
        "a_logged_call_is_found_again",
        {'text(one, "key") == call.key': 'text(one, "call_key") == call.key'},
    ),
    "any call is this one": (
        "another_call_is_not_found",
        {
            FIND_CALL: FIND_CALL.replace("call.key", "call.id"),
            IDS: IDS.replace(' if text(one, "key") == call.key', ""),
            "?key={KEY}": "?key=conformance-1",
        },
    ),
    "a search by words": ("a_similar_call_is_not_this_one", {IDS: IDS.replace(' if text(one, "key") == call.key', "")}),
    "an update that makes a second record": (
        "an_update_is_of_the_record",
        {UPDATE: 'ctx.http.post("calls", json=_body(call))'},
    ),
    "a contact without his number": (
        "a_new_contact_has_number_and_name",
        {'"phone": str(draft.number), ': '"phone": "", '},
    ),
    "the key of the first call": (
        "writes_are_of_this_call",
        {
            '        "key": call.key,': '        "key": KEPT.setdefault("key", call.key),',
            "READER = Reader": "KEPT: dict[str, str] = {}\nREADER = Reader",
        },
    ),
    "the vendor's words are lost": (
        "errors_of_writes_keep_the_vendor_s_words",
        {
            CREATE: swallowing(CREATE, "CRMRejectedError").replace(
                "return []", "raise CRMRejectedError('refused') from None"
            )
        },
    ),
    "epochs of seconds taken for milliseconds": (
        "moments_are_those_of_the_crm",
        {
            '"written": "2026-01-14T08:00:00Z", ': '"written": "1768377600", ',
            EACH_NOTE: EACH_NOTE.replace(
                "row(one, NOTE)", '{**row(one, NOTE), "timestamp": int(one["written"]) // 1000}'
            ),
        },
    ),
    "months that begin at nought": (
        "january_comes_after_december",
        {
            EACH_NOTE: EACH_NOTE.replace(
                "row(one, NOTE)", '{**row(one, NOTE), "timestamp": text(one, "written").replace("-12-", "-00-")}'
            )
        },
    ),
    "the machine's time": (
        "the_machine_s_zone_changes_nothing",
        {BEGAN: '"began": call.started_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),'},
    ),
    "local time with a Z": (
        "the_log_has_its_moment",
        {BEGAN: '"began": call.started_at.strftime("%Y-%m-%dT%H:%M:%SZ"),'},
    ),
    "the last number is kept": ("nothing_is_kept_between_calls", {PEOPLE: f"self._last = number{AT_ALL}{PEOPLE}"}),
    "a cache of one's own": (
        "the_same_question_asks_the_same",
        {
            PEOPLE: 'found = KEPT.get("x") or KEPT.setdefault("x", ctx.http.get("people", params={"phone": number.suffix}).json())',
            "READER = Reader": "KEPT: dict[str, dict[str, object]] = {}\nREADER = Reader",
        },
    ),
    "the contact of the last lookup": (
        "two_lookups_do_not_mix",
        {
            YIELD: f"{YIELD.replace('return', 'KEPT.append(number); mine =')}{AT_ALL}return mine if len(KEPT) < 3 else []",
            "READER = Reader": "KEPT: list[object] = []\nREADER = Reader",
        },
    ),
    "a recording that is held as a whole": (
        "a_recording_is_sent_as_it_is_read",
        with_more(ATTACH.replace("data=recording.file", "data=recording.file.read()")),
    ),
    "a task that says nothing": ("a_task_has_its_text", with_more(TASK.replace("json={text_key: text}", "json={}"))),
    "an index that reads everybody": (
        "what_was_changed_since_is_asked_for",
        with_more(ITER.replace("str(since)", "None")),
    ),
}
WITHOUT_PARTS = {"a_recording_is_sent_as_it_is_read", "a_task_has_its_text", "what_was_changed_since_is_asked_for"}


def test_a_right_adapter_passes(tmp_path: Path) -> None:
    """The skeleton passes every check, and only those do not apply that it has nothing for."""
    verdict = judge(load(tmp_path), tmp_path)
    assert verdict.failed == {}
    assert set(verdict.skipped) == WITHOUT_PARTS | {"pages_come_to_an_end"}


def test_a_right_adapter_with_everything_passes(tmp_path: Path) -> None:
    """Recordings, tasks and the number index are checked as well, and a right adapter passes."""
    verdict = judge(load(tmp_path, with_more(ATTACH, TASK, ITER)), tmp_path)
    assert verdict.failed == {}
    assert not WITHOUT_PARTS & set(verdict.skipped)


def test_a_right_adapter_without_search_passes(tmp_path: Path) -> None:
    """A CRM that only lists its contacts is checked by its list, and by no search."""
    changes = {
        "def find_contacts(self, number: PhoneNumber": "def iter_contacts(self, since: object",
        '{"phone": number.suffix}': '{"after": str(since)}',
        "phone=01740605": "after=None",
    }
    verdict = judge(load(tmp_path, changes), tmp_path)
    assert verdict.failed == {}
    assert "the_search_names_the_number" in verdict.skipped
    assert "every_number_of_a_contact_is_told" not in verdict.skipped
    lacking = judge(load(tmp_path, {**changes, '    "number_2": "mobile",\n': ""}), tmp_path)
    assert "the_recorded_contact_is_found" in lacking.failed


@pytest.mark.parametrize("defect", BROKEN)
def test_a_defect_is_caught_by_its_check(defect: str, tmp_path: Path) -> None:
    """The check that is named for the defect catches it, and says how to mend it."""
    name, changes = BROKEN[defect]
    verdict = judge(load(tmp_path, changes), tmp_path, name)
    assert "How to mend it: " in verdict.failed.get(name, "")


def test_every_check_has_caught_something() -> None:
    """A check that no defect fails could be one that cannot fail."""
    assert set(CHECKS) == {name for name, _ in BROKEN.values()}
