"""The databases that promises are kept on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.postgres import PostgresServer

DATABASES = ("sqlite", "postgresql")


@contextmanager
def new_database(kind: str, folder: Path) -> Iterator[str]:
    """Yield the URL of an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'm8crm.db'}"
        return
    server = PostgresServer(is_durable=True)
    try:
        yield server.url(server.create_database())
    finally:
        server.remove()


@contextmanager
def new_folder() -> Iterator[Path]:
    """Yield a folder for one installation."""
    with TemporaryDirectory(prefix="m8crm-promise-") as folder:
        yield Path(folder)
