"""Recordings that are kept or lost are counted, with their bytes."""

from __future__ import annotations

from pathlib import Path

from middleware.metrics.counts import Counts
from middleware.metrics.names import RECORDING_BYTES, RECORDINGS
from middleware.recordings.fetch import Limits
from middleware.recordings.lane import FetchLane
from tests.recordings.outside import FileServer, wav, whole
from tests.recordings.test_service import Desk


def test_kept_and_lost_recordings_are_counted(tmp_path: Path, served: FileServer) -> None:
    """A fetched recording counts with its bytes, one that is refused as lost, one that waits not at all."""
    desk = Desk(tmp_path, f"sqlite:///{tmp_path / 'inbox.db'}", served)
    counts = Counts(tmp_path / "metrics.db")
    limits = Limits(seconds=10.0, keep_free=0)
    lane = FetchLane(desk.recordings, outside=served.outside(), limits=limits, counts=counts)
    body = wav(1)
    served.answers["/a.wav"] = whole(body)
    desk.note("/a.wav")
    desk.note("/missing.wav", call="dead", minutes=0)
    desk.note("/missing.wav?later", call="waits")
    lane.fetch_due()
    assert counts.read() == {
        (RECORDINGS.name, ("acme", "kept")): 1,
        (RECORDINGS.name, ("acme", "expired")): 1,
        (RECORDING_BYTES.name, ("acme",)): len(body),
    }
    desk.inbox.close()
