"""From a customer's file to a ``Tenant``, strictly: every fault names its key and what to do."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tomllib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo, available_timezones

import marshmallow_dataclass
from marshmallow import Schema, ValidationError, fields, validate
from phonenumbers import SUPPORTED_REGIONS

from middleware.crm.account import Accounts
from middleware.crm.base import CRMAdapter
from middleware.crm.budget import Budget
from middleware.crm.oauth import TokenAuth
from middleware.crm.registry import load_adapters
from middleware.crm.settings import Secret, SettingsError
from middleware.errors import ConfigError
from middleware.model.call import Direction
from middleware.model.phone import NumberKind, parse_number
from middleware.tenants.access import read_client, take_access
from middleware.tenants.lines import with_lines
from middleware.tenants.log_template import find_fault
from middleware.tenants.secrets import MIN_CHARACTERS
from middleware.tenants.tenant import (
    CallsConfig,
    IndexConfig,
    LookupConfig,
    RecordingsConfig,
    SkipConfig,
    Source,
    Tenant,
)

TENANT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
MAX_BYTES = 1_048_576  # of a customer's file; a larger one would hold up the answers of all while it is read
MAX_BUDGET = timedelta(seconds=2.8)  # of M8Com's 3 s
RECEIVERS = ("insights", "recording", "pbx", "cdr", "postcall")  # who has a secret of its own
SENDERS = ("calllog", "recording", "pbx", "cdr", "postcall")
_timezones = cache(available_timezones)  # opens every file of the tz database: 20 ms
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(fields.Field[timedelta]):
    """A span with its unit, e.g. ``"2.6s"``."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: Any) -> timedelta:
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValidationError('Write a span with its unit, e.g. "2.6s", "5m", "1h" or "90d".')
        return timedelta(seconds=float(match[1]) * _UNITS[match[2]])


class SecretField(fields.Field[Secret]):
    """A text that never shows."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: Any) -> Secret:
        if not isinstance(value, str):
            raise ValidationError('Write a text, { env = "VARIABLE" } or { file = "path" }.')
        return Secret(value)


class SettingsSchema(Schema):
    """What the schemas that are built from adapters' settings have in common."""

    TYPE_MAPPING = {Secret: SecretField, timedelta: Duration}  # noqa: RUF012 - as marshmallow declares it


def _at_most(most: timedelta) -> Any:
    def check(value: timedelta) -> None:
        if not timedelta() < value <= most:
            raise ValidationError(f"Must be more than 0 and at most {most.total_seconds():g}s.")

    return check


class _Lookup(Schema):
    budget = Duration(validate=_at_most(MAX_BUDGET))
    miss = fields.String(validate=validate.OneOf(["404", "204", "empty"]))
    several = fields.String(validate=validate.OneOf(["latest", "first", "all"]))
    deprecated_names = fields.Boolean(truthy={True}, falsy={False})
    numeric_id_parameter = fields.String(validate=validate.Regexp(r"[A-Za-z][A-Za-z0-9_.-]{0,63}\Z"))
    cache_hit = Duration()
    cache_miss = Duration()
    cache_revalidate = Duration()
    cache_stale = Duration()
    slots = fields.Integer(strict=True, validate=validate.Range(1, 1000))
    merge = fields.Boolean(truthy={True}, falsy={False})
    own_calls = fields.Boolean(truthy={True}, falsy={False})


class _Index(Schema):
    every = Duration(validate=_at_most(timedelta(days=1)))
    full_every = Duration(validate=_at_most(timedelta(days=31)))
    trusted_for = Duration(validate=_at_most(timedelta(days=31)))


class _Skip(Schema):
    internal = fields.Boolean(truthy={True}, falsy={False})
    shorter_than = Duration()
    numbers = fields.List(fields.String())
    directions = fields.List(fields.String(validate=validate.OneOf([direction.value for direction in Direction])))
    groups = fields.List(fields.String())


def _check_template(source: str) -> None:
    fault = find_fault(source)
    if fault:
        raise ValidationError(f"{fault}.")


_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = validate.Regexp(  # the last part begins with a letter, so that no IP address is one
    rf"(?:\*\.)?(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])(?::[1-9][0-9]{{0,4}})?\Z",
    error='Write a host name in small letters, e.g. "files.example.com" or "*.example.com".',
)


class _Recordings(Schema):
    fetch = fields.Boolean(truthy={True}, falsy={False})
    hosts = fields.List(fields.String(validate=_HOST))
    keep = Duration(validate=_at_most(timedelta(days=3660)))
    pass_through = fields.Boolean(truthy={True}, falsy={False})
    attach = fields.Boolean(truthy={True}, falsy={False})


