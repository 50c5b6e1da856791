"""``Attachments``: which kept recordings are in which CRM, remembered before and after each is sent."""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator
from typing import Any, cast

from sqlalchemy import and_, delete, exists, select, update

from middleware.errors import StorageError
from middleware.inbox.database import Database
from middleware.model.call import LoggedCall, RecordingFile
from middleware.recordings.kinds import DOWNLOAD, PLAYED
from middleware.recordings.store import Store
from middleware.recordings.tables import recording, recording_attachment


class Attachments:
    """What the worker asks; ``channel`` is the name of a customer's CRM."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store

    def missing(self, tenant_id: str, call_key: str, channel: str, logged: LoggedCall) -> list[str]:
        """Return the ids of the call's kept recordings that the record does not have, the oldest first."""
        mine = and_(recording.c.tenant == tenant_id, recording.c.call_key == call_key)
        kept = and_(mine, recording.c.kind == "recording", recording.c.state == "kept")
        place = _place(recording.c.id, channel, logged)
        attached = exists().where(place, recording_attachment.c.state == "attached")
        found = select(recording.c.id).where(kept, ~attached).order_by(recording.c.noted_at, recording.c.id)
        with self._database.read() as connection:
            return list(connection.execute(found).scalars())

    def open(self, recording_id: str) -> RecordingFile | None:
        """Open a recording to be sent, unless it is gone by now; raises ``StorageError``."""
        with self._database.read() as connection:
            row = connection.execute(select(recording).where(recording.c.id == recording_id)).first()
        if row is None or row.state != "kept":
            return None
        content_type, ending = PLAYED.get(row.content_type, (row.content_type or DOWNLOAD[0], DOWNLOAD[1]))
        pieces = self._store.read(row.tenant, row.sha256, 0, row.bytes)
        return RecordingFile(
            key=f"m8-{row.id}",
            name=f"recording-{row.id}.{ending}",
            content_type=content_type,
            size=row.bytes,
            file=cast("Any", KeptFile(pieces, row.bytes)),
        )

    def begin(self, recording_id: str, channel: str, logged: LoggedCall) -> bool:
        """Remember that it is about to be sent; return whether it was once before, with an end that nobody knows."""
        values = {"recording_id": recording_id, "channel": channel, "external_id": logged.external_id}
        new = self._database.insert(recording_attachment).values(**values, state="begun").on_conflict_do_nothing()
        with self._database.write() as connection:
            return not connection.execute(new).rowcount

    def end(self, recording_id: str, channel: str, logged: LoggedCall, *, is_attached: bool) -> None:
        """Remember how it ended: the record has it, or surely has not."""
        mine = _place(recording_id, channel, logged)
        with self._database.write() as connection:
            if is_attached:
                connection.execute(update(recording_attachment).where(mine).values(state="attached"))
            else:
                connection.execute(delete(recording_attachment).where(mine))


class KeptFile(io.RawIOBase):
    """The pieces of a kept recording as a file that is read once; ``len`` is what ``requests`` asks for its size."""

    def __init__(self, pieces: Iterator[bytes], size: int) -> None:
        super().__init__()
        self.len = size
        self._pieces = pieces
        self._left = size
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def tell(self) -> int:
        """Return how much has been read: ``requests`` takes it from ``len``."""
        return self.len - self._left

    def close(self) -> None:
        """Let go of what is read from."""
        if isinstance(self._pieces, Generator):
            self._pieces.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Read what comes next; a file that ends too soon is a ``StorageError``, and never a shorter recording."""
        while not self._piece and self._left:
            piece = next(self._pieces, None)
            if piece is None:
                raise StorageError("the recording is shorter than it was")
            self._piece = memoryview(piece)
        count = min(len(buffer), len(self._piece), self._left)
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        self._left -= count
        return count


def _place(recording_id: Any, channel: str, logged: LoggedCall) -> Any:
    table = recording_attachment.c
    return and_(table.recording_id == recording_id, table.channel == channel, table.external_id == logged.external_id)
