"""Commands for those who watch over the installation: ``alarms``, ``metrics``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime

import click

from middleware.cli.output import json_option, parts_of, print_json, settings_of
from middleware.errors import ConfigError


@click.group()
def alarms() -> None:
    """Show what a person should know of, and try whether somebody is told."""


@alarms.command("list")
@json_option
@click.pass_context
def alarms_list(ctx: click.Context, as_json: bool) -> None:
    """List the alarms that are raised, and those that were within a week."""
    from middleware.monitoring.alarms import Ledger

    found = Ledger(parts_of(ctx, shares_answers=False).inbox).list_alarms()
    if as_json:
        print_json([asdict(alarm) for alarm in found])
        return
    for alarm in found:
        told = f"told {alarm.told_at.astimezone():%m-%d %H:%M}" if alarm.told_at else "not told"
        click.echo(f"{alarm.since.astimezone():%m-%d %H:%M}  {alarm.document()['text']}  [{told}]")
    if not found:
        click.echo("No alarms.")


@alarms.command("test")
@json_option
@click.pass_context
def alarms_test(ctx: click.Context, as_json: bool) -> None:
    """Tell a made-up alarm by M8CRM_ALARM_URL and M8CRM_ALARM_COMMAND; status 1 if one of them fails."""
    from middleware.monitoring.alarms import StoredAlarm
    from middleware.monitoring.tell import Teller

    settings = settings_of(ctx)
    teller = Teller(settings.alarm_url, settings.alarm_command)
    if not teller.is_configured:
        raise ConfigError("environment", ["nobody is told: set M8CRM_ALARM_URL or M8CRM_ALARM_COMMAND"])
    made_up = StoredAlarm.made_up(datetime.now(UTC))
    failures = teller.tell(made_up.document() | {"installation": settings.public_url})
    if as_json:
        print_json({way: {"told": failure is None, "reason": failure} for way, failure in failures.items()})
    else:
        for way, failure in failures.items():
            click.echo(f"{way}: {failure or 'told'}")
    sys.exit(1 if any(failures.values()) else 0)


@click.command()
@json_option
@click.pass_context
def metrics(ctx: click.Context, as_json: bool) -> None:
    """Print what /-/metrics exposes, for a machine that runs workers only (textfile collector)."""
    from middleware.monitoring.exposition import expose, see

    parts = parts_of(ctx, shares_answers=False)
    sight = see(parts.inbox, parts.counts, parts.settings.data)
    if as_json:
        samples = (sample for family in sight.collect() for sample in family.samples)
        print_json([{"name": sample.name, "labels": sample.labels, "value": sample.value} for sample in samples])
    else:
        click.echo(expose(sight)[0].decode(), nl=False)


@click.command()
@json_option
@click.pass_context
def system(ctx: click.Context, as_json: bool) -> None:
    """Show versions, workers, storage, and for how long what is kept."""
    from middleware.monitoring.system import describe

    parts = parts_of(ctx, shares_answers=False)
    found = asdict(describe(parts.inbox, parts.settings))
    if as_json:
        seconds = {what: kept.total_seconds() for what, kept in found["retention"].items()}
        print_json(found | {"retention": seconds})
        return
    storage, retention = found.pop("storage"), found.pop("retention")
    for name, value in found.items():
        click.echo(f"{name:<12} {value}")
    for what, size in storage.items():
        click.echo(f"{what:<12} {'unknown' if size is None else f'{size:,} bytes'}")
    for what, kept in retention.items():
        click.echo(f"{kept.days} days: {what}")


COMMANDS = (alarms, metrics, system)
