"""PostgreSQL is down or hangs: nothing is acknowledged, lookups go on, and all of it heals by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from middleware.app import create_app
from middleware.demo.data import build_demo
from middleware.errors import StorageError
from middleware.inbox import postgresql
from middleware.inbox.postgresql import PostgreSQL
from middleware.settings import load_settings
from tests.conftest import NOW, House
from tests.delivery.test_worker import Ledger, Post
from tests.postgres import PostgresServer

NUMBER = "+46701740605"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Return the moment by which a server is left alone; the test moves it."""
    moment = [0.0]
    monkeypatch.setattr(postgresql.time, "monotonic", lambda: moment[0])
    yield moment
