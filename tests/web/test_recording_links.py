"""What a browser gets from a recording's link."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from middleware.errors import StorageError
from middleware.web.recordings import MAX_PART
from tests.conftest import House
from tests.recordings.keeping import CONFIG, keep
from tests.recordings.outside import wav

Keep = Callable[..., str]
BODY = wav(2)


@pytest.fixture
def kept(house: House) -> Keep:
    """Keep a recording, and return the path of its link."""
    file = house.folder / "customers" / "nordlys.toml"
    file.write_text(file.read_text() + CONFIG)

    def keep_one(body: bytes = BODY, content_type: str | None = "audio/x-wav", call: str = "call") -> str:
        return keep(house.parts.recordings, body, content_type, call)

    return keep_one


def test_a_recording_plays_in_a_browser(house: House, kept: Keep) -> None:
    """The link gives the recording as audio, which a browser plays, sniffs no more and shares with no cache."""
    answer = house.client.get(kept())
    assert (answer.status_code, answer.data) == (200, BODY)
    headers = answer.headers
    assert headers["Content-Type"] == "audio/wav"
    assert headers["Content-Disposition"].startswith("inline;")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"].startswith("private")
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Content-Length"] == str(len(BODY))
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("content_type", [None, "text/html", "image/svg+xml", "video/mp4", "audio/amr"])
def test_only_audio_that_browsers_play_is_inline(house: House, kept: Keep, content_type: str | None) -> None:
    """Anything else is a download without a type, so that nothing in it can run."""
    answer = house.client.get(kept(b"<script>alert(1)</script>", content_type))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment;")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-", 0, len(BODY)),
        ("bytes=100-199", 100, 200),
        ("bytes=-10", len(BODY) - 10, len(BODY)),
        (f"bytes=5-{10**9}", 5, len(BODY)),
    ],
)
def test_a_player_asks_for_parts(house: House, kept: Keep, asked: str, start: int, end: int) -> None:
    """One range is answered with 206 and exactly its bytes."""
    answer = house.client.get(kept(), headers={"Range": asked})
    assert (answer.status_code, answer.data) == (206, BODY[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(BODY)}"


def test_a_part_is_bounded(house: House, kept: Keep) -> None:
    """However much of a long recording a player asks for, an answer has at most 1 MiB, and says so."""
    answer = house.client.get(kept(bytes(3 * MAX_PART)), headers={"Range": "bytes=10-"})
    assert (answer.status_code, len(answer.data)) == (206, MAX_PART)
    assert answer.headers["Content-Range"] == f"bytes 10-{MAX_PART + 9}/{3 * MAX_PART}"


def test_a_part_that_is_not_there_is_refused(house: House, kept: Keep) -> None:
    """A range behind the end is answered with 416 and the size."""
    answer = house.client.get(kept(), headers={"Range": f"bytes={len(BODY)}-"})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(BODY)}"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=x", "lines=1-2", "bytes=5-1"])
def test_a_range_that_is_not_understood_is_ignored(house: House, kept: Keep, asked: str) -> None:
    """Several ranges, and what is none, get the whole."""
    answer = house.client.get(kept(), headers={"Range": asked})
    assert (answer.status_code, answer.data) == (200, BODY)


def test_a_part_is_of_what_the_player_has_begun_with(house: House, kept: Keep) -> None:
    """With If-Range a part comes only of the same content; with If-None-Match nothing of it comes twice."""
    path = kept()
    etag = house.client.head(path).headers["ETag"]
    same = house.client.get(path, headers={"Range": "bytes=0-1", "If-Range": etag})
    other = house.client.get(path, headers={"Range": "bytes=0-1", "If-Range": '"other"'})
    known = house.client.get(path, headers={"If-None-Match": etag})
    assert (same.status_code, other.status_code, known.status_code) == (206, 200, 304)
    assert known.data == b""


def test_a_head_has_no_body(house: House, kept: Keep) -> None:
    """HEAD tells the size, and nothing more."""
    answer = house.client.head(kept())
    assert (answer.status_code, answer.data, answer.headers["Content-Length"]) == (200, b"", str(len(BODY)))


def test_a_link_that_is_none_is_refused(house: House, kept: Keep) -> None:
    """Wrong signature, other recording, other customer and no such recording are told alike: 403."""
    path = kept()
    bare, _, signature = path.partition("?")
    wrong = [bare, path + "x", f"/nordlys/recordings/{'0' * 24}?{signature}", path.replace("/nordlys/", "/harbour/")]
    wrong += [path.replace("/nordlys/", "/nobody/"), f"{bare}?signature=%00%ff"]
    told = {(answer.status_code, answer.data) for answer in map(house.client.get, wrong)}
    assert len(told) == 1
    ((status, words),) = told
    assert status == 403
    assert b"not valid" in words


def test_a_dead_link_says_why(house: House, kept: Keep) -> None:
    """Revoked, expired and removed are 410, each in words for whoever has clicked."""
    recordings = house.parts.recordings
    path = kept()
    found = recordings.list_recordings()[0]
    short = recordings.link(found.id, lifetime=timedelta(seconds=-1))
    assert short
    assert b"expired" in _gone(house, short[short.index("/nordlys/") :])
    recordings.revoke([found.id])
    assert b"revoked" in _gone(house, path)
    recordings.forget("nordlys", ["call"])
    assert b"removed" in _gone(house, path)


def _gone(house: House, path: str) -> bytes:
    answer = house.client.get(path)
    assert answer.status_code == 410
    assert answer.headers["Content-Type"].startswith("text/plain")
    return bytes(answer.data)


def test_a_store_that_is_away_is_said(house: House, kept: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the recording cannot be read, the link says to try again."""
    path = kept()

    def fail(*_: object) -> None:
        raise StorageError("the object store did not answer")

    monkeypatch.setattr(house.parts.recordings.store, "read", fail)
    answer = house.client.get(path)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "60"


def test_a_listener_is_remembered(house: House, kept: Keep) -> None:
    """Who has listened stands in the audit, with minute and the address that the proxy tells."""
    house.client.get(kept(), headers={"X-Forwarded-For": "203.0.113.9"})
    (access,) = house.parts.recordings.list_accesses(house.parts.recordings.list_recordings()[0].id)
    assert (access.address, access.outcome, access.requests) == ("203.0.113.9", "played", 1)
    assert access.at.tzinfo is UTC
    assert access.at <= datetime.now(UTC)
