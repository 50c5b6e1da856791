"""One request of a declarative adapter: how it is asked, and what its answer means, as a customer's file says it."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

from requests import Response

from middleware.crm.expressions import Expression
from middleware.crm.mapping import MOMENTS, is_column
from middleware.crm.placeholders import Template, Tree, Values, as_text, fill_tree, names_in, read_tree
from middleware.crm.session import CRMSession
from middleware.errors import CRMResponseError
from middleware.model.activity import Activity
from middleware.model.contact import Contact

Row = dict[str, Any]
NOTHING = object()  # an answer without content (204), or a request that nothing came before; JSON's null is an answer
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SEVERAL = re.compile(r"(number|email)(?:_(\d+))?")  # columns of which a contact may have several in one list
KEYS = {  # of a request's table
    "method": "method",
    "path": "where below `url`",
    "query": "parameters",
    "query_json": "parameters that are JSON",
    "query_base64": "parameters that are JSON in URL-safe base64",
    "headers": "headers",
    "json": "body",
    "form": "body as a form",
    "records": "expression that finds the records in the answer",
    "fields": "expressions that find the columns in a record",
    "link": "address of the record's page",
    "first": "request before this one, whose fields are placeholders of this one",
    "next": "expression that finds the next page",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a request of some name may be: its placeholders, its columns, and what it cannot be without."""

    method: str = "GET"
    parameters: frozenset[str] = frozenset()
    required: tuple[str, ...] = ()
    kind: type[Activity] | type[Contact] | None = None  # whose fields the columns fill
    columns: Collection[str] | None = ()  # that there are beside them; None: any
    keys: frozenset[str] = frozenset(KEYS) - {"next"}
    names: frozenset[str] = frozenset()  # placeholders of which one is sent, or it would be about everybody
    may_be_one: bool = False  # whether the answer may be a record instead of a list

    def has(self, column: str) -> bool:
        """Whether ``column`` fills anything."""
        return (
            self.columns is None or column in self.columns or (self.kind is not None and is_column(self.kind, column))
        )

    def known(self) -> list[str]:
        """Return the names of columns, for hints."""
        names = [field.name for field in dataclasses.fields(self.kind)] if self.kind else []
        return [*names, *(self.columns or ()), *(("number", "email") if self.kind is Contact else ())]


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedRequest:
    """A request that was read; ``where`` is its place in the file and begins every message."""

    where: str
    shape: Shape
    method: str
    path: Template
    query: dict[str, Tree]
    query_json: dict[str, Tree]
    query_base64: dict[str, Tree]
    headers: dict[str, Template]
    json: Tree | None
    form: dict[str, Tree]
    records: Expression | None
    fields: dict[str, Expression]
    link: Template | None
    first: MappedRequest | None
    next: Expression | None

    @property
    def names(self) -> frozenset[str]:
        """The placeholders that are sent."""
        trees = [*self.query.values(), *self.query_json.values(), *self.query_base64.values(), *self.form.values()]
        trees += [self.path, *self.headers.values(), *([] if self.json is None else [self.json])]
        return frozenset(name for tree in trees for name in names_in(tree)) | (
            self.first.names if self.first else set()
        )

    def answer(self, values: Values, http: CRMSession, zone: tzinfo, **more: Any) -> Any:
        """Ask, with what comes first, and return the answer's JSON; ``NOTHING`` for 204, and when nothing came first.

        ``more`` goes to the session.
        """
        known = self._preceded(values, http, zone, more)
        if known is None:
            return NOTHING
        asked: Row = {"params": self._params(known, zone), **more}
        headers = {name: text.fill_header(known, zone) for name, text in self.headers.items()}
        if any(headers.values()):
            asked["headers"] = {name: text for name, text in headers.items() if text is not None}
        if self.json is not None:
            asked["json"] = fill_tree(self.json, known, zone) or {}
        if self.form:
            asked["data"] = _texts(self.form, known, zone)
        return self._read(http.request(self.method, self.path.fill_path(known, zone), **asked))

    def following(self, url: str, http: CRMSession, **more: Any) -> Any:
        """Return the answer of a further page, whose address the page before has told."""
        return self._read(http.get(url, **more))

    def _read(self, response: Response) -> Any:
        """Return the answer's JSON; a write's may be anything where nothing of it is read."""
        is_read = bool(self.fields or self.records)
        return response.json() if is_read and response.status_code != 204 else NOTHING

    def _params(self, values: Values, zone: tzinfo) -> Row:
        params = _texts(self.query, values, zone)
        for name, tree in {**self.query_json, **self.query_base64}.items():
            filled = fill_tree(tree, values, zone)
            if filled is not None:
                text = json.dumps(filled, separators=(",", ":"))
                params[name] = urlsafe_b64encode(text.encode()).decode() if name in self.query_base64 else text
        return params

    def rows(self, answer: Any, zone: tzinfo) -> list[Row]:
        """Return each record's columns; raises ``CRMResponseError`` where the records are none."""
        found = self.records.search(answer) if self.records else answer
        if self.shape.may_be_one and isinstance(found, dict):
            found = [found]
        if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
            raise CRMResponseError(f"{self.where}.records: what should be a list of objects is none")
        return [self.row(record, zone) for record in found]

    def row(self, record: Any, zone: tzinfo) -> Row:
        """Return the columns of one record."""
        read: Row = {}
        for column, expression in self.fields.items():
            read |= _columns(column, expression.search(record), expression.where)
        if self.link is not None and all(read.get(name) not in (None, "") for name in self.link.names):
            read["link"] = read["url"] = self.link.fill_path(read, zone)
        return read

    def chain(self) -> Iterator[MappedRequest]:
        """Yield this request and those before it, the first one first."""
        if self.first:
            yield from self.first.chain()
        yield self

    def is_like(self, method: str, path: str) -> bool:
        """Whether a request of this method to this path may be this one."""
        pattern = "".join(re.escape(piece.literal) + ("[^/]+" if piece.name else "") for piece in self.path.pieces)
        return method == self.method and bool(re.search(f"{pattern}$", path))

    def explain(self, answer: Any) -> Iterator[tuple[str, Any]]:
        """Yield each expression's key with what it finds in an answer, for people; of records the first three."""
        found = _explained(self.records, answer) if self.records else answer
        if self.records:
            yield "records", found if not isinstance(found, list) else f"{len(found)} found"
        records = found if isinstance(found, list) else [found]
        for place, record in enumerate(records[:3], 1):
            for column, expression in self.fields.items():
                yield f"{place}. {column}", _explained(expression, record)

    def _preceded(self, values: Values, http: CRMSession, zone: tzinfo, more: Row) -> Values | None:
        """Ask what comes first, and return ``values`` with what it tells; ``None`` where that is nothing."""
        if self.first is None:
            return values
        answer = self.first.answer(values, http, zone, **more)
        if answer is NOTHING:
            return None
        told: Row = {}
        for name, expression in self.first.fields.items():
            told[name] = expression.search(answer)
            if told[name] is None or isinstance(told[name], dict):
                raise CRMResponseError(f"{expression.where}: finds nothing that can be sent")
        return None if [] in told.values() else {**values, **told}


