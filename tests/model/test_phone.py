"""Numbers as callers bring them and as people store them."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.model import phone
from middleware.model.phone import NumberKind, iter_stored_numbers, mask_number, parse_number

MOBILE = "+46701740605"


@pytest.mark.parametrize(
    "text",
    ["+46701740605", " 46701740605", "070-174 06 05", "+46 (0)70 174 06 05", "0046 70 174 06 05", "tel:+46701740605",
     "46701740605", "070-174 06 05 ext 12", "070 174 06 05 ankn. 12"],
)  # fmt: skip
def test_every_spelling_is_one_number(text: str) -> None:
    """However a number is written, it is the same number."""
    number = parse_number(text, "SE")
    assert (number.kind, number.e164) == (NumberKind.DIALLABLE, MOBILE)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", NumberKind.ANONYMOUS),
        ("   ", NumberKind.ANONYMOUS),
        ("Anonymous", NumberKind.ANONYMOUS),
        ("+266696687", NumberKind.ANONYMOUS),
        ("302", NumberKind.INTERNAL),
        ("112", NumberKind.INTERNAL),
        ("+4612", NumberKind.IMPOSSIBLE),
        ("9" * 300, NumberKind.IMPOSSIBLE),
        ("'; drop table contacts", NumberKind.IMPOSSIBLE),
        ("*)(uid=*", NumberKind.IMPOSSIBLE),
        ("user-4711", NumberKind.OPAQUE),
        ("sip:302@pbx.example", NumberKind.OPAQUE),
    ],
)
def test_what_is_no_number_is_told_apart(text: str, kind: NumberKind) -> None:
    """Withheld, internal, impossible numbers and ids have no form that a CRM could be asked for."""
    number = parse_number(text, "SE")
    assert (number.kind, number.e164, number.variants(), number.suffix) == (kind, None, (), "")


def test_variants_are_the_ways_people_store_it() -> None:
    """The likeliest spelling comes first, none comes twice."""
    number = parse_number("070-174 06 05", "SE")
    assert number.variants() == (MOBILE, "0701740605", "46701740605", "0046701740605", "070-174 06 05")
    assert number.suffix == "01740605"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("070-174 06 05 (mobil) / 08-465 004 12 ext 3", {MOBILE, "+46846500412"}),
        ("Mobil: 070-174 06 05", {MOBILE}),
        ("070-174 06 05, 08-465 004 12", {MOBILE, "+46846500412"}),
        ("070-1740605 Anna", {MOBILE}),
        ("ring inte!", set()),
        ("", set()),
    ],
)
def test_numbers_are_found_in_what_people_type(text: str, numbers: set[str]) -> None:
    """A phone field with words and several numbers gives up its numbers."""
    assert set(iter_stored_numbers(text, "SE")) == numbers


@given(st.text(max_size=80))
def test_no_text_breaks_the_parser(text: str) -> None:
    """Any text is some kind of number, and what can be dialled looks like E.164."""
    number = parse_number(text, "SE")
    assert number.is_diallable == (number.e164 is not None)
    assert number.e164 is None or (number.e164[0] == "+" and number.e164[1:].isascii() and number.e164[1:].isdigit())
    list(iter_stored_numbers(text, "SE"))


@given(st.integers(700000000, 799999999))
def test_every_variant_means_the_number(national: int) -> None:
    """Each way to store a number is read back as that number."""
    number = parse_number(f"+46{national}", "SE")
    assert all(f"+46{national}" in iter_stored_numbers(variant, "SE") for variant in number.variants())


def test_masked_number_shows_two_digits() -> None:
    """A masked number keeps just enough to be recognised."""
    assert (mask_number(MOBILE), mask_number("302")) == ("…05", "…")


@given(
    st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)),
    st.text("0123456789", min_size=3, max_size=12),
)
def test_what_is_e164_already_is_read_as_if_it_were_parsed(code: int, digits: str) -> None:
    """The short way, which most numbers take, says what the long one says."""
    text = f"+{code}{digits}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phone, "_is_e164", lambda _text: False)
        parsed = phone._parse.__wrapped__(text, "SE")
    assert phone._parse.__wrapped__(text, "SE") == parsed
    assert not phone._is_e164(text) or parsed.e164 == text


def test_the_short_way_is_taken() -> None:
    """Numbers of countries with and without a national prefix take it; those with a zero that may not count do not."""
    assert all(map(phone._is_e164, ("+46701740605", "+4512345678", "+15551230001", "+80012345678")))
    odd = ("+460701740605", "+390612345678", "46701740605", "+46 701740605", "+4670", "+999123456789", "+266696687")
    assert not any(map(phone._is_e164, odd))
