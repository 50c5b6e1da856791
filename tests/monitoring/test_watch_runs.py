"""The watch runs wherever m8crm runs: in web processes that deliver nothing, and in workers."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from middleware.embedded import start_delivery, stop_delivery
from middleware.inbox.store import Inbox
from middleware.inbox.tables import delivery
from middleware.monitoring import watch
from middleware.monitoring.condition import Condition, condition_of
from middleware.parts import build_parts, build_watch
from middleware.settings import ROOT, load_settings
from tests.conftest import House, call_log

COPY = "import shutil, sys; shutil.copyfileobj(sys.stdin, open(sys.argv[1], 'w'))"


@pytest.fixture
def stuck(house: House) -> House:
    """Have a call dead."""
    house.post(call_log())
    house.deliver()
    with house.parts.inbox.database.write() as connection:
        connection.execute(delivery.update().values(state="dead"))
    return house


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """Return a pipe: whoever reads it waits for the alarm, and no longer."""
    path = tmp_path / "alarms"
    os.mkfifo(path)
    return path


def tell_into(pipe: Path) -> str:
    return shlex.join([sys.executable, "-c", COPY, str(pipe)])


def test_a_web_process_watches_though_others_deliver(stuck: House, pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web process without delivery tells a person what is stuck: the worker may be gone."""
    monkeypatch.setattr(watch, "POLL", 0.01)
    settings = replace(stuck.parts.settings, delivery=False, alarm_command=tell_into(pipe))
    stuck.app.extensions["m8crm"] = replace(stuck.parts, settings=settings)
    start_delivery(stuck.app)
    try:
        told = json.loads(pipe.read_text())
    finally:
        stop_delivery()
    assert (told["alarm"], told["subject"], told["state"]) == ("dead_letters", "nordlys", "raised")
    assert told["installation"] == settings.public_url


def test_a_worker_watches(stuck: House, pipe: Path) -> None:
    """`m8crm worker` tells a person, and ends cleanly."""
    env = {**os.environ, "M8CRM_ALARM_COMMAND": tell_into(pipe)}
    command = [sys.executable, "-m", "middleware.cli", "--data", str(stuck.folder), "worker"]
    with subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.DEVNULL) as worker:
        try:
            told = json.loads(pipe.read_text())
        finally:
            worker.terminate()
        assert worker.wait(30) == 0
    assert told["alarm"] == "dead_letters"


def test_a_watch_that_meets_a_fault_goes_on(stuck: House, pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that fails for a while costs looks, and not the watch."""
    monkeypatch.setattr(watch, "POLL", 0.01)
    looks = iter([RuntimeError, OSError])

    def sometimes(inbox: Inbox) -> Condition:
        for failure in looks:
            raise failure
        return condition_of(inbox)

    monkeypatch.setattr(watch, "condition_of", sometimes)
    monkeypatch.setattr("middleware.monitoring.alarms.LOOK_EVERY", 0.0)
    parts = build_parts(replace(load_settings(stuck.folder), alarm_command=tell_into(pipe)))
    running = build_watch(parts)
    running.start()
    try:
        assert json.loads(pipe.read_text())["alarm"] == "dead_letters"
    finally:
        running.stop()
        parts.close()
