"""A middleware over the demo's customers, whole, in a folder of the test's own; a real Redis, a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
import structlog
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from middleware.app import create_app
from middleware.cli.server import free_port
from middleware.demo.data import DemoCustomer, build_demo
from middleware.inbox.database import Database, open_database
from middleware.inbox.postgresql import PostgreSQL
from middleware.parts import Parts, build_worker
from middleware.settings import load_settings
from tests.postgres import PostgresServer

SERVER_CLOCK = PostgreSQL.lease_clock
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = b"key of the tests"


class _StandardError:
    """Standard error as it is when something is written: pytest closes that of a test, and loggers outlive the test."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


@pytest.fixture(autouse=True, scope="session")
def logs_go_where_standard_error_is() -> Iterator[None]:
    """Let loggers that were made in a test that captures log in the next one, too."""
    factory = structlog.PrintLoggerFactory(_StandardError())  # type: ignore[arg-type]  # as much of a file as is used
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "PrintLoggerFactory", lambda _file: factory)
        yield


def furnish(folder: Path, demo_folder: Path, database: Path) -> dict[str, DemoCustomer]:
    """Copy the demo's folder and a database with our tables."""
    shutil.copytree(demo_folder, folder)
    shutil.copy(database, folder / "m8crm.db")
    for file in (folder / "customers").iterdir():
        file.write_text(file.read_text().replace(str(demo_folder), str(folder)))
    return {customer.id: customer for customer in build_demo(folder, now=NOW)}


@dataclass
class House:
    """The application, its parts, and what a sender needs to call it."""

    folder: Path
    app: Flask
    customers: dict[str, DemoCustomer]
    client: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.app.test_client()

    @property
    def parts(self) -> Parts:
        parts: Parts = self.app.extensions["m8crm"]
        return parts

    def bearer(self, customer: str = "nordlys") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.customers[customer].secrets['insights']}"}

    def lookup(self, number: str = "+46701740605", customer: str = "nordlys", **query: Any) -> TestResponse:
        asked = {"fromNumber": number, **query}
        return self.client.get(f"/{customer}/lookup", query_string=asked, headers=self.bearer(customer))

    def post(self, body: Any, customer: str = "nordlys", **kwargs: Any) -> TestResponse:
        return self.client.post(f"/{customer}/calllog", json=body, headers=self.bearer(customer), **kwargs)

    def deliver(self) -> int:
        return build_worker(self.parts).run_once()


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the demo's folder once; every test gets a copy."""
    folder = tmp_path_factory.mktemp("demo")
    build_demo(folder, now=NOW)
    return folder


class RedisServer:
    """A real Redis of the test's own, that can be stopped and started again at the same place."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None and os.environ.get("CI") == "true":
            pytest.fail("redis-server is missing: apt-get install redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        port = free_port()
        self._command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
        self._folder = folder
        self.url = f"redis://127.0.0.1:{port}"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, cwd=self._folder, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        assert any("Ready to accept connections" in line for line in self.process.stdout), "redis-server did not start"

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="session")
def _shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis_server(_shared_redis: RedisServer) -> str:
    """Return the URL of a real Redis that is empty."""
    with redis.Redis.from_url(_shared_redis.url) as client:
        client.flushall()
    return _shared_redis.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Return a real Redis that the test may kill."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Return a PostgreSQL for all tests of this process; its database ``ready`` has our tables."""
    server = PostgresServer()
    server.execute("CREATE DATABASE ready")
    open_database(server.url("ready")).close()
    yield server
    server.remove()


@pytest.fixture
def own_postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the URL of a database of the test's own, with our tables."""
    name = postgres_server.create_database("ready")
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture(autouse=True)
def leases_go_by_the_moved_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have leases end by the clock that a test moves, and not by the server's."""
    monkeypatch.setattr(PostgreSQL, "lease_clock", Database.lease_clock)


@pytest.fixture(scope="session")
def ready_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database with our tables; every test gets a copy, since to make them takes longer than most tests."""
    file = tmp_path_factory.mktemp("sqlite") / "ready.db"
    open_database(f"sqlite:///{file}").close()
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an inbox's database, on both engines in turn."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("own_postgres"))
    return f"sqlite:///{shutil.copy(request.getfixturevalue('ready_sqlite'), tmp_path / 'inbox.db')}"


@pytest.fixture
def mortal_postgres() -> Iterator[PostgresServer]:
    """Return a PostgreSQL that the test may stop or freeze."""
    server = PostgresServer(is_durable=True)
    yield server
    server.remove()


@pytest.fixture
def house(demo_folder: Path, ready_sqlite: Path, tmp_path: Path) -> Iterator[House]:
    folder = tmp_path / "house"
    customers = furnish(folder, demo_folder, ready_sqlite)
    house = House(folder, create_app(load_settings(folder)), customers)
    yield house
    house.parts.close()


def call_log(**changes: Any) -> dict[str, Any]:
    """Return a call log as M8Com sends it (specs/001, Automatic Call Logging)."""
    return {
        "fromNumber": "+46701740605",
        "toNumber": "+46846500400",
        "duration": 8762790,
        "startTime": 1772366400000,
        "callType": "Outbound",
        "body": "Call to user: ada.webb@emca.inc (+46 8 465 004 00)\nCall from: +46 70 174 06 05\nCall type: Outbound",
        "userId": "u-1",
        **changes,
    }


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy test machine not pass for an outage; those have tests of their own."""
    monkeypatch.setattr("middleware.shared_store.TIMEOUT", 5.0)
