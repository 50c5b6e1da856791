"""``export`` and ``forget``: all that is kept of a number, and then nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from middleware.parts import Parts, build_parts, build_worker
from middleware.settings import load_settings
from tests.cli.conftest import Run, told
from tests.cli.test_calls import KNOWN, _accept


@pytest.fixture
def parts(demo_folder: Path) -> Iterator[Parts]:
    """Put a process together that shares the command line's folder, with one call delivered."""
    parts = build_parts(load_settings(demo_folder))
    _accept(parts)
    build_worker(parts).run_once()
    yield parts
    parts.close()


def test_export_has_everything_and_forget_leaves_nothing(run: Run, parts: Parts, demo_folder: Path) -> None:
    """A number's calls, as sent and as delivered, and its lookups are exported; forgotten, they are in no file."""
    run("lookup", "nordlys", KNOWN)
    exported = told(run("export", "nordlys", KNOWN))
    (event,) = exported["events"]
    assert "Wants" in event["body"]
    assert event["attempts"][0]["outcome"] == "delivered"
    assert exported["lookups"][0]["outcome"] == "hit"
    removed = told(run("forget", "nordlys", KNOWN, "--json"))
    assert (removed["events"], removed["calls"], removed["lookups"]) == (1, 1, 1)
    assert told(run("export", "nordlys", KNOWN)) == {
        "customer": "nordlys",
        "events": [],
        "recordings": [],
        "lookups": [],
        "indexed_contacts": [],
    }
    ours = [file for file in demo_folder.glob("*") if file.is_file() and "crm" not in file.name]
    assert ours
    assert not [file.name for file in ours if KNOWN.encode() in file.read_bytes()]


def test_forget_asks_first(run: Run, parts: Parts) -> None:
    """Without --yes nothing is removed before somebody has said so."""
    asked = run("forget", "nordlys", KNOWN)
    assert "Remove 1 events" in asked.output
    assert asked.exit_code == 1
    assert len(parts.inbox.list_events()) == 1
    assert run("forget", "nordlys", KNOWN, "--yes").exit_code == 0
    assert parts.inbox.list_events() == []


@pytest.mark.parametrize("command", ["export", "forget"])
def test_unknown_customer_is_told(run: Run, parts: Parts, command: str) -> None:
    """A customer that nobody knows is an error that says where to look."""
    result = run(command, "nobody", KNOWN)
    assert result.exit_code == 2
    assert "m8crm tenant list" in result.stderr
