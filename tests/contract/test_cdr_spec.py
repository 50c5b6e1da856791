"""The CDR webhook as specs/003 describes it, in every shape it may arrive in."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from middleware.demo.samples import CDR_EXAMPLE
from middleware.model.call import Direction, Ending, EventKind, Leg
from middleware.receivers.cdr import CdrPayloadSchema, parse_cdr
from middleware.receivers.cdr_table import CdrSchema, DirectoryFieldsSchema
from middleware.receivers.fields import FieldErrors
from middleware.receivers.registry import RECEIVERS

# specs/003: Payload Data, CDR Data, CDR Contact Directory Item; README for the spelling
PAYLOAD = "triggerId id tenantId cdr customData".split()
CDR = (
    "id dType sVer pbxId pbxName tz start answer end dur ring talk hold park lost lostinPark aban ans short cause dir "
    "type t2t cliNum cliName cliLoc cliArea cliState cliCtry ddiNum ddiName fRngDevNum fRngDevName lRngDevNum "
    "lRngDevName ansDevNum ansDevName lAnsDevNum lAnsDevName fRngUsrNum fRngUsrName lRngUsrNum lRngUsrName ansUsrNum "
    "ansUsrName lAnsUsrNum lAnsUsrName fRngAgtNum fRngAgtName lRngAgtNum lRngAgtName ansAgtNum ansAgtName lAnsAgtNum "
    "lAnsAgtName rteID rteName fRngGroupName lRngGroupName ansGroupName hasRec rate rateCost rateBand rateName "
    "recordingIds directoryMatches tags"
).split()
DIRECTORY = (
    "title fullName companyName jobTitle phone1 phone2 phone3 phone4 email crmId "
    "field1 field2 field3 field4 field5 field6 field7 field8 field9 field10"
).split()


def payload(**changes: Any) -> dict[str, Any]:
    """Return an answered call from outside, with ``changes`` of the CDR."""
    cdr = {
        "id": "3f2b9a52-0c6e-4be0-9d55-8a4a1f6d0001",
        "tz": "Europe/London",
        "start": "2024-05-29T09:37:35",
        "answer": "2024-05-29T09:37:45",
        "end": "2024-05-29T09:38:45",
        "dur": 70,
        "ring": 10,
        "talk": 60,
        "ans": 1,
        "dir": 2,
        "type": 2,
        "cliNum": "+447000000000",
        "ddiNum": "+441610000000",
        "fRngUsrNum": "301",
        "fRngUsrName": "Ben",
        "ansUsrNum": "302",
        "ansUsrName": "Ada",
        "ansGroupName": "Sales",
    }
    return {"triggerId": "t", "cdr": {**cdr, **changes}}


def test_all_fields_are_known() -> None:
    """Every field of the three tables is known by its name, and no other."""
    assert list(CdrPayloadSchema().fields) == PAYLOAD
    assert set(CdrSchema().fields) == set(CDR)
    assert set(DirectoryFieldsSchema().fields) == set(DIRECTORY)


def test_example_of_the_text() -> None:
    """The example is an incoming call that was abandoned while the user's phone rang."""
    event = parse_cdr(CDR_EXAMPLE)
    assert (event.kind, event.direction, event.ending) == (EventKind.CALL_ENDED, Direction.INBOUND, Ending.ABANDONED)
    assert (event.from_number, event.to_number) == ("+447000000000", "+441610000000")
    assert event.started_at == datetime(2024, 5, 29, 8, 37, 35, tzinfo=UTC)
    assert (event.duration, event.wait_time) == (timedelta(seconds=10), timedelta(seconds=10))
    assert event.call_ids == ("00000000-0000-0000-0000-000000000000",)
    assert event.caller_name == "Example Contact"
    assert set(event.other_numbers) == {"302", "user_******"}
    (leg,) = event.journey
    assert (leg.agent, leg.number, leg.ending) == ("Test User", "302", Ending.ABANDONED)
    facts = {"Support": "step1", "hook": "post call", "Company": "Company", "Clear down cause": "NORMAL_CLEARING"}
    assert facts.items() <= event.facts.items()


