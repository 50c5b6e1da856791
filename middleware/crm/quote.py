"""Puts what others wrote into a place where some signs mean something."""

from __future__ import annotations

from urllib.parse import quote

from middleware.errors import CRMRejectedError


def url_segment(text: str) -> str:
    """Return ``text`` as one segment of a path: ``"a/b?c"`` is ``a%2Fb%3Fc``; what would leave the path is refused."""
    if text in ("", ".", ".."):
        raise CRMRejectedError("the id is none")
    return quote(text, safe="")
