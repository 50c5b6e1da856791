"""Commands about the console: who may come in, who is in, and what people did there."""

from __future__ import annotations

import getpass
import sys
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from middleware.cli.output import json_option, parts_of, print_json, settings_of
from middleware.errors import ConfigError

if TYPE_CHECKING:
    from middleware.console.access import Access

ROLES = ("hoster", "care", "customer")


@click.group()
def console() -> None:
    """Say who may use the console at /-/console, and see what they did (docs/console.rst)."""


@console.group()
def user() -> None:
    """Add, list and remove accounts."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True)
@click.option("--customer", help="Of the role customer: the only one he sees.")
@json_option
@click.pass_context
def user_add(ctx: click.Context, name: str, role: str, customer: str | None, as_json: bool) -> None:
    """Make an account; the password is asked for, or read from standard input."""
    from middleware.console.roles import Role

    access = _access(ctx, customer)
    access.users.add(name, Role(role), _password(), customer)
    _done(access, "account added", customer, f"{name}, {role}")
    if as_json:
        print_json({"name": name, "role": role, "customer": customer})
    else:
        click.echo(f"{name} may sign in at {settings_of(ctx).public_url}/-/console")
        if not settings_of(ctx).console:
            click.echo("The console is off: start the server with M8CRM_CONSOLE=true.")


@user.command("list")
@json_option
@click.pass_context
def user_list(ctx: click.Context, as_json: bool) -> None:
    """List the accounts."""
    found = _access(ctx).users.list_users()
    if as_json:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        whose = f" {one.customer}" if one.customer else ""
        click.echo(f"{one.name}: {one.role}{whose}, password of {one.changed_at:%Y-%m-%d}")
    if not found:
        click.echo("There are no accounts yet. `m8crm console user add` makes one.")


@user.command("remove")
@click.argument("name")
@json_option
@click.pass_context
def user_remove(ctx: click.Context, name: str, as_json: bool) -> None:
    """Remove an account and end its sessions."""
    access = _access(ctx)
    access.users.remove(name)
    _done(access, "account removed", None, name)
    print_json({"removed": name}) if as_json else click.echo(f"{name} may not sign in any more.")


@user.command("password")
@click.argument("name")
@json_option
@click.pass_context
def user_password(ctx: click.Context, name: str, as_json: bool) -> None:
    """Set another password, which is asked for or read from standard input, and end the account's sessions."""
    access = _access(ctx)
    access.users.change_password(name, _password())
    _done(access, "password changed", None, name)
    print_json({"changed": name}) if as_json else click.echo(f"{name} has to sign in again, with the new password.")


@console.group()
def session() -> None:
    """See who has signed in, and end that."""


@session.command("list")
@json_option
@click.pass_context
def session_list(ctx: click.Context, as_json: bool) -> None:
    """List the sessions that have not ended."""
    found = _access(ctx).sessions.list_sessions()
    if as_json:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        who = f"{one.viewer.name} ({one.viewer.role})"
        click.echo(f"{one.id}  {who}, {one.address}, seen {one.seen_at:%m-%d %H:%M} UTC")
    if not found:
        click.echo("Nobody has signed in.")


@session.command("end")
@click.argument("which", metavar="NAME|ID")
@json_option
@click.pass_context
def session_end(ctx: click.Context, which: str, as_json: bool) -> None:
    """End every session of an account, or the one with that id."""
    access = _access(ctx)
    count = access.sessions.end_of(which)
    if not count:
        raise ConfigError(which, ["has no session; m8crm console session list shows them"])
    _done(access, "sessions ended", None, which)
    print_json({"ended": count}) if as_json else click.echo(f"{count} ended.")


@console.command("link")
@click.argument("customer", required=False)
@click.option("--days", type=click.IntRange(1, 90), default=7, show_default=True, help="For how long it is good.")
@click.option("--list", "only_list", is_flag=True, help="Show the links that are good.")
@click.option("--revoke", metavar="ID", help="End a link and the sessions that came by it.")
@json_option
@click.pass_context
def console_link(
    ctx: click.Context, customer: str | None, days: int, only_list: bool, revoke: str | None, as_json: bool
) -> None:
    """Make a link by which the customer's own admin sees his customer's pages and changes nothing."""
    access = _access(ctx, customer)
    if revoke:
        link = access.links.revoke(revoke)
        _done(access, "link revoked", link.customer, link.id)
    if revoke or only_list:
        links = access.links.list_links()
        if as_json:
            print_json([asdict(one) for one in links])
        for one in () if as_json else links:
            state = ", revoked" if one.is_revoked else ""
            click.echo(f"{one.id}  {one.customer}, until {one.expires_at:%Y-%m-%d %H:%M} UTC, by {one.made_by}{state}")
        return
    if customer is None:
        raise click.UsageError("Name the customer.")
    link, text = access.links.make(customer, _who(), timedelta(days=days))
    _done(access, "link made", customer, link.id)
    url = f"{settings_of(ctx).public_url.rstrip('/')}/-/console/link/{text}"
    if as_json:
        print_json({"id": link.id, "customer": customer, "url": url, "expires_at": link.expires_at})
    else:
        click.echo(f"{url}\nGood until {link.expires_at:%Y-%m-%d %H:%M} UTC; whoever has it sees {customer}'s pages.")
        click.echo(f"m8crm console link --revoke {link.id} ends it.")


@console.command("audit")
@click.option("--customer", help="Of one customer.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True)
@json_option
@click.pass_context
def console_audit(ctx: click.Context, customer: str | None, limit: int, as_json: bool) -> None:
    """Show what people did in the console, and with these commands."""
    found = _access(ctx).audit.entries(customer, limit)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    for one in found:
        about = ", ".join(filter(None, (one.customer, one.about, one.address)))
        click.echo(f"{one.at:%Y-%m-%d %H:%M:%S}  {one.who}: {one.action}{f' ({about})' if about else ''}")
    if not found:
        click.echo("Nobody has done anything yet.")


def _access(ctx: click.Context, customer: str | None = None) -> Access:
    """Return who decides; a ``customer`` must have a file."""
    from middleware.console.access import build_access

    parts = parts_of(ctx, shares_answers=False)
    if customer is not None and customer not in parts.tenants.ids():
        raise ConfigError(customer, ["is no customer; m8crm tenant list shows them"])
    return build_access(parts.inbox, parts.key)


def _done(access: Access, action: str, customer: str | None, about: str) -> None:
    access.audit.note(_who(), action, customer, about)


def _who() -> str:
    """Return whoever uses the shell, told apart from the console's own accounts."""
    return f"shell:{getpass.getuser()}"[:64]


def _password() -> str:
    """Return a password without it being seen: typed twice, or the first line of what is piped."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


COMMANDS = (console,)
