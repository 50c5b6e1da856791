"""What holds for every command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from middleware.cli import main
from middleware.settings import ROOT
from tests.cli.conftest import Run

HEAVY = ("flask", "sqlalchemy", "requests", "phonenumbers", "rich")


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(_commands(main))


def test_the_commands_of_the_readme_exist() -> None:
    """Every command that people are told of is there."""
    wanted = "demo,serve,worker,check,tenant add,tenant list,tenant secret,tenant show"
    wanted += ",lookup,trace,cache forget,trigger"
    wanted += ",events list,events show,events retry,events edit,adapters,export,forget"
    wanted += ",recordings list,recordings revoke,recordings fetch,alarms list,alarms test,metrics"
    wanted += ",tenant set,tenant connect,tenant disconnect,tokens rotate"
    wanted += ",database status,database upgrade,adapter new,adapter check,adapter record,adapter try"
    wanted += ",index status,index build,index drop"
    wanted += ",system"
    wanted += ",console user add,console user list,console user remove,console user password"
    wanted += ",console session list,console session end,console link,console audit"
    assert {tuple(name.split()) for name in wanted.split(",")} == set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_speaks_json(path: tuple[str, ...]) -> None:
    """Every command has --json, and a help text."""
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.output
    assert COMMANDS[path].help


def loaded_by(modules: str) -> list[str]:
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_help_imports_nothing_heavy() -> None:
    """`m8crm --help` answers without loading Flask, SQLAlchemy or rich."""
    assert set(HEAVY).isdisjoint(loaded_by("middleware.cli"))


def test_what_answers_http_is_loaded_where_it_is_wanted() -> None:
    """Neither a command that looks into the database nor the worker loads Flask."""
    loaded = loaded_by("middleware.parts, middleware.cli.running, middleware.cli.supervisor")
    assert {"flask", "flask_smorest", "apispec", "middleware.app"}.isdisjoint(loaded)


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "eighty"), ("PORT", "70000"), ("THREADS", "0"), ("WEB_WORKERS", "-1")]
)
def test_a_bad_variable_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A variable that cannot be read ends with status 2 and its name on standard error, without a traceback."""
    monkeypatch.setenv(f"M8CRM_{name}", value)
    result = run("tenant", "list")
    assert result.exit_code == 2
    assert name in result.stderr
    assert "Traceback" not in result.stderr


def test_a_database_that_cannot_be_opened_is_told(run: Run, folder: Path) -> None:
    """A storage that fails is a sentence and status 2."""
    (folder / "m8crm.db").mkdir(parents=True)
    result = run("events", "list")
    assert result.exit_code == 2
    assert "database" in result.stderr
