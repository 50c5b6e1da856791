"""Commands about what was received: ``events``."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from middleware.cli.output import Moment, json_option, parts_of, print_json
from middleware.errors import ConfigError

if TYPE_CHECKING:
    from middleware.inbox.store import StoredEvent

STATES = click.Choice(["queued", "waiting", "delivered", "parked", "dead", "ignored", "noted", "quarantined", "purged"])


@click.group()
def events() -> None:
    """Show what was received and what became of it."""


@events.command("list")
@click.option("--customer", help="Of one customer.")
@click.option("--state", type=STATES, help="In one state.")
@click.option("--sender", help="Of one sender, e.g. calllog.")
@click.option("--limit", default=50, show_default=True)
@json_option
@click.pass_context
def events_list(
    ctx: click.Context, customer: str | None, state: str | None, sender: str | None, limit: int, as_json: bool
) -> None:
    """List the latest events, newest first."""
    found = parts_of(ctx).inbox.list_events(customer, state, sender, limit)
    if as_json:
        print_json([_plain(event) for event in found])
        return
    for event in found:
        received = f"{event.received_at.astimezone():%m-%d %H:%M:%S}"
        click.echo(f"{event.id}  {received}  {event.state:<11}  {event.sender:<9}  {event.tenant_id}")
        if event.due_at and event.state in ("waiting", "parked"):
            click.echo(f"    looked at again {event.due_at.astimezone():%m-%d %H:%M:%S}")
        if event.reason:
            click.echo(f"    {_printable(_words(event.reason))}")
    if not found:
        click.echo("No events.")


@events.command("show")
@click.argument("event_id", metavar="ID")
@click.option("--body", is_flag=True, help="Also show the body as it came; it holds personal data.")
@json_option
@click.pass_context
def events_show(ctx: click.Context, event_id: str, body: bool, as_json: bool) -> None:
    """Show one event with every attempt to deliver it."""
    event = parts_of(ctx).inbox.find_event(event_id)
    if event is None:
        raise ConfigError(event_id, ["is no event; m8crm events list shows them"])
    told = _plain(event) | {"attempts": [asdict(attempt) for attempt in event.attempts]}
    if body:
        told["body"] = event.raw.decode(errors="replace")
    if as_json:
        print_json(told)
        return
    for key, value in told.items():
        if key != "attempts" and value is not None:
            words = _words(value) if key == "reason" else str(value)
            click.echo(f"{key + ':':<13} {_printable(words)}")
    for attempt in event.attempts:
        click.echo(
            f"  {attempt.at.astimezone():%Y-%m-%d %H:%M:%S}  {attempt.channel}  {attempt.outcome}: {attempt.words}"
        )


def _words(reason: str) -> str:
    """Return why, in words: the errors of fields are JSON."""
    from middleware.receivers.fields import any_text

    try:
        return any_text(json.loads(reason)) or reason
    except ValueError:
        return reason


def _printable(text: str) -> str:
    """Show what a sender wrote without letting it steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


@events.command("retry")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--customer", help="All of one customer.")
@click.option("--state", type=STATES, help="All in one state.")
@click.option("--since", type=Moment(), help='All received since then: "2h", "3d" or "2026-03-01T12:00".')
@json_option
@click.pass_context
def events_retry(
    ctx: click.Context,
    ids: tuple[str, ...],
    customer: str | None,
    state: str | None,
    since: datetime | None,
    as_json: bool,
) -> None:
    """Deliver again at once what is not delivered; also ends a customer's pause."""
    if not (ids or customer or state or since):
        raise click.UsageError("Name events, a --customer, a --state or --since when.")
    count = parts_of(ctx).inbox.retry_events(ids, tenant_id=customer, state=state, since=since)
    print_json({"retried": count}) if as_json else click.echo(f"{count} will be tried at once.")


def _plain(event: StoredEvent) -> dict[str, Any]:
    told = asdict(event)
    del told["raw"], told["attempts"]
    return {"id": told.pop("id"), "customer": told.pop("tenant_id"), **told}


COMMANDS = (events,)
