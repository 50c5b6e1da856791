"""``m8crm trigger``: made-up requests of every sender, as the sender would send them."""

from __future__ import annotations

import json
import random
import secrets
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from middleware.cli.output import json_option, print_json, settings_of
from middleware.cli.server import find_server
from middleware.errors import ConfigError

if TYPE_CHECKING:
    import requests

    from middleware.demo.samples import Situation
    from middleware.receivers.registry import Receiver
    from middleware.settings import Settings

SENDERS = ("calllog", "recording", "pbx", "cdr", "postcall")
TIMEOUT = 10  # seconds


@click.command()
@click.argument("customer")
@click.argument("sender", type=click.Choice(SENDERS))
@click.option("--type", "types", multiple=True, help="Which of the sender's events, or all; may be given again.")
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
@click.option("--call-id", help="The call's id, for several senders of one call; else a new one.")
@click.option("--body", help="The call log's whole text in place of the made-up one.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Change a field, e.g. cdr.talk=12; VALUE may be JSON.",
)
@click.option("--as", "form", type=click.Choice(["json", "form", "query"]), default="json", help="How a CDR is sent.")
@click.option("--repeat", default=1, show_default=True, type=click.IntRange(1, 1000), help="Send each so many times.")
@click.option(
    "--calls",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="So many calls, each with another contact, start, length and end.",
)
@click.option("--shuffle", is_flag=True, help="Send them in any order.")
@click.option("--url", help="Where the server answers; else the running demo or M8CRM_PUBLIC_URL.")
@click.option("--secret", envvar="M8CRM_SECRET", help="The customer's (M8CRM_SECRET); else the demo's, or his file's.")
@json_option
@click.pass_context
def trigger(ctx: click.Context, /, customer: str, sender: str, as_json: bool, **options: Any) -> None:
    """Post made-up calls to the running server, as SENDER would."""
    import requests

    from middleware.receivers.registry import RECEIVERS

    settings, receiver = settings_of(ctx), RECEIVERS[sender]
    if options["form"] != "json" and "GET" not in receiver.methods:
        raise click.UsageError(f"--as {options['form']}: {sender} is sent as JSON only")
    secret = options["secret"] or _find_secret(settings, customer, receiver.secret)
    url = f"{(options['url'] or _server_url(settings)).rstrip('/')}/{customer}/{sender}"
    bodies = _bodies(settings, customer, sender, options)
    sent = []
    try:
        with requests.Session() as session:
            session.trust_env = False
            for body in bodies:
                answer = _send(session, url, receiver, secret, body, options["form"])
                sent.append(
                    {"url": url, "status": answer.status_code, "answer": _json_or_text(answer.text), "sent": body}
                )
                if not as_json:
                    click.echo(f"{answer.status_code} {answer.text}")
    except requests.RequestException as error:
        raise ConfigError(url, [f"no answer ({type(error).__name__}); is the server running?"]) from None
    if as_json:
        print_json(sent[0] if len(sent) == 1 else sent)
    elif any(one["status"] < 400 for one in sent):
        click.echo("`m8crm events list` shows what becomes of it.")
    sys.exit(0 if all(one["status"] < 400 for one in sent) else 1)


def _find_secret(settings: Settings, customer: str, receiver: str) -> str:
    from middleware.demo.data import load_secrets
    from middleware.tenants.files import find_plain_secret

    secret = load_secrets(settings.data).get(customer, {}).get(receiver)
    secret = secret or find_plain_secret(settings.customers, customer, receiver)
    if not secret:
        raise ConfigError(customer, [f"its {receiver} secret is not known here: give --secret or set M8CRM_SECRET"])
    return secret


def _bodies(settings: Settings, customer: str, sender: str, options: dict[str, Any]) -> list[dict[str, Any]]:
    from middleware.demo.samples import SAMPLES

    known = SAMPLES[sender]
    names = options["types"] or (next(iter(known)),)
    if unknown := [name for name in names if name not in (*known, "all")]:
        raise click.UsageError(f"--type {unknown[0]}: {sender} has {', '.join(known)}, all")
    wanted = [inner for name in names for inner in (known if name == "all" else [name])]
    calls = _situations(settings, customer, options)
    bodies = [_sample(sender, name, call, options) for call in calls for name in wanted]
    bodies *= options["repeat"]
    if options["shuffle"]:
        random.shuffle(bodies)
    return bodies


