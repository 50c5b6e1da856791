"""Commands about OAuth2: ``tenant connect``, ``tenant disconnect``, ``tokens rotate``."""

from __future__ import annotations

import http.server
import socketserver
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import click

from middleware.cli.customers import tenant
from middleware.cli.output import json_option, parts_of, print_json, settings_of
from middleware.cli.server import public_url
from middleware.errors import ConfigError, M8CRMError

if TYPE_CHECKING:
    from middleware.crm.oauth import OAuthClient
    from middleware.oauth.connections import Connections
    from middleware.parts import Parts

PORT = 8765
ANSWER = b"<!doctype html><title>m8crm</title><p>Thank you. The terminal says how it went.</p>\n"


@tenant.command("connect")
@click.argument("tenant_id", metavar="CUSTOMER")
@click.argument("crm", metavar="CRM")
@click.option("--link", is_flag=True, help="Print a link that the running server finishes; it may be sent to anybody.")
@click.option("--paste", is_flag=True, help="Ask for the address that the browser ends at, instead of listening.")
@click.option("--port", default=PORT, show_default=True, help="Of the redirect URI http://localhost:PORT/callback.")
@click.option("--wait", default=600.0, show_default=True, help="Seconds to wait for the browser.")
@json_option
@click.pass_context
def tenant_connect(
    ctx: click.Context, tenant_id: str, crm: str, link: bool, paste: bool, port: int, wait: float, as_json: bool
) -> None:
    """Have a person authorise m8crm at the customer's CRM (OAuth2)."""
    from middleware.web.oauth import CALLBACK

    if link and paste:
        raise click.UsageError("--link and --paste exclude each other")
    parts = parts_of(ctx, makes_data=True)
    connections, client = _connections(parts), _client(parts, tenant_id, crm)
    if link:
        redirect_uri = public_url(settings_of(ctx)) + CALLBACK
        url = connections.begin(client, redirect_uri)
        _tell({"link": url, "redirect_uri": redirect_uri, "connected": False}, as_json)
        return
    listener = None if paste else _Listener(port)
    try:
        at = listener.server_address[1] if listener else port
        url = connections.begin(client, f"http://localhost:{at}/callback")
        click.echo(f"Open this address in a browser, and allow it:\n\n{url}\n", err=as_json)
        if listener:
            answer = listener.wait(wait)
        else:
            answer = click.prompt("Paste the address that the browser ends at", err=as_json)
    finally:
        if listener:
            listener.server_close()
    told = {name: values[-1] for name, values in parse_qs(urlsplit(answer.strip()).query).items()}
    if "code" not in told or "state" not in told:
        raise ConfigError(crm, ["the CRM sent no authorisation: try again, and allow it"])
    done = connections.finish(told["state"], told["code"])
    _tell({"customer": done.tenant_id, "crm": done.source, "connected": True}, as_json)


@tenant.command("disconnect")
@click.argument("tenant_id", metavar="CUSTOMER")
@click.argument("crm", metavar="CRM")
@json_option
@click.pass_context
def tenant_disconnect(ctx: click.Context, tenant_id: str, crm: str, as_json: bool) -> None:
    """Remove the customer's OAuth2 tokens, also of a customer whose file is gone."""
    was_connected = _connections(parts_of(ctx)).end(tenant_id, crm)
    if as_json:
        print_json({"customer": tenant_id, "crm": crm, "was_connected": was_connected})
    else:
        click.echo("Disconnected." if was_connected else f"{tenant_id} had no tokens for {crm}.")
    sys.exit(0 if was_connected else 1)


@click.group()
def tokens() -> None:
    """Look after the keys that encrypt OAuth2 tokens in the database."""


@tokens.command("rotate")
@click.option(
    "--step",
    type=click.Choice(["prepare", "use", "drop"]),
    help="Only add the new key; only encrypt with it; only remove all older keys.",
)
@json_option
@click.pass_context
def tokens_rotate(ctx: click.Context, step: str | None, as_json: bool) -> None:
    """Encrypt all tokens with a new key; the old one is kept until --step drop."""
    parts = parts_of(ctx)
    connections, path = _connections(parts), Path(parts.settings.token_keys)
    vault, count = connections.vault, 0
    if step in (None, "prepare"):
        vault.add_key()
    if step in (None, "use"):
        vault.promote_key()
    if step != "prepare":
        count = connections.reseal()
    if step == "drop":
        vault.drop_keys()
    told = {"file": str(path), "keys": vault.count(), "tokens": count}
    print_json(told) if as_json else click.echo("{file}: {keys} keys; {tokens} tokens encrypted anew.".format(**told))


def describe_access(ctx: click.Context, tenant_id: str) -> list[dict[str, Any]]:
    """Return how each ``[[crm]]`` of the customer that is reached by OAuth2 stands; nothing where there is none."""
    from middleware.tenants.config import load_tenant

    try:
        found = load_tenant(settings_of(ctx).customers / f"{tenant_id}.toml")
    except M8CRMError:  # `m8crm check` tells
        return []
    clients = [source.client for source in found.sources if source.client]
    return [_connections(parts_of(ctx, makes_data=True)).describe(client) for client in clients]


def _tell(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(told)
    elif told["connected"]:
        click.echo(f"{told['customer']} is connected to {told['crm']}.")
    else:
        click.echo(f"Open this address within an hour, or send it to who may allow it:\n\n{told['link']}\n")
        click.echo(f"The CRM's app must have this redirect URI: {told['redirect_uri']}")


def _connections(parts: Parts) -> Connections:
    if parts.connections is None:
        raise ConfigError("OAuth2", ["needs the extra: pip install 'm8crm[oauth]'"])
    return parts.connections


def _client(parts: Parts, tenant_id: str, crm: str) -> OAuthClient:
    found, problem = parts.tenants.get(tenant_id), parts.tenants.problem(tenant_id)
    if problem:
        raise problem
    source = found.source(crm) if found else None
    if source is None or source.client is None:
        can = ", ".join(one.name for one in found.sources if one.client) if found else ""
        words = f"these can be connected: {can}" if can else 'no [[crm]] of this customer has auth = "oauth2"'
        raise ConfigError(f"{tenant_id}/{crm}", [words if found else "there is no such customer: m8crm tenant list"])
    return source.client


class _Listener(socketserver.TCPServer):
    """Takes the one request that the CRM sends the browser to (RFC 8252, 7.3)."""

    allow_reuse_address = True
    answer = ""

    def __init__(self, port: int) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Page)
        except OSError as error:
            raise ConfigError("--port", [f"{port}: {error.strerror}; take another one, or --paste"]) from None

    def wait(self, seconds: float) -> str:
        """Return the path and query of the browser's request."""
        from datetime import timedelta

        from middleware.model.deadline import Deadline

        deadline = Deadline.after(timedelta(seconds=seconds))
        while not self.answer and not deadline.is_over:
            self.timeout = deadline.remaining
            self.handle_request()
        if not self.answer:
            raise ConfigError("connect", ["no browser came back in time: try again, or with --paste or --link"])
        return self.answer


class _Page(http.server.BaseHTTPRequestHandler):
    timeout = 5  # seconds for one that connects and says nothing

    def do_GET(self) -> None:
        """Keep the address, if it is the one that was asked for."""
        is_callback = urlsplit(self.path).path == "/callback"
        self.send_response(200 if is_callback else 404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(ANSWER if is_callback else b"")
        if is_callback and isinstance(self.server, _Listener):
            self.server.answer = self.path

    def log_message(self, *_: Any) -> None:
        """Say nothing: the address holds the code."""


COMMANDS = (tokens,)
