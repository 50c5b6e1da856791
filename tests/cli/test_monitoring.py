"""`m8crm alarms` and `m8crm metrics`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from middleware.inbox.tables import lane
from middleware.metrics.names import EVENTS
from middleware.monitoring.alarms import OF_THE_DATABASE, Ledger, Reading
from middleware.parts import build_parts
from middleware.settings import load_settings
from tests.cli.conftest import Run, told

FAILING = f"{sys.executable} -c 'raise SystemExit(1)'"


@pytest.fixture
def paused(demo_folder: Path) -> None:
    """Have a customer paused, and an event counted."""
    parts = build_parts(load_settings(demo_folder))
    with parts.inbox.database.write() as connection:
        connection.execute(insert(lane).values(tenant="nordlys", channel="sql", paused_revision="1"))
    Ledger(parts.inbox).note([Reading(kind="paused", subject="nordlys/sql")], OF_THE_DATABASE)
    parts.counts.add(EVENTS, "nordlys", "cdr", "accepted")
    parts.close()


@pytest.mark.usefixtures("paused")
def test_raised_alarms_are_listed(run: Run) -> None:
    """An alarm is shown with its subject, since when, and whether anybody was told."""
    alarm = told(run("alarms", "list", "--json"))[0]
    assert (alarm["kind"], alarm["subject"], alarm["is_raised"], alarm["told_at"]) == (
        "paused",
        "nordlys/sql",
        True,
        None,
    )
    assert datetime.fromisoformat(alarm["since"]) <= datetime.now(UTC)
    words = run("alarms", "list").stdout
    assert "nordlys/sql" in words
    assert "not told" in words


@pytest.mark.usefixtures("demo_folder")
def test_no_alarm_is_said_in_words(run: Run) -> None:
    """Nothing wrong is a sentence, and an empty list for scripts."""
    assert run("alarms", "list").stdout == "No alarms.\n"
    assert told(run("alarms", "list", "--json")) == []


@pytest.mark.usefixtures("demo_folder")
@pytest.mark.parametrize(("command", "status"), [("true", 0), (FAILING, 1)])
def test_an_alarm_is_tried(run: Run, monkeypatch: pytest.MonkeyPatch, command: str, status: int) -> None:
    """`alarms test` tells a made-up alarm and says, with its status too, whether that worked."""
    monkeypatch.setenv("M8CRM_ALARM_COMMAND", command)
    result = run("alarms", "test", "--json")
    assert result.exit_code == status
    assert told(result)["command"]["told"] is (status == 0)
    assert run("alarms", "test").exit_code == status


@pytest.mark.usefixtures("demo_folder")
def test_nobody_to_try_is_told(run: Run) -> None:
    """Where nobody would be told, `alarms test` fails and names the variables."""
    result = run("alarms", "test")
    assert result.exit_code == 2
    assert "M8CRM_ALARM_URL" in result.stderr


@pytest.mark.usefixtures("paused")
def test_metrics_are_printed(run: Run) -> None:
    """`metrics` prints what Prometheus would read, and the same as JSON."""
    assert 'm8crm_events_total{customer="nordlys",outcome="accepted",sender="cdr"} 1.0\n' in run("metrics").stdout
    samples = told(run("metrics", "--json"))
    wanted = {"name": "m8crm_paused", "labels": {"customer": "nordlys", "channel": "sql"}, "value": 1.0}
    assert wanted in samples
    json.dumps(samples)


@pytest.mark.usefixtures("demo_folder")
def test_the_system_is_shown(run: Run) -> None:
    """What runs, where it is kept and for how long, in words and as JSON."""
    found = told(run("system", "--json"))
    assert found["database"].startswith("SQLite 3.")
    assert found["is_current"]
    assert found["retention"]["traces of lookups"] == 7 * 86_400
    assert "30 days: counts, and their past" in run("system").output


def test_the_settings_of_an_adapter_are_shown(run: Run) -> None:
    """Each setting says what it takes and whether it may be left out; an adapter that is not there is named."""
    assert "domain           text; required" in run("adapters", "freshdesk").output
    settings = told(run("adapters", "sql", "--json"))["adapters"]["sql"]["settings"]
    assert {"name": "timezone", "type": "text", "is_required": False, "default": "UTC"} in settings
    assert run("adapters", "none").exit_code == 2