def _situations(settings: Settings, customer: str, options: dict[str, Any]) -> list[Situation]:
    """Return the call that the options tell of, and as many others as are wanted."""
    from middleware.demo.samples import Situation, vary

    if options["calls"] > 1 and options["call_id"]:
        raise click.UsageError("--call-id: it is one call's; leave it or --calls out")
    duration = timedelta(seconds=options["duration"])
    numbers = [options["number"]] if options["number"] else _known_numbers(customer)
    first = Situation(
        contact=numbers[0],
        own=_own_number(settings, customer),
        began_at=datetime.now(UTC) - duration,
        duration=duration,
        call_id=options["call_id"] or secrets.token_hex(12),
        summary=options["summary"],
        is_inbound=options["direction"] == "inbound",
    )
    return [first, *(vary(first, numbers, place) for place in range(1, options["calls"]))]


def _sample(sender: str, name: str, call: Situation, options: dict[str, Any]) -> dict[str, Any]:
    from middleware.demo.samples import SAMPLES

    body = SAMPLES[sender][name](call)
    if options["body"]:
        body["body"] = options["body"]
    for change in options["changes"]:
        path, equals, value = change.partition("=")
        if not equals:
            raise click.UsageError(f"--set {change}: write FIELD=VALUE")
        _set(body, path.split("."), _json_or_text(value))
    return body


def _set(place: Any, steps: list[str], value: object) -> None:
    """Put ``value`` at the end of the path; what is no object on the way becomes one."""
    *way, last = steps
    for step in way:
        inner = place[int(step)] if isinstance(place, list) and step.isdigit() and int(step) < len(place) else None
        inner = place.get(step) if isinstance(place, dict) else inner
        if not isinstance(inner, dict | list):
            inner = {}
            _put(place, step, inner)
        place = inner
    _put(place, last, value)


def _put(place: Any, step: str, value: object) -> None:
    if isinstance(place, dict):
        place[step] = value
    elif step.isdigit() and int(step) < len(place):
        place[int(step)] = value
    else:
        place.append(value)


def _send(
    session: requests.Session, url: str, receiver: Receiver, secret: str, body: dict[str, Any], form: str
) -> requests.Response:
    from middleware.receivers.registry import Credential

    headers: dict[str, bytes] = {}
    query: list[tuple[str, str]] = []
    match receiver.credential:
        case Credential.BEARER:
            headers["Authorization"] = f"Bearer {secret}".encode()
        case Credential.PBX_TOKEN:
            headers["X-Pbx-Token"] = secret.encode()
        case Credential.URL | Credential.URL_OR_DATA:
            query.append(("token", secret))
    if form == "query":
        return session.get(url, params=[*query, *_flat(body)], headers=headers, timeout=TIMEOUT)
    if form == "form":
        headers["Content-Type"] = b"application/x-www-form-urlencoded"
        return session.post(url, urlencode(_flat(body)), params=query, headers=headers, timeout=TIMEOUT)
    headers["Content-Type"] = b"application/json"
    raw = json.dumps(body)  # json= would refuse NaN
    return session.post(url, raw, params=query, headers=headers, timeout=TIMEOUT)


def _flat(value: object, name: str = "") -> list[tuple[str, str]]:
    """Return an object as bracketed names and texts: ``cdr[tags][Reason]``."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        return [(name, value if isinstance(value, str) else json.dumps(value))]
    return [pair for key, part in inner for pair in _flat(part, f"{name}[{key}]" if name else str(key))]


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _known_numbers(customer: str) -> list[str]:
    from middleware.demo.data import KNOWN_NUMBERS

    if customer not in KNOWN_NUMBERS:
        raise ConfigError(customer, ["give the contact's --number"])
    return KNOWN_NUMBERS[customer]


def _own_number(settings: Settings, customer: str) -> str:
    from middleware.tenants.registry import Tenants

    tenant = Tenants(settings.customers).get(customer)
    return min(tenant.own_numbers, default="+46101234567") if tenant else "+46101234567"


def _server_url(settings: Settings) -> str:
    server = find_server(settings.data)
    return server.base_url if server else settings.public_url


COMMANDS = (trigger,)