def test_answered_call_tells_who_and_when() -> None:
    """Times without an offset are in the CDR's own zone; the one who answered is the agent."""
    event = parse_cdr(payload())
    assert event.started_at == datetime(2024, 5, 29, 8, 37, 35, tzinfo=UTC)
    assert event.answered_at == datetime(2024, 5, 29, 8, 37, 45, tzinfo=UTC)
    assert (event.duration, event.talk_time, event.wait_time) == tuple(timedelta(seconds=s) for s in (70, 60, 10))
    assert (event.agent, event.user_id, event.answer_group, event.ending) == ("Ada", "302", "Sales", Ending.ANSWERED)
    assert event.journey == (
        Leg(started_at=event.started_at, agent="Ben", number="301", ending=Ending.MISSED),
        Leg(started_at=event.answered_at, agent="Ada", number="302", group="Sales", ending=Ending.ANSWERED),
    )
    assert event.referred_to is None


def test_transfer_is_a_leg_more() -> None:
    """Another one who answered last is where the call was transferred to."""
    event = parse_cdr(payload(lAnsUsrNum="303", lAnsUsrName="Cleo"))
    assert event.referred_to == "303"
    assert [leg.agent for leg in event.journey] == ["Ben", "Ada", "Cleo"]


@pytest.mark.parametrize("zone", ["", "Nowhere/Land", "../../etc/passwd", "Europe", None, 7])
def test_unknown_zone_is_utc(zone: object) -> None:
    """A zone that nobody knows is no obstacle."""
    assert parse_cdr(payload(tz=zone)).started_at == datetime(2024, 5, 29, 9, 37, 35, tzinfo=UTC)


@pytest.mark.parametrize(
    ("flags", "ending"),
    [
        ({"ans": 1}, Ending.ANSWERED),
        ({"ans": "1"}, Ending.ANSWERED),
        ({"ans": None}, Ending.ANSWERED),
        ({"ans": 0, "lost": 1}, Ending.ABANDONED),
        ({"ans": 0, "lostinPark": "true"}, Ending.ABANDONED),
        ({"ans": 0, "lost": 0}, Ending.MISSED),
        ({"ans": 0, "aban": 1}, Ending.MISSED),
    ],
)
def test_flags_tell_how_it_ended(flags: dict[str, Any], ending: Ending) -> None:
    """Answered, abandoned (also while parked) and short ringing calls are told apart."""
    assert parse_cdr(payload(**flags)).ending is ending


@pytest.mark.parametrize(
    ("flag", "label"),
    [
        ("short", "Short call"),
        ("aban", "Short ringing"),
        ("lostinPark", "Lost while parked"),
        ("t2t", "Trunk to trunk"),
    ],
)
def test_flags_are_facts(flag: str, label: str) -> None:
    """A flag that is set is told to people, one that is not is not."""
    assert parse_cdr(payload(**{flag: 1})).facts[label] == "yes"
    assert label not in parse_cdr(payload(**{flag: 0})).facts


@pytest.mark.parametrize(
    ("dir_", "type_", "direction", "is_internal"),
    [
        (0, 0, None, False),
        (1, 1, None, True),
        (1, 0, None, True),
        (2, 2, Direction.INBOUND, False),
        (3, 2, Direction.OUTBOUND, False),
        (4, 2, Direction.INBOUND, False),
        ("3", "1", Direction.OUTBOUND, True),
        (9, [], None, False),
    ],
)
def test_direction_and_type(dir_: object, type_: object, direction: Direction | None, is_internal: bool) -> None:
    """The numbers of the table are understood, as numbers and as texts; new ones are unknown."""
    event = parse_cdr(payload(dir=dir_, type=type_))
    assert (event.direction, event.is_internal) == (direction, is_internal)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("key", ["directorymatches", "directoryMatches", "DIRECTORYMATCHES"])
def test_directory_finds_the_contact(key: str, nested: bool) -> None:
    """The CRM's id of a match is the contact's, whether its fields stand in ``fields`` or not."""
    fields = {"FULLNAME": "Ada Webb", "crmid": 4711, "companyName": "Acme"}
    matches = [{"dirName": "x"}, {"fields": fields} if nested else fields]
    event = parse_cdr(payload(**{key: matches}))
    assert (event.contact_id, event.caller_name) == ("4711", "Ada Webb")


