"""What commands know of the server that runs with the same data folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from middleware.cli.server import FILE, find_server, remember_server
from middleware.settings import load_settings
from tests.cli.conftest import Run, told

ADD = ("tenant", "add", "acme", "--name", "Acme", "--region", "SE", "--json")


def leave(folder: Path, *, pid: int | None = None, redis_url: str | None = None) -> None:
    """Leave word of a server on another port, that this process is, or another."""
    folder.mkdir(exist_ok=True)
    settings = load_settings(folder)
    remember_server(replace(settings, port=9000, public_url="http://127.0.0.1:9000", redis_url=redis_url))
    told = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps(told | {"pid": pid or os.getpid()}))


def test_urls_to_register_are_those_of_the_running_server(run: Run, folder: Path) -> None:
    """A customer's URLs begin with where the server really answers."""
    leave(folder)
    assert told(run(*ADD))["lookup"] == "http://127.0.0.1:9000/acme/lookup"
    assert told(run("tenant", "show", "acme", "--json"))["pbx"]["url"] == "http://127.0.0.1:9000/acme/pbx"


def test_what_is_configured_goes_before_the_running_server(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M8CRM_PUBLIC_URL is what the hoster means."""
    leave(folder)
    monkeypatch.setenv("M8CRM_PUBLIC_URL", "https://crm.example")
    assert told(run(*ADD))["lookup"] == "https://crm.example/acme/lookup"


@pytest.mark.parametrize("content", [None, "", "[]", '{"base_url": "http://x", "pid": 1}'])
def test_a_server_that_has_ended_is_none(run: Run, folder: Path, content: str | None) -> None:
    """What a dead server, or an older version, has left is not believed."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    leave(folder, pid=ended.pid)
    if content is not None:
        (folder / FILE).write_text(content)
    assert find_server(folder) is None
    assert told(run(*ADD))["lookup"] == "http://127.0.0.1:8080/acme/lookup"


@pytest.mark.parametrize("command", [("cache", "forget", "nordlys"), ("forget", "nordlys", "+46701740605", "--yes")])
def test_forgetting_without_the_servers_redis_is_told(run: Run, demo_folder: Path, command: tuple[str, ...]) -> None:
    """Where the server shares answers through Redis, a shell that does not know it says so, and ends with status 2."""
    leave(demo_folder)
    assert run(*command).exit_code == 0
    leave(demo_folder, redis_url="redis://127.0.0.1:1/0")
    result = run(*command)
    assert result.exit_code == 2
    assert "M8CRM_REDIS_URL" in result.stderr
