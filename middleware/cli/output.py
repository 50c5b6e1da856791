"""What all commands share: the ``--json`` switch, and where settings come from."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from middleware.errors import ConfigError
from middleware.settings import Settings, load_settings

if TYPE_CHECKING:
    from middleware.parts import Parts


# the command then prints JSON and nothing else on standard output
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


def print_json(value: object, file: IO[str] | None = None) -> None:
    """Print one JSON line, at once; in ASCII, because what senders send may be no Unicode."""
    click.echo(json.dumps(value, default=_plain), file)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def settings_of(ctx: click.Context) -> Settings:
    """Return the settings that ``--data`` or the environment names; from here on only the command speaks."""
    from middleware.logs import configure_logs

    data: Path | None = ctx.find_root().obj
    settings = load_settings(data)
    configure_logs("CRITICAL", settings.log_format)  # a command says itself what is wrong
    return settings


def parts_of(ctx: click.Context, *, shares_answers: bool = True, makes_data: bool = False) -> Parts:
    """Return the parts of a process, for commands that work on the data themselves.

    Raises ``ConfigError`` where there are no data yet, unless the command may make them.
    """
    from middleware.parts import build_parts

    settings = settings_of(ctx)
    if not (makes_data or (settings.data.is_dir() and any(settings.data.iterdir()))):
        todo = "`m8crm serve` begins to keep them, `m8crm demo --data DIR` makes some up; --data DIR looks elsewhere"
        raise ConfigError(str(settings.data), [f"there is nothing yet; {todo}"])
    parts = build_parts(settings, shares_answers=shares_answers)
    ctx.call_on_close(parts.close)
    return parts


class Moment(click.ParamType[datetime]):
    """A moment, or how long ago it was: ``2h`` or ``2026-03-01T12:00``, which is local."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return it, with a zone."""
        from marshmallow import ValidationError

        from middleware.tenants.config import Duration

        try:
            return datetime.now(UTC) - (Duration(required=True).deserialize(value) or timedelta())
        except ValidationError:
            pass
        try:
            return datetime.fromisoformat(value).astimezone()
        except ValueError:
            self.fail(f'{value} is no moment: write "2h", "3d" or "2026-03-01T12:00"', param, ctx)
