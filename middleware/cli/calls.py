"""Commands about what was received: ``events``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from middleware.cli.output import Moment, json_option, parts_of, print_json
from middleware.errors import ConfigError

if TYPE_CHECKING:
    from middleware.inbox.finding import Story
    from middleware.inbox.store import StoredEvent
    from middleware.parts import Parts

AT_ONCE = 200  # events in one transaction: senders wait for it

STATES = click.Choice("queued waiting delivered parked dead ignored noted quarantined replaced purged".split())
FILTERS = (
    click.option("--customer", help="Of one customer."),
    click.option("--state", type=STATES, help="In one state."),
    click.option("--sender", help="Of one sender, e.g. calllog."),
    click.option("--number", help="Of calls with this contact; with its country, or name the customer."),
    click.option("--text", help="With this text in what was sent."),
    click.option("--call", help="Of the call with this id."),
    click.option("--since", type=Moment(), help='Received since then: "2h", "3d" or "2026-03-01T12:00".'),
    click.option("--until", type=Moment(), help="Received until then."),
)


def filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that tell which events are meant, as one argument ``filters``."""
    for option in reversed(FILTERS):
        command = option(command)
    return command


@click.group()
def events() -> None:
    """Show what was received and what became of it."""


@events.command("list")
@filters
@click.option("--limit", default=50, show_default=True)
@json_option
@click.pass_context
def events_list(ctx: click.Context, /, limit: int, as_json: bool, **filters: Any) -> None:
    """List the latest events, newest first."""
    found = list(islice(_iter_events(parts_of(ctx), filters), limit))
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


def _iter_events(parts: Parts, filters: dict[str, Any], limit: int = 200) -> Iterator[StoredEvent]:
    """Yield what matches, newest first, however far it must be looked for."""
    from middleware.delivery.looking import Asked, wanted_of
    from middleware.inbox.finding import Finder
    from middleware.receivers.masked import pretty_body

    wanted = wanted_of(Asked(**filters), parts.inbox, parts.tenants, partial(pretty_body, indent=None))
    before: int | None = None
    while True:
        found = Finder(parts.inbox).find(wanted, before=before, limit=limit)
        yield from found.events
        before = found.before
        if before is None:
            return


@events.command("show")
@click.argument("event_id", metavar="ID")
@click.option("--body", is_flag=True, help="Also show the body as it came; it holds personal data.")
@click.option("--log", is_flag=True, help="Also show the log as it is composed now; it holds personal data.")
@json_option
@click.pass_context
def events_show(ctx: click.Context, event_id: str, body: bool, log: bool, as_json: bool) -> None:
    """Show one event with every attempt to deliver it."""
    from middleware.delivery.looking import compose_logs

    parts = parts_of(ctx)
    story = _story(parts, event_id)
    event = story.event
    told = _plain(event) | {"attempts": [asdict(attempt) for attempt in event.attempts]}
    if body:
        told["body"] = event.raw.decode(errors="replace")
    for composed in compose_logs(story, parts.tenants) if log else ():
        told[f"log {composed.channel}"] = f"{composed.record.subject}\n{composed.record.body}"
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


def _story(parts: Parts, event_id: str) -> Story:
    from middleware.inbox.finding import Finder

    story = Finder(parts.inbox).story(event_id)
    if story is None:
        raise ConfigError(event_id, ["is no event; m8crm events list shows them"])
    return story


@events.command("edit")
@click.argument("event_id", metavar="ID")
@click.option(
    "--body", type=click.File("rb"), help="A file with the body as it should have been, - for standard input."
)
@json_option
@click.pass_context
def events_edit(ctx: click.Context, event_id: str, body: BinaryIO | None, as_json: bool) -> None:
    """Send a quarantined event again as it was edited, in $EDITOR or in a file; what came stays beside it."""
    from middleware.delivery.looking import flat_errors
    from middleware.delivery.sending import send_edited
    from middleware.receivers.body import UnreadableBody
    from middleware.receivers.fields import FieldErrors
    from middleware.receivers.masked import pretty_body

    parts = parts_of(ctx)
    story = _story(parts, event_id)
    if body is None:
        draft = click.edit(pretty_body(story.body.raw, story.body.content_type), extension=".json")
        if draft is None:
            raise ConfigError(event_id, ["was not changed"])
        raw = draft.encode()
    else:
        raw = body.read()
    try:
        accepted = send_edited(parts.inbox, story, raw)
    except FieldErrors as error:
        problems = [f"{field}: {words}" for field, words in flat_errors(error.errors).items()]
        raise ConfigError(event_id, problems) from None
    except UnreadableBody as error:
        raise ConfigError(event_id, [str(error)]) from None
    print_json(asdict(accepted)) if as_json else click.echo(f"{accepted.id} stands in its place.")


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
@filters
@json_option
@click.pass_context
def events_retry(ctx: click.Context, /, ids: tuple[str, ...], as_json: bool, **filters: Any) -> None:
    """Deliver again at once what is not delivered; also ends a customer's pause."""
    if bool(ids) == any(filters.values()):
        raise click.UsageError("Name events, or say which: a --customer, a --state, --since when …")
    parts, count = parts_of(ctx), 0
    found = iter(ids) if ids else (event.id for event in _iter_events(parts, filters))
    while some := list(islice(found, AT_ONCE)):
        count += parts.inbox.retry_events(some)
        if len(some) == AT_ONCE and not as_json:
            click.echo(f"{count} so far", err=True)
    print_json({"retried": count}) if as_json else click.echo(f"{count} will be tried at once.")


def _plain(event: StoredEvent) -> dict[str, Any]:
    told = asdict(event)
    del told["raw"], told["attempts"]
    return {"id": told.pop("id"), "customer": told.pop("tenant_id"), **told}


COMMANDS = (events,)
