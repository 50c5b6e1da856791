"""What a CRM has answered: written by the author or recorded, and found again for a request that is like it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from middleware.errors import ConfigError
from middleware.testing.conformance.samples import KEY

READS = ("GET", "HEAD", "OPTIONS")
_BOUNDARY = re.compile(r"boundary=\"?([^\";]+)")
Leaf = tuple[tuple[str | int, ...], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer: ``Exchange(request="GET /people?phone=01740605", answer=[…])``.

    ``request`` is the method and the path below the host, with its query.  ``sent`` is the JSON of its body, where
    requests of one path differ in it.  ``answer`` is JSON; a text is sent as it is.  ``reads`` says of a POST that
    it only searches.
    """

    request: str
    answer: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: Any = None
    reads: bool = False

    @property
    def is_read(self) -> bool:
        """Whether the CRM is the same after it."""
        return self.reads or self.request.split(" ")[0] in READS

    @property
    def body(self) -> bytes:
        """The answer's bytes."""
        if self.answer is None:
            return b""
        return (self.answer if isinstance(self.answer, str) else json.dumps(self.answer)).encode()

    @property
    def asked(self) -> Asked:
        """What the request says, in parts."""
        method, _, target = self.request.partition(" ")
        body = "" if self.sent is None else self.sent if isinstance(self.sent, str) else json.dumps(self.sent)
        return Asked.parse(method, target, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request in parts: decoded segments of its path, its query, and its body as JSON, form or text."""

    method: str
    segments: tuple[str, ...]
    query: tuple[tuple[str, str], ...] = ()
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, method: str, target: str, body: str, headers: Mapping[str, str] | None = None) -> Asked:
        """Take a request apart; ``target`` is a path or a URL."""
        parts, headers = urlsplit(target), dict(headers or {})
        if boundary := _BOUNDARY.search(headers.get("Content-Type", "")):  # it is another each time
            body = body.replace(boundary[1], "boundary")
            headers["Content-Type"] = headers["Content-Type"].replace(boundary[1], "boundary")
        return cls(
            method=method,
            segments=tuple(unquote(part) for part in parts.path.split("/") if part),
            query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
            body=_parsed(body),
            headers=tuple(headers.items()),
        )

    def leaves(self) -> list[Leaf]:
        """Return every value of query and body, with the way to it."""
        found: list[Leaf] = [(("query", name), value) for name, value in self.query]
        return found + [(("body", *way), value) for way, value in leaves_of(self.body)]

    def texts(self) -> list[str]:
        """Return every value of path, query, body and headers as text."""
        values = [*self.segments, *(value for _, value in self.leaves()), *(value for _, value in self.headers)]
        return ["" if value is None else str(value) for value in values]

    def says(self, text: str) -> bool:
        """Whether ``text`` is anywhere in it."""
        return any(text in value for value in self.texts())


def _parsed(body: str) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        pairs = parse_qsl(body, keep_blank_values=True, max_num_fields=500) if "=" in body and "\n" not in body else []
        return dict(pairs) if pairs and not body.lstrip().startswith("<") else body


def leaves_of(value: Any, way: tuple[str | int, ...] = ()) -> Iterator[Leaf]:
    """Yield every value of JSON that holds no others, with the keys and places that lead to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves_of(inner, (*way, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from leaves_of(inner, (*way, place))
    else:
        yield way, value


class Book:
    """Exchanges, found by a request that is like theirs."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self._by_place: dict[tuple[str, tuple[str, ...]], list[tuple[Exchange, list[Leaf], bool]]] = {}
        for exchange in exchanges:
            known = exchange.asked
            entry = (exchange, known.leaves(), known.says(KEY))
            self._by_place.setdefault((known.method, known.segments), []).append(entry)

    def find(self, asked: Asked) -> Exchange | None:
        """Return the exchange that a request is most like, if one has its method and path.

        One that holds the sample call's key answers only a request that holds it: so a CRM does not know calls that
        it was never told of.
        """
        places = self._by_place.get((asked.method, asked.segments), [])
        if not places:
            return None
        given, has_key = asked.leaves(), asked.says(KEY)

        def likeness(entry: tuple[Exchange, list[Leaf], bool]) -> tuple[bool, int, int]:
            _, wanted, knows_key = entry
            same = sum(leaf in given for leaf in wanted)
            return knows_key == has_key, same, same - len(wanted)

        candidates = [entry for entry in places if has_key or not entry[2]]
        best = max(candidates, key=likeness, default=None)
        return best[0] if best else None


def load_exchanges(path: Path) -> list[Exchange]:
    """Read a file as ``m8crm adapter record`` writes it; raises ``ConfigError`` that names the entry."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            str(path), [f"cannot be read ({type(error).__name__}): it is a JSON list of exchanges"]
        ) from None
    known = {each.name for each in fields(Exchange)}
    problems = [
        f"entry {number} must be an object with request, and any of {', '.join(sorted(known - {'request'}))}"
        for number, entry in enumerate(entries, 1)
        if not (isinstance(entry, dict) and "request" in entry and entry.keys() <= known)
    ]
    if problems:
        raise ConfigError(str(path), problems)
    return [Exchange(**entry) for entry in entries]


def dump_exchanges(exchanges: Sequence[Exchange]) -> str:
    """Return the text of a file of exchanges, without what is as usual."""
    usual = asdict(Exchange(request=""))
    plain = [{k: v for k, v in asdict(each).items() if k == "request" or v != usual[k]} for each in exchanges]
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
