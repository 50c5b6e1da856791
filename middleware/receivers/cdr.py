"""A UC platform's post-call CDR webhook (specs/003, Payload Data): in any letter case, as JSON or as a form."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from marshmallow import Schema, fields

from middleware.model.call import CallEvent, Direction, Ending, EventKind, Leg
from middleware.receivers.body import UnreadableBody, read_json
from middleware.receivers.cdr_table import LISTS, CdrSchema, DirectoryFieldsSchema
from middleware.receivers.fields import (
    Anything,
    EventSchema,
    FieldErrors,
    Loose,
    any_text,
    aware,
    between,
    call_id,
    load,
    plain_text,
)
from middleware.receivers.form import is_place, items_of

SENDER = "cdr"
_timezones = cache(available_timezones)  # opens every file of the tz database: 20 ms
_DIRECTIONS = {"2": Direction.INBOUND, "3": Direction.OUTBOUND, "4": Direction.INBOUND}  # 4: in, and out again
_INTERNAL, _EXTERNAL = "1", "2"
SECRETS = frozenset({"token", "secret"})  # in customData; never kept
FACTS = {
    "cause": "Clear down cause",
    "cliLoc": "Caller's location",
    "cliArea": "Caller's area",
    "cliState": "Caller's state",
    "cliCtry": "Caller's country",
    "ddiName": "Called line",
    "hold": "On hold",
    "park": "Parked",
    "lostinPark": "Lost while parked",
    "aban": "Short ringing",
    "short": "Short call",
    "t2t": "Trunk to trunk",
    "rteID": "Prefix number",
    "rteName": "Prefix name",
    "rateCost": "Rate cost",
    "rateBand": "Rate band",
    "rateName": "Rate",
    "recordingIds": "Recordings",
    "pbxName": "Platform",
}
CONTACT_FACTS = {"companyName": "Company", "jobTitle": "Job title", "email": "E-mail"}


class CdrPayloadSchema(EventSchema):
    """The request body; any letter case of a key is understood."""

    triggerId = Loose("The trigger's id.")  # noqa: N815
    id = Loose("The user's or tenant's id.")
    tenantId = Loose("The customer's tenant.")  # noqa: N815
    cdr = fields.Nested(CdrSchema, required=True)
    customData = Anything("Static keys and values; one called token or secret is the credential.")  # noqa: N815


_payload = CdrPayloadSchema()
_cdr = CdrSchema()
_directory = DirectoryFieldsSchema()


def read_cdr(document: object) -> dict[str, Any]:
    """Return the fields; raises ``FieldErrors`` when the schema does not understand the document."""
    return load(_payload, _spelled(document))


def key_of(loaded: dict[str, Any]) -> str:
    """Return the session's id."""
    return loaded["cdr"]["id"]  # type: ignore[no-any-return]


def parse_cdr(document: object) -> CallEvent:
    """Return the call; raises ``FieldErrors`` when the schema does not understand the document."""
    loaded = read_cdr(document)
    cdr = loaded["cdr"]
    zone = _zone(cdr["tz"])
    start, answer = aware(cdr["start"], zone), aware(cdr["answer"], zone)
    direction = _DIRECTIONS.get(cdr["dir"])
    ending = _ending(cdr)
    contacts = list(_contacts(cdr["directoryMatches"]))
    return CallEvent(
        sender=SENDER,
        kind=EventKind.CALL_ENDED,
        key=key_of(loaded),
        call_ids=(call_id(SENDER, cdr["id"]),),
        direction=direction,
        is_internal=cdr["type"] == _INTERNAL or (cdr["dir"] == _INTERNAL and cdr["type"] != _EXTERNAL),
        from_number=cdr["cliNum"],
        to_number=cdr["ddiNum"],
        other_numbers=_numbers(cdr),
        started_at=start,
        answered_at=answer,
        duration=cdr["dur"] if cdr["dur"] is not None else between(start, aware(cdr["end"], zone)),
        talk_time=cdr["talk"],
        wait_time=cdr["ring"] if cdr["ring"] is not None else between(start, answer),
        ending=ending,
        agent=_name(cdr, "ans"),
        username=cdr["ansUsrName"],
        answer_group=cdr["ansGroupName"] or cdr["lRngGroupName"] or cdr["fRngGroupName"],
        user_id=cdr["ansUsrNum"],
        referred_to=_number(cdr, "lAns") if _number(cdr, "lAns") != _number(cdr, "ans") else None,
        caller_name=cdr["cliName"] or next((c["fullName"] for c in contacts if c["fullName"]), None),
        contact_id=next((c["crmId"] for c in contacts if c["crmId"]), None),
        journey=tuple(_legs(cdr, start, answer, ending)),
        facts=_facts(cdr, contacts, loaded["customData"]),
    )


