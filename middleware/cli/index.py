"""``m8crm index``: how the number indexes stand; build one now, or drop it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from middleware.cli.output import json_option, parts_of, print_json
from middleware.errors import ConfigError, in_words

if TYPE_CHECKING:
    from middleware.index.store import IndexState
    from middleware.parts import Parts
    from middleware.tenants.tenant import Source, Tenant

TELL_EVERY = 5_000  # contacts


@click.group()
def index() -> None:
    """Show, build and drop the indexes of CRMs' phone numbers."""


@index.command("status")
@click.argument("customer", required=False)
@json_option
@click.pass_context
def index_status(ctx: click.Context, customer: str | None, as_json: bool) -> None:
    """Show how old and how large the indexes are, and what went wrong last."""
    parts = parts_of(ctx, shares_answers=False)
    told = [_told(state) for state in parts.index.list_states(customer)]
    known = {(one["customer"], one["crm"]) for one in told}
    customers = [customer] if customer else parts.tenants.ids()
    for tenant in filter(None, map(parts.tenants.get, customers)):
        waiting = [source.name for source in tenant.sources if source.index and (tenant.id, source.name) not in known]
        told += [{"customer": tenant.id, "crm": name, "state": "not begun"} for name in waiting]
    if as_json:
        print_json(told)
        return
    for one in told:
        click.echo(_line(one))
    if not told:
        click.echo('No indexes: they are for CRMs that cannot search by number, or where [[crm]] has "index = true".')


@index.command("build")
@click.argument("customer")
@click.argument("crm", required=False)
@click.option("--request", "is_requested", is_flag=True, help="Have a running worker do it, and do not wait for it.")
@json_option
@click.pass_context
def index_build(ctx: click.Context, customer: str, crm: str | None, is_requested: bool, as_json: bool) -> None:
    """Read all contacts of the CRM now, or go on where that was interrupted."""
    from middleware.parts import build_index_lane

    parts = parts_of(ctx, shares_answers=False)
    tenant = _tenant(parts, customer)
    if is_requested:
        taken = {source.name: parts.index.request(tenant.id, source.name) for source in _sources(tenant, crm)}
        _tell_requests(tenant.id, taken, as_json)
        ctx.exit(0 if all(taken.values()) else 1)
    lane, told, is_done = build_index_lane(parts), [], True
    for source in _sources(tenant, crm):
        is_ours = lane.build(tenant, source, _progress(source.name, quiet=as_json))
        state = next(s for s in parts.index.list_states(tenant.id) if s.source == source.name)
        one = _told(state) | {"built_here": is_ours}
        is_done = is_done and is_ours and state.error is None
        told.append(one)
        if not as_json:
            click.echo(_line(one) if is_ours else f"{source.name}: a worker is about it; m8crm index status shows it.")
    if as_json:
        print_json(told)
    ctx.exit(0 if is_done else 1)


@index.command("drop")
@click.argument("customer")
@click.argument("crm", required=False)
@json_option
@click.pass_context
def index_drop(ctx: click.Context, customer: str, crm: str | None, as_json: bool) -> None:
    """Remove the mirrored contacts; while the customer's file asks for an index it is built anew.

    The customer's file may be gone.
    """
    parts = parts_of(ctx, shares_answers=False)
    names = [state.source for state in parts.index.list_states(customer) if crm in (None, state.source)]
    if not names:
        raise ConfigError(customer, ["has no such index; m8crm index status shows them"])
    told = {name: parts.index.drop(customer, name) for name in names}
    if as_json:
        print_json({"customer": customer, "removed": told})
        return
    for name, count in told.items():
        click.echo(f"{name}: {count} contacts were removed.")


def _tell_requests(customer: str, taken: dict[str, bool], as_json: bool) -> None:
    if as_json:
        print_json([{"customer": customer, "crm": name, "requested": is_taken} for name, is_taken in taken.items()])
        return
    for name, is_taken in taken.items():
        words = "the next worker does it" if is_taken else "a worker is about it"
        click.echo(f"{name}: {words}; m8crm index status shows how far it is.")


def _told(state: IndexState) -> dict[str, Any]:
    told = {"customer": state.tenant_id, "crm": state.source, "state": state.word, **asdict(state)}
    return {name: value for name, value in told.items() if name not in ("tenant_id", "source")}


def _line(one: dict[str, Any]) -> str:
    head = f"{one['customer']}  {one['crm']}  {one['state']}"
    if "contacts" not in one:
        return f"{head}  a worker builds it, or m8crm index build {one['customer']} {one['crm']}"
    as_of = f"as of {one['synced_at'].astimezone():%Y-%m-%d %H:%M:%S}" if one["synced_at"] else "never whole yet"
    words = f"{head}  {one['contacts']} contacts, {as_of}"
    if one["is_building"] or one["is_waiting"]:
        words += f"; {one['seen']} read so far"
    if one["error"]:
        words += f"; {one['failures']} failures, the last: {in_words(one['error'])}"
    return words


def _progress(name: str, *, quiet: bool) -> Callable[[int], None]:
    """Return what tells, on standard error, how far a pass is."""
    told = 0

    def progress(seen: int) -> None:
        nonlocal told
        if not quiet and seen - told >= TELL_EVERY:
            told = seen
            click.echo(f"{name}: {seen} contacts …", err=True)

    return progress


def _sources(tenant: Tenant, crm: str | None) -> list[Source]:
    found = [source for source in tenant.sources if source.index and crm in (None, source.name)]
    if not found:
        raise ConfigError(tenant.id, ['has no such CRM with an index; write "index = true" into its [[crm]]'])
    return found


def _tenant(parts: Parts, customer: str) -> Tenant:
    tenant = parts.tenants.get(customer)
    if tenant is None:
        raise parts.tenants.problem(customer) or ConfigError(customer, ["is no customer; m8crm tenant list shows them"])
    return tenant


COMMANDS = (index,)
