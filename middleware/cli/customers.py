"""Commands about customers and adapters: ``check``, ``tenant``, ``adapters``."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from middleware.cli.output import json_option, parts_of, print_json, settings_of
from middleware.cli.server import public_url
from middleware.errors import ConfigError, CRMError, place_of

if TYPE_CHECKING:
    from middleware.crm.reference import Reference
    from middleware.tenants.tenant import Source, Tenant

LIVE_SECONDS = 10.0  # for one CRM's whole check


@click.command()
@click.option("--live", is_flag=True, help="Also ask the CRMs: credentials, rights, queries.")
@json_option
@click.pass_context
def check(ctx: click.Context, live: bool, as_json: bool) -> None:
    """Check every customer's file, and with --live the CRMs."""
    from middleware.crm.registry import broken_adapters

    folder = settings_of(ctx).customers
    found = [_finding(where, False, why) for where, why in broken_adapters().items()]
    for path in sorted(folder.glob("*.toml")):
        found += _check_file(ctx, path, live)
    is_right = all(finding["ok"] for finding in found)
    if as_json:
        print_json({"folder": str(folder), "ok": is_right, "findings": found})
    else:
        for finding in found:
            mark = click.style("ok   ", fg="green") if finding["ok"] else click.style("wrong", fg="red")
            click.echo(f"{mark} {finding['where']}: {finding['message']}")
        if not found:
            click.echo(f"No customers in {folder}. `m8crm tenant add` makes one.")
    sys.exit(0 if is_right else 1)


def _finding(where: str, ok: bool, message: str) -> dict[str, Any]:
    return {"where": where, "ok": ok, "message": message}


def _check_file(ctx: click.Context, path: Path, live: bool) -> list[dict[str, Any]]:
    from middleware.tenants.config import TENANT_ID, load_tenant

    if not TENANT_ID.fullmatch(path.stem):
        words = "its name is no customer id: use up to 63 of a-z, 0-9 and -, beginning with a letter or digit"
        return [_finding(path.name, False, words)]
    try:
        tenant = load_tenant(path)
    except ConfigError as error:
        return [_finding(path.name, False, problem) for problem in error.problems]
    except Exception as error:  # an adapter's bug; its message may hold anything
        return [_finding(path.name, False, f"an adapter breaks on it ({type(error).__name__} at {place_of(error)})")]
    hint = "is right" if tenant.sources else "is right; no [[crm]] is connected yet, so every lookup is a miss"
    found = [_finding(path.name, True, hint)]
    if live and any(source.client for source in tenant.sources):  # it has tokens, in the database
        tenant = load_tenant(path, parts_of(ctx, makes_data=True).accounts)
    for source in tenant.sources if live else ():
        found += _check_crm(tenant, source)
    return found


def _check_crm(tenant: Tenant, source: Source) -> list[dict[str, Any]]:
    from middleware.crm.breaker import Breaker
    from middleware.crm.budget import Lane
    from middleware.crm.context import build_context
    from middleware.crm.threads import DaemonPool
    from middleware.model.deadline import Deadline

    where = f"{tenant.id}.toml, {source.name}"
    if not source.adapter.can("check"):
        return [_finding(where, True, "this adapter has no check")]
    deadline = Deadline.after(timedelta(seconds=LIVE_SECONDS))
    # every question is asked, whatever became of those before it
    account = replace(source.account, breaker=Breaker(failures=math.inf))

    def ask() -> list[dict[str, Any]]:
        context = build_context(
            source.adapter, region=tenant.region, deadline=deadline, account=account, lane=Lane.CALLS
        )
        return [_finding(where, f.ok, f.message) for f in source.adapter.check(context)]

    asked = DaemonPool("check").submit(ask)
    try:
        return asked.result(timeout=deadline.remaining)
    except CRMError as error:
        return [_finding(where, False, f"{error} {error.vendor_text or ''}".strip())]
    except Exception as error:  # an adapter's bug; its message may hold anything
        if not asked.done():
            return [_finding(where, False, f"no answer within {LIVE_SECONDS:g} s")]
        return [_finding(where, False, f"the adapter has a fault ({type(error).__name__} at {place_of(error)})")]


