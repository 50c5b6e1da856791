"""How far a database's tables are, and how they get to where this program wants them (alembic, ``migrations/``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from middleware.errors import StorageError

HEAD = "0001"  # the latest migration; known here so that a start that changes nothing need not load alembic
FOLDER = Path(__file__).resolve().parent.parent / "migrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """``revision`` of the tables, ``None`` before the first migration, and what this program wants."""

    revision: str | None
    wanted: str = HEAD

    @property
    def is_current(self) -> bool:
        """Whether there is nothing to do."""
        return self.revision == self.wanted


def state_of(connection: Connection) -> State:
    """Return how far the tables are."""
    has_any = inspect(connection).has_table("alembic_version")
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if has_any else None
    return State(revision=revision)


def upgrade(connection: Connection) -> None:
    """Bring the tables up to date, all in the connection's transaction; who calls sees to it that nobody else does.

    Raises ``StorageError``, with nothing changed, for tables that a newer program has made.
    """
    from alembic import command  # noqa: PLC0415 - takes 0.2 s to load, and nearly no start needs it
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    state = state_of(connection)
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    if state.revision is not None and state.revision not in known:
        raise StorageError(
            f"the database is at revision {state.revision}, which a newer m8crm has made; this one knows those up to "
            f"{HEAD}: install the newer one again, or restore a backup from before its installation"
        )
    command.upgrade(config, "head")
