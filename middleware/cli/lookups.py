"""Commands about who calls: ``lookup``, ``trace``, ``cache``."""

from __future__ import annotations

import json
import secrets
import sys
from typing import TYPE_CHECKING, Any

import click

from middleware.cli.output import json_option, parts_of, print_json
from middleware.cli.server import assert_same_redis
from middleware.errors import ConfigError

if TYPE_CHECKING:
    from middleware.parts import Parts
    from middleware.tenants.tenant import Tenant

EXIT = {"hit": 0, "miss": 1}  # anything else is 2
BAR = 16  # characters that stand for the whole time


@click.command()
@click.argument("customer")
@click.argument("number")
@click.option("--to", "to_number", help="The called number.")
@click.option("--id", "numeric_id", help="What the caller typed on the way in.")
@click.option("--explain", is_flag=True, help="Show every step: which CRM was asked, what it brought, what it took.")
@json_option
@click.pass_context
def lookup(
    ctx: click.Context,
    customer: str,
    number: str,
    to_number: str | None,
    numeric_id: str | None,
    explain: bool,
    as_json: bool,
) -> None:
    """Look a number up as M8Com would, but ask the CRM whatever is kept here or in Redis."""
    from middleware.lookup.card import Hit
    from middleware.lookup.trace import Trace
    from middleware.lookup.traces import outcome_of, reason_of
    from middleware.model.call import LookupQuery
    from middleware.model.deadline import Deadline
    from middleware.model.phone import parse_number

    parts = parts_of(ctx, shares_answers=False, makes_data=True)
    tenant = _tenant(parts, customer)
    query = LookupQuery(
        number=parse_number(number, tenant.region),
        to_number=parse_number(to_number, tenant.region) if to_number else None,
        numeric_id=numeric_id,
    )
    trace = Trace(id=secrets.token_hex(8))
    result = parts.lookups.lookup(tenant, query, Deadline.after(tenant.lookup.budget), trace)
    took = trace.took
    card = json.loads(result.body) if isinstance(result, Hit) else None
    end = {"id": trace.id, "outcome": outcome_of(result), "reason": reason_of(result), "ms": round(took * 1000, 1)}
    told = end | trace.document(took)
    if as_json:
        print_json({"outcome": told["outcome"], "reason": told["reason"], "card": card, "trace": told})
    else:
        if card:
            _print_card(card)
        _print_end(told)
        if explain:
            _print_steps(told)
        else:
            click.echo(f"--explain shows the steps, now or later: m8crm trace {trace.id}")
    sys.exit(EXIT.get(type(result).__name__.lower(), 2))


