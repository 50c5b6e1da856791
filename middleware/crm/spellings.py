"""How people group and separate a number's digits, for CRMs that search the text they typed."""

from __future__ import annotations

import re

from middleware.model.phone import PhoneNumber

SEPARATORS = ("", " ", "-", ".")
SHORTEST = 5  # digits of an ending: fewer are in too many numbers


def endings(number: PhoneNumber) -> list[str]:
    """Return the number without its area code, to be searched for as a part: ``1740605``, ``174 06 05``."""
    groups = _groups(number)
    groups = groups[1:] if sum(map(len, groups[1:])) >= SHORTEST else groups
    return list(dict.fromkeys(separator.join(groups) for separator in SEPARATORS)) if groups else []


def spellings(number: PhoneNumber) -> list[str]:
    """Return the whole number as people write it, the likeliest first; eight at most; none for what is no number."""
    groups = _groups(number)
    others = [" ".join(groups), f"{groups[0]}-{''.join(groups[1:])}", number.abroad] if groups else []
    return list(dict.fromkeys([*number.variants(), *others]))


def _groups(number: PhoneNumber) -> list[str]:
    return re.findall(r"\d+", number.national)
