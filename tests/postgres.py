"""A real PostgreSQL of the tests' own, that can be stopped, held still, and started again at the same place."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from middleware.cli.server import free_port

OWNER = "nobody"  # PostgreSQL refuses to run as root


class PostgresServer:
    """A cluster in a folder of its own; ``is_durable`` has it wait for the disk."""

    def __init__(self, *, is_durable: bool = False) -> None:
        self._bin = _programs()
        self._folder = Path(tempfile.mkdtemp(prefix="m8crm-postgres-"))  # pytest's own are closed to other users
        self._user: dict[str, Any] = {"user": OWNER} if os.geteuid() == 0 else {}
        if self._user:
            shutil.chown(self._folder, OWNER)
        self._port = free_port()
        self._is_durable = is_durable
        self._count = 0
        self._run("initdb", "--no-sync", "--auth=trust", "--username=m8crm", "--encoding=UTF8", "--locale=C.UTF-8")
        self.start()

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database of this server, as a hoster writes it."""
        return f"postgresql://m8crm@127.0.0.1:{self._port}/{database}"

    def create_database(self, template: str = "template0") -> str:
        """Return the name of a new database."""
        self._count += 1
        name = f"test_{self._count}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run a statement beside the product."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)

    def start(self) -> None:
        """Start, and return when connections are accepted."""
        options = f"-c listen_addresses=127.0.0.1 -c port={self._port} -c unix_socket_directories='' -N 200"
        if not self._is_durable:
            options += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        self._run("pg_ctl", "start", "--wait", "--silent", f"--log={self._folder}/log", "-o", options)

    def stop(self, mode: str = "immediate") -> None:
        """Stop as after a crash (``immediate``), or in another mode of ``pg_ctl``."""
        self._run("pg_ctl", "stop", "--wait", "--silent", f"--mode={mode}")

    def freeze(self) -> None:
        """Have all its processes stand still: connections are taken by the kernel, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """End :meth:`freeze`."""
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """Stop and leave nothing behind."""
        self.thaw()
        subprocess.run(
            [self._bin / "pg_ctl", "stop", "-D", self._data, "-m", "immediate"], check=False, **self._quiet()
        )
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _signal(self, number: int) -> None:
        try:
            postmaster = int((self._data / "postmaster.pid").read_text().splitlines()[0])
        except FileNotFoundError:  # it does not run
            return
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in (postmaster, *map(int, children)):
            with suppress(ProcessLookupError):  # a connection has ended meanwhile
                os.kill(pid, number)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([self._bin / program, "-D", self._data, *arguments], check=True, **self._quiet())

    def _quiet(self) -> dict[str, Any]:
        return {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self._folder, **self._user}


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    program = shutil.which("initdb") or (str(found[-1]) if found else None)
    if program is None and os.environ.get("CI") == "true":
        pytest.fail("PostgreSQL is missing: apt-get install postgresql")
    if program is None:
        pytest.skip("PostgreSQL is not installed")
    return Path(program).parent