@click.command()
@click.argument("name", required=False)
@click.option("--rst", "as_rst", is_flag=True, help="Print the table as README.rst has it.")
@json_option
def adapters(name: str | None, as_json: bool, as_rst: bool) -> None:
    """Show which CRMs can be connected and what each adapter can do, or the settings of one."""
    from rich.console import Console
    from rich.table import Table

    from middleware.crm.base import OPTIONAL_METHODS
    from middleware.crm.reference import describe
    from middleware.crm.registry import broken_adapters, load_adapters

    known = {key: kind for key, kind in load_adapters().items() if name in (None, key)}
    if not known:
        raise ConfigError(str(name), ["is no adapter; m8crm adapters lists them"])
    if as_json:
        told = {key: asdict(describe(kind)) for key, kind in known.items()}
        matrix = {key: one | {"can": sorted(one["can"])} for key, one in told.items()}
        print_json({"adapters": matrix, "broken": broken_adapters()})
        return
    if name:
        _print_settings(describe(known[name]))
        return
    if as_rst:
        heads = [["", *(kind.label for kind in known.values())]]
        rows = [
            [f"``{m}``", *("yes" if m in k.capabilities() else "" for k in known.values())] for m in OPTIONAL_METHODS
        ]
        click.echo(_list_table(heads + rows))
        return
    table = Table("", *known)
    for method in OPTIONAL_METHODS:
        table.add_row(method, *("yes" if method in kind.capabilities() else "" for kind in known.values()))
    Console().print(table)
    for where, why in broken_adapters().items():
        click.secho(f"{where}: {why}", fg="red")


def _print_settings(found: Reference) -> None:
    for one in found.settings:
        without = "required" if one.is_required else f"else {one.default}" if one.default else "may be left out"
        click.echo(f"{one.name:<16} {one.type}; {without}")
    if found.words:
        click.echo(f"\n{found.words}")


def _list_table(rows: list[list[str]]) -> str:
    lines = [f"   {'* -' if not place else '  -'} {cell}".rstrip() for row in rows for place, cell in enumerate(row)]
    return "\n".join([".. list-table::", "   :header-rows: 1", "", *lines])


@click.group()
def tenant() -> None:
    """Add customers, list them, and change their secrets."""


@tenant.command("add")
@click.argument("tenant_id", metavar="ID")
@click.option("--name", required=True, help="The customer's name.")
@click.option("--region", required=True, help="His country, e.g. SE.")
@click.option("--timezone", default="UTC", show_default=True, help="For the times in logged calls.")
@json_option
@click.pass_context
def tenant_add(ctx: click.Context, tenant_id: str, name: str, region: str, timezone: str, as_json: bool) -> None:
    """Add a customer and print what Customer Care registers."""
    from middleware.tenants.files import create_tenant

    path, secret = create_tenant(settings_of(ctx).customers, tenant_id, name=name, region=region, timezone=timezone)
    _print_block(ctx, tenant_id, secret, as_json, file=str(path))


@tenant.command("set")
@click.argument("tenant_id", metavar="ID")
@click.option("--name", help="The customer's name.")
@click.option("--region", help="His country, e.g. SE: it reads numbers without a country code.")
@click.option("--timezone", help="For the times in logged calls, e.g. Europe/Stockholm.")
@click.option("--own-numbers", metavar="NUMBERS", help='His own, which are never looked up: "+46…, +46…" or "".')
@json_option
@click.pass_context
def tenant_set(ctx: click.Context, /, tenant_id: str, as_json: bool, **given: str | None) -> None:
    """Change a customer's plain settings; what is not given stays, and so does the rest of his file."""
    from middleware.tenants.files import change_tenant

    asked = {name: value for name, value in given.items() if value is not None}
    changed = change_tenant(settings_of(ctx).customers, tenant_id, asked)
    if as_json:
        print_json({"id": tenant_id, "changed": changed})
    else:
        click.echo(f"Changed: {', '.join(changed)}." if changed else "Nothing is other than it was.")


@tenant.command("list")
@json_option
@click.pass_context
def tenant_list(ctx: click.Context, as_json: bool) -> None:
    """List the customers."""
    from middleware.tenants.registry import Tenants

    tenants = Tenants(settings_of(ctx).customers)
    rows = []
    for tenant_id in tenants.ids():
        found, problem = tenants.get(tenant_id), tenants.problem(tenant_id)
        crms = [source.name for source in found.sources] if found else []
        rows.append(
            {"id": tenant_id, "name": found.name if found else None, "crm": crms, "problem": str(problem or "") or None}
        )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        about = row["problem"] or f"{row['name']} ({', '.join(row['crm']) or 'no CRM yet'})"  # type: ignore[arg-type]
        click.echo(f"{row['id']}: {about}")
    if not rows:
        click.echo("There are no customers yet. `m8crm tenant add` makes one.")


