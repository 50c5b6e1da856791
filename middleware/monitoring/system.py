"""How the installation is put together: versions, workers, storage, and for how long what is kept."""

from __future__ import annotations

import platform
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import distinct, func, select, text

from middleware import __version__
from middleware.inbox.retention import AFTER_FAILURE, AFTER_SUCCESS, HASHES
from middleware.inbox.store import Inbox
from middleware.inbox.tables import lane
from middleware.lookup import traces
from middleware.metrics import counts
from middleware.monitoring import alarms
from middleware.monitoring.condition import free_bytes
from middleware.settings import Settings

RETENTION: Mapping[str, timedelta] = {
    "calls and what was sent about them, once written": AFTER_SUCCESS,
    "calls that were never written, and events set aside": AFTER_FAILURE,
    "keyed hashes that recognise a repeat": HASHES,
    "traces of lookups": traces.KEPT_FOR,
    "counts, and their past": counts.KEPT_FOR,
    "alarms that are over": alarms.KEPT_FOR,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The installation as one machine sees it.

    ``database`` names the engine with its version, ``revision`` is its tables', ``workers`` have a lane of calls right
    now.  ``storage`` has bytes by what lies there: the database's, those of this machine's data folder, and what is
    free there.  Recordings are in ``recordings``, which may be a URL without its query.
    """

    version: str
    python: str
    machine: str
    database: str
    revision: str
    is_current: bool
    workers: int
    web_workers: int
    threads: int
    delivers: bool
    has_redis: bool
    recordings: str
    storage: Mapping[str, int | None]
    retention: Mapping[str, timedelta]


def describe(inbox: Inbox, settings: Settings) -> System:
    """Look at the installation; raises ``StorageError``."""
    database, clock = inbox.database, inbox.database.lease_clock(inbox.now().timestamp())
    is_sqlite, state = database.dialect == "sqlite", database.state()
    size = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    at_work = select(func.count(distinct(lane.c.owner))).where(lane.c.lease_until > clock)
    with database.read() as connection:
        version = connection.execute(text("SELECT sqlite_version()" if is_sqlite else "SHOW server_version")).scalar()
        stored = connection.execute(text(size if is_sqlite else "SELECT pg_database_size(current_database())")).scalar()
        workers = connection.execute(at_work).scalar_one()
    return System(
        version=__version__,
        python=platform.python_version(),
        machine=socket.gethostname(),
        database=f"{'SQLite' if is_sqlite else 'PostgreSQL'} {version}",
        revision=state.revision or "none",
        is_current=state.is_current,
        workers=workers,
        web_workers=settings.web_workers,
        threads=settings.threads,
        delivers=settings.delivery,
        has_redis=settings.redis_url is not None,
        recordings=settings.recordings.partition("?")[0].rpartition("@")[2],
        storage={
            "database": stored,
            "traces": _size(settings.data / "traces.db"),
            "counts": _size(settings.data / "metrics.db"),
            "free": free_bytes(settings.data),
        },
        retention=RETENTION,
    )


def _size(path: Path) -> int | None:
    """Return how large a SQLite file is with what was not written into it yet; ``None`` where there is none."""
    try:
        return sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*") if path.exists()) or None
    except OSError:
        return None
