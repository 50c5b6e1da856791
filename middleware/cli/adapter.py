"""``m8crm adapter``: write an adapter, check it, and record what its CRM answers."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from middleware.cli.output import json_option, parts_of, print_json, settings_of
from middleware.errors import ConfigError, place_of

if TYPE_CHECKING:
    from middleware.testing.conformance.author import Conformance

folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="The project's folder, with adapters/ and tests/adapters/.  [default: this one]",
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
    from middleware.testing.skeleton import ADAPTER, TEST, written_for

    if not re.fullmatch(r"[a-z][a-z0-9_]{1,30}", name) or keyword.iskeyword(name):
        raise ConfigError(name, ["is no name of an adapter: use 2 to 31 of a-z, 0-9 and _, a letter first"])
    texts = {
        folder / "adapters" / f"{name}.py": ADAPTER,
        folder / "tests" / "adapters" / name / f"test_{name}_conforms.py": TEST,
    }
    if there := [str(path) for path in texts if path.exists()]:
        raise ConfigError(there[0], ["is there already, and stays as it is"])
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written_for(name, text), encoding="utf-8")
    if as_json:
        print_json({"written": [str(path) for path in texts]})
        return
    for path in texts:
        click.echo(f"Wrote {path}")
    click.echo(f"Now `m8crm adapter check {name}`: it passes, and keeps telling you what is wrong as you change it.")


@adapter.command()
@click.argument("name")
@folder_option
@json_option
def check(name: str, folder: Path, as_json: bool) -> None:
    """Run the conformance kit on the adapter NAME, with the exchanges of its test."""
    found = _judged(_class_of(name, folder))
    failed = [each for each in found if each["verdict"] == "failed"]
    if as_json:
        print_json({"adapter": name, "ok": not failed, "checks": found})
    else:
        _show(found)
    sys.exit(1 if failed else 0)


def _class_of(name: str, folder: Path) -> type[Conformance]:
    from middleware.testing.conformance.author import find_conformance

    tests = folder / "tests" / "adapters"
    sys.path.insert(0, str(folder.resolve()))  # the author's adapters package, before another distribution's
    for _, kind in find_conformance(tests / name):
        if kind.adapter.name == name:
            return kind
    todo = f"write it, or begin with `m8crm adapter new {name}`"
    raise ConfigError(str(tests / name), [f"has no conformance class of the adapter {name!r}: {todo}"])


def _judged(kind: type[Conformance]) -> list[dict[str, Any]]:
    """Return the verdict of each check: passed, failed or skipped, with what is to be said."""
    from tempfile import TemporaryDirectory

    from middleware.testing.conformance.registry import CHECKS
    from middleware.testing.conformance.trial import ConformanceError, NotApplicableError

    found = []
    for name in CHECKS:
        verdict, message = "passed", ""
        with TemporaryDirectory() as empty:
            try:
                kind().run_check(name, Path(empty))
            except ConformanceError as error:
                verdict, message = "failed", str(error)
            except NotApplicableError as reason:
                verdict, message = "skipped", str(reason)
            except Exception as error:  # what the adapter gives is so strange that the check itself breaks on it
                verdict, message = "failed", f"it breaks with {type(error).__name__} ({error}) at {place_of(error)}"
        found.append({"check": name, "verdict": verdict, "message": message})
    return found


def _show(found: list[dict[str, Any]]) -> None:
    count = {verdict: sum(each["verdict"] == verdict for each in found) for verdict in ("passed", "failed", "skipped")}
    for each in found:
        if each["verdict"] == "skipped":
            click.echo(f"{click.style('left out', fg='yellow')} {each['check']}: {each['message']}")
    for each in found:
        if each["verdict"] == "failed":
            click.echo(f"{click.style('wrong', fg='red')} {each['check']}: {each['message']}")
    click.echo(f"{count['passed']} checks passed, {count['failed']} failed, {count['skipped']} are left out.")


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
    from middleware.tenants.config import load_tenant
    from middleware.testing.conformance.exchanges import dump_exchanges
    from middleware.testing.conformance.recording import record_lookup

    tenant_file = settings_of(ctx).customers / f"{customer}.toml"
    tenant = load_tenant(tenant_file)
    names = [each.name for each in tenant.sources]
    chosen = [each for each in tenant.sources if source in (None, each.name)]
    if not chosen:
        raise ConfigError(customer, [f"has no CRM called {source!r}; it has {', '.join(names) or 'none'}"])
    if chosen[0].adapter.base_url is None:
        raise ConfigError(customer, [f"{chosen[0].name} is not asked by HTTP, so there is nothing to record"])
    if into.exists():
        raise ConfigError(str(into), ["is there already, and stays as it is; --into names another file"])
    if chosen[0].client:  # it has tokens, in the database
        tenant = load_tenant(tenant_file, parts_of(ctx).accounts)
        chosen = [each for each in tenant.sources if each.name == chosen[0].name]
    recorded = record_lookup(chosen[0].adapter, number, tenant.region, chosen[0].account.auth)
    into.write_text(dump_exchanges(recorded.exchanges), encoding="utf-8")
    told = {"file": str(into), "exchanges": len(recorded.exchanges), "failed": recorded.failed}
    if as_json:
        print_json(told)
        return
    click.echo(
        f"Wrote {told['exchanges']} exchanges into {into}. Look through them: scrubbing knows no names in texts."
    )
    for method, error in recorded.failed.items():
        click.echo(f"{method} failed: {error}")


COMMANDS = (adapter,)
