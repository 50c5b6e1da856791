"""The key at the end of a text, for CRMs that have no field that could keep it."""

from __future__ import annotations

import re
from html import escape, unescape


def mark(body: str, key: str, *, is_html: bool = False) -> str:
    """Return the text with the key behind it: people see ``m8crm`` and the key, and leave it there."""
    return f"{body}<p>m8crm {escape(key)}</p>" if is_html else f"{body}\n\nm8crm {key}"


def is_marked(text: object, key: str) -> bool:
    """Whether the text, or what the CRM made of its signs and blanks, has this key and not only one that begins so."""
    return re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", unescape(str(text))) is not None
