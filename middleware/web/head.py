"""Reads the plainest heads of HTTP requests; whatever is not plain is left to gunicorn's own parser.

Hand-written: it need not understand HTTP, only be sure.  ``None`` always means "somebody else decides".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

END = b"\r\n\r\n"
MAX_PLAIN = 8190  # bytes of a head that is read here, the longest line gunicorn takes
_LINE = re.compile(rb'(GET|POST) (/[!"$-~]*) HTTP/1\.1\r\n')  # printable ASCII without "#"
# No pattern here may take back what it took: a head is 64 kB of anybody's choice, and all connections wait for it.
_FIELD = re.compile(rb"([A-Za-z-]{1,40}):([\t -~]*)")
_PLAIN = frozenset(
    "host user-agent accept accept-encoding accept-language accept-charset authorization cache-control connection "
    "forwarded pragma traceparent tracestate via x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto "
    "x-real-ip x-request-id".split()
)  # fields that this product and its server either understand here or never look at
_OF_BODIES = frozenset(("content-length", "content-type", "x-pbx-token"))
_CONNECTION = {"": True, "keep-alive": True, "close": False}
_HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*(?::[0-9]{1,5})?")  # one that no server refuses
_FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding|expect)[ \t]*:([^\r\n]*)(?=\r\n)", re.I)
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[^\r\n]{0,256}\r\n")


class Plain(NamedTuple):  # quicker to make than a frozen dataclass
    """A GET without a body, or the head of a POST: its target and its fields, named in small letters."""

    is_post: bool
    target: str
    headers: Mapping[str, str]
    keep_alive: bool


def read_plain(head: bytes) -> Plain | None:
    """Return the request of a whole head (with its empty line) if it is as plain as can be."""
    line = _LINE.match(head) if len(head) <= MAX_PLAIN else None
    if line is None:
        return None
    is_post = line[1] == b"POST"
    fields = _read_fields(head[line.end() :], is_post)
    if fields is None:
        return None
    return Plain(is_post, line[2].decode("ascii"), *fields)


@lru_cache(maxsize=256)  # a sender repeats himself
def _read_fields(block: bytes, is_post: bool) -> tuple[Mapping[str, str], bool] | None:
    plain = _PLAIN | _OF_BODIES if is_post else _PLAIN
    headers: dict[str, str] = {}
    for line in block.removesuffix(END).split(b"\r\n"):
        match = _FIELD.fullmatch(line)
        name = match[1].decode("ascii").lower() if match else ""
        value = match[2].decode("ascii").strip(" \t") if match else ""
        if match is None or name not in plain or name in headers or "\t" in value:
            return None
        headers[name] = value
    if not _HOST.fullmatch(headers.get("host", "m8crm")):
        return None
    keep_alive = _CONNECTION.get(headers.get("connection", "").lower())
    return None if keep_alive is None else (MappingProxyType(headers), keep_alive)


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """What a head says of the body behind it: ``length`` in bytes, ``None`` when it comes in chunks.

    One that is not ``is_clear`` contradicts itself: where its request ends nobody knows, and none may follow it.
    """

    length: int | None = 0
    expects_continue: bool = False
    is_clear: bool = True


_UNCLEAR = Framing(is_clear=False)


def read_framing(head: bytes) -> Framing:
    """Return how long the body is; where the head contradicts itself nothing is waited for, since that is refused."""
    found = [(name.lower(), value.strip(b" \t").lower()) for name, value in _FRAMING.findall(head)]
    expected = {value for name, value in found if name == b"expect"}
    told = [(name, value) for name, value in found if name != b"expect"]
    if expected - {b"100-continue"} or len(told) > 1:
        return _UNCLEAR
    is_modern = head.find(b" HTTP/1.1\r\n", 0, head.find(b"\r\n") + 2) > 0
    expects = bool(expected) and is_modern
    if not told:
        return Framing()
    if told == [(b"transfer-encoding", b"chunked")]:
        return Framing(length=None, expects_continue=expects)
    name, value = told[0]
    digits = value.lstrip(b"0") or b"0"
    if name != b"content-length" or not value.isdigit() or len(digits) > 18:
        return _UNCLEAR
    return Framing(length=int(digits), expects_continue=expects)


def chunks_end(data: bytes | bytearray, at: int) -> tuple[int, bool]:
    """Return where to go on reading chunks next time, and whether the last one (or nonsense) is there."""
    while True:
        size = _SIZE.match(data, at)
        if size is None:
            return at, data.find(b"\n", at) >= 0 or len(data) - at > 300  # no size line, or one that is too long
        if int(size[1], 16) == 0:
            last = size.end()
            return at, data.startswith(b"\r\n", last) or data.find(END, last) >= 0
        behind = size.end() + int(size[1], 16) + 2
        if behind > len(data):
            return at, False
        at = behind
