"""``m8crm adapter``: write an adapter, check it, and record what its CRM answers."""

from __future__ import annotations

import json
import keyword
import re
import shlex
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from middleware.cli.output import json_option, parts_of, print_json, settings_of
from middleware.errors import ConfigError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from middleware.tenants.tenant import Source, Tenant
    from middleware.testing.conformance.author import Conformance

MAX_SHOWN = 4_000  # characters of one answer
PATIENCE = 60.0  # seconds of one check; all of an adapter's take less than five
HANGS = "The adapter waits for something else than its CRM: only ctx.http knows until when somebody waits for it."

folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="The project's folder, with adapters/ and tests/adapters/.  [default: the current one]",
)


@click.group()
def adapter() -> None:
    """Write an adapter for a CRM, check it, record its exchanges."""


@adapter.command()
@click.argument("name")
@folder_option
@json_option
def new(name: str, folder: Path, as_json: bool) -> None:
    """Write a working adapter NAME (a-z, 0-9, _) and its test, to begin with."""
    from middleware.crm.registry import load_adapters
    from middleware.testing.skeleton import ADAPTER, TEST, written_for

    if not re.fullmatch(r"[a-z][a-z0-9_]{1,30}", name) or keyword.iskeyword(name):
        raise ConfigError(name, ["is no name of an adapter: use 2 to 31 of a-z, 0-9 and _, a letter first"])
    texts = {
        folder / "adapters" / f"{name}.py": ADAPTER,
        folder / "tests" / "adapters" / name / f"test_{name}_conforms.py": TEST,
    }
    if there := [str(path) for path in texts if path.exists()]:
        raise ConfigError(there[0], ["is there already, and stays as it is"])
    if name in load_adapters():
        raise ConfigError(name, ["is the name of an adapter that is there already: take another"])
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written_for(name, text), encoding="utf-8")
    if as_json:
        print_json({"written": [str(path) for path in texts]})
        return
    for path in texts:
        click.echo(f"Wrote {path}")
    where = "" if folder == Path() else f" --folder {shlex.quote(str(folder))}"
    click.echo(
        f"Now `m8crm adapter check {name}{where}`: it passes, and keeps telling you what is wrong as you change it."
    )


