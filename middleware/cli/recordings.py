"""``m8crm recordings``: what was fetched, what is lost, who has listened."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from middleware.cli.output import json_option, parts_of, print_json

STATES = click.Choice(["waiting", "kept", "passed", "failed", "expired", "removed"])


@click.group()
def recordings() -> None:
    """Show which recordings are kept, and end links to them."""


@recordings.command("list")
@click.option("--customer", help="Of one customer.")
@click.option("--state", type=STATES, help="In one state.")
@click.option("--limit", default=50, show_default=True)
@click.option("--accesses", is_flag=True, help="Also show who has used the links.")
@json_option
@click.pass_context
def recordings_list(
    ctx: click.Context, customer: str | None, state: str | None, limit: int, accesses: bool, as_json: bool
) -> None:
    """List the latest recordings, newest first."""
    kept = parts_of(ctx).recordings
    told: list[dict[str, Any]] = []
    for found in kept.list_recordings(customer, state, limit):
        one = {"id": found.id, "customer": found.tenant_id, **asdict(found)}
        del one["tenant_id"]
        if accesses:
            one["accesses"] = [asdict(access) for access in kept.list_accesses(found.id)]
        told.append(one)
    if as_json:
        print_json(told)
    else:
        _print(told)


def _print(told: list[dict[str, Any]]) -> None:
    for one in told:
        noted = f"{one['noted_at'].astimezone():%m-%d %H:%M:%S}"
        size = f"{one['bytes']} bytes, played {one['played']}x" if one["state"] == "kept" else ""
        click.echo(f"{one['id']}  {noted}  {one['state']:<7}  {one['customer']}  {size}".rstrip())
        if one["words"]:
            click.echo(f"    {one['words']}")
        for access in one.get("accesses", ()):
            moment = f"{access['at'].astimezone():%m-%d %H:%M}"
            click.echo(f"    {moment}  {access['outcome']}  {access['requests']}x  {access['address']}")
    if not told:
        click.echo("No recordings.")


@recordings.command("revoke")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@json_option
@click.pass_context
def recordings_revoke(ctx: click.Context, ids: tuple[str, ...], as_json: bool) -> None:
    """End all links that were given to recordings."""
    count = parts_of(ctx).recordings.revoke(ids)
    print_json({"revoked": count}) if as_json else click.echo(f"The links to {count} recordings are dead.")


@recordings.command("fetch")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@json_option
@click.pass_context
def recordings_fetch(ctx: click.Context, ids: tuple[str, ...], as_json: bool) -> None:
    """Fetch now what is due; with IDs, also what has failed, while its link is known."""
    from middleware.parts import build_lane

    parts = parts_of(ctx)
    parts.recordings.retry(ids)
    count = build_lane(parts).fetch_due()
    print_json({"attempts": count}) if as_json else click.echo(f"{count} attempts were made.")


COMMANDS = (recordings,)
