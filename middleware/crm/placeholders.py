"""Texts with ``{placeholders}``, filled as the place wants it in which they stand.

Their spelling is that of ``str.format``, of which only the reading is used: a name is looked up and never evaluated.
A placeholder may say after a colon how it is written::

    {started_at:%Y-%m-%d %H:%M}     a moment, as strftime has it
    {started_at:seconds}            … or :milliseconds since 1970
    {contact_id:number}             an id that is digits, as a number
    {raw:doubled}                   within quotes: the quotes in it doubled, as OData and SQL want it
    {raw:escaped}                   within quotes: with backslashes, as SOQL and JSON want it
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from string import Formatter
from typing import Any

from middleware.crm.quote import url_segment
from middleware.errors import CRMRejectedError, UnsupportedError

Values = Mapping[str, Any]
WAYS = ("number", "seconds", "milliseconds", "doubled", "escaped")
MOMENTS = frozenset({"started_at", "ended_at", "since"})
_QUOTE = re.compile(r"(['\"])[^'\"\s]*$")  # the quote that is open where a placeholder comes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A text, and the placeholder behind it: its name, how it is written, and the quote that it stands in."""

    literal: str
    name: str | None = None
    way: str = ""
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """One text, read."""

    pieces: tuple[_Piece, ...]

    @classmethod
    def parse(cls, text: str, known: Collection[str]) -> Template:
        """Read ``text``; raises ``ValueError`` that says what is wrong with a placeholder."""
        try:
            parts = list(Formatter().parse(text))
        except ValueError:
            raise ValueError("has a brace without its partner; a brace that is meant is written twice: {{ }}") from None
        return cls(tuple(_piece(literal, name, way or "", known) for literal, name, way, _ in parts))

    @property
    def names(self) -> frozenset[str]:
        """The placeholders in it."""
        return frozenset(piece.name for piece in self.pieces if piece.name)

    def fill(self, values: Values, zone: tzinfo) -> Any:
        """Return the text; a placeholder that stands alone keeps its type, and is ``None`` where it is unknown."""
        if len(self.pieces) == 1 and self.pieces[0].name and not self.pieces[0].literal:
            return _written(self.pieces[0], values, zone)
        return "".join(piece.literal + as_text(_written(piece, values, zone)) for piece in self.pieces)

    def fill_path(self, values: Values, zone: tzinfo) -> str:
        """Return the text as part of a URL, with each value as (part of) one segment."""
        return "".join(piece.literal + (_segment(piece, values, zone) if piece.name else "") for piece in self.pieces)

    def fill_header(self, values: Values, zone: tzinfo) -> str | None:
        """Return the text as a header's value; one that would end the header is refused."""
        value = self.fill(values, zone)
        if value is None:
            return None
        if not (as_text(value).isascii() and as_text(value).isprintable()):
            raise UnsupportedError("a header would hold a line break, or what is no ASCII")
        return as_text(value)


Tree = Template | dict[str, "Tree"] | list["Tree"] | int | float | bool


def read_tree(value: Any, known: Collection[str], where: str, problems: list[str]) -> Tree:
    """Read every text of a JSON value; what is wrong with one is added to ``problems``, with its place."""
    if isinstance(value, dict):
        return {key: read_tree(inner, known, f"{where}.{key}", problems) for key, inner in value.items()}
    if isinstance(value, list):
        return [read_tree(inner, known, f"{where}.{place}", problems) for place, inner in enumerate(value)]
    if isinstance(value, bool | int | float):
        return value
    if not isinstance(value, str):
        problems.append(f"{where}: write a text; JSON knows no dates")
        return False
    try:
        return Template.parse(value, known)
    except ValueError as error:
        problems.append(f"{where}: {error}")
        return False


