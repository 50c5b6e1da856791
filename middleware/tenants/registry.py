"""The customers of this installation, each read when he is first asked for and again when his file changes."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import structlog

from middleware.crm.account import Accounts
from middleware.errors import ConfigError, place_of
from middleware.model.deadline import Clock
from middleware.tenants.config import TENANT_ID, read_tenant
from middleware.tenants.files import replace_file
from middleware.tenants.tenant import Tenant

LOOK_EVERY = 0.5  # seconds: a change is in force within one
GONE_AFTER = 10.0  # seconds without a file: longer than an editor takes to replace it

log = structlog.get_logger("m8crm.tenants")
Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(slots=True)
class _Entry:
    tenant: Tenant | None = None
    problem: ConfigError | None = None
    files: list[Path] = field(default_factory=list)
    stamp: Stamp = ()
    looked_at: float = float("-inf")
    missing_since: float | None = None
    lock: Lock = field(default_factory=Lock)


class Tenants:
    """Customers by id.  Nothing is scanned: asking for one costs the same with ten thousand others.

    ``good`` is where the last good version of each file is kept: a process that starts later knows it, too.
    """

    def __init__(
        self,
        folder: Path,
        *,
        accounts: Accounts | None = None,
        good: Path | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._folder = folder
        self._good = good
        self._accounts = accounts or Accounts()
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._lock = Lock()

    def get(self, tenant_id: str) -> Tenant | None:
        """Return the last good version of the customer, or ``None``."""
        entry = self._look(tenant_id)
        return entry.tenant if entry else None

    def peek(self, tenant_id: str) -> Tenant | None:
        """Return the customer if his files are those that were read; never waits and never reads one."""
        entry = self._entries.get(tenant_id)
        if entry is None:
            return None
        now = self._clock()
        is_current = now - entry.looked_at < LOOK_EVERY or self._is_unchanged(tenant_id, entry, now)
        return entry.tenant if is_current else None

    def problem(self, tenant_id: str) -> ConfigError | None:
        """Return what is wrong with the customer's file now."""
        entry = self._look(tenant_id)
        return entry.problem if entry else None

    def known_problems(self) -> dict[str, ConfigError]:
        """Return what was wrong with which files when this process looked last; none is read for that."""
        return {tenant_id: entry.problem for tenant_id, entry in sorted(self._entries.items()) if entry.problem}

    def ids(self, mentioning: re.Pattern[bytes] | None = None) -> list[str]:
        """Return the ids of all customers that have a file, or one that mentions something: no file is understood."""
        paths = [path for path in self._folder.glob("*.toml") if TENANT_ID.fullmatch(path.stem)]
        return sorted(path.stem for path in paths if mentioning is None or _mentions(path, mentioning))

    def _is_unchanged(self, tenant_id: str, entry: _Entry, now: float) -> bool:
        """Whether a look is saved, since it would read nothing; a few microseconds."""
        if not entry.lock.acquire(blocking=False):
            return False
        try:
            path = self._folder / f"{tenant_id}.toml"
            is_unchanged = entry.missing_since is None and _stamp([path, *entry.files]) == entry.stamp
            if is_unchanged:
                entry.looked_at = now
        finally:
            entry.lock.release()
        return is_unchanged

    def _look(self, tenant_id: str) -> _Entry | None:
        entry = self._entries.get(tenant_id)
        now = self._clock()
        if entry and now - entry.looked_at < LOOK_EVERY:
            return entry
        if not TENANT_ID.fullmatch(tenant_id):
            return None
        path = self._folder / f"{tenant_id}.toml"
        if entry is None and not path.exists():
            return None
        with self._lock:
            entry = self._entries.setdefault(tenant_id, _Entry())
        # the first version is waited for; while a later one is read, the last good one serves
        if not entry.lock.acquire(blocking=entry.tenant is None):
            return entry
        try:
            if now - entry.looked_at >= LOOK_EVERY:
                self._refresh(tenant_id, entry, path, now)
                entry.looked_at = now
        finally:
            entry.lock.release()
        return self._entries.get(tenant_id)

    def _refresh(self, tenant_id: str, entry: _Entry, path: Path, now: float) -> None:
        if not path.exists():
            entry.missing_since = entry.missing_since or now
            if entry.tenant is None or now - entry.missing_since >= GONE_AFTER:
                self._entries.pop(tenant_id, None)
                self._forget(path)
            return
        entry.missing_since = None
        stamp = _stamp([path, *entry.files])
        if stamp == entry.stamp:
            return
        try:
            # an old adapter may still be in use by a lookup: it is closed when the last of them lets it go
            entry.tenant, entry.files = read_tenant(path, self._accounts)
        except ConfigError as error:
            entry.problem = error
            log.error("customer_file_broken", customer=tenant_id, file=error.where, problems=error.problems)
        except Exception as error:  # a fault of ours or of an adapter's; its message may hold anything
            entry.problem = ConfigError(path.name, [f"breaks what reads it ({type(error).__name__})"])
            log.error("customer_file_breaks_us", customer=tenant_id, error=type(error).__name__, place=place_of(error))
        else:
            entry.problem = None
        if entry.tenant is None:
            self._restore(tenant_id, entry, path)
        # a change while the file was read is seen by the next look
        after = _stamp([path, *entry.files])
        entry.stamp = after if after[0] == stamp[0] else ()
        if entry.problem is None and entry.stamp:
            self._keep(path)

    def _restore(self, tenant_id: str, entry: _Entry, path: Path) -> None:
        """Take the version that was good when some process last read the file."""
        copy = self._good / path.name if self._good else None
        if copy and copy.exists():
            with suppress(Exception):  # what made it good may have changed: then nothing serves this customer
                entry.tenant, entry.files = read_tenant(path, self._accounts, copy=copy)
                log.warning("customer_of_last_good_file", customer=tenant_id)

    def _keep(self, path: Path) -> None:
        if self._good is None:
            return
        copy = self._good / path.name
        try:
            text = path.read_text(encoding="utf-8")
            if not copy.exists() or copy.read_text(encoding="utf-8") != text:
                self._good.mkdir(mode=0o700, exist_ok=True)
                replace_file(copy, text, is_durable=False)
        except OSError as error:  # a full disk; nobody needs the copy now
            log.warning("customer_file_not_kept", error=type(error).__name__)

    def _forget(self, path: Path) -> None:
        if self._good:
            with suppress(OSError):
                (self._good / path.name).unlink(missing_ok=True)


def _mentions(path: Path, what: re.Pattern[bytes]) -> bool:
    try:
        return what.search(path.read_bytes()) is not None
    except OSError:
        return False


def _stamp(paths: list[Path]) -> Stamp:
    return tuple(map(_stamp_of, paths))


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)
