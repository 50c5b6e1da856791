"""The call, the number and the user that every adapter is tried with; made up, and the same every time."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, cast

from middleware.model.call import CallRecord, Direction, Ending, RecordingFile, User
from middleware.model.phone import PhoneNumber, parse_number

KEY = "m8crm-conformance-c0ffee"  # of the sample call, in every request and answer that is about it
NUMBER, REGION = "+46701740605", "SE"
OWNER = "471100"  # digits: some CRMs have no other ids
ACTION_ITEM = "Send the offer to Ada"
RECORDING_LINK = "https://m8.example/recordings/c0ffee"
USER = User(id="u-471100", display_name="Ellen Berg", email="ellen.berg@nordlys.example")
STARTED_AT = datetime(2026, 1, 15, 9, 30, 5, tzinfo=UTC)


def sample_call(number: PhoneNumber) -> CallRecord:
    """Return a finished call with ``number`` in which everything is known."""
    return CallRecord(
        id="conformance-1",
        key=KEY,
        direction=Direction.INBOUND,
        contact_number=number,
        own_number=parse_number("+46851970000", REGION),
        started_at=STARTED_AT,
        duration=timedelta(seconds=95),
        talk_time=timedelta(seconds=83),
        wait_time=timedelta(seconds=12),
        ending=Ending.ANSWERED,
        subject="Incoming call from Ada Webb",
        body="Ada Webb called Ellen Berg and spoke for 83 seconds.",
        agent="Ellen Berg",
        user_id=USER.id,
        owner=OWNER,
        summary="She wants an offer.",
        recording=RECORDING_LINK,
        action_items=(ACTION_ITEM,),
    )


AUDIO = b"RIFF" + bytes(299_996)


class Tape:
    """A recording that notes how it is read: a real one is as large as a disk and comes from a network."""

    def __init__(self) -> None:
        self._file = io.BytesIO(AUDIO)
        self.largest = 0

    def read(self, size: int = -1) -> bytes:
        """Read, and note how much was wanted at once; -1 is everything."""
        data = self._file.read(size)
        self.largest = max(self.largest, len(data) if size < 0 else size)
        return data


def sample_recording(tape: Tape) -> RecordingFile:
    """Return a recording whose bytes are ``tape``'s."""
    return RecordingFile(
        key="rec-c0ffee",
        name="recording-c0ffee.wav",
        content_type="audio/x-wav",
        size=len(AUDIO),
        file=cast(BinaryIO, tape),
    )
