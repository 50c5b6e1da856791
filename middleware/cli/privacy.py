"""Commands about what is known of a number: ``export``, ``forget``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from middleware.cli.output import json_option, parts_of, print_json
from middleware.cli.server import assert_same_redis
from middleware.errors import ConfigError

if TYPE_CHECKING:
    from middleware.app import Parts
    from middleware.model.phone import PhoneNumber
    from middleware.tenants.tenant import Tenant


@click.command()
@click.argument("customer")
@click.argument("number")
@json_option
@click.pass_context
def export(ctx: click.Context, customer: str, number: str, as_json: bool) -> None:
    """Print all that is kept of a number, as JSON: calls as they were sent, what became of them, lookups.

    What a CRM has is not in it.
    """
    del as_json  # there is nothing else to print
    from middleware.delivery.calls import speaks_of
    from middleware.inbox.retention import Retention

    parts = parts_of(ctx)
    tenant, asked = _known(parts, customer, number)
    calls = []
    for event in Retention(parts.inbox).find(customer, speaks_of(asked, tenant)):
        told = asdict(event) | {"body": event.raw.decode(errors="replace")}
        del told["raw"]
        calls.append(told)
    traces = parts.traces.list(customer=customer, number=str(asked), limit=20_000)
    print_json({"customer": customer, "events": calls, "lookups": [trace.document() for trace in traces]})


@click.command()
@click.argument("customer")
@click.argument("number")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def forget(ctx: click.Context, customer: str, number: str, yes: bool, as_json: bool) -> None:
    """Remove for good all that is kept of a number: calls, even if they wait, recordings, answers and traces.

    What a CRM has stays: it is not ours.
    """
    from middleware.delivery.calls import speaks_of
    from middleware.inbox.retention import Retention

    parts = parts_of(ctx)
    tenant, asked = _known(parts, customer, number)
    retention, speaks = Retention(parts.inbox), speaks_of(asked, tenant)
    if not (yes or as_json):
        found = retention.find(customer, speaks)
        waiting = sum(event.state in ("queued", "waiting", "parked") for event in found)
        click.confirm(f"Remove {len(found)} events, of which {waiting} are not in the CRM yet?", abort=True)
    removed = retention.forget(customer, speaks)
    told: dict[str, Any] = {
        "events": removed.events,
        "calls": len(removed.call_ids),
        "recordings": parts.recordings.forget(customer, removed.call_ids),
        "lookups": parts.traces.forget(customer, str(asked)),
        "answers_everywhere": parts.lookups.forget(customer, str(asked)),
    }
    if as_json:
        print_json(told)
    else:
        click.echo(
            "Removed: {events} events of {calls} calls, {recordings} recordings, {lookups} traces of lookups.".format(
                **told
            )
        )
    if not told["answers_everywhere"]:
        raise ConfigError("M8CRM_REDIS_URL", ["Redis is down, so its answers stay up to a day: do it again"])
    assert_same_redis(parts.settings)


def _known(parts: Parts, customer: str, number: str) -> tuple[Tenant, PhoneNumber]:
    from middleware.model.phone import parse_number

    tenant = parts.tenants.get(customer)
    if tenant is None:
        raise ConfigError(customer, ["is no customer; m8crm tenant list shows them"])
    return tenant, parse_number(number, tenant.region)


COMMANDS = (export, forget)
