"""``Users``: the console's own accounts, their passwords hashed with argon2."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from threading import BoundedSemaphore, Lock
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy import delete, insert, select, update

from middleware.console.roles import Role, Viewer
from middleware.console.tables import console_session, console_user
from middleware.errors import ConfigError, CrowdError
from middleware.inbox.database import Database

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
SHORTEST = 12  # characters of a password
LONGEST = 1024
CROWD = 3  # sign-ins that a process hears at a time; whoever waits takes a thread from events
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)  # OWASP's; 25 ms and 19 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account; ``customer`` is a customer's own admin's."""

    name: str
    role: Role
    customer: str | None
    changed_at: datetime


class Users:
    """The accounts of all machines that share the database."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._crowd = BoundedSemaphore(CROWD)
        self._hashing = Lock()  # a crowd of sign-ins takes no memory and no processor from lookups

    def add(self, name: str, role: Role, password: str, customer: str | None = None) -> None:
        """Make an account; raises ``ConfigError`` for one that there is already, or that cannot be."""
        if not NAME.fullmatch(name):
            raise ConfigError(name, ["is no name: up to 64 letters, digits or any of ._@+-"])
        if (role is Role.CUSTOMER) != (customer is not None):
            raise ConfigError(name, ["the role customer needs a customer, and no other role has one"])
        hashed, now = self._hash(name, password), self._now().timestamp()
        row = {"name": name, "role": role.value, "customer": customer, "password": hashed, "changed_at": now}
        with self._database.write() as connection:
            if connection.execute(select(console_user.c.name).where(console_user.c.name == name)).first():
                raise ConfigError(name, ["has an account already"])
            connection.execute(insert(console_user).values(row))

    def change_password(self, name: str, password: str) -> None:
        """Set a new password and end every session of the account."""
        values = {"password": self._hash(name, password), "changed_at": self._now().timestamp()}
        with self._database.write() as connection:
            changed = connection.execute(update(console_user).where(console_user.c.name == name).values(values))
            _assert_one(name, changed.rowcount)
            connection.execute(delete(console_session).where(console_session.c.name == name))

    def remove(self, name: str) -> None:
        """Remove the account and end its sessions."""
        with self._database.write() as connection:
            gone = connection.execute(delete(console_user).where(console_user.c.name == name))
            _assert_one(name, gone.rowcount)
            connection.execute(delete(console_session).where(console_session.c.name == name))

    def list_users(self) -> list[User]:
        """Return all accounts by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(console_user).order_by(console_user.c.name)).all()
        return [
            User(
                name=row.name,
                role=Role(row.role),
                customer=row.customer,
                changed_at=datetime.fromtimestamp(row.changed_at, UTC),
            )
            for row in rows
        ]

    def is_known(self, name: str) -> bool:
        """Whether there is such an account."""
        return self._row(name) is not None

    def verify(self, name: str, password: str) -> Viewer | None:
        """Return who it is if the password is his; takes as long for an account that is not there.

        Raises ``CrowdError`` at once while too many others are asked.
        """
        row = self._row(name)
        if not self._crowd.acquire(blocking=False):
            raise CrowdError("too many people sign in at once")
        try:
            with self._hashing:
                is_right = _HASHER.verify(row.password if row else _nobodys(), password[:LONGEST])
        except (Argon2Error, InvalidHashError):
            return None
        finally:
            self._crowd.release()
        return Viewer(name=row.name, role=Role(row.role), customer=row.customer) if row and is_right else None

    def _hash(self, name: str, password: str) -> str:
        if not SHORTEST <= len(password) <= LONGEST:
            raise ConfigError(name, [f"a password has {SHORTEST} characters or more"])
        return _HASHER.hash(password)

    def _row(self, name: str) -> Any:
        with self._database.read() as connection:
            return connection.execute(select(console_user).where(console_user.c.name == name)).first()


@cache
def _nobodys() -> str:
    """Return what is compared where there is no account, so that both take as long."""
    return _HASHER.hash("")


def _assert_one(name: str, count: int) -> None:
    if count != 1:
        raise ConfigError(name, ["has no account; m8crm console user list shows them"])