def _spelled(document: object) -> object:
    """Return the document with the keys of the table as the table has them, and texts that are JSON read."""
    if not isinstance(document, dict):
        return document
    spelled = _spell(document, _payload)
    cdr = spelled.get("cdr")
    if isinstance(cdr, str):
        cdr = _read(cdr)
    if isinstance(cdr, dict):
        told = _spell(cdr, _cdr)
        lists = {name: _read(told[name]) for name in LISTS if isinstance(told.get(name), str)}
        spelled["cdr"] = told | lists
    elif "cdr" in spelled:
        raise FieldErrors({"cdr": ["Must be an object, or one as a JSON string."]})
    return spelled


def _spell(told: dict[str, Any], schema: Schema) -> dict[str, Any]:
    names = _names(schema)
    # backwards: of one key in two spellings the first counts
    return {names.get(key.lower(), key): value for key, value in reversed(told.items())}


@cache
def _names(schema: Schema) -> dict[str, str]:
    return {name.lower(): name for name in schema.fields}


def _read(text: str) -> object:
    try:
        return read_json(text.encode(errors="replace"))
    except UnreadableBody:
        return text


def _zone(name: str | None) -> tzinfo:
    return ZoneInfo(name) if name in _timezones() else UTC


def _ending(cdr: dict[str, Any]) -> Ending | None:
    if cdr["ans"] or (cdr["ans"] is None and (cdr["answer"] or cdr["talk"])):
        return Ending.ANSWERED
    if cdr["lost"] or cdr["lostinPark"]:
        return Ending.ABANDONED
    return Ending.MISSED if cdr["ans"] is False or cdr["aban"] or cdr["ring"] else None


def _name(cdr: dict[str, Any], stage: str) -> str | None:
    return cdr[f"{stage}AgtName"] or cdr[f"{stage}UsrName"] or cdr[f"{stage}DevName"]  # type: ignore[no-any-return]


def _number(cdr: dict[str, Any], stage: str) -> str | None:
    return cdr[f"{stage}AgtNum"] or cdr[f"{stage}UsrNum"] or cdr[f"{stage}DevNum"]  # type: ignore[no-any-return]


def _numbers(cdr: dict[str, Any]) -> tuple[str, ...]:
    """Return the numbers of ours that the call reached."""
    names = (f"{stage}{who}Num" for stage in ("ans", "lAns", "fRng", "lRng") for who in ("Usr", "Agt", "Dev"))
    return tuple(dict.fromkeys(cdr[name] for name in names if cdr[name]))


def _legs(cdr: dict[str, Any], start: datetime | None, answer: datetime | None, ending: Ending | None) -> Iterator[Leg]:
    """Return who rang, and who answered, each once: first rang, last rang, first answered, last answered."""
    answered = {_number(cdr, stage) or _name(cdr, stage) for stage in ("ans", "lAns")}
    seen: set[str | None] = {None}
    moments = {"fRng": start, "ans": answer}
    for stage in ("fRng", "lRng", "ans", "lAns"):
        who = _number(cdr, stage) or _name(cdr, stage)
        is_ringing = stage.endswith("Rng")
        if who in seen or (is_ringing and who in answered):
            continue
        seen.add(who)
        missed = ending if ending is not Ending.ANSWERED else Ending.MISSED
        yield Leg(
            started_at=moments.get(stage),
            agent=_name(cdr, stage),
            number=_number(cdr, stage),
            group=cdr.get(f"{stage}GroupName") or None,
            ending=missed if is_ringing else Ending.ANSWERED,
        )


def _contacts(matches: object) -> Iterator[dict[str, Any]]:
    for item in items_of(matches):
        if isinstance(item, dict):
            flat = {**item, **next((v for k, v in item.items() if k.lower() == "fields" and isinstance(v, dict)), {})}
            yield load(_directory, _spell(flat, _directory))


def _facts(cdr: dict[str, Any], contacts: list[dict[str, Any]], custom: object) -> dict[str, str]:
    known = {label: _spoken(cdr[name]) for name, label in FACTS.items()}
    for name, label in CONTACT_FACTS.items():
        known[label] = contacts[0][name] if contacts else None
    facts = {label: text for label, text in known.items() if text}
    for label, value in {**_pairs(custom), **_pairs(cdr["tags"])}.items():
        if label and label.lower() not in SECRETS and (text := any_text(value)):
            facts.setdefault(label, text)
    return facts


def _spoken(value: object) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else None
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} s" if value else None
    return any_text(items_of(value)) if isinstance(value, list | dict) else plain_text(value)


def _pairs(told: object) -> dict[str, Any]:
    """Return keys and values, of an object, a JSON string, or a list of ``{"key": …, "value": …}`` or objects."""
    if isinstance(told, str):
        told = _read(told)
    if isinstance(told, dict) and not (told and all(map(is_place, told))):
        lower = {key.lower(): value for key, value in told.items()}
        label = plain_text(lower.get("key"))
        return {label: lower["value"]} if label and len(lower) == 2 and "value" in lower else _texts(told)
    if isinstance(told, list | dict):
        return {key: value for item in items_of(told) for key, value in _pairs(item).items()}
    return {}


def _texts(told: dict[str, Any]) -> dict[str, Any]:
    return {plain_text(key) or "": value for key, value in told.items()}
