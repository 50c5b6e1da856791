"""Alert rules, dashboard and documentation speak of the metrics that there are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from middleware.index.store import IndexState
from middleware.metrics.counts import SUM, Key
from middleware.metrics.names import COUNTED, METRICS
from middleware.monitoring.alarms import KINDS
from middleware.monitoring.condition import Condition
from middleware.monitoring.exposition import Sight, expose
from middleware.settings import ROOT

RULES = ROOT / "deploy" / "prometheus" / "m8crm.rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "m8crm.json"
PAGE = (ROOT / "docs" / "monitoring.rst").read_text(encoding="utf-8")
METRIC = re.compile(r"\bm8crm_[a-z_]+\b")
SELECTOR = re.compile(r"\b(m8crm_[a-z_]+)\{([^}]*)\}|\bby \(([^)]*)\)")


def promtool() -> str:
    program = shutil.which("promtool")
    if program is None and os.environ.get("CI") == "true":
        pytest.fail("promtool is missing: apt-get install prometheus")
    if program is None:
        pytest.skip("promtool is not installed")
    return program


MOMENT = datetime(2026, 3, 1, tzinfo=UTC)
INDEX = IndexState(
    tenant_id="acme",
    source="crm",
    contacts=1,
    seen=0,
    is_building=False,
    is_waiting=False,
    built_at=MOMENT,
    synced_at=MOMENT,
    age=1.0,
    due_at=MOMENT,
    failures=0,
    error=None,
)


def said(*command: str) -> tuple[str, int]:
    """Return what a program has printed, and its status."""
    done = subprocess.run(command, cwd=RULES.parent, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr, done.returncode


def exposed() -> str:
    """Return what is exposed of an installation where everything has happened."""
    counts: dict[Key, float] = {}
    for metric in COUNTED:
        labels = tuple(metric.labels)
        for end in (*map(str, metric.bounds), SUM) if metric.kind == "histogram" else (None,):
            counts[metric.name, labels if end is None else (*labels, end)] = 1
    condition = Condition(
        states={"queued": 1},
        oldest_due=1.0,
        oldest_retry=1.0,
        dead={"acme": 1},
        paused=(("acme", "crm"),),
        lost={"acme": 1},
        indexes=(INDEX,),
        disconnected=(("acme", "hubspot"),),
        unrenewed={("acme", "hubspot"): 3},
    )
    sight = Sight(counts=counts, condition=condition, free_bytes=1, alarms=(("disk", "one"),))
    return expose(sight)[0].decode()


def samples() -> set[str]:
    lines = exposed().splitlines()
    return {match[0] for line in lines if not line.startswith("#") and (match := METRIC.match(line))}


def expressions() -> Iterator[str]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    yield from dashboard_expressions()


def dashboard_expressions() -> Iterator[str]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_every_metric_is_exposed_under_its_name() -> None:
    """What is declared is what Prometheus reads, with its kind and its words."""
    text = exposed()
    for metric in METRICS:
        assert f"# HELP {metric.name} {metric.words}" in text
        assert f"# TYPE {metric.name} {metric.kind}" in text
    bare = {re.sub("_(bucket|sum|count)$", "", name) for name in samples()}
    assert bare == {metric.name for metric in METRICS}


def test_no_histogram_has_a_customer() -> None:
    """Hundreds of customers do not make a scrape slow."""
    assert all("customer" not in metric.labels for metric in METRICS if metric.kind == "histogram")


def test_rules_and_dashboard_ask_for_what_there_is() -> None:
    """Every query names an existing metric, and labels that it has."""
    labels = {metric.name: {*metric.labels, "instance", "le"} for metric in METRICS}
    known = samples()
    for expression in expressions():
        asked = set(METRIC.findall(expression))
        assert asked <= known, expression
        bare = {re.sub("_(bucket|sum|count)$", "", name) for name in asked}
        allowed = set().union(*(labels[name] for name in bare)) if bare else {"job"}
        for _, matchers, by in SELECTOR.findall(expression):
            used = set(re.findall(r"(\w+)\s*[=!]", matchers)) | {name.strip() for name in by.split(",") if name}
            assert used <= allowed, expression


def test_the_dashboard_shows_every_metric() -> None:
    """A metric that nobody looks at need not be counted."""
    shown = {re.sub("_(bucket|sum|count)$", "", name) for e in dashboard_expressions() for name in METRIC.findall(e)}
    assert shown == {metric.name for metric in METRICS}


def test_every_metric_is_documented_with_its_labels() -> None:
    """The table of metrics has each of them, with the labels it has, and no other."""
    rows = {match[1]: match[2] for match in re.finditer(r"^``(m8crm_\w+)``  +(.*)$", PAGE, re.M)}
    assert rows.keys() == {metric.name for metric in METRICS}
    for metric in METRICS:
        told = rows[metric.name].split("  ")[0]
        assert told == ", ".join(metric.labels) or not metric.labels, metric.name


def test_every_alarm_is_documented() -> None:
    """The table of alarms has each of them, and no other."""
    table = PAGE[PAGE.index("alarm                subject") :]
    assert set(re.findall(r"^``(\w+)``  ", table, re.M)) == set(KINDS)


def test_ready_is_documented() -> None:
    """What `/-/ready` tells of the installation is on the page."""
    names = {"oldest_due": "oldest_due_seconds", "oldest_retry": "oldest_retry_seconds", "dead": "dead_letters"}
    names |= {"disconnected": "disconnected_crms", "unrenewed": "unrenewed_tokens"}
    names |= {"paused": "paused_customers", "lost": "lost_recordings", "states": "events", "indexes": "indexes"}
    for field in fields(Condition):
        assert f"``{names[field.name]}``" in PAGE


def test_promtool_accepts_the_rules() -> None:
    """Prometheus' own tool reads the rules and finds that they fire when they should, and only then."""
    for command in (["check", "rules", RULES.name], ["test", "rules", "m8crm.rules_test.yml"]):
        complaint, status = said(promtool(), *command)
        assert status == 0, complaint


def test_promtool_understands_the_dashboard(tmp_path: Path) -> None:
    """Every query of the dashboard is PromQL."""
    queries = [e.replace("$__rate_interval", "5m") for e in dashboard_expressions()]
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    complaint, status = said(promtool(), "check", "rules", str(path))
    assert status == 0, complaint


@pytest.mark.parametrize("unit", sorted((ROOT / "deploy" / "systemd").iterdir()), ids=lambda path: path.name)
def test_systemd_accepts_the_units(unit: Path, tmp_path: Path) -> None:
    """Systemd's own tool finds nothing to complain of in a unit whose program is there."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    for file in unit.parent.iterdir():  # one may name another
        (tmp_path / file.name).write_text(file.read_text().replace("/opt/m8crm/.venv/bin/m8crm", sys.executable))
    complaint, status = said(program, "verify", "--man=no", str(tmp_path / unit.name))
    assert unit.name not in complaint
    assert status == 0, complaint