@click.command()
@click.argument("trace_id", metavar="[ID]", required=False)
@click.option("--customer", help="Of one customer.")
@click.option("--number", help="Of one number.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@json_option
@click.pass_context
def trace(
    ctx: click.Context, trace_id: str | None, customer: str | None, number: str | None, limit: int, as_json: bool
) -> None:
    """Show how a lookup went, by the X-Request-Id of its answer; without an ID, list the latest."""
    parts = parts_of(ctx)
    region = _tenant(parts, customer).region if customer else "ZZ"
    if number and not customer and not number.startswith("+"):
        raise click.UsageError("Write the number with + and its country, or name the --customer.")
    wanted = _number(number, region) if number else None
    found = parts.traces.list(trace_id=trace_id, customer=customer, number=wanted, limit=limit)
    if trace_id and not found:
        why = "has left no such trace here; m8crm trace lists the latest (what was refused is only in the log)"
        raise ConfigError(trace_id, [why])
    documents = [kept.document() for kept in found]
    if as_json:
        print_json(documents)
    elif trace_id:
        for told in documents:
            at = f"{told['at'].astimezone():%Y-%m-%d %H:%M:%S %Z}"
            click.echo(f"{told['id']}  {at}  {told['customer']}  {told['number']}")
            _print_end(told)
            _print_steps(told)
    elif documents:
        _print_list(documents)
    else:
        click.echo(f"No traces in {parts.settings.data}; m8crm --data DIR looks elsewhere.")


@click.group()
def cache() -> None:
    """Forget what lookups have found."""


@cache.command("forget")
@click.argument("customer")
@click.argument("number", required=False)
@json_option
@click.pass_context
def cache_forget(ctx: click.Context, customer: str, number: str | None, as_json: bool) -> None:
    """Ask the CRM anew for the number, or for all of the customer's, in every process.

    The customer's file may be gone or broken; his numbers are then written with + and their country.
    """
    parts = parts_of(ctx)
    tenant = parts.tenants.get(customer)
    if tenant is None:
        _assert_forgettable(customer, number)
    wanted = _number(number, tenant.region if tenant else "ZZ") if number else None
    is_done = parts.lookups.forget(customer, wanted)
    if as_json:
        in_redis = is_done if parts.shared else None
        known = tenant is not None
        print_json({"customer": customer, "known": known, "number": wanted, "this_machine": True, "redis": in_redis})
    else:
        if is_done:
            click.echo("Forgotten: the next lookup asks the CRM.")
        if parts.shared is None:
            click.echo("(On this machine; others share answers where the server has M8CRM_REDIS_URL.)")
        if tenant is None:
            click.secho(f"{customer} has no valid file now; m8crm tenant list shows who has.", fg="yellow", err=True)
        if not is_done:
            words = "Forgotten here only: Redis could not be reached, other machines may still know it. Try again."
            click.secho(words, fg="red", err=True)
    assert_same_redis(parts.settings)
    sys.exit(0 if is_done else 2)


def _assert_forgettable(customer: str, number: str | None) -> None:
    """Refuse what cannot be meant without the customer's file."""
    from middleware.model.phone import parse_number
    from middleware.tenants.config import TENANT_ID

    if not TENANT_ID.fullmatch(customer):
        raise ConfigError(customer, ["is no customer; m8crm tenant list shows them"])
    if number and not parse_number(number, "ZZ").e164:
        raise click.UsageError("The customer has no valid file: write the number with + and its country.")


def _number(text: str, region: str) -> str:
    from middleware.model.phone import parse_number

    number = parse_number(text, region)
    if not (number.e164 or number.opaque_id):
        raise click.UsageError(f"This is no number to look for: it is {number.kind.value}.")
    return str(number)


def _tenant(parts: Parts, customer: str) -> Tenant:
    tenant = parts.tenants.get(customer)
    if tenant is None:
        raise parts.tenants.problem(customer) or ConfigError(customer, ["is no customer; m8crm tenant list shows them"])
    return tenant


def _print_card(card: dict[str, Any]) -> None:
    from datetime import datetime

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    company = card.get("companyInfo", {})
    about = ", ".join(filter(None, (company.get("title"), company.get("name"))))
    console.print(Text(card["displayName"], style="bold"), Text(about))
    for label, key in (("Numbers", "phoneNumbers"), ("E-mail", "emails")):
        if card.get(key):
            console.print(Text(f"{label}: {', '.join(item['id'] for item in card[key])}"))
    for field in card.get("fields", ()):
        console.print(Text(f"{field['title']}: {field['comment']}"))
    if card.get("moreInfoUrl"):
        console.print(Text(card["moreInfoUrl"]))
    table = Table("when", "what", "header", "body", box=None)
    for activity in card.get("activities", ()):
        when = datetime.fromtimestamp(activity["timestamp"] / 1000).astimezone()
        header = activity.get("customHeader") or activity.get("header") or ""
        first = next(iter(activity["body"].splitlines()), "")[:60]
        table.add_row(f"{when:%Y-%m-%d %H:%M}", activity["type"], Text(header), Text(first))
    console.print(table)


def _print_end(told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    style = "bold green" if "hit" in told["outcome"] else "bold yellow"
    words = f" in {told['ms']:g} ms. {told['reason'] or ''}".rstrip()
    console = Console(highlight=False)
    console.print(Text.assemble((told["outcome"], style), words), soft_wrap=True)
    if told["outcome"] == "failed":
        console.print("`m8crm check --live` tries every customer's CRM and says what is missing.", soft_wrap=True)


def _print_steps(told: dict[str, Any]) -> None:
    """Print the steps with their times as bars, so that what took long is seen at a glance."""
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    from middleware.lookup.trace import cache_words

    console = Console(highlight=False)
    click.echo(f"cache: {cache_words(told['cache'], told['outcome'])}")
    if told["joined"]:
        click.echo(f"The CRM was asked once for several callers: m8crm trace {told['joined']}")
    numbers = [Column(title, justify="right") for title in ("at ms", "took", "waited")]
    bars = Column("when", no_wrap=True, min_width=BAR)
    table = Table(*numbers, bars, "CRM", "step", "result", box=None)
    for step in told["steps"]:
        begin, waited = step["begin"], step["queued"]
        took = max(told["ms"] - begin, 0.0) if step["took"] is None else step["took"]
        scale = BAR / max(told["ms"], 0.1)
        bar = " " * min(round(begin * scale), BAR - 1) + "█" * max(1, round(took * scale))
        times = (f"{begin:.1f}", f"{took:.1f}", f"{waited:.1f}")
        table.add_row(
            *times,
            Text(bar[:BAR], "cyan"),
            "" if step.get("level") else step["source"],
            "  " * step.get("level", 0) + step["name"],
            Text(step["note"] if step["took"] is not None else "still under way"),
        )
    console.print(table)
    for words in told.get("remarks", ()):
        console.print(Text(f"for the adapter's author: {words}", "yellow"), soft_wrap=True)
    for words in told["left_out"]:
        console.print(Text(f"left out: {words}", "yellow"), soft_wrap=True)
    for words in told.get("dropped", ()):
        console.print(Text(f"not shown: {words}"), soft_wrap=True)
    if told["budget_left"] is not None:
        click.echo(f"{told['budget_left']:g} ms of the budget were left.")


def _print_list(documents: list[dict[str, Any]]) -> None:
    for told in documents:
        who = (
            f"{told['id']:<16}  {told['at'].astimezone():%m-%d %H:%M:%S}  {told['customer']:<12}  {told['number']:<13}"
        )
        why = told["reason"] or "; ".join(told["left_out"])
        click.echo(f"{who}  {told['outcome']:<11}  {told['ms']:7.1f} ms  {why}".rstrip())


COMMANDS = (lookup, trace, cache)