@adapter.command()
@click.argument("name")
@folder_option
@click.option(
    "--customer", help="Check a customer's mapping instead, with --exchanges as `m8crm adapter record` has them."
)
@click.option(
    "--source", help="Which of the customer's CRMs, by its name; else the first of that adapter.", metavar="NAME"
)
@click.option("--exchanges", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--number", help="Whose number the exchanges are about; else the scrubbed one.")
@json_option
@click.pass_context
def check(
    ctx: click.Context,
    name: str,
    folder: Path,
    customer: str | None,
    source: str | None,
    exchanges: Path | None,
    number: str | None,
    as_json: bool,
) -> None:
    """Run the conformance kit on the adapter NAME, with the exchanges of its tests or of a customer."""
    if (customer is None) is not (exchanges is None):
        raise click.UsageError("--customer and --exchanges belong together.")
    verdicts, sys.stdout = sys.stdout, sys.stderr  # for good: an adapter that hangs may print to the end
    kinds = [_class_for(ctx, name, customer, source, exchanges, number)] if customer and exchanges else None
    kinds = kinds or _classes_of(name, folder)
    found = [
        {**each, **({"class": kind.__name__} if len(kinds) > 1 else {})} for kind in kinds for each in _judged(kind)
    ]
    failed = [each for each in found if each["verdict"] == "failed"]
    if as_json:
        print_json({"adapter": name, "ok": not failed, "checks": found}, verdicts)
    else:
        _show(found, verdicts)
    sys.exit(1 if failed else 0)


def _class_for(
    ctx: click.Context, name: str, customer: str, source: str | None, exchanges: Path, raw_number: str | None
) -> type[Conformance]:
    """Return the class that an author would have written for a customer's mapping."""
    from middleware.testing.conformance.author import Conformance
    from middleware.testing.conformance.exchanges import load_exchanges
    from middleware.testing.conformance.samples import NUMBER

    kept, region = _source_of(ctx, customer, source, name)

    class OfCustomer(Conformance):
        adapter = type(kept.adapter)
        settings = kept.adapter.settings

    OfCustomer.exchanges = load_exchanges(exchanges)
    OfCustomer.number, OfCustomer.region = raw_number or NUMBER, region
    return OfCustomer


def _source_of(ctx: click.Context, customer: str, source: str | None, kind: str | None = None) -> tuple[Source, str]:
    """Return one of the customer's CRMs that are asked by HTTP, and his country."""
    from middleware.tenants.config import load_tenant

    def chosen(tenant: Tenant) -> list[Source]:
        return [each for each in tenant.sources if source in (None, each.name) and kind in (None, each.adapter.name)]

    path = settings_of(ctx).customers / f"{customer}.toml"
    tenant = load_tenant(path)
    if not chosen(tenant):
        names = ", ".join(each.name for each in tenant.sources) or "none"
        raise ConfigError(customer, [f"has no CRM called {source or kind!r}; it has {names}"])
    if chosen(tenant)[0].adapter.base_url is None:
        raise ConfigError(customer, [f"{chosen(tenant)[0].name} is not asked by HTTP, so there is nothing to record"])
    if chosen(tenant)[0].client:  # it has tokens, in the database
        tenant = load_tenant(path, parts_of(ctx).accounts)
    return chosen(tenant)[0], tenant.region


def _classes_of(name: str, folder: Path) -> list[type[Conformance]]:
    from middleware.testing.conformance.author import find_conformance
    from middleware.testing.conformance.trial import fault_of

    tests = folder / "tests" / "adapters"
    sys.path.insert(0, str(folder.resolve()))  # the author's adapters package, before another distribution's
    try:
        found = [kind for _, kind in find_conformance(tests / name)]
    except Exception as error:
        raise ConfigError(str(tests / name), [f"cannot be loaded: {fault_of(error)}"]) from None
    names = {getattr(kind.adapter, "name", None) for kind in found}
    if name in names:
        return [kind for kind in found if getattr(kind.adapter, "name", None) == name]
    todo = f"write it, or begin with `m8crm adapter new {name}`"
    if names:
        todo = f"its class is of {', '.join(map(repr, names))}: mend the adapter's name, or ask for that"
    raise ConfigError(str(tests / name), [f"has no conformance class of the adapter {name!r}: {todo}"])


def _judged(kind: type[Conformance]) -> list[dict[str, Any]]:
    """Return the verdict of each check: passed, failed or skipped, with what is to be said."""
    from tempfile import TemporaryDirectory

    from middleware.crm.threads import DaemonPool
    from middleware.testing.conformance.registry import CHECKS

    found, pool, is_seen = [], DaemonPool("check"), sys.stderr.isatty()
    with click.progressbar(CHECKS, label=kind.__name__, file=sys.stderr, hidden=not is_seen) as names:
        for name in names:
            with TemporaryDirectory() as empty:
                future = pool.submit(kind().run_check, name, Path(empty))
                verdict, message = _verdict_of(future)
            found.append({"check": name, "verdict": verdict, "message": message})
            if not future.done():
                break
    return found


def _verdict_of(future: Future[None]) -> tuple[str, str]:
    from middleware.testing.conformance.trial import ConformanceError, NotApplicableError, fault_of

    try:
        future.result(PATIENCE)
    except ConformanceError as error:
        return "failed", str(error)
    except NotApplicableError as reason:
        return "skipped", str(reason)
    except BaseException as error:  # what the adapter gives is so strange that the check itself breaks on it
        if isinstance(error, KeyboardInterrupt):
            raise
        if not future.done():
            return "failed", f"has not ended in {PATIENCE:g} s, and the rest was not tried. {HANGS}"
        return "failed", f"it breaks with {fault_of(error)}"
    return "passed", ""


def _show(found: list[dict[str, Any]], file: IO[str]) -> None:
    count = {verdict: sum(each["verdict"] == verdict for each in found) for verdict in ("passed", "failed", "skipped")}
    for each in found:
        if each["verdict"] == "skipped":
            click.echo(f"{click.style('left out', fg='yellow')} {each['check']}: {each['message']}", file)
    for each in found:
        if each["verdict"] == "failed":
            of = f" ({each['class']})" if "class" in each else ""
            click.echo(f"{click.style('wrong', fg='red')} {each['check']}{of}: {each['message']}", file)
    click.echo(f"{count['passed']} checks passed, {count['failed']} failed, {count['skipped']} are left out.", file)


def _asked_for(number: str, region: str) -> str:
    from middleware.model.phone import parse_number

    if not parse_number(number, region).is_diallable:  # many CRMs answer an empty search with everybody
        raise ConfigError("NUMBER", ["is none that can be dialled: write it as +46701234567"])
    return number


@adapter.command()
@click.argument("customer")
@click.argument("number")
@click.option("--source", help="Which of the customer's CRMs, by its name; else the first.", metavar="NAME")
@click.option(
    "--into", type=click.Path(path_type=Path, dir_okay=False), default=Path("exchanges.json"), show_default=True
)
@json_option
@click.pass_context
def record(ctx: click.Context, customer: str, number: str, source: str | None, into: Path, as_json: bool) -> None:
    """Look NUMBER up in CUSTOMER's CRM and write what was asked and answered, scrubbed, into a file.

    Only what reads is asked: nothing is written into the CRM.  Names, numbers, addresses and texts are replaced, the
    same by the same; look through the file before you give it away.
    """
    from middleware.testing.conformance.exchanges import dump_exchanges
    from middleware.testing.conformance.recording import record_lookup

    kept, region = _source_of(ctx, customer, source)
    if into.exists():
        raise ConfigError(str(into), ["is there already, and stays as it is; --into names another file"])
    if not into.parent.is_dir():
        raise ConfigError(str(into.parent), ["is no folder: make it first"])
    recorded = record_lookup(kept.adapter, _asked_for(number, region), region, kept.account.auth)
    into.write_text(dump_exchanges(recorded.exchanges), encoding="utf-8")
    count = len(recorded.exchanges)
    if as_json:
        told = {"file": str(into), "exchanges": count, "failed": recorded.failed, "is_found": recorded.is_found}
        print_json(told)
    else:
        click.echo(f"Wrote {count} exchanges into {into}. Look through them: scrubbing knows no names in texts.")
        for method, error in recorded.failed.items():
            click.echo(f"{method} failed: {error}")
        if not recorded.is_found:
            click.echo("There is no contact in them: to test with, record a number that somebody has, into a new file.")
    sys.exit(0 if recorded.is_found else 1)


@adapter.command("try")
@click.argument("customer")
@click.argument("number")
@click.option("--source", help="Which of the customer's CRMs, by its name; else the first.", metavar="NAME")
@json_option
@click.pass_context
def try_(ctx: click.Context, customer: str, number: str, source: str | None, as_json: bool) -> None:
    """Look NUMBER up in CUSTOMER's CRM and show each request, the raw answer, and what every expression found.

    Nothing is written into the CRM.  What is shown holds people's data, but no secret.
    """
    from middleware.testing.conformance.recording import secrets_of, try_lookup

    kept, region = _source_of(ctx, customer, source)
    tried = try_lookup(kept.adapter, _asked_for(number, region), region, kept.account.auth)
    secrets = secrets_of(kept.adapter)
    steps = [_step_of(kept.adapter, asked, secrets) for asked in tried.passed]
    found = {method: [repr(each) for each in results] for method, results in tried.found.items()}
    failed = {m: f"{error} {_hidden(error.vendor_text or '', secrets)}".strip() for m, error in tried.failed.items()}
    if as_json:
        print_json({"steps": steps, "found": found, "failed": failed})
    else:
        _show_steps(steps, found, failed)
    sys.exit(1 if failed else 0 if tried.found.get("find_contacts") else 2)


def _step_of(adapter: Any, asked: Any, secrets: list[str]) -> dict[str, Any]:
    """Return one exchange for people: without headers, in which the credentials are, and without secrets."""
    from urllib.parse import urlsplit

    parts = urlsplit(asked.request.url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    body = asked.request.body
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    step = {
        "method": asked.method,
        "request": _hidden(f"{asked.request.method} {target}", secrets),
        "body": _hidden(text, secrets),
        "status": asked.answer.status_code,
    }
    settings = adapter.settings
    if getattr(settings, "auth", "") == "login" and settings.auth_name not in asked.request.headers:
        return {**step, "body": "", "answer": "(the login: not shown)", "expressions": {}}
    try:
        answer = json.loads(asked.answer.content)
    except ValueError:
        answer = asked.answer.content.decode("utf-8", "replace")[:MAX_SHOWN]
    explain = getattr(adapter, "explain", None)  # of adapters that read by expressions
    told = dict(explain(asked.method, asked.request.method, parts.path, answer)) if explain else {}
    return {**step, "answer": answer, "expressions": told}


def _hidden(text: str, secrets: list[str]) -> str:
    from urllib.parse import quote_plus

    for secret in filter(None, secrets):
        text = text.replace(secret, "***").replace(quote_plus(secret), "***")
    return text


def _show_steps(steps: list[dict[str, Any]], found: dict[str, list[str]], failed: dict[str, str]) -> None:
    for step in steps:
        click.secho(f"{step['method']}: {step['request']}", bold=True)
        if step["body"]:
            click.echo(f"  sent: {step['body'][:MAX_SHOWN]}")
        answer = json.dumps(step["answer"], indent=2, ensure_ascii=False)
        click.echo(f"  answered {step['status']}:")
        click.echo("\n".join(f"    {line}" for line in answer[:MAX_SHOWN].splitlines()))
        for name, value in step["expressions"].items():
            shown = json.dumps(value, ensure_ascii=False)[:200]
            click.echo(f"  {name} = {click.style(shown, fg='yellow' if value is None else 'green')}")
    for method, results in found.items():
        click.secho(f"{method}: {failed.get(method) or f'{len(results)} found'}", bold=True)
        for each in results[:5]:
            click.echo(f"  {each}")


COMMANDS = (adapter,)
