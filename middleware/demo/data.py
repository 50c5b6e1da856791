"""Builds the demo's folder: customers' files, their CRMs, their secrets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from middleware.demo import crm, files
from middleware.tenants.config import RECEIVERS
from middleware.tenants.secrets import digest, new_secret

KNOWN_NUMBERS = {
    "nordlys": ["+46701740605", "+46701740606", "+46846500412", "+46313900612", "+46701740609"],
    "harbour": ["+447700900101", "+447700900102", "+442079460101", "+441614960105", "+442079460108"],
}
SECRETS = "secrets.json"  # in the folder; only the demo keeps secrets in plain text


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCustomer:
    """What to try: numbers that are found, one that is not, and the secret of every receiver."""

    id: str
    name: str
    known_numbers: list[str]
    unknown_number: str
    secrets: dict[str, str]


def build_demo(folder: Path, *, now: datetime) -> list[DemoCustomer]:
    """Make what is missing in ``folder``; what is there stays: secrets, and calls that were logged."""
    for name in ("customers", "crm", "secrets"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    secrets = load_secrets(folder) or {
        name: {receiver: new_secret() for receiver in RECEIVERS} for name in KNOWN_NUMBERS
    }
    _write(folder / SECRETS, json.dumps(secrets))
    for receiver, secret in secrets["nordlys"].items():
        _write(folder / "secrets" / f"nordlys.{receiver}", secret)
    for name, build in (("nordlys", crm.build_swedish), ("harbour", crm.build_british)):
        if not (path := folder / "crm" / f"{name}.db").exists():
            build(path, now)
    nordlys, harbour = (folder.resolve() / "crm" / f"{name}.db" for name in ("nordlys", "harbour"))
    _write(folder / "customers" / "nordlys.toml", files.SWEDISH % {"database": nordlys})
    digests = "\n".join(f'{receiver} = ["{digest(secret)}"]' for receiver, secret in secrets["harbour"].items())
    filled = files.BRITISH % {"database": harbour, "secrets": digests}
    _write(folder / "customers" / "harbour.toml", filled)
    return [
        DemoCustomer(
            id="nordlys",
            name="Nordlys AB",
            known_numbers=KNOWN_NUMBERS["nordlys"],
            unknown_number="+46701740699",
            secrets=secrets["nordlys"],
        ),
        DemoCustomer(
            id="harbour",
            name="Harbour Ltd",
            known_numbers=KNOWN_NUMBERS["harbour"],
            unknown_number="+447700900199",
            secrets=secrets["harbour"],
        ),
    ]


def load_secrets(folder: Path) -> dict[str, dict[str, str]]:
    """Return the plain secrets of a demo folder, by customer and receiver; empty for any other folder."""
    try:
        loaded: dict[str, dict[str, str]] = json.loads((folder / SECRETS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return loaded


def _write(path: Path, text: str) -> None:
    if not path.exists():
        path.touch(0o600)
        path.write_text(text, encoding="utf-8")
