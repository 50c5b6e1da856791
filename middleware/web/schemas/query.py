"""The lookup's query string (specs/001, Number Lookup, REQUEST), and what the answers beside a hit look like."""
# ruff: noqa: N815 - the fields bear the specification's names

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from middleware.model.call import LookupQuery, User
from middleware.model.phone import parse_number
from middleware.tenants.tenant import Tenant

MAX_VALUE = 4_000  # characters of one parameter that are looked at
MAX_NAME = 320  # characters of one fact about a user: the longest e-mail address
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # text that databases and encoders refuse
_NUMERIC_ID = re.compile(r"[A-Za-z0-9._*#-]{1,64}")
_BRACKETED = re.compile(r"user((?:\[[A-Za-z0-9]{0,20}\]){1,4})")


class LookupArgs(Schema):
    """What M8Com sends; unknown parameters are ignored."""

    class Meta:
        """Adding is not breaking."""

        unknown = EXCLUDE

    fromNumber = fields.String(
        required=True, metadata={"description": "The caller's number.", "example": "+46701234567"}
    )
    toNumber = fields.String(metadata={"description": "The called number, when there is one."})
    user = fields.String(
        metadata={"description": "The M8Com user: one JSON object, or bracketed keys such as user[firstName]."}
    )


_ARGS = LookupArgs()
_NUMBERS = ("fromNumber", "toNumber")


class MessageSchema(Schema):
    """An error, or a miss."""

    message = fields.String(required=True)
    errors = fields.Dict(metadata={"description": "Per field what is wrong."})


def read_query(query: str, tenant: Tenant) -> LookupQuery:
    """Return what a query string asks; raises ``ValidationError`` with what is missing or contradictory."""
    return _read_query(query, tenant.region, tenant.lookup.numeric_id_parameter)


@lru_cache(maxsize=2048)  # the same callers call again, and a fast answer must not pay for reading twice
def _read_query(query: str, region: str, numeric_id_parameter: str) -> LookupQuery:
    args: dict[str, str] = {}  # the first value of each, as Flask reads them
    for name, value in parse_qsl(query, keep_blank_values=True, errors="werkzeug.url_quote"):
        known = args.setdefault(name, value)
        if name in _NUMBERS and known[:MAX_VALUE] != value[:MAX_VALUE]:
            raise ValidationError({name: ["Is given twice, with different values."]})
    loaded = args if "fromNumber" in args else _ARGS.load(args)  # a text is a text: nothing else can be wrong
    to_number = loaded.get("toNumber")
    return LookupQuery(
        number=parse_number(loaded["fromNumber"][:MAX_VALUE], region),
        to_number=parse_number(to_number[:MAX_VALUE], region) if to_number else None,
        user=parse_user(args),
        numeric_id=parse_numeric_id(args.get(numeric_id_parameter)),
    )


def parse_user(args: dict[str, str]) -> User | None:
    """Return the user from either spelling; one that cannot be read is no user, and never an error."""
    document = _json_user(args["user"]) if "user" in args else _bracketed_user(args)
    if not document:
        return None
    ids = document.get("userIds")
    ids = list(ids.values()) if isinstance(ids, dict) else ids if isinstance(ids, list) else []
    usernames = {_text(i, "type"): _text(i, "username") for i in ids if isinstance(i, dict)}
    return User(
        id=_text(document, "id"),
        display_name=_text(document, "displayName"),
        first_name=_text(document, "firstName"),
        last_name=_text(document, "lastName"),
        email=usernames.get("email"),
        mobile_phone=usernames.get("mobilePhone"),
    )


def parse_numeric_id(text: str | None) -> str | None:
    """Return the id that a caller typed; what nobody can type is none."""
    return text if text and _NUMERIC_ID.fullmatch(text) else None


def _json_user(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _bracketed_user(args: dict[str, str]) -> dict[str, Any]:
    """Read ``user[userIds][0][type]=email`` into nested dictionaries."""
    document: dict[str, Any] = {}
    for name, value in args.items():
        match = _BRACKETED.fullmatch(name)
        if match is None:
            continue
        *path, last = re.findall(r"\[([^\]]*)\]", match[1])
        place: Any = document
        for step in path:
            place = place.setdefault(step, {}) if isinstance(place, dict) else {}
        if isinstance(place, dict):
            place[last] = value
    return document


def _text(document: dict[str, Any], name: str) -> str | None:
    value = document.get(name)
    return _UNSTORABLE.sub("", value)[:MAX_NAME] or None if isinstance(value, str) else None
