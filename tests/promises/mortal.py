"""What is killed in a process of its own: a web worker, and a worker that delivers, with a failpoint armed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import ClassVar

import middleware.parts
import middleware.tenants.config
from middleware.app import create_app
from middleware.crm.base import CRMAdapter
from middleware.crm.registry import load_adapters
from middleware.inbox.database import Database
from middleware.inbox.postgresql import PostgreSQL
from middleware.parts import build_parts, build_worker
from middleware.settings import Settings, load_settings
from middleware.web.inline import InlineWorker
from tests.promises.town import TownAdapter
from tests.web.serving import served

FORKS = multiprocessing.get_context("forkserver")  # imports once, and forks processes that have no threads yet
FORKS.set_forkserver_preload([__name__, "alembic.context", "psycopg", "sqlalchemy.dialects.postgresql.psycopg"])


class BlindTownAdapter(TownAdapter):
    """Cannot be asked for a call."""

    name: ClassVar[str] = "blind-town"
    find_logged_call = CRMAdapter.find_logged_call


@contextmanager
def web(folder: Path, database_url: str, fail_at: str | None = None) -> Iterator[tuple[ForkServerProcess, int]]:
    """Run a web worker; yield it and its port, and kill it in the end."""
    ours, theirs = FORKS.Pipe()
    process = FORKS.Process(target=_serve, args=(folder, database_url, fail_at, theirs), daemon=True)
    process.start()
    with theirs, ours:
        yield process, int(ours.recv())
        process.kill()
        process.join()


def deliver(folder: Path, database_url: str, fail_at: str | None = None, *, later: float = 0.0) -> int | None:
    """Have a process deliver what is due ``later`` (seconds), and return its exit status."""
    process = FORKS.Process(target=_deliver, args=(folder, database_url, fail_at, later), daemon=True)
    process.start()
    process.join(60)
    return process.exitcode


def _settings(folder: Path, database_url: str, fail_at: str | None) -> Settings:
    PostgreSQL.lease_clock = Database.lease_clock  # type: ignore[method-assign]  # the server's cannot be moved
    adapters = {"town": TownAdapter, "blind-town": BlindTownAdapter}
    middleware.tenants.config.load_adapters = lambda: load_adapters() | adapters  # type: ignore[attr-defined]
    return replace(load_settings(folder), database_url=database_url, fail_at=fail_at, log_level="ERROR")


def _serve(folder: Path, database_url: str, fail_at: str | None, pipe: Connection) -> None:
    with served(create_app(_settings(folder, database_url, fail_at)), InlineWorker) as (_, address):
        pipe.send(address[1])
        with suppress(EOFError):  # until nobody is there who would ask
            pipe.recv()


def _deliver(folder: Path, database_url: str, fail_at: str | None, later: float) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(seconds=later)

    middleware.parts.datetime = Clock  # type: ignore[attr-defined]
    parts = build_parts(_settings(folder, database_url, fail_at))
    build_worker(parts).run_once()
    parts.close()
