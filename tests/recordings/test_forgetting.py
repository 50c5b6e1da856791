"""``forget`` leaves nothing of a recording, wherever it is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import requests
from sqlalchemy import update

from middleware.cli.privacy import forget_number
from middleware.errors import StorageError
from middleware.inbox.database import SQLite
from middleware.inbox.retention import Retention
from middleware.lookup.service import LookupService
from middleware.lookup.traces import TraceLog
from middleware.model.phone import parse_number
from middleware.recordings.ledger import Ledger
from middleware.recordings.store import Store, make_incoming, open_store
from middleware.recordings.tables import recording
from tests.conftest import House
from tests.recordings.outside import wav, whole
from tests.recordings.town import CONTACTS, Town

NUMBER = CONTACTS["nordlys"]
BODY = wav(0.5, b"\x17\x2a")
TABLES = ("recording", "recording_access", "recording_attachment", "recording_number", "event", "call", "delivery")


class KilledError(BaseException):
    """What no code handles, like a kill."""


@pytest.fixture(params=["folder", "s3"])
def bucket(request: pytest.FixtureRequest, house: House) -> str | None:
    """Have recordings kept in each kind of store; return the bucket's URL, if it is one."""
    if request.param == "folder":
        return None
    url = request.getfixturevalue("s3")
    house.parts.recordings.store = open_store("s3://kept/below", house.folder)
    return f"{url}/kept"


def live(town: Town, path: str = "/a.wav") -> None:
    """Have a call with a recording that is kept, listened to and looked up; and what a killed fetch leaves."""
    parts = town.house.parts
    town.served.answers[path] = whole(BODY)
    town.send("nordlys", path)
    town.house.deliver()
    town.fetch()
    town.house.deliver()
    found = parts.recordings.list_recordings()[0]
    link = parts.recordings.link(found.id)
    assert link
    assert town.house.client.get(link[link.index("/nordlys/") :]).data == BODY
    (make_incoming(parts.recordings.store) / f"{found.id}-1").write_bytes(BODY)
    town.house.lookup(NUMBER)
    parts.traces.flush()


def forget(town: Town) -> dict[str, Any]:
    tenant = town.house.parts.tenants.get("nordlys")
    assert tenant
    return forget_number(town.house.parts, tenant, parse_number(NUMBER, "SE"))


def remains(town: Town, bucket: str | None) -> list[str]:
    """Return where something of the number or its recording still is: files and what is in them, rows and objects."""
    found = []
    traces = (NUMBER.encode(), NUMBER[3:].encode(), b"/a.wav", BODY[-4000:])
    for path in town.house.folder.rglob("*"):
        is_ours = path.is_file() and not {"crm", "customers"} & set(path.parts)
        if is_ours and any(trace in path.read_bytes() for trace in traces):
            found.append(str(path))
    with town.house.parts.inbox.database.read() as connection:
        counts = {table: connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() for table in TABLES}
    found += [table for table, count in counts.items() if count]
    if town.house.parts.traces.list(customer="nordlys", number=NUMBER):
        found.append("traces")
    if bucket:
        with requests.Session() as session:
            session.trust_env = False
            found += ["object"] * session.get(bucket, timeout=10).text.count("<Key>")
    return found


def test_nothing_remains_of_a_recording(bucket: str | None, town: Town) -> None:
    """After ``forget`` neither file, object, row, trace nor the sender's link is anywhere; before, they were."""
    live(town)
    before = remains(town, bucket)
    assert set(TABLES) - set(before) == {"recording_attachment"}
    assert ("object" in before) == bool(bucket)
    told = forget(town)
    assert remains(town, bucket) == []
    assert (told["events"], told["calls"], told["recordings"]) == (1, 1, 1)


STEPS = [
    (Ledger, "withdraw"),
    (Ledger, "begin_removals"),
    (Store, "delete"),
    (Ledger, "end_removal"),
    (Ledger, "erase"),
    (Ledger, "compact"),
    (SQLite, "compact"),
    (Retention, "forget"),
    (TraceLog, "forget"),
    (LookupService, "forget"),
]
# who was killed there had begun to remove the file, and may be about to end it for all that others know
REMOVING = {("begin_removals", True), ("delete", False), ("delete", True), ("end_removal", False)}


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("kind", "step"), STEPS, ids=lambda part: getattr(part, "__name__", part))
def test_a_second_run_finishes_what_was_killed(
    bucket: str | None, town: Town, monkeypatch: pytest.MonkeyPatch, kind: type, step: str, is_done: bool
) -> None:
    """Killed before or after any step, doing it again leaves nothing, or says that it has to be done once more."""
    live(town)
    kind = type(town.house.parts.recordings.store) if kind is Store else kind
    with monkeypatch.context() as killing:
        killing.setattr(kind, step, killed(getattr(kind, step), is_done=is_done))
        with pytest.raises(KilledError):
            forget(town)
    if (step, is_done) in REMOVING:
        with pytest.raises(StorageError, match="do it again"):
            forget(town)
        with town.house.parts.inbox.database.write() as connection:  # three minutes pass
            connection.execute(update(recording).values(lease_until=0.0))
    forget(town)
    assert remains(town, bucket) == []


def killed(step: Callable[..., Any], *, is_done: bool) -> Callable[..., Any]:
    """Return a step that kills the process when it begins, or when it is done."""

    def kill(*args: Any, **kwargs: Any) -> Any:
        if is_done:
            step(*args, **kwargs)
        raise KilledError

    return kill


def test_a_recording_is_found_when_its_call_is_long_purged(town: Town) -> None:
    """Calls are kept for a week and recordings for months: the number still finds what is left of it."""
    live(town)
    parts = town.house.parts
    then = parts.inbox.now() + timedelta(days=8)
    parts.inbox.now = lambda: then
    Retention(parts.inbox).purge()
    tenant = parts.tenants.get("nordlys")
    assert tenant
    assert [found.state for found in parts.recordings.find("nordlys", [], NUMBER)] == ["kept"]
    assert parts.recordings.find("harbour", [], NUMBER) == []
    assert forget(town)["recordings"] == 1
    assert "recording" not in remains(town, None)


def test_another_number_s_recordings_stay(town: Town) -> None:
    """Forgetting one number leaves the others' recordings and their links."""
    live(town)
    tenant = town.house.parts.tenants.get("nordlys")
    assert tenant
    forget_number(town.house.parts, tenant, parse_number("+46701740699", "SE"))
    (found,) = town.house.parts.recordings.list_recordings()
    assert found.state == "kept"
