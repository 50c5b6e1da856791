"""Phone numbers: what was dialled, what it means, and the ways a CRM may have written it.

Parsing is phonenumberslite's; the rules around it (what is no number at all, what people append to one) are ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache, lru_cache
from typing import Literal

import phonenumbers
from phonenumbers import PhoneNumberFormat, ValidationResult


class NumberKind(Enum):
    """What a caller's number turned out to be; only ``DIALLABLE`` is ever sent to a CRM as a number."""

    DIALLABLE = "diallable"
    ANONYMOUS = "anonymous"  # withheld or empty
    INTERNAL = "internal"  # an extension or a local-only number
    OPAQUE = "opaque"  # an id or address in place of a number
    IMPOSSIBLE = "impossible"  # digits that no telephone network has


# the properties of PhoneNumber that are ways to write it
NumberForm = Literal["e164", "international", "double_zero", "national", "national_digits", "suffix"]
SUFFIX_DIGITS = 8
MAX_RAW = 256  # characters; a longer "number" is none
_ANONYMOUS = frozenset(
    "anonymous unknown private restricted unavailable withheld hidden blocked none null "
    "anonym okänd dold hemligt skyddat +266696687 266696687".split()
)
_OPAQUE = re.compile(r"[A-Za-z0-9._@:+-]{1,64}")
_PLAIN = re.compile(r"\+?[0-9]+")  # nearly all that come: none of the other patterns has anything to find there
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_LETTER = re.compile(r"[^\W\d_]")
_EXTENSION = re.compile(
    r"\s*(?:;ext=|ext(?:n|ension)?\.?|ankn(?:ytn(?:ing)?)?\.?|x|#|durchwahl|dw)\s*:?\s*\d+\s*$", re.I
)
_SEVERAL = re.compile(r"[/;,|]|\s{2,}|\n")
_POSSIBLE = (ValidationResult.IS_POSSIBLE,)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneNumber:
    """A number as it came (``raw``) and, where it can be dialled, in E.164.

    All forms are empty strings unless :attr:`kind` is ``DIALLABLE``, for ``+46701234567``:
    ``international`` ``46701234567``, ``double_zero`` ``0046701234567``, ``national`` ``070-123 45 67``,
    ``national_digits`` ``0701234567``, ``suffix`` ``01234567`` (the last eight digits, for a broad search).
    """

    raw: str
    kind: NumberKind
    e164: str | None = None

    @property
    def is_diallable(self) -> bool:
        """Whether a CRM may be asked for it as a number."""
        return self.kind is NumberKind.DIALLABLE

    @property
    def opaque_id(self) -> str | None:
        """The id or address that stands in place of a number, if it is one."""
        return self.raw if self.kind is NumberKind.OPAQUE else None

    @property
    def national(self) -> str:
        """The number as it is written in its own country."""
        return _written(self.e164, PhoneNumberFormat.NATIONAL) if self.e164 else ""

    @property
    def abroad(self) -> str:
        """The number as it is written in other countries: ``+46 70 123 45 67``."""
        return _written(self.e164, PhoneNumberFormat.INTERNATIONAL) if self.e164 else ""

    @property
    def international(self) -> str:
        """Country code and number, digits only."""
        return (self.e164 or "")[1:]

    @property
    def double_zero(self) -> str:
        """The number as it is dialled from most countries."""
        return f"00{self.international}" if self.e164 else ""

    @property
    def national_digits(self) -> str:
        """The national form, digits only."""
        return "".join(filter(str.isdigit, self.national))

    @property
    def suffix(self) -> str:
        """The last digits, which every way of writing the number has in common."""
        return self.national_digits[-SUFFIX_DIGITS:]

    def variants(self) -> tuple[str, ...]:
        """Return the ways people store the number, the likeliest first, each once; none if it cannot be dialled."""
        if not self.e164:
            return ()
        forms = (self.e164, self.national_digits, self.international, self.double_zero, self.national)
        return tuple(dict.fromkeys(filter(None, forms)))

    def __str__(self) -> str:
        """Return E.164 where there is one, else what came."""
        return self.e164 or self.raw


