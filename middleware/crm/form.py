"""A file in a form (``multipart/form-data``) that is sent as it is read.

Hand-written: ``requests`` reads the whole file for it, and requests-toolbelt asks a file how long it is, which an
object store's cannot say.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import BinaryIO
from urllib.parse import quote

PIECE = 64 * 1024  # bytes


class FileForm:
    """A form with one file: ``ctx.http.post(path, data=form, headers=form.headers)``."""

    def __init__(self, field: str, *, name: str, content_type: str, size: int, file: BinaryIO) -> None:
        # the same for the same file, so that a request that is sent again is the same; nobody outside knows the name
        boundary = hashlib.sha256(repr((field, name, content_type, size)).encode()).hexdigest()[:32]
        disposition = f'form-data; name="{field}"; filename="{quote(name)}"'
        head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: {content_type}\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        self.headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        self._length = len(head) + size + len(tail)
        self._parts: list[io.BytesIO | BinaryIO] = [io.BytesIO(head), file, io.BytesIO(tail)]

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most ``size``, or all that are left; none at the end."""
        if size < 0:
            return b"".join(self)
        while self._parts:
            data = self._parts[0].read(size)
            if data:
                return data
            del self._parts[0]
        return b""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the form piece by piece."""
        while data := self.read(PIECE):
            yield data

    def __len__(self) -> int:
        """Return how many bytes come."""
        return self._length
