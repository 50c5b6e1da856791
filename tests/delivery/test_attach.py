"""A kept recording is put into the CRM once, and whatever becomes of it, the written call stays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests
from sqlalchemy import update

from middleware.crm.base import Context
from middleware.delivery import schedule
from middleware.errors import CRMRejectedError, CRMTimeoutError, CRMUnavailableError, RateLimitedError
from middleware.inbox.due import Due
from middleware.inbox.tables import lane
from middleware.model.call import CallRecord, LoggedCall, RecordingFile
from middleware.recordings.service import Recordings
from middleware.recordings.store import FolderStore, make_incoming
from middleware.tenants.registry import Tenants
from middleware.tenants.tenant import RecordingsConfig
from tests.delivery.test_call_media import send_recording
from tests.delivery.test_worker import Ledger, Post, raising

BODY = b"RIFF" + bytes(700_000)


@dataclass
class Shelf(Ledger):
    """A CRM that keeps recordings, too; ``fail_at`` decides how attaching begins, ``fail_after`` how it ends."""

    attached: list[tuple[str, RecordingFile, bytes]] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    can_attach: bool = True
    can_ask: bool = False
    fail_at: Callable[[], None] = lambda: None
    fail_after: Callable[[], None] = lambda: None

    def can(self, method: str) -> bool:
        able = {"attach_recording": self.can_attach, "has_recording": self.can_ask}
        return able.get(method, super().can(method))

    def attach_recording(self, logged: LoggedCall, recording: RecordingFile, call: CallRecord, ctx: Context) -> None:
        self.fail_at()
        self.deadlines.append(ctx.deadline.remaining)
        body = b""
        while piece := recording.file.read(65_536):
            body += piece
        self.attached.append((logged.external_id, recording, body))
        self.fail_after()

    def has_recording(self, logged: LoggedCall, recording: RecordingFile, call: CallRecord, ctx: Context) -> bool:
        return any(known.key == recording.key for _, known, _ in self.attached)


@dataclass
class Desk:
    """A post office with recordings."""

    folder: Path
    crm: Shelf = field(default_factory=Shelf)

    def __post_init__(self) -> None:
        self.post = Post(f"sqlite:///{self.folder / 'inbox.db'}")
        self.store = FolderStore(self.folder / "kept")
        (self.folder / "customers").mkdir()
        self.connect()
        tenants = Tenants(self.folder / "customers")
        self.recordings = Recordings(
            self.post.inbox, tenants, self.store, key=b"k" * 32, public_url="https://x.example"
        )
        tenants.get = self.post.get  # type: ignore[method-assign]
        self.post.worker = self.post.new_worker(media=self.recordings, attachments=self.recordings.attachments)

    def connect(self, *, attach: bool = True) -> None:
        self.post.connect(self.crm)
        tenant = self.post.tenants["acme"]
        config = RecordingsConfig(fetch=True, hosts=("files.example",), attach=attach)
        object.__setattr__(tenant, "recordings", config)

    def keep(self) -> None:
        """Keep what is noted, as the lane that fetches does."""
        (row,) = self.recordings.ledger.claim(self.post.moment.timestamp(), 60, 1)
        sha256 = hashlib.sha256(BODY).hexdigest()
        path = make_incoming(self.store) / row.id
        path.write_bytes(BODY)
        self.store.put("acme", sha256, path)
        kept = {"state": "kept", "sha256": sha256, "bytes": len(BODY), "content_type": "audio/x-wav"}
        self.recordings.ledger.finish(row, Due(self.post.inbox).compose_again, **kept)

    def written(self) -> str:
        """Have a call written whose recording is kept by then; return the event's id."""
        event_id = send_recording(self.post)
        self.post.worker._plan()
        self.keep()
        self.post.later()
        return event_id

    def again(self) -> None:
        """Have everything tried again that waits, as if its time had come."""
        with self.post.inbox.database.write() as connection:
            connection.execute(update(lane).values(due_at=0.0))
        self.post.later(hours=11)

    def words(self, event_id: str) -> list[str]:
        attempts = self.post.event(event_id).attempts
        return [attempt.words for attempt in attempts if attempt.channel == "zoo0#recordings"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_recording_is_attached_when_call_and_file_are_there(desk: Desk) -> None:
    """The CRM gets the file, streamed, with name, type and size, for the record that it has of the call."""
    desk.written()
    desk.post.later()
    ((external_id, recording, body),) = desk.crm.attached
    assert [external_id] == list(desk.crm.calls)
    assert body == BODY
    assert (recording.content_type, recording.size) == ("audio/wav", len(BODY))
    assert recording.name.endswith(".wav")
    assert recording.file.closed
    assert 0 < desk.crm.deadlines[0] <= 10


def test_a_recording_that_is_kept_later_is_attached_then(desk: Desk) -> None:
    """The call is written at once; the file follows when it is here, and is asked for no more."""
    event_id = send_recording(desk.post)
    desk.post.later()
    assert (len(desk.crm.calls), desk.crm.attached) == (1, [])
    desk.keep()
    for _ in range(3):
        desk.post.later(seconds=1)
    assert len(desk.crm.attached) == 1
    assert desk.words(event_id) == ["Recordings attached: 1."]


def test_more_of_a_call_attaches_nothing_twice(desk: Desk) -> None:
    """A record that is completed with what comes later keeps its one recording."""
    desk.written()
    desk.post.later()
    desk.post.send(body="Wants a red one.")
    desk.post.later()
    desk.post.later()
    assert desk.crm.updates == 1
    assert len(desk.crm.attached) == 1


@pytest.mark.parametrize("able", [{"can_attach": False}, {"attach": False}])
def test_it_is_attached_only_where_wanted_and_possible(desk: Desk, able: dict[str, bool]) -> None:
    """An adapter that cannot, and a customer who does not want it, have the link only."""
    desk.crm.can_attach = able.get("can_attach", True)
    desk.connect(attach=able.get("attach", True))
    event_id = desk.written()
    desk.post.later()
    assert desk.crm.attached == []
    assert len(desk.post.event(event_id).attempts) == 1


def test_a_failure_leaves_the_call_and_is_tried_again(desk: Desk) -> None:
    """While the CRM takes no files, the call is there, the reason is told, and the file comes later."""
    desk.crm.fail_at = raising(CRMUnavailableError("the CRM answered 503"))
    event_id = desk.written()
    desk.post.later()
    event = desk.post.event(event_id)
    assert (len(desk.crm.calls), desk.crm.attached, event.state) == (1, [], "waiting")
    assert event.external_id in desk.crm.calls
    assert "503" in desk.words(event_id)[0]
    desk.again()
    assert len(desk.crm.attached) == 1
    assert (desk.crm.writes, desk.crm.updates) == (1, 0)
    assert desk.post.event(event_id).state == "delivered"


def test_a_refusal_is_final_until_somebody_asks_again(desk: Desk) -> None:
    """A file that the CRM refuses is a dead letter with its words; ``events retry`` sends it once more."""
    desk.crm.fail_at = raising(CRMRejectedError("the CRM answered 413", vendor_text="too large"))
    event_id = desk.written()
    desk.post.later()
    desk.again()
    assert desk.crm.attached == []
    assert desk.words(event_id) == ["The CRM refuses the recording (the CRM answered 413): too large"]
    assert desk.post.event(event_id).state == "dead"
    assert desk.post.inbox.retry_events([event_id]) == 1
    desk.post.later()
    assert desk.words(event_id)[1:] == ["Recordings attached: 1."]


def test_an_unknown_end_is_asked_for(desk: Desk) -> None:
    """After an attempt whose end is unknown an adapter that can is asked, and the file is not sent twice."""
    desk.crm.can_ask = True
    desk.crm.fail_after = raising(CRMTimeoutError("no answer in time"))
    event_id = desk.written()
    desk.post.later()
    desk.again()
    assert len(desk.crm.attached) == 1
    assert desk.words(event_id)[1:] == ["Recordings attached: 1."]


def test_an_unknown_end_is_told_where_nobody_can_be_asked(desk: Desk) -> None:
    """Where the adapter cannot be asked, the file is sent again, and people are told that it may be there twice."""
    desk.crm.fail_after = raising(CRMTimeoutError("no answer in time"))
    event_id = desk.written()
    desk.post.later()
    desk.again()
    assert len(desk.crm.attached) == 2
    assert "may be a duplicate" in desk.words(event_id)[1]


def test_what_was_surely_not_sent_is_no_duplicate(desk: Desk) -> None:
    """A pause that the CRM asks for uses up no attempt and leaves no doubt."""
    desk.crm.fail_at = raising(RateLimitedError("slow down", retry_after=timedelta(seconds=2)))
    event_id = desk.written()
    desk.post.later()
    desk.again()
    assert desk.words(event_id)[1:] == ["Recordings attached: 1."]


def test_a_worker_that_died_leaves_a_doubt(desk: Desk) -> None:
    """A recording whose attempt never told its end may be in the CRM: whoever goes on says so."""
    event_id = send_recording(desk.post)
    desk.post.later()
    desk.keep()
    (call,) = desk.crm.calls.values()
    (recording,) = desk.recordings.list_recordings()
    desk.recordings.attachments.begin(recording.id, "zoo0", LoggedCall(external_id=call.key))
    desk.post.later()
    desk.post.later()
    assert "may be a duplicate" in desk.words(event_id)[-1]


def test_a_file_that_takes_too_long_holds_up_no_other(desk: Desk) -> None:
    """When one recording times out, the next call's recording is attached all the same."""
    desk.crm.fail_at = raising(CRMTimeoutError("no answer in time"))
    desk.written()
    desk.post.later()
    send_recording(desk.post, start=1_772_366_400_000 - 7_200_000, number=4712)
    desk.post.worker._plan()
    desk.keep()
    desk.post.later(seconds=1)
    desk.post.later(seconds=1)
    assert len(desk.crm.attached) == 1


def test_it_is_given_up_after_three_days(desk: Desk) -> None:
    """A CRM that never takes a file is asked for three days, and then its words stay."""
    desk.crm.fail_at = raising(*[CRMUnavailableError("the CRM answered 503") for _ in range(100)])
    event_id = desk.written()
    begun: datetime = desk.post.moment
    while desk.post.event(event_id).state == "waiting":
        desk.again()
    assert schedule.GIVE_UP_AFTER <= desk.post.moment - begun <= schedule.GIVE_UP_AFTER + timedelta(hours=22)
    assert desk.post.event(event_id).state == "dead"


def test_a_recording_that_is_gone_is_not_attached(desk: Desk) -> None:
    """What was forgotten before its turn came is not sent."""
    event_id = send_recording(desk.post)
    desk.post.later()
    desk.keep()
    desk.crm.fail_at = raising(CRMUnavailableError("the CRM answered 503"))
    desk.post.later()
    (recording,) = desk.recordings.list_recordings()
    desk.recordings.forget("acme", [recording.call_key])
    desk.again()
    assert desk.crm.attached == []
    assert desk.words(event_id)[-1] == "Recordings attached: 0."


def test_a_kept_recording_is_a_file_that_requests_can_send(desk: Desk) -> None:
    """``requests`` knows the file's length, so an adapter passes it on as it is."""
    send_recording(desk.post)
    desk.post.worker._plan()
    desk.keep()
    (kept,) = desk.recordings.list_recordings()
    recording = desk.recordings.attachments.open(kept.id)
    assert recording
    with recording.file as file:
        prepared = requests.Request("POST", "https://crm.example/files", data=file).prepare()
        assert prepared.headers["Content-Length"] == str(len(BODY))
        assert file.read() == BODY


def test_a_file_that_has_shrunk_is_not_sent_as_a_recording(desk: Desk) -> None:
    """A kept file that lost its end is no shorter recording in the CRM but a failure that is told."""
    event_id = send_recording(desk.post)
    desk.post.later()
    desk.keep()
    (file,) = [path for path in (desk.folder / "kept").rglob("*") if path.is_file()]
    file.write_bytes(BODY[:1000])
    desk.post.later()
    desk.post.later()
    assert desk.crm.attached == []
    assert "cannot be read now" in desk.words(event_id)[0]