@tenant.command("secret")
@click.argument("tenant_id", metavar="ID")
@click.option("--receiver", default="insights", show_default=True, help="insights, recording, pbx, cdr or postcall.")
@click.option("--list", "only_list", is_flag=True, help="Show how the secrets may be told apart.")
@click.option("--revoke", metavar="DIGITS", help="Take away the secret whose digest begins so.")
@json_option
@click.pass_context
def tenant_secret(
    ctx: click.Context, tenant_id: str, receiver: str, only_list: bool, revoke: str | None, as_json: bool
) -> None:
    """Make one more secret; the old ones stay valid until they are revoked."""
    from middleware.tenants import files

    folder = settings_of(ctx).customers
    if revoke is not None:
        files.revoke_secret(folder, tenant_id, receiver, revoke)
    if only_list or revoke is not None:
        known = files.list_secrets(folder, tenant_id)
        if as_json:
            print_json(known)
        for name, entries in () if as_json else known.items():
            click.echo(f"{name}: {', '.join(entries)}")
        return
    _print_block(ctx, tenant_id, files.add_secret(folder, tenant_id, receiver), as_json, receiver)


@tenant.command("show")
@click.argument("tenant_id", metavar="ID")
@json_option
@click.pass_context
def tenant_show(ctx: click.Context, tenant_id: str, as_json: bool) -> None:
    """Show what to register with each sender; secrets are known by their digests alone."""
    from middleware.cli.oauth import describe_access
    from middleware.tenants import files

    known = files.list_secrets(settings_of(ctx).customers, tenant_id)
    places = _places(ctx, tenant_id, "SECRET")
    access = describe_access(ctx, tenant_id)
    if as_json:
        told = {name: {**place, "secrets": known.get(place["receiver"], [])} for name, place in places.items()}
        print_json({**told, **({"oauth2": access} if access else {})})
        return
    for name, place in places.items():
        receiver = place["receiver"]
        secrets = ", ".join(known.get(receiver, [])) or f"none: m8crm tenant secret {tenant_id} --receiver {receiver}"
        click.echo(f"{name:<10} {place['url']}")
        click.echo(f"{'':<10} {place['credential']}, secrets: {secrets}")
    for one in access:
        todo = "" if one["state"] == "connected" else f"; m8crm tenant connect {tenant_id} {one['crm']}"
        click.echo(f"{one['crm']:<10} {one['state']} by OAuth2{todo}")


def _places(ctx: click.Context, tenant_id: str, secret: str) -> dict[str, dict[str, str]]:
    from middleware.receivers.places import list_places

    places = list_places(public_url(settings_of(ctx)), tenant_id, secret)
    return {
        place.sender: {"url": place.url, "receiver": place.receiver, "credential": place.credential} for place in places
    }


def _print_block(
    ctx: click.Context, tenant_id: str, secret: str, as_json: bool, receiver: str = "insights", **more: str
) -> None:
    from middleware.receivers.places import registration

    base = public_url(settings_of(ctx))
    places = {name: one for name, one in _places(ctx, tenant_id, secret).items() if one["receiver"] == receiver}
    urls = {name: place["url"] for name, place in places.items()}
    if receiver == "insights":
        urls = {"lookup": f"{base}/{tenant_id}/lookup", **urls}
    if as_json:
        print_json({"id": tenant_id, **urls, "secret": secret, **more})
        return
    if more:
        click.echo(f"Written: {more['file']}. Connect a CRM there, then run `m8crm check --live`.\n")
    heading, *lines = registration(base, tenant_id, receiver, secret)
    click.secho(heading, bold=True)
    click.echo("\n".join(lines))
    click.echo("The secret is shown this once: only its digest is kept.")
    if more:
        click.echo(f"Other senders: `m8crm tenant show {tenant_id}`.")
    if base.startswith("http://"):
        click.echo("M8Com calls https only: set M8CRM_PUBLIC_URL to the address that M8Com reaches.")


COMMANDS = (check, tenant, adapters)
