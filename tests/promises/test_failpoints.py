"""An event's life, killed at each of its twelve steps, on both engines: real processes, and kill -9."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from middleware.failpoints import STEPS, arm, parse, reach
from middleware.settings import load_settings
from tests.conftest import call_log
from tests.promises.mortal import deliver, web
from tests.promises.town import SECRET, Town, TownCRM

ACCEPTING, DELIVERING = STEPS[: STEPS.index("claimed")], STEPS[STEPS.index("claimed") :]
LATER = 3600.0  # seconds: the lease of who died has ended, and a failed attempt is due again
ACKNOWLEDGED = "after-200"


@pytest.fixture
def crm() -> Iterator[TownCRM]:
    with TownCRM() as crm:
        yield crm


@pytest.fixture
def folder(tmp_path: Path, crm: TownCRM) -> Path:
    """Return an installation's folder with one customer."""
    (tmp_path / "customers").mkdir()
    Town(tmp_path).settle(crm)
    return tmp_path


def send(port: int, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    """Return status and what is told, or 0 when there is no answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()).get("status", "")
    except (OSError, HTTPException):
        return 0, ""
    finally:
        connection.close()


def post(port: int, *, is_plain: bool = True) -> tuple[int, str]:
    """Post the call; a plain one goes past Flask, for which the customer must be known."""
    if is_plain:
        send(port, "GET", "/acme/lookup?fromNumber=anonymous")
    return send(port, "POST", "/acme/calllog", json.dumps(call_log()))


def rows(database_url: str, query: str) -> list[tuple[object, ...]]:
    engine = create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return found


def accept(folder: Path, database_url: str) -> None:
    """Have the call in the inbox."""
    with web(folder, database_url) as (_, port):
        assert post(port) == (200, "accepted")


@pytest.mark.parametrize("action", ["kill", "raise"])
@pytest.mark.parametrize("step", ACCEPTING)
def test_event_is_acknowledged_only_when_it_is_on_disk(
    folder: Path, crm: TownCRM, database_url: str, step: str, action: str
) -> None:
    """Whatever a web worker meets at any step, an acknowledged call is in the CRM once, and so is a repeated one."""
    with web(folder, database_url, f"{step}:{action}") as (process, port):
        assert (post(port)[0] == 200) == (step == ACKNOWLEDGED)
        if action == "kill":
            process.join(30)
            assert process.exitcode == -signal.SIGKILL
    if step != ACKNOWLEDGED:  # the sender tries again
        is_stored = step in ("after-commit", "before-200")
        with web(folder, database_url) as (_, port):
            assert post(port) == (200, "duplicate" if is_stored else "accepted")
    assert rows(database_url, "SELECT count(*) FROM event") == [(1,)]
    assert deliver(folder, database_url) == 0
    assert len(crm.calls) == 1


@pytest.mark.parametrize("step", [step for step in ACCEPTING if step != ACKNOWLEDGED])
def test_event_that_is_not_plain_is_killed_at_the_same_steps(folder: Path, crm: TownCRM, step: str) -> None:
    """A call that goes through Flask is not acknowledged before it is on disk either."""
    database_url = f"sqlite:///{folder / 'inbox.db'}"
    with web(folder, database_url, step) as (process, port):
        assert post(port, is_plain=False) == (0, "")
        process.join(30)
    with web(folder, database_url) as (_, port):
        assert post(port)[0] == 200
    assert deliver(folder, database_url) == 0
    assert len(crm.calls) == 1


@pytest.mark.parametrize("action", ["kill", "raise"])
@pytest.mark.parametrize("step", DELIVERING)
def test_call_is_in_a_crm_that_can_be_asked_once(
    folder: Path, crm: TownCRM, database_url: str, step: str, action: str
) -> None:
    """Whatever a worker meets at any step, the call is in the CRM once, and nothing says that it may be there twice."""
    accept(folder, database_url)
    status = deliver(folder, database_url, f"{step}:{action}")
    assert status == -signal.SIGKILL if action == "kill" else status is not None
    assert deliver(folder, database_url, later=LATER) == 0
    assert len(crm.calls) == 1
    assert rows(database_url, "SELECT state FROM delivery WHERE NOT maybe_duplicate") == [("delivered",)]


@pytest.mark.parametrize("step", DELIVERING)
def test_call_that_may_be_in_a_crm_twice_says_so(folder: Path, crm: TownCRM, database_url: str, step: str) -> None:
    """Where the CRM cannot be asked the call is there at least once, and never twice without a word."""
    file = folder / "customers" / "acme.toml"
    file.write_text(file.read_text().replace('"town"', '"blind-town"'))
    accept(folder, database_url)
    assert deliver(folder, database_url, step) == -signal.SIGKILL
    assert deliver(folder, database_url, later=LATER) == 0
    ((state, is_told),) = rows(database_url, "SELECT state, maybe_duplicate FROM delivery")
    assert state == "delivered"
    assert bool(is_told) == (step != "after-done")
    assert len(crm.calls) == (2 if step in ("after-write", "before-done") else 1)


@pytest.mark.parametrize("wrong", ["nowhere", "claimed:explode", "claimed:sleep=long", ":kill"])
def test_failpoint_that_means_nothing_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error in M8CRM_FAIL_AT is told at the start: a test without its fault would be green."""
    monkeypatch.setenv("M8CRM_FAIL_AT", wrong)
    with pytest.raises(Exception, match="FAIL_AT"):
        load_settings()


def test_step_stands_still_as_long_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """``sleep`` waits at its own step and at no other."""
    slept: list[float] = []
    monkeypatch.setattr("middleware.failpoints.time.sleep", slept.append)
    arm("claimed:sleep=2.5")
    reach("read")
    assert slept == []
    reach("claimed")
    arm(None)
    reach("claimed")
    assert slept == [2.5]
    assert parse("claimed")[0] == "claimed"
