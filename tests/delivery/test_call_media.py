"""A call's recording: noted when its event is planned, linked in the log, and followed when calls become one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

import pytest

from middleware.delivery.worker import NoMedia
from middleware.model.call import Media
from tests.conftest import call_log
from tests.delivery.test_worker import Ledger, Post

START = call_log()["startTime"]
LINK = "https://m8crm.example/acme/recordings/1?signature=x"


class Shelf(NoMedia):
    """Keeps what it is told of."""

    def __init__(self) -> None:
        self.noted: dict[str, set[str]] = {}

    def note(self, _tenant_id: str, call_key: str, media: Iterable[Media], _numbers: Iterable[str]) -> int:
        self.noted.setdefault(call_key, set()).update(medium.url for medium in media)
        return 1

    def linked(self, _tenant_id: str, call_key: str, media: Sequence[Media]) -> tuple[Media, ...]:
        return (Media(url=LINK),) if call_key in self.noted else tuple(media)


def send_recording(post: Post, start: int = START, number: int = 4711) -> str:
    """Post M8Com's recording of a call, of which nothing else is known."""
    body = {"id": number, "fileUrls": [f"https://files.example/{number}.mp3"], "callerNumber": "+46701740605"}
    body |= {"calleeNumber": "+46846500400", "startTime": start, "endTime": start + 60_000, "direction": "inbound"}
    raw = json.dumps(body | {"talkTime": 60_000, "recorderId": "ada@acme.se"}).encode()
    return post.inbox.accept("acme", "recording", key=str(number), raw=raw, content_type="application/json").id


@pytest.fixture
def post(database_url: str) -> Iterator[Post]:
    post = Post(database_url)
    yield post
    post.inbox.close()


def test_recording_is_noted_before_the_crm_is_asked_and_linked_in_the_log(post: Post) -> None:
    """A link that dies in half an hour does not wait for a CRM; the log bears our link and not the sender's."""
    shelf, crm = Shelf(), Ledger()
    post.connect(crm)
    post.worker = post.new_worker(media=shelf)
    send_recording(post)
    post.worker._plan()
    assert list(shelf.noted.values()) == [{"https://files.example/4711.mp3"}]
    post.later()
    (call,) = crm.calls.values()
    assert call.recording == LINK
    assert LINK in call.body
    assert "files.example" not in call.body


def test_recording_follows_its_call(post: Post) -> None:
    """When two calls turn out to be one, the recording is noted for that one."""
    shelf, crm = Shelf(), Ledger()
    post.connect(crm)
    post.worker = post.new_worker(media=shelf)
    post.send(startTime=START)
    post.worker._plan()
    send_recording(post, START + 8_000)
    post.worker._plan()
    post.send(startTime=START + 4_000, duration=1_000)
    post.later()
    (call,) = crm.calls.values()
    assert call.recording == LINK
    assert call.id in shelf.noted


def test_without_recordings_the_log_has_no_dying_link(post: Post) -> None:
    """Where recordings are not fetched, a link that is dead in half an hour does not get into the CRM."""
    crm = Ledger()
    post.connect(crm)
    send_recording(post)
    post.later()
    (call,) = crm.calls.values()
    assert call.recording is None