def _explained(expression: Expression, json: Any) -> Any:
    try:
        return expression.search(json)
    except CRMResponseError as error:
        return f"({error})"


def _texts(parameters: Tree, values: Values, zone: tzinfo) -> Row:
    """Return parameters of a query or a form as texts; a list is one that comes several times."""
    filled = fill_tree(parameters, values, zone) or {}
    return {
        name: [as_text(item) for item in value] if isinstance(value, list) else as_text(value)
        for name, value in filled.items()
    }


def _moment(parts: list[Any], where: str) -> datetime | None:
    """Return the moment of a list of year, month, day, and perhaps hour, minute and second."""
    if None in parts:
        return None
    try:
        return datetime(*parts)  # noqa: DTZ001 - the reader knows the zone
    except (TypeError, ValueError, OverflowError):
        raise CRMResponseError(f"{where}: the list is no moment") from None


def _columns(column: str, found: Any, where: str) -> Row:
    """Return what an expression found as columns: a list is several numbers, or words that are joined."""
    if isinstance(found, list):
        if any(isinstance(item, dict | list) for item in found):
            raise CRMResponseError(f"{where}: what should be a text or number is none")
        if column in MOMENTS:
            return {column: _moment(found, where)}
        several = SEVERAL.fullmatch(column.removesuffix("_comment"))
        if several is None:
            words = [str(item) for item in found if item not in (None, "", False)]
            return {column: " ".join(words) or None}
        stem, comment = f"{several[1]}_{several[2] or 1}0", column.endswith("_comment") and "_comment"
        return {f"{stem}{place}{comment or ''}": item for place, item in enumerate(found, 1)}
    if isinstance(found, dict):
        raise CRMResponseError(f"{where}: what should be a text or number is none")
    return {column: found}


