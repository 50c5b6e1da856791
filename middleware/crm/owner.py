"""Whose a record is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from middleware.crm.reading import required


def find_owner(owner: str | None, users: Callable[[str], Sequence[dict[str, Any]]]) -> str | None:
    """Return the CRM's id of an owner, who may be named by e-mail: then ``users`` asks the CRM who has the address.

    ``None`` is nobody, and an address that the CRM does not know.
    """
    if not owner or "@" not in owner:
        return owner or None
    found = users(owner)
    return required(found[0], "id") if found else None
