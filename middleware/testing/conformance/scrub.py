"""Takes people out of recorded exchanges: the same text becomes the same stand-in, so that requests still fit answers.

What is kept: keys, ids, moments, truths, constants (``IN_PROGRESS``), and addresses of the CRM's own host without their
query.  Every other text is replaced, also one that only may be personal; digits of other numbers become others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from middleware.model.phone import PhoneNumber
from middleware.testing.conformance.samples import NUMBER

KEPT_KEYS = re.compile(
    r"^(type|kind|object|status|state|category|direction|priority|currency|stage|pipeline|label)$|.*_id$", re.I
)
ID_KEY = re.compile(r"(^|[_a-z])(id|Id|ID|key|cursor|after)$|^(id|uuid|guid|href|next|cursor|after)$", re.I)
MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}([T ][\d:.,]+(Z|[+-]\d{2}:?\d{2})?)?")
CONSTANT = re.compile(r"[A-Z]{2,}[A-Z0-9_]*|\d{1,5}|true|false|")
PHONE_KEY = re.compile(r"phone|mobile|cell|tel|fax|msisdn", re.I)
SUFFIX = 8


class Scrubber:
    """Scrubs all exchanges of one recording; ``number`` is who was looked up, ``host`` the CRM's."""

    def __init__(self, number: PhoneNumber, secrets: Iterable[str], host: str) -> None:
        digits = number.international[-SUFFIX:]
        self._number = re.compile(r"[\s().\-/]*".join(map(re.escape, digits)) if digits else r"(?!)")
        self._secrets = [secret for secret in secrets if secret]
        self._host = host
        self._known: dict[str, str] = {}

    def answer(self, value: Any, key: str = "") -> Any:
        """Return the JSON of an answer without people."""
        if isinstance(value, dict):
            return {name: self.answer(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.answer(inner, key) for inner in value]
        if isinstance(value, str):
            return self.text(value, key)
        if isinstance(value, int) and not isinstance(value, bool) and PHONE_KEY.search(key):
            return int(self.text(str(value), key))
        return value

    def target(self, target: str) -> str:
        """Return a path with its query without people; ids and what the answers' texts became stay the same."""
        parts = urlsplit(target)
        path = "/".join(quote(self.asked(segment), safe="%:@,;=+$!*'()~") for segment in parts.path.split("/"))
        query = urlencode([(name, self.asked(text)) for name, text in parse_qsl(parts.query, keep_blank_values=True)])
        return f"{path}?{query}" if query else path

    def asked(self, value: Any) -> Any:
        """Return what a request says without people: it was written by the adapter, so only what we know is in it."""
        if isinstance(value, dict):
            return {name: self.asked(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.asked(inner) for inner in value]
        if not isinstance(value, str):
            return value
        return self._known.get(value) or self._plain(value)

    def text(self, value: str, key: str = "") -> str:
        """Return the stand-in of a text of an answer."""
        bare = self._plain(value)
        if MOMENT.fullmatch(value) or CONSTANT.fullmatch(value) or (KEPT_KEYS.match(key) and " " not in value):
            return bare
        if value not in self._known:
            self._known[value] = self._stand_in(value, bare, key)
        return self._known[value]

    def _plain(self, value: str) -> str:
        """Return the text with secrets and the number that was looked up replaced."""
        for secret in self._secrets:
            value = value.replace(secret, "scrubbed-secret")
        return self._number.sub(lambda match: _with_digits(match[0], NUMBER[-SUFFIX:]), value)

    def _stand_in(self, value: str, bare: str, key: str) -> str:
        digits = re.sub(r"\D", "", value)
        is_number = len(digits) >= 6 and re.fullmatch(r"[+()\d\s./\-;,]+", value)
        if self._number.search(value) and is_number:
            return bare
        if ID_KEY.search(key) and re.fullmatch(r"[\w:=.\-]+", value) and "@" not in value:
            return bare
        if is_number:
            other = str(int(hashlib.sha256(digits.encode()).hexdigest(), 16))[: len(digits) - 3]
            return _with_digits(value, digits[:3] + other)
        if value.startswith("http"):
            parts = urlsplit(value)
            return (
                f"{parts.scheme}://{parts.netloc}{parts.path}"
                if parts.hostname == self._host
                else "https://scrubbed.example/"
            )
        number = len(self._known) + 1
        return f"person{number}@scrubbed.example" if "@" in value else f"{key or 'text'} {number}"


def _with_digits(text: str, digits: str) -> str:
    """Return ``text`` with its digits replaced by ``digits`` and its signs where they were."""
    rest = iter(digits)
    return re.sub(r"\d", lambda _match: next(rest, "0"), text)
