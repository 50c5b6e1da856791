"""The free text of a call log, taken apart (specs/001, Body); the text is subject to change."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEADERS = {
    "referred to": "referred_to",
    "referred by": "referred_by",
    "call to user": "user",
    "call from user": "user",
    "call to answer group": "answer_group",
    "call from answer group": "answer_group",
    "call from": "",
    "call to": "",
    "m8com agent": "agent",
    "call type": "call_type",
}
_LINE = re.compile(rf"\s*({'|'.join(sorted(_HEADERS, key=len, reverse=True))})\s*:\s*(.*?)\s*", re.I)
_NAME_AND_NUMBER = re.compile(r"(.*?)\s*\(([^()]*)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sections:
    """What the text told; ``summary`` is what stands at its end without a header."""

    referred_to: str | None = None
    referred_by: str | None = None
    user: str | None = None
    answer_group: str | None = None
    agent: str | None = None
    call_type: str | None = None
    summary: str | None = None


def parse_sections(body: str) -> Sections:
    """Return the sections of ``body``; lines nobody knows belong to the summary."""
    found: dict[str, str] = {}
    rest: list[str] = []
    for line in body.splitlines():
        match = _LINE.fullmatch(line) if not any(rest) else None  # a summary may quote a header
        if match is None:
            rest.append(line)
            continue
        name = _HEADERS[match[1].lower()]
        value = match[2]
        if name in ("user", "answer_group"):
            with_number = _NAME_AND_NUMBER.fullmatch(value)
            value = with_number[1] if with_number else value
        if name and value:
            found.setdefault(name, value)
    summary = "\n".join(rest).strip()
    return Sections(**found, summary=summary or None)
