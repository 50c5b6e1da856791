"""A file in a form is sent as it is read."""

from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes
from typing import BinaryIO, cast

from middleware.crm.form import FileForm
from middleware.crm.session import CRMSession
from middleware.model.deadline import Deadline
from middleware.testing.faults import FaultServer

SIZE = 3 * 1024 * 1024


class Tape:
    """Bytes that exist only while they are read."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.largest = 0

    def read(self, size: int) -> bytes:
        self.largest = max(self.largest, size)
        size = min(size, self._left)
        self._left -= size
        return b"R" * size


def form(tape: Tape, size: int, name: str = "a.wav") -> FileForm:
    return FileForm("file", name=name, content_type="audio/x-wav", size=size, file=cast(BinaryIO, tape))


def test_a_form_is_read_by_whoever_reads_forms() -> None:
    """The standard library finds the file, its name and its type; no name leaves its quotes."""
    made = form(Tape(100_000), 100_000, name='a"\r\nX: y.wav')
    body = made.read()
    assert len(body) == len(made)
    message = message_from_bytes(f"Content-Type: {made.headers['Content-Type']}\r\n\r\n".encode() + body)
    (part,) = cast(list[type(message)], message.get_payload())  # type: ignore[misc]  # it is a message
    assert part.get_payload(decode=True) == b"R" * 100_000
    assert (part.get_param("name", header="content-disposition"), part.get_content_type()) == ("file", "audio/x-wav")
    assert part.keys() == ["Content-Disposition", "Content-Type"]


def test_a_large_file_is_never_in_memory() -> None:
    """A recording of any length is read a piece at a time, as the connection takes it."""
    tape = Tape(SIZE)
    made = form(tape, SIZE)
    with FaultServer() as crm:
        http = CRMSession(crm.url, Deadline.after(timedelta(seconds=30)))
        assert http.post("upload", data=made, headers=made.headers).json() == {"ok": True}
    assert made.read() == b""
    assert 0 < tape.largest <= SIZE / 10
