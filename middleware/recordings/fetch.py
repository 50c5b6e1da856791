"""Fetches one recording to disk, with a limit for all that a file server may do: bytes, time and free space.

Through libcurl, whose time-out is that of the whole transfer and whose connections can be bound to addresses.  It is
not the CRM's transport: there are no credentials here, and nothing is held in memory.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import filetype
import pycurl

from middleware.crm.threads import DaemonPool
from middleware.crm.transport import QUICK_EXIT
from middleware.errors import RecordingError, RecordingRefusedError
from middleware.recordings.address import Outside, Source, find_addresses

_SPACE_EVERY = 1024 * 1024  # bytes between two looks at the free space
_HEAD = 8192  # bytes that tell a type
_NAMES = DaemonPool("recording-names")  # a resolver knows no time-out: it may hang on a thread of its own


def free_bytes(folder: Path) -> int:
    """Return how many bytes the folder's disk has left."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one fetch may cost: bytes, seconds (name, connection and body together), and what must stay free."""

    max_bytes: int = 256 * 1024 * 1024
    seconds: float = 120.0
    keep_free: int = 512 * 1024 * 1024
    free: Callable[[Path], int] = free_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A recording on disk; ``content_type`` is what its first bytes say, whatever the file server says."""

    path: Path
    sha256: str
    bytes: int
    content_type: str | None


def fetch(source: Source, path: Path, outside: Outside, limits: Limits) -> Fetched:
    """Write what ``source`` answers to ``path``; the caller removes the file.

    Raises :class:`RecordingRefusedError` for what will never work, else :class:`RecordingError`.
    """
    began = time.monotonic()
    future = _NAMES.submit(find_addresses, source, outside)
    try:
        addresses = future.result(timeout=limits.seconds)
    except TimeoutError:
        raise RecordingError(f"{source.host} was not found in the DNS in time.") from None
    with path.open("wb") as file:
        incoming = _Incoming(file=file, folder=path.parent, limits=limits)
        left = limits.seconds - (time.monotonic() - began)
        _perform(source, addresses, incoming, outside, max(left, 0.001))
    if not incoming.received:
        raise RecordingError("The file server sent an empty file.")
    return Fetched(
        path=path,
        sha256=incoming.sha256.hexdigest(),
        bytes=incoming.received,
        content_type=_sniffed(bytes(incoming.head)),
    )


@dataclass(slots=True, kw_only=True)
class _Incoming:
    """What has come so far, and why no more of it is wanted."""

    file: BinaryIO
    folder: Path
    limits: Limits
    status: int = 0
    received: int = 0
    looked_at: int = -_SPACE_EVERY
    head: bytearray = field(default_factory=bytearray)
    sha256: Any = field(default_factory=hashlib.sha256)
    problem: RecordingError | None = None

    def take_head(self, line: bytes) -> None:
        if line.startswith(b"HTTP/"):
            code = line.split(b" ", 2)[1:2]
            self.status = int(code[0]) if code and code[0].strip().isdigit() else 0

    def take_body(self, data: bytes) -> int:
        """Keep what came, or return -1, which ends the transfer: what is raised here libcurl would print."""
        try:
            self.problem = self.problem or self._look(len(data))
            if self.problem is None:
                self.file.write(data)
                self.sha256.update(data)
                self.received += len(data)
                self.head += data[: _HEAD - len(self.head)]
                return len(data)
        except OSError as error:
            self.problem = RecordingError(f"The recording could not be written ({error.strerror}).")
        return -1

    def _look(self, more: int) -> RecordingError | None:
        if self.status != 200:
            return _refusal(self.status)
        if self.received + more > self.limits.max_bytes:
            return RecordingRefusedError(f"The recording has more than {self.limits.max_bytes} bytes.")
        if self.received + more - self.looked_at >= _SPACE_EVERY:
            self.looked_at = self.received
            if self.limits.free(self.folder) < self.limits.keep_free:
                return RecordingError("There is too little space left for recordings.")
        return None


@dataclass(slots=True, kw_only=True)
class _Gate:
    """Opens sockets to the addresses that were checked, and to no others: so it does not rest on libcurl's word."""

    addresses: list[str]
    outside: Outside
    sockets: list[socket.socket] = field(default_factory=list)

    def open(self, _purpose: int, address: Any) -> socket.socket | int:
        family, kind, protocol, place = address
        if place[0] not in self.addresses:
            return pycurl.SOCKET_BAD
        self.outside.opened(place[0])
        self.sockets.append(socket.socket(family, kind, protocol))  # of which pycurl makes a copy
        return self.sockets[-1]

    def close(self) -> None:
        for opened in self.sockets:
            opened.close()


def _refusal(status: int) -> RecordingError:
    if 300 <= status < 400:
        return RecordingRefusedError("The file server sends us elsewhere; redirects are not followed.")
    return RecordingError(f"The file server answered {status}.")


def _perform(source: Source, addresses: list[str], incoming: _Incoming, outside: Outside, seconds: float) -> None:
    curl = pycurl.Curl()
    gate = _Gate(addresses=addresses, outside=outside)
    try:
        _set_up(curl, source, addresses, outside)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, gate.open)
        curl.setopt(pycurl.TIMEOUT_MS, max(1, int(seconds * 1000)))
        curl.setopt(pycurl.MAXFILESIZE_LARGE, incoming.limits.max_bytes)
        curl.setopt(pycurl.HEADERFUNCTION, incoming.take_head)
        curl.setopt(pycurl.WRITEFUNCTION, incoming.take_body)
        curl.perform()
    except pycurl.error as error:  # its message may hold an address
        raise incoming.problem or _problem(int(error.args[0]), incoming) from None
    finally:
        curl.close()
        gate.close()
    if incoming.status != 200:
        raise _refusal(incoming.status)


def _problem(code: int, incoming: _Incoming) -> RecordingError:
    match code:
        case pycurl.E_FILESIZE_EXCEEDED:
            return RecordingRefusedError(f"The recording has more than {incoming.limits.max_bytes} bytes.")
        case pycurl.E_OPERATION_TIMEDOUT:
            return RecordingError("The file server did not send the whole recording in time.")
        case pycurl.E_PARTIAL_FILE | pycurl.E_RECV_ERROR if incoming.status == 200:
            return RecordingError("The file server sent only a part of the recording.")
        case pycurl.E_PEER_FAILED_VERIFICATION:
            return RecordingError("The file server's certificate is not valid.")
    return RecordingError(f"The file server could not be reached (libcurl {code}).")


def _set_up(curl: pycurl.Curl, source: Source, addresses: list[str], outside: Outside) -> None:
    """Set what is for all: no redirects, proxies, cookies or credentials, TLS, and no address but those checked."""
    pinned = ",".join(f"[{text}]" if ":" in text else text for text in addresses)
    curl.setopt(pycurl.URL, source.url)
    curl.setopt(pycurl.RESOLVE, [f"{source.host}:{source.port}:{pinned}"])
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(QUICK_EXIT, 1)
    curl.setopt(pycurl.PROXY, "")
    curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTPS)
    curl.setopt(pycurl.FOLLOWLOCATION, 0)
    curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    curl.setopt(pycurl.CAINFO, outside.ca_file)
    curl.setopt(pycurl.PATH_AS_IS, 1)
    curl.setopt(pycurl.USERAGENT, "m8crm")


def _sniffed(head: bytes) -> str | None:
    kind = filetype.guess(head)
    return str(kind.mime) if kind else None
