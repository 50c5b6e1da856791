"""Commands about what is known of a number: ``export``, ``forget``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from middleware.cli.output import json_option, parts_of, print_json
from middleware.cli.server import assert_same_redis
from middleware.errors import ConfigError

if TYPE_CHECKING:
    from middleware.model.phone import PhoneNumber
    from middleware.parts import Parts
    from middleware.recordings.service import Recording, Recordings
    from middleware.tenants.tenant import Tenant


@click.command()
@click.argument("customer")
@click.argument("number")
@json_option
@click.pass_context
def export(ctx: click.Context, customer: str, number: str, as_json: bool) -> None:
    """Print all that is kept of a number, as JSON: calls as they were sent, what became of them, recordings, lookups.

    Recordings are told with their links and who has used them.  What a CRM has is not in it.
    """
    del as_json  # there is nothing else to print
    from middleware.delivery.calls import speaks_of
    from middleware.inbox.retention import Retention

    parts = parts_of(ctx)
    tenant, asked = _known(parts, customer, number)
    calls, call_ids = [], set()
    for event in Retention(parts.inbox).find(customer, speaks_of(asked, tenant)):
        told = asdict(event) | {"body": event.raw.decode(errors="replace")}
        del told["raw"]
        calls.append(told)
        call_ids.add(event.call_id or "")
    traces = parts.traces.list(customer=customer, number=str(asked), limit=20_000)
    found = parts.recordings.find(customer, sorted(call_ids), str(asked))
    kept = [_recording(parts.recordings, recording) for recording in found]
    lookups = [trace.document() for trace in traces]
    indexed = [{"crm": crm, **asdict(contact)} for crm, contact in parts.index.list_contacts(customer, str(asked))]
    told = {"events": calls, "recordings": kept, "lookups": lookups, "indexed_contacts": indexed}
    print_json({"customer": customer, **told})


def _recording(recordings: Recordings, recording: Recording) -> dict[str, Any]:
    accesses = [asdict(access) for access in recordings.list_accesses(recording.id)]
    told = asdict(recording) | {"link": recordings.link(recording.id), "accesses": accesses}
    return {name: value for name, value in told.items() if name not in ("tenant_id", "sha256")}


@click.command()
@click.argument("customer")
@click.argument("number")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_context
def forget(ctx: click.Context, customer: str, number: str, yes: bool, as_json: bool) -> None:
    """Remove for good all that is kept of a number: calls, even if they wait, recordings, answers and traces.

    What a CRM has stays: it is not ours.  A number index brings a contact anew while its CRM has him: remove him there
    first.
    """
    from middleware.delivery.calls import speaks_of
    from middleware.inbox.retention import Retention

    parts = parts_of(ctx)
    tenant, asked = _known(parts, customer, number)
    if not (yes or as_json):
        found = Retention(parts.inbox).find(customer, speaks_of(asked, tenant))
        waiting = sum(event.state in ("queued", "waiting", "parked") for event in found)
        click.confirm(f"Remove {len(found)} events, of which {waiting} are not in the CRM yet?", abort=True)
    told = forget_number(parts, tenant, asked)
    if as_json:
        print_json(told)
    else:
        click.echo(
            "Removed: {events} events of {calls} calls, {recordings} recordings, {lookups} traces of lookups, "
            "{indexed_contacts} indexed contacts.".format(**told)
        )
    if not told["answers_everywhere"]:
        raise ConfigError("M8CRM_REDIS_URL", ["Redis is down, so its answers stay up to a day: do it again"])
    assert_same_redis(parts.settings)


def forget_number(parts: Parts, tenant: Tenant, number: PhoneNumber) -> dict[str, Any]:
    """Remove all that is kept of the number, and return how much it was.

    Interrupted at any step, it leaves nothing that doing it again would not find: recordings go before their calls, by
    whose ids they are found, and once more after them, since a worker may have named some anew.
    """
    from middleware.delivery.calls import speaks_of
    from middleware.inbox.retention import Retention

    counted: list[int] = []

    def forget_recordings(call_ids: Sequence[str]) -> None:
        counted.append(parts.recordings.forget(tenant.id, call_ids, str(number)))

    indexed = parts.index.forget(tenant.id, str(number))
    removed = Retention(parts.inbox).forget(tenant.id, speaks_of(number, tenant), first=forget_recordings)
    forget_recordings(removed.call_ids)
    return {
        "events": removed.events,
        "calls": len(removed.call_ids),
        "recordings": sum(counted),
        "indexed_contacts": indexed,
        "lookups": parts.traces.forget(tenant.id, str(number)),
        "answers_everywhere": parts.lookups.forget(tenant.id, str(number)),
    }


def _known(parts: Parts, customer: str, number: str) -> tuple[Tenant, PhoneNumber]:
    from middleware.model.phone import parse_number

    tenant = parts.tenants.get(customer)
    if tenant is None:
        raise ConfigError(customer, ["is no customer; m8crm tenant list shows them"])
    return tenant, parse_number(number, tenant.region)


COMMANDS = (export, forget)
