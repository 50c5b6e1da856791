"""The ways to write a number, for CRMs that search what somebody typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.crm.spellings import endings, spellings
from middleware.model.phone import iter_stored_numbers, parse_number

SWEDISH = st.integers(min_value=700_000_000, max_value=799_999_999).map(lambda digits: f"+46{digits}")


def test_endings_are_without_area_code() -> None:
    """What follows the area code is the same for who writes 0 and who writes +46."""
    assert endings(parse_number("+46701740605", "SE")) == ["1740605", "174 06 05", "174-06-05", "174.06.05"]


def test_an_ending_is_never_short() -> None:
    """Where little is left without the first digits, they stay: a part that everybody has finds everybody."""
    assert endings(parse_number("+3726123456", "EE")) == ["6123456", "612 3456", "612-3456", "612.3456"]


def test_no_number_has_no_spelling() -> None:
    """A search for nothing would find everybody."""
    nobody = parse_number("anonymous", "SE")
    assert (endings(nobody), spellings(nobody)) == ([], [])


@pytest.mark.parametrize("written", ["070-174 06 05", "070 174 06 05", "070-1740605", "+46 70 174 06 05", "0701740605"])
def test_people_s_ways_are_known(written: str) -> None:
    """The usual ways to write a Swedish mobile number."""
    assert written in spellings(parse_number("+46701740605", "SE"))


@given(SWEDISH)
def test_every_spelling_means_the_number(number: str) -> None:
    """However a number is spelt, it is read as the number that it was, and there are eight ways at most."""
    ways = spellings(parse_number(number, "SE"))
    assert len(ways) == len(set(ways)) <= 8
    assert all(number in iter_stored_numbers(way, "SE") for way in ways)
