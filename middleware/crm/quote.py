"""Puts what others wrote into a place where some signs mean something."""

from __future__ import annotations

import re
from urllib.parse import quote

from middleware.errors import CRMRejectedError


def url_segment(text: str) -> str:
    """Return ``text`` as one segment of a path: ``"a/b?c"`` is ``a%2Fb%3Fc``; what would leave the path is refused."""
    if text in ("", ".", ".."):
        raise CRMRejectedError("the id is none")
    return quote(text, safe="")


def is_decimal(text: str) -> bool:
    """Whether ``text`` can be an id in a CRM whose ids are numbers."""
    return text.isascii() and text.isdecimal()


def decimal_id(text: str) -> int:
    """Return an id as the number that it is in the CRM; another text is refused, and never told."""
    if not is_decimal(text):
        raise CRMRejectedError("an id of this CRM's is a number; an owner's stands in [calls.owners]")
    return int(text)


def check_subdomain(setting: str, value: str, domain: str) -> None:
    """Raise ``ValueError`` unless ``value`` can stand before ``domain``: credentials go to no other host."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", value):
        raise ValueError(f'{setting}: write what stands before .{domain} in your browser, e.g. "acme"')