# from_dict, because a field called "unknown" would hide an attribute of Schema
_Calls = Schema.from_dict(
    {
        "log_to": fields.List(fields.String()),
        "unknown": fields.String(validate=validate.OneOf(["park", "ignore", "create"])),
        "several": fields.String(validate=validate.OneOf(["latest", "first", "all"])),
        "subject": fields.String(validate=_check_template),
        "body": fields.String(validate=_check_template),
        "owners": fields.Dict(
            keys=fields.String(validate=validate.Length(1)), values=fields.String(validate=validate.Length(1, 200))
        ),
        "tasks": fields.Boolean(truthy={True}, falsy={False}),
        "skip": fields.Nested(_Skip),
        "join_within": Duration(validate=_at_most(timedelta(minutes=1))),
        "expect": fields.List(fields.String(validate=validate.OneOf(SENDERS))),
        "wait": Duration(validate=_at_most(timedelta(hours=1))),
    }
)
_REGION = validate.OneOf(sorted(SUPPORTED_REGIONS), error="Write a country as ISO 3166 has it, e.g. SE.")


class _File(Schema):
    name = fields.String(required=True, validate=validate.Length(1, 200))
    region = fields.String(required=True, validate=_REGION)
    timezone = fields.String(load_default="UTC")
    own_numbers = fields.List(fields.String(), load_default=list)
    secrets = fields.Dict(keys=fields.String(), values=fields.List(fields.Raw()), required=True)
    lookup = fields.Nested(_Lookup, load_default=dict)
    calls = fields.Nested(_Calls, load_default=dict)
    recordings = fields.Nested(_Recordings, load_default=dict)
    crm = fields.List(fields.Dict(keys=fields.String()), load_default=list)


@dataclass(slots=True)
class _Reading:
    """One file while it is read: its faults, and what else it depends on."""

    path: Path
    accounts: Accounts
    problems: list[str] = field(default_factory=list)
    seen: list[bytes] = field(default_factory=list)  # what the revision is made of
    files: list[Path] = field(default_factory=list)

    def resolve(self, value: object, key: str) -> object:
        """Return ``value``, or what ``{ env = … }`` or ``{ file = … }`` stands for."""
        if isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), str):
            if "env" in value:
                text = (os.environ.get(value["env"]) or "").strip()
                return self._found(text, key, f"set the variable {value['env']}")
            if "file" in value:
                path = self.path.parent / value["file"]
                self.files.append(path)
                try:
                    text = path.read_text(encoding="utf-8").strip()
                except (OSError, ValueError):  # no such path, or no UTF-8
                    text = ""
                return self._found(text, key, f"make the file {path} readable")
        return value

    def _found(self, text: str, key: str, remedy: str) -> str | None:
        if not text:
            self.problems.append(f"{key}: is empty or missing: {remedy}")
            return None
        self.seen.append(hashlib.sha256(text.encode()).digest())
        return text


def load_tenant(path: Path, accounts: Accounts | None = None) -> Tenant:
    """Read the customer's file; raises :class:`ConfigError` with all its faults."""
    return read_tenant(path, accounts)[0]


