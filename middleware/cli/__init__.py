"""``m8crm``: everything a hoster does from a shell; every command also speaks JSON."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from middleware import __version__
from middleware.cli import (
    adapter,
    calls,
    console,
    customers,
    database,
    index,
    lookups,
    monitoring,
    oauth,
    privacy,
    recordings,
    running,
    trigger,
)
from middleware.errors import M8CRMError


class _Group(click.Group):
    """Shows our own errors as a sentence and not as a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except M8CRMError as error:
            click.echo(f"m8crm: {error}", err=True)
            sys.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="m8crm")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Use DIR/customers and DIR/m8crm.db, as `m8crm demo --data DIR` makes them. Else M8CRM_* decide.",
    metavar="DIR",
)
@click.pass_context
def main(ctx: click.Context, data: Path | None) -> None:
    """Tell M8Com who is calling, and write every finished call into the CRM."""
    ctx.obj = data


for command in (
    *running.COMMANDS,
    *customers.COMMANDS,
    *lookups.COMMANDS,
    *trigger.COMMANDS,
    *calls.COMMANDS,
    *recordings.COMMANDS,
    *privacy.COMMANDS,
    *monitoring.COMMANDS,
    *console.COMMANDS,
    *database.COMMANDS,
    *index.COMMANDS,
    *adapter.COMMANDS,
    *oauth.COMMANDS,
):
    main.add_command(command)
