"""Commands about calls: ``trigger``, ``events``."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from middleware.cli.output import json_option, parts_of, print_json, settings_of
from middleware.cli.running import SERVER_FILE
from middleware.errors import ConfigError

if TYPE_CHECKING:
    from middleware.inbox.store import StoredEvent
    from middleware.settings import Settings

STATES = click.Choice(["queued", "waiting", "delivered", "parked", "dead", "ignored", "noted", "quarantined", "purged"])


@click.command()
@click.argument("customer")
@click.argument("sender", type=click.Choice(["calllog"]))
@click.option("--number", help="The contact's number; in a demo, a known one.")
@click.option(
    "--direction",
    type=click.Choice(["inbound", "outbound"]),
    default="inbound",
    show_default=True,
    help="Seen from the customer.",
)
@click.option("--duration", default=95, show_default=True, help="Seconds.")
@click.option(
    "--summary",
    default="Asked about an order; call back on Monday.",
    show_default=True,
    help="What the call was about.",
)
@click.option("--body", help="The whole text in place of the made-up one.")
@click.option(
    "--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Change a field of the body; VALUE may be JSON."
)
@click.option("--url", help="Where the server answers; else the running demo or M8CRM_PUBLIC_URL.")
@click.option("--secret", envvar="M8CRM_SECRET", help="The customer's (M8CRM_SECRET); else the demo's, or his file's.")
@json_option
@click.pass_context
def trigger(ctx: click.Context, /, customer: str, sender: str, as_json: bool, **options: Any) -> None:
    """Post a made-up call to the running server, as M8Com would."""
    import requests

    from middleware.demo.data import load_secrets
    from middleware.tenants.files import find_plain_secret

    settings = settings_of(ctx)
    secret = options["secret"] or load_secrets(settings.data).get(customer, {}).get("insights")
    secret = secret or find_plain_secret(settings.customers, customer, "insights")
    if not secret:
        raise ConfigError(customer, ["its secret is not known here: give --secret or set M8CRM_SECRET"])
    url = f"{(options['url'] or _server_url(settings)).rstrip('/')}/{customer}/{sender}"
    try:
        with requests.Session() as session:
            session.trust_env = False
            body = _sample(settings, customer, options)
            session.headers["Content-Type"] = "application/json"
            bearer = {"Authorization": f"Bearer {secret}".encode()}
            answer = session.post(url, json.dumps(body), headers=bearer, timeout=10)  # json= would refuse NaN
    except requests.RequestException as error:
        raise ConfigError(url, [f"no answer ({type(error).__name__}); is the server running?"]) from None
    if as_json:
        print_json({"url": url, "status": answer.status_code, "answer": _json_or_text(answer.text), "sent": body})
    else:
        click.echo(f"{answer.status_code} {answer.text}")
        click.echo("`m8crm events list` shows what becomes of it.")
    sys.exit(0 if answer.ok else 1)


def _sample(settings: Settings, customer: str, options: dict[str, Any]) -> dict[str, Any]:
    number, own = options["number"] or _known_number(customer), _own_number(settings, customer)
    is_inbound = options["direction"] == "inbound"
    body = {
        "fromNumber": number if is_inbound else own,
        "toNumber": own if is_inbound else number,
        "duration": options["duration"] * 1000,
        "startTime": round((time.time() - options["duration"]) * 1000),
        "callType": "Outbound" if is_inbound else "Inbound",  # M8Com sees it from the contact
        "body": options["body"] or _body(number, own, options),
        "userId": "u-4711",
    }
    for change in options["changes"]:
        name, equals, value = change.partition("=")
        if not equals:
            raise click.UsageError(f"--set {change}: write FIELD=VALUE")
        body[name] = _json_or_text(value)
    return body


def _body(number: str, own: str, options: dict[str, Any]) -> str:
    user = f"ada.webb@example.com ({own})"
    lines = {
        "inbound": [f"Call to user: {user}", f"Call from: {number}", "Call type: Outbound"],
        "outbound": [f"Call from user: {user}", f"Call to: {number}", "Call type: Inbound"],
    }
    return "\n".join([*lines[options["direction"]], options["summary"]])


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _known_number(customer: str) -> str:
    from middleware.demo.data import KNOWN_NUMBERS

    if customer not in KNOWN_NUMBERS:
        raise ConfigError(customer, ["give the contact's --number"])
    return KNOWN_NUMBERS[customer][0]


def _own_number(settings: Settings, customer: str) -> str:
    from middleware.tenants.registry import Tenants

    tenant = Tenants(settings.customers).get(customer)
    return min(tenant.own_numbers, default="+46101234567") if tenant else "+46101234567"


def _server_url(settings: Settings) -> str:
    try:
        told = json.loads((settings.data / SERVER_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return settings.public_url
    return str(told["base_url"])


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
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    found = parts_of(ctx).inbox.list_events(customer, state, sender, limit)
    if as_json:
        print_json([_plain(event) for event in found])
        return
    whole = [Column(title, no_wrap=True) for title in ("id", "received", "state", "customer")]
    table = Table(*whole, "sender", "next look", "reason", box=None)
    for event in found:
        due = f"{event.due_at.astimezone():%H:%M:%S}" if event.due_at else ""
        received = f"{event.received_at.astimezone():%m-%d %H:%M:%S}"
        reason = Text(event.reason or "")  # no markup: senders have a say in it
        table.add_row(event.id, received, event.state, event.tenant_id, event.sender, due, reason)
    Console().print(table if found else "No events.")


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
            click.echo(f"{key + ':':<13} {_printable(str(value))}")
    for attempt in event.attempts:
        click.echo(
            f"  {attempt.at.astimezone():%Y-%m-%d %H:%M:%S}  {attempt.channel}  {attempt.outcome}: {attempt.words}"
        )


def _printable(text: str) -> str:
    """Show what a sender wrote without letting it steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


@events.command("retry")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--customer", help="All of one customer.")
@click.option("--state", type=STATES, help="All in one state.")
@json_option
@click.pass_context
def events_retry(
    ctx: click.Context, ids: tuple[str, ...], customer: str | None, state: str | None, as_json: bool
) -> None:
    """Deliver again at once what is not delivered; also ends a customer's pause."""
    if not (ids or customer or state):
        raise click.UsageError("Name events, a --customer or a --state.")
    count = parts_of(ctx).inbox.retry_events(ids, tenant_id=customer, state=state)
    print_json({"retried": count}) if as_json else click.echo(f"{count} will be tried at once.")


def _plain(event: StoredEvent) -> dict[str, Any]:
    told = asdict(event)
    del told["raw"], told["attempts"]
    return {"id": told.pop("id"), "customer": told.pop("tenant_id"), **told}


COMMANDS = (trigger, events)
