"""``auth = "oauth2"`` in a ``[[crm]]``: whom the CRM knows us as, or which setting signs in its place."""

from __future__ import annotations

import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from middleware.crm.base import CRMAdapter
from middleware.crm.oauth import OAuthClient
from middleware.crm.settings import Secret

KEYS = ("auth", "client_id", "client_secret")


class Reading(Protocol):
    """The file while it is read, as :mod:`middleware.tenants.config` has it."""

    path: Path
    problems: list[str]
    seen: list[bytes]
    files: list[Path]

    def resolve(self, value: object, key: str) -> object:
        """Return ``value``, or what it stands for."""


def take_access(kind: type[CRMAdapter[Any]], table: dict[str, Any]) -> dict[str, Any]:
    """Take the keys of OAuth2 out of the table, if the adapter speaks it; the others are its settings."""
    if kind.oauth2 is CRMAdapter.oauth2:
        return {}
    return {key: table.pop(key, None) for key in KEYS}


def read_client(
    name: str, adapter: CRMAdapter[Any], access: dict[str, Any], where: str, reading: Reading
) -> OAuthClient | None:
    """Return the client, or ``None`` where a setting signs or something is wrong, which ``reading`` then has."""
    oauth = adapter.oauth2()
    if oauth is None:
        reading.problems += [f"{where}.{key}: is unknown; remove it" for key, value in access.items() if value]
        return None
    other = oauth.replaces
    has_other = bool(other and getattr(adapter.settings, other))
    problems = []
    if access["auth"] not in (None, "oauth2"):
        problems = [f'{where}.auth: write "oauth2" or nothing']
    elif access["auth"] and has_other:
        problems = [f'{where}.{other}: leave it out, or auth = "oauth2"']
    elif other and not access["auth"]:
        problems = [f'{where}.{key}: is for auth = "oauth2" only' for key in KEYS if access[key]]
        problems += [] if has_other else [f'{where}.{other}: is missing; or write auth = "oauth2"']
        if not problems:
            return None
    elif find_spec("authlib") is None or find_spec("cryptography") is None:
        problems = [f"{where}.auth: needs the extra: pip install 'm8crm[oauth]'"]
    reading.problems += problems
    if problems:
        return None
    client_id, secret = _credentials(adapter.name, access, where, reading)
    return OAuthClient(
        tenant_id=reading.path.stem, source=name, oauth=oauth, client_id=client_id, client_secret=Secret(secret)
    )


def _credentials(adapter: str, access: dict[str, Any], where: str, reading: Reading) -> tuple[str, str]:
    """Return id and secret: the customer's own, or those of the installation."""
    clients = reading.path.parent.parent / "oauth.toml"  # beside the folder of the customers
    known = _installations(clients, adapter, reading) if access["client_id"] is None else access
    client_id = reading.resolve(known.get("client_id"), f"{where}.client_id")
    secret = reading.resolve(known.get("client_secret") or "", f"{where}.client_secret")
    if isinstance(client_id, str) and client_id and isinstance(secret, str):
        return client_id, secret
    reading.problems.append(
        f"{where}.client_id: write client_id and client_secret here, or in [{adapter}] of {clients}"
    )
    return "", ""


def _installations(clients: Path, adapter: str, reading: Reading) -> dict[str, Any]:
    reading.files.append(clients)
    try:
        raw = clients.read_bytes()
        table = tomllib.loads(raw.decode()).get(adapter, {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        reading.problems.append(f"{clients}: cannot be read, or is not TOML")
        return {}
    reading.seen.append(raw)
    return table if isinstance(table, dict) else {}
