"""A figure's verdict, its table, and what the benchmarks say when something is missing."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from statistics import median

import pytest
from docutils.core import publish_doctree

from benchmarks.__main__ import ROWS
from benchmarks.customers import SECRET, UNCACHED, add_customer
from benchmarks.load import get
from benchmarks.peers import peers_folder
from benchmarks.table import Figure, dump_json, dump_rst, ratios, spread
from benchmarks.wrk import parse, run_closed
from middleware.tenants.config import read_tenant
from middleware.tenants.secrets import verify

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    ("reached", "control_reached", "verdict"),
    [
        (True, False, "PASS"),
        (False, False, "FAIL"),
        (True, True, "VOID"),
        (False, True, "VOID"),
        (True, None, "PASS"),
        (None, None, ""),
    ],
)
def test_a_control_that_reaches_the_goal_voids_the_figure(
    reached: bool | None, control_reached: bool | None, verdict: str
) -> None:
    """A figure passes only when its control fails: else the measurement could not have failed."""
    figure = Figure(what="x", figure="1", reached=reached, control_reached=control_reached)
    assert figure.verdict == verdict
    assert json.loads(dump_json([figure]))[0]["verdict"] == verdict


def test_a_spread_is_median_and_range() -> None:
    """One lucky round shows as the end of the range, not as the figure."""
    assert spread([3.0, 1.0, 100.0], "ms") == "3.0 (1.0-100.0) ms"


def test_ratios_compare_within_a_round() -> None:
    """A round in which everybody is slow does not change a ratio."""
    assert median(ratios([8.0, 4.0, 80.0], [2.0, 1.0, 20.0])) == 4.0
    assert ratios([1.0], [0.0]) == [float("inf")]


def test_the_table_for_the_documentation_is_valid() -> None:
    """Signs that mean something to reStructuredText are shown as they are."""
    table = dump_rst([Figure(what="a*b `c` |d| e_", figure="", goal="≤ 2", reached=True)])
    tree = publish_doctree(table, settings_overrides={"report_level": 1, "halt_level": 2})
    assert "a*b `c` |d| e_" in tree.astext()


@pytest.mark.parametrize("row", ROWS)
def test_every_row_can_be_measured_and_is_documented(row: str) -> None:
    """Each row that the command knows has its module, and its paragraph on the page."""
    assert callable(importlib.import_module(f"benchmarks.rows.{row}").measure)
    assert f"``{row}``" in (ROOT / "docs" / "performance.rst").read_text(encoding="utf-8")


def test_the_customers_that_are_measured_are_good_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that are written for a measurement are read without a problem, and the secret opens them."""
    from benchmarks.adapter import StubAdapter

    monkeypatch.setattr("middleware.tenants.config.load_adapters", lambda: {"stub": StubAdapter})
    add_customer(tmp_path, "acme", {"a": "http://127.0.0.1:1/a", "b": "http://127.0.0.1:1/b"}, slots=7, **UNCACHED)
    tenant, _ = read_tenant(tmp_path / "customers" / "acme.toml")
    assert [source.name for source in tenant.sources] == ["a", "b"]
    assert (tenant.lookup.slots, tenant.lookup.cache_stale.total_seconds()) == (7, 0)
    assert verify(tenant, "insights", SECRET.encode())


def test_failed_answers_of_wrk_are_counted() -> None:
    """What wrk counts is read from its last line, whatever it says before."""
    rate = parse('Running 3s test\n{"took": 2.0, "answers": 500, "failed": 3}\n', busy=0.5)
    assert (rate.per_second, rate.failed, rate.busy) == (250, 3, 0.5)


def test_missing_programs_are_named_with_what_installs_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without wrk or Node.js the command says what to install, and nothing is measured."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"apt-get install wrk"):
        run_closed(1, [get("/")], seconds=1)
    with pytest.raises(SystemExit, match=r"node and npm .* apt-get install nodejs npm"):
        peers_folder()
