"""What the demo tells: of its customers, where each sender posts and with what secret, and what to try next."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from middleware.settings import Settings

if TYPE_CHECKING:
    from middleware.cli.demo_console import DemoAccount
    from middleware.demo.data import DemoCustomer


def describe_demo(customers: list[DemoCustomer], account: DemoAccount, settings: Settings) -> dict[str, Any]:
    """Return the demo for scripts."""
    return {
        "base_url": settings.public_url,
        "console": {"url": _console(settings), "name": account.name, "password": account.password},
        "customers": [
            {
                "id": customer.id,
                "name": customer.name,
                "known_numbers": customer.known_numbers,
                "unknown_number": customer.unknown_number,
                "endpoints": _endpoints(customer, settings),
            }
            for customer in customers
        ],
    }


def print_demo(customers: list[DemoCustomer], account: DemoAccount, settings: Settings) -> None:
    """Print the demo for people."""
    click.secho(f"\nm8crm answers at {settings.public_url}\n", bold=True)
    for customer in customers:
        click.echo(f"{customer.name}")
        for name, endpoint in _endpoints(customer, settings).items():
            click.echo(f"  {name:<10} {endpoint['url']}")
            for header, value in endpoint["headers"].items():
                click.echo(f"  {'':<10} {header}: {value}")
        click.echo(f"  {'known':<10} {', '.join(customer.known_numbers)}")
        click.echo(f"  {'unknown':<10} {customer.unknown_number}\n")
    click.secho(f"Console: {_console(settings)}", bold=True)
    click.echo(f"  sign in as {account.name} with the password {account.password}\n")
    click.echo(f"API documentation: {settings.public_url}/-/docs   Data: {settings.data}")
    click.echo("`m8crm trigger` calls as each of the senders does: calllog, recording, pbx, cdr, postcall.\n")
    _print_next(customers[0], settings)
    click.echo("Stop with Ctrl-C.")


def _console(settings: Settings) -> str:
    return f"{settings.public_url}/-/console"


def _print_next(customer: DemoCustomer, settings: Settings) -> None:
    at = f"{_myself()} --data {shlex.quote(str(settings.data))}"
    number = customer.known_numbers[0]
    url = f"{settings.public_url}/{customer.id}/lookup?fromNumber=%2B{number[1:]}"
    click.secho("Try next, in another terminal:", bold=True)
    click.echo(f"  curl -H 'Authorization: Bearer {customer.secrets['insights']}' '{url}'")
    click.echo(f"  {at} lookup {customer.id} '{number}' --explain")
    click.echo(f"  {at} trigger {customer.id} calllog && sleep 1 && {at} events list\n")


def _endpoints(customer: DemoCustomer, settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the URL and the headers of the lookup, and of every sender."""
    from middleware.receivers.registry import RECEIVERS, Credential

    base = f"{settings.public_url}/{customer.id}"
    bearer = {"Authorization": f"Bearer {customer.secrets['insights']}"}
    endpoints: dict[str, dict[str, Any]] = {"lookup": {"url": f"{base}/lookup", "headers": bearer}}
    for sender, receiver in RECEIVERS.items():
        secret, url = customer.secrets[receiver.secret], f"{base}/{sender}"
        match receiver.credential:
            case Credential.BEARER:
                endpoints[sender] = {"url": url, "headers": {"Authorization": f"Bearer {secret}"}}
            case Credential.PBX_TOKEN:
                endpoints[sender] = {"url": url, "headers": {"X-Pbx-Token": secret}}
            case Credential.URL | Credential.URL_OR_DATA:
                endpoints[sender] = {"url": f"{url}?token={secret}", "headers": {}}
    return endpoints


def _myself() -> str:
    """Return how this very m8crm is called from any folder, to be copied into a shell."""
    running = Path(sys.argv[0]).absolute()
    if running.name != "m8crm":  # python -m middleware.cli
        running = Path(sys.executable).with_name("m8crm")
    found = shutil.which("m8crm")
    return "m8crm" if found and Path(found).absolute() == running else shlex.quote(str(running))