def parse_number(raw: str, region: str) -> PhoneNumber:
    """Understand what a sender calls a number; ``region`` (ISO 3166) reads national forms.  Never raises."""
    text = raw.strip() if raw[:1] != " " or not raw.strip()[:1].isdigit() else "+" + raw.strip()
    return _parse(text[:MAX_RAW], region.upper())


@lru_cache(maxsize=16_384)
def _parse(text: str, region: str) -> PhoneNumber:
    if not text or text.lower() in _ANONYMOUS:
        return PhoneNumber(raw=text, kind=NumberKind.ANONYMOUS)
    if _is_e164(text):
        return PhoneNumber(raw=text, kind=NumberKind.DIALLABLE, e164=text)
    bare = text
    if not _PLAIN.fullmatch(text):
        if text.lower().startswith("tel:"):
            text = text[4:]
        bare = _EXTENSION.sub("", text)
        if _LETTER.search(bare):
            kind = NumberKind.OPAQUE if _OPAQUE.fullmatch(text) else NumberKind.IMPOSSIBLE
            return PhoneNumber(raw=text, kind=kind)
    try:
        parsed = phonenumbers.parse(bare, region)
    except phonenumbers.NumberParseException:
        return PhoneNumber(raw=text, kind=_unparsed_kind(text))
    if phonenumbers.is_possible_number_with_reason(parsed) not in _POSSIBLE:
        return PhoneNumber(raw=text, kind=_unparsed_kind(text))
    return PhoneNumber(
        raw=text,
        kind=NumberKind.DIALLABLE,
        e164=phonenumbers.format_number(parsed, PhoneNumberFormat.E164),
    )


def _is_e164(text: str) -> bool:
    """Whether it is certain that ``phonenumbers.parse`` would change nothing, and find a number that can be.

    Hand-written: nearly all senders write E.164, and parsing takes seven times as long.
    """
    if not _E164.fullmatch(text):
        return False
    for end in (2, 3, 4):  # of the country's code: none is the beginning of another
        code = int(text[1:end])
        if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            break
    else:
        return False
    national = text[end:]
    if national[0] == "0" or _national_prefix(code).match(national):
        return False
    return _may_be_as_long(code, len(national))


@cache
def _may_be_as_long(code: int, digits: int) -> bool:
    """Whether a national number, which does not begin with 0, may have so many digits: they say all there is to ask."""
    number = phonenumbers.PhoneNumber(country_code=code, national_number=10 ** (digits - 1))
    return phonenumbers.is_possible_number_with_reason(number) in _POSSIBLE


@cache
def _national_prefix(code: int) -> re.Pattern[str]:
    """Return what a national number may begin with that is not part of it; it never matches where there is nothing."""
    region = phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code][0]
    metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    return re.compile((metadata and metadata.national_prefix_for_parsing) or "(?!)")


@lru_cache(maxsize=4_096)
def _written(e164: str, form: int) -> str:
    return phonenumbers.format_number(phonenumbers.parse(e164), form)


def _unparsed_kind(text: str) -> NumberKind:
    digits = sum(map(str.isdigit, text))
    return NumberKind.INTERNAL if 0 < digits <= 6 and not text.startswith(("+", "00")) else NumberKind.IMPOSSIBLE


def iter_stored_numbers(text: str, region: str) -> Iterator[str]:
    """Yield in E.164 every number in what somebody typed into a CRM's phone field.

    ``070-123 45 67 (mobil) / 08-123 456 00 ext 12`` yields two.
    """
    whole = text[:MAX_RAW]
    parts = [whole, *(_SEVERAL.split(whole) if _SEVERAL.search(whole) else ())]
    for part in parts:
        number = _parse(_without_words(part), region.upper())
        if number.e164:
            yield number.e164


def _without_words(text: str) -> str:
    """Cut what people append to a number; letters would be read as keypad digits."""
    if _PLAIN.fullmatch(text):
        return text
    text = _EXTENSION.sub("", text.strip())
    text = re.sub(r"\([^()\d]*\)|^[^\d+(]+", "", text)
    letter = _LETTER.search(text)
    return (text[: letter.start()] if letter else text).strip(" (.:-")


def mask_number(number: str) -> str:
    """Return ``number`` so that a person recognises it and a stranger does not: its last two digits."""
    return f"…{number[-2:]}" if len(number) > 4 else "…"