@pytest.mark.parametrize(
    "tags", [{"Reason": "Order"}, [{"Reason": "Order"}], [{"key": "Reason", "value": "Order"}], '{"Reason": "Order"}']
)
def test_tags_are_facts(tags: object) -> None:
    """Tags are keys and values, in any shape of a list of pairs."""
    assert parse_cdr(payload(tags=tags)).facts["Reason"] == "Order"


def _cased(value: object, how: Any) -> object:
    if isinstance(value, dict):
        return {how(key): _cased(inner, how) for key, inner in value.items()}
    return [_cased(inner, how) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("how", [str.lower, str.upper, str.swapcase])
def test_any_letter_case_of_a_key(how: Any) -> None:
    """A key's letter case makes no difference, but to those that people made up."""
    one, other = parse_cdr(CDR_EXAMPLE), parse_cdr(_cased(CDR_EXAMPLE, how))
    assert replace(one, facts={}) == replace(other, facts={})
    assert set(one.facts.values()) == set(other.facts.values())


def _flat(value: object, name: str, dotted: bool) -> list[tuple[str, str]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        return [(name, str(value))]
    return [
        pair
        for key, part in inner
        for pair in _flat(part, (f"{name}.{key}" if dotted else f"{name}[{key}]") if name else str(key), dotted)
    ]


FORMS = {
    "bracketed": _flat(CDR_EXAMPLE, "", dotted=False),
    "dotted": _flat(CDR_EXAMPLE, "", dotted=True),
    "json": [(name, v if isinstance(v, str) else json.dumps(v)) for name, v in CDR_EXAMPLE.items()],
    "json in parts": [
        (f"cdr[{name}]", v if isinstance(v, str) else json.dumps(v)) for name, v in CDR_EXAMPLE["cdr"].items()
    ]
    + [("customData[hook]", "post call")],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_form_is_the_same_call(form: list[tuple[str, str]]) -> None:
    """A CDR as a form, flat in any way or with JSON texts, is what it is as JSON."""
    raw = urlencode(form).encode()
    parsed = RECEIVERS["cdr"].parse_stored(raw, "application/x-www-form-urlencoded; charset=utf-8")
    assert parsed == parse_cdr(CDR_EXAMPLE)


@pytest.mark.parametrize("number", ["4790000001", "47 900 00 001", "47-900-00-001"])
@pytest.mark.parametrize("offset", ["01:00", "0100"])
def test_plus_that_was_not_encoded_is_a_plus(number: str, offset: str) -> None:
    """A sender who forgets ``%2B`` calls from the country that he names, at the moment that he names."""
    raw = f"cdr[id]=1&cdr[cliNum]=+{number}&cdr[cliName]= 4 Ever&cdr[start]=2024-05-29T09:37:35+{offset}".encode()
    event = RECEIVERS["cdr"].parse_stored(raw, "application/x-www-form-urlencoded")
    assert (event.from_number, event.caller_name) == (f"+{number}", "4 Ever")
    assert event.started_at == datetime(2024, 5, 29, 8, 37, 35, tzinfo=UTC)


def test_multipart_form_is_the_same_call() -> None:
    """A CDR as multipart form data is understood, too."""
    parts = [f'--x\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in FORMS["bracketed"]]
    raw = ("".join(parts) + "--x--\r\n").encode()
    assert RECEIVERS["cdr"].parse_stored(raw, "multipart/form-data; boundary=x") == parse_cdr(CDR_EXAMPLE)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "cdr"),
        ({"cdr": []}, "cdr"),
        ({"cdr": "id=1"}, "cdr"),
        ({"cdr": {}}, "cdr"),
        (payload(id=None), "cdr"),
        (payload(id=[]), "cdr"),
        (payload(start="soon"), "cdr"),
        ([], "body"),
    ],
)
def test_what_places_a_call_must_be_right(document: object, field: str) -> None:
    """A CDR without its id, or with a wrong moment, is told by the name of its field."""
    with pytest.raises(FieldErrors) as caught:
        parse_cdr(document)
    assert set(caught.value.errors) == {field}


def test_secret_of_custom_data_is_no_fact() -> None:
    """A token among the custom data is never shown to people."""
    event = parse_cdr({**payload(), "customData": {"Token": "t0k3n", "hook": "x"}})
    assert "t0k3n" not in str(event)
    assert event.facts["hook"] == "x"
