"""``m8crm database``: how far the tables are, and bringing them up to date before anything runs."""

from __future__ import annotations

import click

from middleware.cli.output import json_option, print_json, settings_of


@click.group()
def database() -> None:
    """Show and bring up to date the tables of the inbox."""


@database.command("status")
@json_option
@click.pass_context
def database_status(ctx: click.Context, as_json: bool) -> None:
    """Show how far the tables are; nothing is changed."""
    from middleware.inbox.database import open_database

    opened = open_database(settings_of(ctx).database_url, migrates=False)
    ctx.call_on_close(opened.close)
    state = opened.state()
    if as_json:
        told = {"engine": opened.dialect, "revision": state.revision, "wanted": state.wanted}
        print_json({**told, "is_current": state.is_current})
    elif state.is_current:
        click.echo(f"{opened.dialect}: revision {state.revision}, as this m8crm wants it.")
    else:
        click.echo(f"{opened.dialect}: revision {state.revision or 'none'}; this m8crm wants {state.wanted}.")


@database.command("upgrade")
@json_option
@click.pass_context
def database_upgrade(ctx: click.Context, as_json: bool) -> None:
    """Bring the tables up to date, as every start does; a start then has nothing to wait for."""
    from middleware.inbox.database import open_database

    opened = open_database(settings_of(ctx).database_url, migrates=False)
    ctx.call_on_close(opened.close)
    before = opened.state()
    opened.migrate()
    after = opened.state()
    if as_json:
        print_json({"engine": opened.dialect, "before": before.revision, "revision": after.revision})
    else:
        click.echo(f"{opened.dialect}: revision {after.revision}; it was {before.revision or 'none'}.")


COMMANDS = (database,)
