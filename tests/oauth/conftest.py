"""A provider, and what keeps its tokens: on SQLite, and on both engines where processes must agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from middleware.crm.oauth import OAuthClient
from middleware.inbox.database import Database, open_database
from middleware.model.deadline import Deadline
from middleware.oauth.grants import Grant, Grants
from middleware.oauth.protocol import Granted, Protocol
from middleware.oauth.tokens import StoredTokens
from middleware.oauth.vault import Vault
from tests.oauth.provider import Provider, run_provider

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def soon() -> Deadline:
    """Return a deadline that no test reaches unless something hangs."""
    return Deadline.after(timedelta(seconds=30))


@dataclass
class Desk:
    """One installation's tokens, whose clock a test turns."""

    database: Database
    folder: Path
    provider: Provider
    moment: datetime = NOW
    vault: Vault = field(init=False)
    grants: Grants = field(init=False)
    tokens: StoredTokens = field(init=False)

    def __post_init__(self) -> None:
        self.vault = Vault(self.folder / "token.keys")
        self.grants = self.new_grants()
        self.tokens = self.process()

    @property
    def client(self) -> OAuthClient:
        return self.provider.client()

    def new_grants(self, kind: type[Grants] = Grants) -> Grants:
        return kind(self.database, self.vault, lambda: self.moment)

    def process(self, grants: Grants | None = None, wait: Callable[[float], None] | None = None) -> StoredTokens:
        """Return what another process would have."""
        more = {"wait": wait} if wait else {}
        return StoredTokens(grants or self.new_grants(), Protocol(), clock=self.clock, **more)

    def clock(self) -> float:
        return self.moment.timestamp()

    def connect(self) -> None:
        told = self.provider.grant()
        lifetime = float(told["expires_in"]) if told["expires_in"] else None
        granted = Granted(access_token=told["access_token"], refresh_token=told["refresh_token"], lifetime=lifetime)
        self.grants.connect(self.client, granted)

    def pass_by(self, **span: float) -> None:
        self.moment += timedelta(**span)

    def get(self) -> str:
        return self.tokens.get(self.client, soon()).reveal()

    def grant(self) -> Grant:
        found = self.grants.find("acme", "acme")
        assert found
        return found


@pytest.fixture
def provider() -> Iterator[Provider]:
    with run_provider() as provider:
        yield provider


def _desk(url: str, tmp_path: Path, provider: Provider) -> Iterator[Desk]:
    database = open_database(url)
    desk = Desk(database, tmp_path, provider)
    desk.connect()
    yield desk
    database.close()


@pytest.fixture
def desk(tmp_path: Path, provider: Provider) -> Iterator[Desk]:
    """Return tokens that were just given, on SQLite."""
    yield from _desk(f"sqlite:///{tmp_path / 'inbox.db'}", tmp_path, provider)


@pytest.fixture
def any_desk(database_url: str, tmp_path: Path, provider: Provider) -> Iterator[Desk]:
    """Return the same, on both engines in turn."""
    yield from _desk(database_url, tmp_path, provider)
