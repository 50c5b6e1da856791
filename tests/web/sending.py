"""Sends events as each sender does: with its credential in its place."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
import structlog
from sqlalchemy import select
from werkzeug.test import TestResponse

from middleware.demo.samples import SAMPLES, Situation
from middleware.inbox import tables
from middleware.logs import configure_logs
from middleware.receivers.registry import RECEIVERS, Credential
from tests.conftest import House

SENDERS = list(RECEIVERS)
CALL = Situation(
    contact="+46701740605",
    own="+46846500400",
    began_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    duration=timedelta(seconds=95),
    call_id="0123456789abcdef01234567",
    summary="Wants a refund.",
)


def sample(sender: str) -> dict[str, Any]:
    """Return the sender's first sample."""
    return next(iter(SAMPLES[sender].values()))(CALL)


def secret_of(house: House, sender: str, customer: str = "nordlys") -> str:
    """Return the customer's secret for the sender."""
    return house.customers[customer].secrets[RECEIVERS[sender].secret]


def path_and_headers(sender: str, secret: str | None, customer: str = "nordlys") -> tuple[str, dict[str, str]]:
    """Return where the sender calls, and its headers; ``None`` is no secret at all."""
    path = f"/{customer}/{sender}"
    if secret is None:
        return path, {}
    match RECEIVERS[sender].credential:
        case Credential.BEARER:
            return path, {"Authorization": f"Bearer {secret}"}
        case Credential.PBX_TOKEN:
            return path, {"X-Pbx-Token": secret}
        case Credential.URL | Credential.URL_OR_DATA:
            return f"{path}?{urlencode({'token': secret})}", {}


def stored_type(house: House) -> str:
    """Return the content type that the one stored event has on disk."""
    with house.parts.inbox.database.read() as connection:
        return str(connection.execute(select(tables.event.c.content_type)).scalar_one())


def send(
    house: House,
    sender: str,
    raw: bytes | dict[str, Any],
    content_type: str | None = "application/json",
    **environ: Any,
) -> TestResponse:
    """Post ``raw`` with the right secret."""
    path, headers = path_and_headers(sender, secret_of(house, sender))
    data = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    return house.client.post(path, data=data, content_type=content_type, headers=headers, environ_overrides=environ)


def log_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every module log as the product does, to what standard error is now."""
    structlog.reset_defaults()
    configure_logs("DEBUG", "json")
    for name in [name for name in sys.modules if name.startswith("middleware.")]:
        if hasattr(sys.modules[name], "log"):  # one that was used before writes where it wrote then
            monkeypatch.setattr(f"{name}.log", structlog.get_logger())
