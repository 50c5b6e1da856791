"""What all commands share: the ``--json`` switch, and where settings come from."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from middleware.settings import Settings, load_settings

if TYPE_CHECKING:
    from middleware.app import Parts


# the command then prints JSON and nothing else on standard output
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")


def print_json(value: object) -> None:
    """Print one JSON line, at once; in ASCII, because what senders send may be no Unicode."""
    click.echo(json.dumps(value, default=_plain))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def settings_of(ctx: click.Context) -> Settings:
    """Return the settings that ``--data`` or the environment names; from here on only the command speaks."""
    from middleware.logs import configure_logs

    data: Path | None = ctx.find_root().obj
    settings = load_settings(data)
    configure_logs("CRITICAL", settings.log_format)  # a command says itself what is wrong
    return settings


def parts_of(ctx: click.Context, *, shares_answers: bool = True) -> Parts:
    """Return the parts of a process, for commands that work on the data themselves."""
    from middleware.app import build_parts

    parts = build_parts(settings_of(ctx), shares_answers=shares_answers)
    ctx.call_on_close(parts.close)
    return parts