def read_tenant(path: Path, accounts: Accounts | None = None, *, copy: Path | None = None) -> tuple[Tenant, list[Path]]:
    """Read the customer's file, or the ``copy`` of it; return the tenant and the other files it was made from."""
    reading = _Reading(path, accounts or Accounts())
    try:
        with (copy or path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ConfigError(path.name, [f"is larger than {MAX_BYTES // 1024} KiB"])
        document = tomllib.loads(raw.decode())
    except OSError as error:
        raise ConfigError(
            path.name, [f"cannot be read ({error.strerror}): check that it exists and its rights"]
        ) from None
    except ValueError as error:  # tomllib's and the decoder's own, and that of a number with thousands of digits
        raise ConfigError(path.name, [f"is not TOML: {error}"]) from None
    except RecursionError:
        raise ConfigError(path.name, ["is not TOML: nested too deeply"]) from None
    reading.seen.append(raw)
    try:
        loaded: dict[str, Any] = cast("dict[str, Any]", _File().load(document))
    except ValidationError as error:
        problems = flat_problems(error.messages, _File())
        raise ConfigError(path.name, with_lines(problems, raw.decode())) from None
    tenant = _tenant(path.stem, loaded, reading)
    if reading.problems:
        for source in tenant.sources:
            source.adapter.close()
        raise ConfigError(path.name, with_lines(reading.problems, raw.decode()))
    return tenant, reading.files


def _tenant(tenant_id: str, loaded: dict[str, Any], reading: _Reading) -> Tenant:
    secrets = {receiver: _digests(receiver, entries, reading) for receiver, entries in loaded["secrets"].items()}
    for receiver in secrets:
        if receiver not in RECEIVERS:
            reading.problems.append(f"secrets.{receiver}: is no receiver; known: {', '.join(RECEIVERS)}")
    if not secrets.get("insights") and not reading.problems:
        reading.problems.append("secrets.insights: has no secret, so nobody could call; run m8crm tenant secret")
    if loaded["timezone"] not in _timezones():
        reading.problems.append("timezone: is unknown; write it as in the tz database, e.g. Europe/Stockholm")
    sources = _sources(loaded["crm"], reading)
    calls = _calls(loaded["calls"], sources, loaded["region"], reading)
    own = {number: parse_number(number, loaded["region"]).e164 for number in loaded["own_numbers"]}
    reading.problems += [
        f"own_numbers: entry {i} is no phone number" for i, e164 in enumerate(own.values(), 1) if not e164
    ]
    return Tenant(
        id=tenant_id,
        name=loaded["name"],
        region=loaded["region"],
        timezone=ZoneInfo(loaded["timezone"] if loaded["timezone"] in _timezones() else "UTC"),
        revision=hashlib.sha256(b"\0".join(reading.seen)).hexdigest()[:16],
        secrets=secrets,
        sources=sources,
        own_numbers=frozenset(filter(None, own.values())),
        lookup=LookupConfig(**loaded["lookup"]),
        calls=calls,
        recordings=_recordings(loaded["recordings"], reading),
    )


def _digests(receiver: str, entries: list[object], reading: _Reading) -> tuple[bytes, ...]:
    digests = []
    for i, entry in enumerate(entries, 1):
        key = f"secrets.{receiver}: entry {i}"
        text = reading.resolve(entry, key)
        match = _DIGEST.fullmatch(text) if isinstance(text, str) else None
        if match:
            digests.append(bytes.fromhex(match[1]))
        elif isinstance(entry, str) or not isinstance(text, str | None):
            reading.problems.append(
                f'{key}: write "sha256:<64 hex digits>", {{ env = "…" }} or {{ file = "…" }}; '
                "m8crm tenant secret makes one"
            )
        elif text and len(text) < MIN_CHARACTERS:
            reading.problems.append(f"{key}: has less than {MIN_CHARACTERS} characters; m8crm tenant secret makes one")
        elif text:
            digests.append(hashlib.sha256(text.encode()).digest())
    return tuple(digests)


def _sources(tables: list[dict[str, Any]], reading: _Reading) -> tuple[Source, ...]:
    sources: dict[str, Source] = {}
    for i, table in enumerate(tables, 1):
        where = f"crm entry {i}"
        settings = dict(table)
        kind, known = settings.pop("adapter", None), load_adapters()
        name = settings.pop("name", kind)
        written, wanted = settings.pop("budget", None), settings.pop("index", None)
        if not isinstance(kind, str) or kind not in known:
            near = difflib.get_close_matches(str(kind), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
            reading.problems.append(f"{where}.adapter: {hint}")
        elif not isinstance(name, str) or name in sources:
            reading.problems.append(f"{where}.name: give each [[crm]] a name of its own")
        else:
            access = take_access(known[kind], settings)
            adapter = _adapter(known[kind], settings, where, reading)
            budget = _budget(written, known[kind], where, reading)
            if adapter:
                client = read_client(name, adapter, access, where, reading)
                account = reading.accounts.get(reading.path.stem, name, budget)
                index = _index(wanted, adapter, where, reading)
                if client and reading.accounts.tokens:
                    account = replace(account, auth=partial(TokenAuth, reading.accounts.tokens, client))
                sources[name] = Source(name=name, adapter=adapter, account=account, client=client, index=index)
    return tuple(sources.values())


def _budget(written: object, kind: type[CRMAdapter[Any]], where: str, reading: _Reading) -> Budget | None:
    if written is None:
        return kind.budget
    if written == "none":
        return None
    try:
        return Budget.parse(written)
    except ValueError as error:
        reading.problems.append(f'{where}.budget: {error}; "none" is without limit')
        return None


def _index(written: object, adapter: CRMAdapter[Any], where: str, reading: _Reading) -> IndexConfig | None:
    """Return how the source's numbers are indexed: unless told otherwise only where the CRM cannot search for them."""
    is_needed = not adapter.is_searchable
    if written is False or (written is None and not is_needed):
        if is_needed:
            reading.problems.append(f"{where}.index: this CRM cannot search by number: it needs its index")
        return None
    if not adapter.can("iter_contacts"):
        reading.problems.append(f"{where}.index: its adapter cannot list contacts (iter_contacts)")
        return None
    if not isinstance(written, bool | dict | None):
        reading.problems.append(f'{where}.index: write true, false or {{ every = "5m" }}')
        return None
    try:
        index = IndexConfig(**_Index().load(written if isinstance(written, dict) else {}))
    except ValidationError as error:
        reading.problems += flat_problems(error.messages, _Index(), f"{where}.index.")
        return None
    if index.trusted_for <= index.every:
        reading.problems.append(f"{where}.index.trusted_for: must be longer than every: else no index is young enough")
    return index


def _adapter(
    kind: type[CRMAdapter[Any]], table: dict[str, Any], where: str, reading: _Reading
) -> CRMAdapter[Any] | None:
    schema = marshmallow_dataclass.class_schema(kind.settings_type, base_schema=SettingsSchema)()
    resolved = {key: reading.resolve(value, f"{where}.{key}") for key, value in table.items()}
    if reading.problems:
        return None
    try:
        return kind(schema.load(resolved))
    except ValidationError as error:
        reading.problems += flat_problems(error.messages, schema, f"{where}.")
    except SettingsError as error:
        reading.problems += [f"{where}: {problem}" for problem in error.problems]
    except ValueError as error:  # what an adapter says of its settings
        reading.problems.append(f"{where}: {error}")
    except Exception as error:  # an adapter's fault: its message may hold a setting
        reading.problems.append(f"{where}: the adapter refuses these settings ({type(error).__name__})")
    return None


def _calls(table: dict[str, Any], sources: tuple[Source, ...], region: str, reading: _Reading) -> CallsConfig:
    able = [source.name for source in sources if source.adapter.can("log_call")]
    log_to = table.pop("log_to", able)
    for name in log_to:
        if name not in able and not reading.problems:
            can = f"these can: {', '.join(able)}" if able else "none of this customer's can"
            reading.problems.append(f"calls.log_to: {name!r} is no [[crm]] that can log calls; {can}")
    skip = _skip(table.pop("skip", {}), region, reading)
    owners = {name.strip().casefold(): owner for name, owner in table.pop("owners", {}).items()}
    expect = tuple(table.pop("expect", ()))
    return CallsConfig(log_to=tuple(log_to), skip=skip, owners=owners, expect=expect, **table)


def _skip(table: dict[str, Any], region: str, reading: _Reading) -> SkipConfig:
    numbers = [parse_number(number, region) for number in table.pop("numbers", ())]
    reading.problems += [
        f"calls.skip.numbers: entry {i} is no phone number"
        for i, number in enumerate(numbers, 1)
        if number.kind not in (NumberKind.DIALLABLE, NumberKind.INTERNAL)
    ]
    return SkipConfig(
        numbers=frozenset(map(str, numbers)),
        directions=frozenset(map(Direction, table.pop("directions", ()))),
        groups=frozenset(group.strip().casefold() for group in table.pop("groups", ())),
        **table,
    )


def _recordings(table: dict[str, Any], reading: _Reading) -> RecordingsConfig:
    config = RecordingsConfig(**{**table, "hosts": tuple(table.get("hosts", ()))})
    if config.fetch and not config.hosts:
        reading.problems.append("recordings.hosts: is empty; name the hosts that recordings are fetched from")
    if config.fetch and config.pass_through:
        reading.problems.append("recordings.pass_through: fetch the recordings or pass their links on, not both")
    return config


def flat_problems(messages: Any, schema: Schema, prefix: str = "") -> list[str]:
    """Return marshmallow's nested messages as sentences that begin with the dotted key."""
    if isinstance(messages, dict):
        problems = []
        for key, inner in messages.items():
            if inner == ["Unknown field."]:
                near = difflib.get_close_matches(str(key), schema.fields, 1)
                problems.append(
                    f"{prefix}{key}: is unknown" + (f"; did you mean {near[0]!r}?" if near else "; remove it")
                )
                continue
            nested = schema.fields.get(str(key))
            inner_schema = nested.schema if isinstance(nested, fields.Nested) else schema
            problems += flat_problems(inner, inner_schema, f"{prefix}{key}.")
        return problems
    return [f"{prefix.rstrip('.')}: {' '.join(map(str, messages))}"]
