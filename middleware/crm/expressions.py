"""JMESPath expressions of a customer's file, read before anybody calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from middleware.errors import CRMResponseError


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression; ``where`` begins every message."""

    where: str
    compiled: Any

    @classmethod
    def parse(cls, text: object, where: str) -> Expression:
        """Read ``text``; raises ``ValueError`` that says where it breaks, or that the library is missing."""
        try:
            import jmespath  # noqa: PLC0415 - an extra, which only these adapters need
        except ModuleNotFoundError:
            raise ValueError("needs JMESPath: pip install 'm8crm[rest]'") from None
        if not isinstance(text, str) or not text.strip():
            raise ValueError("write a JMESPath expression")
        try:
            compiled = jmespath.compile(text)
        except jmespath.exceptions.JMESPathError as error:
            raise ValueError(f"is no JMESPath: {_first_line(error)}") from None
        for name, count in _calls(compiled.parsed):
            _assert_callable(name, count)
        return cls(where, compiled)

    def search(self, json: Any) -> Any:
        """Return what the expression finds, ``None`` for nothing; raises ``CRMResponseError`` that holds no value."""
        from jmespath.exceptions import JMESPathError  # noqa: PLC0415

        try:
            return self.compiled.search(json)
        except (JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError, AttributeError):
            raise CRMResponseError(f"{self.where}: the expression meets a value that it was not written for") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(":")


def _calls(node: Any) -> Iterator[tuple[str, int]]:
    """Yield the functions that a syntax tree calls, with the number of arguments."""
    if isinstance(node, dict):
        if node.get("type") == "function_expression":
            yield node["value"], len(node["children"])
        for inner in node.get("children", ()):
            yield from _calls(inner)


def _assert_callable(name: str, count: int) -> None:
    """Refuse what the library would only refuse when it is called."""
    from jmespath.functions import Functions  # noqa: PLC0415

    known = Functions.FUNCTION_TABLE
    if name not in known:
        raise ValueError(f"is no JMESPath: there is no function {name}(); known: {', '.join(sorted(known))}")
    signature = known[name]["signature"]
    is_open = bool(signature) and bool(signature[-1].get("variadic"))
    if count < len(signature) or (count > len(signature) and not is_open):
        raise ValueError(f"is no JMESPath: {name}() wants {len(signature)} arguments and has {count}")