@dataclass(slots=True)
class Reading:
    """One table while it is read: its problems, each beginning with the place."""

    problems: list[str] = field(default_factory=list)

    def request(self, table: object, where: str, shape: Shape) -> MappedRequest | None:
        """Return the request, or ``None`` when there is a problem with it."""
        before = len(self.problems)
        if not isinstance(table, dict):
            self.problems.append(f"{where}: write a table with a path")
            return None
        self._keys(table, where, shape.keys)
        method = table.get("method", shape.method)
        if method not in METHODS or (shape.method == "GET" and method not in ("GET", "POST")):
            known = METHODS if shape.method != "GET" else ("GET", "POST")
            self.problems.append(f"{where}.method: is none that fits; write {' or '.join(known)}")
        first = self._first(table, where, shape)
        known_names = shape.parameters | (frozenset(first.fields) if first else frozenset())
        parts = {
            key: self._table(table, key, where, known_names)
            for key in ("query", "query_json", "query_base64", "headers", "form")
        }
        body = read_tree(table["json"], known_names, f"{where}.json", self.problems) if "json" in table else None
        if "json" in table and "form" in table:
            self.problems.append(f"{where}.form: a request has one body: json or form")
        path = self._path(table, where, known_names)
        fields = self._fields(table, where, shape)
        link = self._link(table, where, fields)
        records = self.expression(table, "records", where)
        following = self.expression(table, "next", where)
        if len(self.problems) > before or path is None:
            return None
        found = MappedRequest(
            where=where,
            shape=shape,
            method=method,
            path=path,
            query=parts["query"],
            query_json=parts["query_json"],
            query_base64=parts["query_base64"],
            headers={name: tree for name, tree in parts["headers"].items() if isinstance(tree, Template)},
            json=body,
            form=parts["form"],
            records=records,
            fields=fields,
            link=link,
            first=first,
            next=following,
        )
        if shape.names and not found.names & shape.names:
            told = " or ".join(f"{{{name}}}" for name in sorted(shape.names))
            self.problems.append(f"{where}: would be about everybody; it names none of {told}")
        return found

    def unknown(self, where: str, name: str, known: Iterable[str]) -> None:
        """Note that there is no such name, and what is probably meant."""
        near = difflib.get_close_matches(name, known := sorted(known), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        self.problems.append(f"{where}: is unknown; {hint}")

    def _keys(self, table: Mapping[str, Any], where: str, known: Iterable[str]) -> None:
        for key in table:
            if key not in known:
                self.unknown(f"{where}.{key}", key, known)

    def _first(self, table: Mapping[str, Any], where: str, shape: Shape) -> MappedRequest | None:
        if "first" not in table:
            return None
        inner = Shape(parameters=shape.parameters, columns=None, keys=frozenset(KEYS) - {"next", "link", "records"})
        first = self.request(table["first"], f"{where}.first", inner)
        if first and not first.fields:
            self.problems.append(f"{where}.first.fields: is missing; it names what this request needs")
        return first

    def _table(self, table: Mapping[str, Any], key: str, where: str, known: Collection[str]) -> dict[str, Tree]:
        inner = table.get(key, {})
        if not isinstance(inner, dict):
            self.problems.append(f"{where}.{key}: write a table")
            return {}
        if key in ("query", "headers", "form"):
            for name, value in inner.items():
                is_text = isinstance(value, str) or (key != "headers" and isinstance(value, int | float | list))
                if not is_text:
                    self.problems.append(f"{where}.{key}.{name}: write a text, e.g. in quotes")
        return {name: read_tree(value, known, f"{where}.{key}.{name}", self.problems) for name, value in inner.items()}

    def _path(self, table: Mapping[str, Any], where: str, known: Collection[str]) -> Template | None:
        text = table.get("path")
        if not isinstance(text, str) or "://" in text or "?" in text or "#" in text:
            self.problems.append(f"{where}.path: write what comes behind `url`; what follows a ? belongs into query")
            return None
        tree = read_tree(text, known, f"{where}.path", self.problems)
        return tree if isinstance(tree, Template) else None

    def _fields(self, table: Mapping[str, Any], where: str, shape: Shape) -> dict[str, Expression]:
        columns = table.get("fields", {})
        if not isinstance(columns, dict):
            self.problems.append(f"{where}.fields: write a table of columns and expressions")
            return {}
        missing = [name for name in shape.required if name not in columns]
        if missing:
            self.problems.append(f"{where}.fields: the column {missing[0]} is missing")
        found = {}
        for name, text in columns.items():
            place = f"{where}.fields.{name}"
            if not shape.has(name):
                near = difflib.get_close_matches(name, shape.known(), 1)
                hint = f"did you mean {near[0]!r}?" if near else "adapters/README.rst lists the names"
                self.problems.append(f"{place}: fills nothing; {hint}")
                continue
            try:
                found[name] = Expression.parse(text, place)
            except ValueError as error:
                self.problems.append(f"{place}: {error}")
        return found

    def expression(self, table: Mapping[str, Any], key: str, where: str) -> Expression | None:
        """Return the expression at ``key``, if there is one and it is right."""
        if key not in table:
            return None
        try:
            return Expression.parse(table[key], f"{where}.{key}")
        except ValueError as error:
            self.problems.append(f"{where}.{key}: {error}")
            return None

    def _link(self, table: Mapping[str, Any], where: str, fields: Collection[str]) -> Template | None:
        if "link" not in table:
            return None
        return self.page(table["link"], f"{where}.link", fields)

    def page(self, text: object, where: str, known: Collection[str]) -> Template | None:
        """Return the address of a page, with each placeholder as one segment."""
        if not isinstance(text, str) or not re.match(r"https?://[^\s{}]+", text):
            self.problems.append(f"{where}: write an address that begins with https://")
            return None
        tree = read_tree(text, known, where, self.problems)
        return tree if isinstance(tree, Template) else None