def fill_tree(tree: Tree, values: Values, zone: tzinfo) -> Any:
    """Return the JSON; what is unknown is left out, with the tables and lists that held nothing else.

    A list in a list is left out as soon as anything of it is unknown: it is a condition, ``["since", ">", …]``.
    """
    if isinstance(tree, Template):
        return tree.fill(values, zone)
    if isinstance(tree, dict):
        filled = {key: new for key, inner in tree.items() if (new := fill_tree(inner, values, zone)) is not None}
        return None if tree and not filled else filled
    if isinstance(tree, list):
        filled_items = [(inner, fill_tree(inner, values, zone)) for inner in tree]
        items = [
            new
            for inner, new in filled_items
            if new is not None and not (isinstance(inner, list) and len(new) < len(inner))
        ]
        return None if tree and not items else items
    return tree


def names_in(tree: Tree) -> Iterator[str]:
    """Yield the placeholders of a JSON value."""
    if isinstance(tree, Template):
        yield from tree.names
    elif isinstance(tree, dict | list):
        for inner in tree.values() if isinstance(tree, dict) else tree:
            yield from names_in(inner)


def _piece(literal: str, name: str | None, way: str, known: Collection[str]) -> _Piece:
    if name is None:
        return _Piece(literal=literal)
    if name not in known:
        told = ", ".join(f"{{{each}}}" for each in sorted(known)) or "none"
        raise ValueError(f"unknown placeholder {{{name}}}; known: {told}")
    if way and way not in WAYS and not way.startswith("%"):
        raise ValueError(f"{{{name}:{way}}}: write :%Y-%m-%d and the like for a moment, or one of {', '.join(WAYS)}")
    if (way in ("seconds", "milliseconds") or way.startswith("%")) and name not in MOMENTS:
        raise ValueError(f"{{{name}:{way}}}: only {', '.join(sorted(MOMENTS))} are moments")
    quote = _QUOTE.search(literal)
    if quote and way not in ("doubled", "escaped"):
        wanted = f"{{{name}:doubled}} (OData, SQL) or {{{name}:escaped}} (SOQL, JSON)"
        raise ValueError(f"{{{name}}} stands in quotes, which it may hold itself: write {wanted}")
    if not quote and way in ("doubled", "escaped"):
        raise ValueError(f"{{{name}:{way}}} stands in no quotes: write {{{name}}}")
    return _Piece(literal=literal, name=name, way=way, quote=quote[1] if quote else "")


def _written(piece: _Piece, values: Values, zone: tzinfo) -> Any:
    """Return a placeholder's value as it is to be written; ``None`` where it is unknown."""
    value = values.get(piece.name) if piece.name else ""
    if value is None:
        return None
    if isinstance(value, datetime):
        return _moment(value, piece.way, zone)
    if isinstance(value, str):
        value = value.encode("utf-8", "replace").decode()  # a half of a pair of surrogates is no text
    if piece.way == "number":
        if not (as_text(value).isascii() and as_text(value).isdecimal()):
            raise UnsupportedError("the id is none")
        return int(value)
    if piece.way == "doubled":
        return as_text(value).replace(piece.quote, piece.quote * 2)
    if piece.way == "escaped":
        return as_text(value).replace("\\", "\\\\").replace(piece.quote, f"\\{piece.quote}")
    return value


def _segment(piece: _Piece, values: Values, zone: tzinfo) -> str:
    try:
        return url_segment(as_text(_written(piece, values, zone)))
    except CRMRejectedError as error:  # not the CRM rejects it
        raise UnsupportedError(str(error)) from None


def _moment(moment: datetime, way: str, zone: tzinfo) -> str | int:
    if way == "seconds":
        return int(moment.timestamp())
    if way == "milliseconds":
        return round(moment.timestamp() * 1000)
    if way.startswith("%"):
        return moment.astimezone(zone).strftime(way)
    return moment.astimezone(UTC).isoformat()


def as_text(value: Any) -> str:
    """Return a value as it stands in a text: a list joined with commas, nothing for what is unknown."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
