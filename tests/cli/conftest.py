"""A demo folder of one's own, and ``m8crm`` in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result

from middleware.cli import main
from middleware.demo.data import build_demo

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def quiet_logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep a command from fixing the logs of the whole test process to its own standard error."""
    critical = structlog.make_filtering_bound_logger(50)
    monkeypatch.setattr("middleware.logs.configure_logs", lambda *_: structlog.configure(wrapper_class=critical))
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the variables of whoever runs the tests, and give rich a width."""
    for name in ("DATA", "CUSTOMERS", "DATABASE_URL", "PUBLIC_URL", "REDIS_URL", "HOST", "PORT", "SECRET"):
        monkeypatch.delenv(f"M8CRM_{name}", raising=False)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty data folder."""
    return tmp_path / "data"


@pytest.fixture
def demo_folder(folder: Path) -> Path:
    """Return a data folder with the demo's two customers; nothing runs."""
    folder.mkdir()
    build_demo(folder, now=datetime.now(UTC))
    return folder


@pytest.fixture
def run(folder: Path) -> Run:
    """Run ``m8crm --data FOLDER …`` in this process."""

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["--data", str(folder), *arguments])

    return invoke


def told(result: Result) -> Any:
    """Return what a command with ``--json`` printed: one line of JSON and nothing else."""
    assert result.stdout.count("\n") == 1, result.output
    return json.loads(result.stdout)
