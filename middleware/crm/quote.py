"""Puts what others wrote into a place where some signs mean something."""

from __future__ import annotations

import re
from urllib.parse import quote

from middleware.errors import CRMRejectedError

_SOQL = str.maketrans(
    {
        "\\": "\\\\",
        "'": "\\'",
        '"': '\\"',
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\b": "\\b",
        "\f": "\\f",
    }
)
_LIKE = str.maketrans({"%": "\\%", "_": "\\_"})
_LDAP = str.maketrans({sign: f"\\{ord(sign):02x}" for sign in "\\*()\0"})


def url_segment(text: str) -> str:
    """Return ``text`` as one segment of a path: ``"a/b?c"`` is ``a%2Fb%3Fc``; what would leave the path is refused."""
    if text in ("", ".", ".."):
        raise CRMRejectedError("the id is none")
    return quote(text, safe="")


def soql_text(text: str, *, is_like: bool = False) -> str:
    """Return ``text`` as a literal of SOQL, with the quotes around it.

    Behind ``LIKE`` the wildcards ``%`` and ``_`` stand for themselves, too.  Source: developer.salesforce.com, SOQL and
    SOSL Reference, Quoted String Escape Sequences.
    """
    quoted = text.translate(_SOQL)
    return f"'{quoted.translate(_LIKE) if is_like else quoted}'"


def ldap_value(text: str) -> str:
    """Return ``text`` as a value in a filter of LDAP, in which its signs stand for themselves (RFC 4515, section 3)."""
    return text.translate(_LDAP)


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
