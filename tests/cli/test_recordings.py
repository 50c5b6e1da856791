"""``m8crm recordings``, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from middleware.model.call import Media
from middleware.parts import Parts, build_parts
from middleware.settings import load_settings
from tests.cli.conftest import Run, told
from tests.recordings.keeping import CONFIG, keep, link_of
from tests.recordings.outside import wav


@pytest.fixture
def parts(demo_folder: Path) -> Iterator[Parts]:
    """Put a process together that shares the command line's folder, and whose first customer fetches."""
    file = demo_folder / "customers" / "nordlys.toml"
    file.write_text(file.read_text() + CONFIG)
    parts = build_parts(load_settings(demo_folder))
    yield parts
    parts.close()


def test_recordings_are_listed_with_who_has_listened(run: Run, parts: Parts) -> None:
    """The list tells state, size and every use of a link, by customer and state."""
    path = keep(parts.recordings, wav())
    signature = path.partition("signature=")[2]
    (one,) = told(run("recordings", "list", "--json"))
    parts.recordings.open("nordlys", one["id"], signature, address="192.0.2.1")
    (one,) = told(run("recordings", "list", "--customer", "nordlys", "--state", "kept", "--accesses", "--json"))
    assert (one["customer"], one["bytes"], one["played"]) == ("nordlys", len(wav()), 1)
    assert [(access["address"], access["outcome"]) for access in one["accesses"]] == [("192.0.2.1", "played")]
    assert told(run("recordings", "list", "--state", "expired", "--json")) == []
    assert one["id"] in run("recordings", "list").output
    assert "192.0.2.1" in run("recordings", "list", "--accesses").output


def test_links_are_revoked(run: Run, parts: Parts) -> None:
    """After revoking, the link that was given is another one's no more."""
    keep(parts.recordings, wav())
    before = link_of(parts.recordings, "nordlys", "call")
    (one,) = told(run("recordings", "list", "--json"))
    assert told(run("recordings", "revoke", one["id"], "--json")) == {"revoked": 1}
    assert link_of(parts.recordings, "nordlys", "call") != before
    assert "0 recordings" in run("recordings", "revoke", "unknown").output


def test_what_is_due_is_fetched_now(run: Run, parts: Parts) -> None:
    """``fetch`` tries what is due, and what had failed when it is named; the list then has the reason."""
    parts.recordings.note("nordlys", "call", [Media(url="https://other.example.com/a")])
    assert told(run("recordings", "fetch", "--json")) == {"attempts": 1}
    (one,) = told(run("recordings", "list", "--json"))
    assert one["state"] == "failed"
    assert "hosts" in one["words"]
    assert f"\n    {one['words']}\n" in run("recordings", "list").output  # whole, however narrow the terminal
    assert "0 attempts" in run("recordings", "fetch").output
    assert "1 attempts" in run("recordings", "fetch", one["id"]).output


def test_no_recordings_is_a_sentence(run: Run, demo_folder: Path) -> None:
    """An empty list is a sentence."""
    assert "No recordings." in run("recordings", "list").output, demo_folder
