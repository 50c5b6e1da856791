"""The templates of a logged call's subject and body: few words of Jinja2, and whatever they print is escaped.

A template is refused when the customer's file is read, with the line that is wrong.  It may print facts, ask and
repeat, and nothing else: without assignments and calls, its work grows with its length and the facts' alone.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

LogFormat = Literal["text", "html", "markdown"]
MAX_TEMPLATE = 8_000  # characters
_ALLOWED = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Filter),
    *(nodes.If, nodes.For, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not),
    *(nodes.Test, nodes.Concat),
)
_FILTERS = ("capitalize", "default", "first", "last", "length", "lower", "title", "trim", "truncate", "upper")
_TESTS = ("defined", "in")
# also those that turn text round
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_INLINE = re.compile(r"[\\`*_\[\]<&~|]")  # what begins something in the middle of a line of markdown
_LINE = re.compile(
    r"^(?:(?P<sign>>|[+\-](?=[\s\-]|$)|#(?=#{0,5}(?:\s|$))|=(?==*\s*$))|(?P<digits>\d{1,9})(?P<after>[.)])(?=\s|$))"
)
_UNSAFE_IN_URL = re.compile(r"[^A-Za-z0-9\-._~:/?#@!$&+,;=%]")  # brackets, quotes and stars mean something somewhere


class WebLink(str):
    """An http(s) URL in which nothing is left that markdown or HTML gives a meaning, but the ``&``."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line about the call; ``is_link`` when its text is a URL."""

    label: str
    text: str

    @property
    def is_link(self) -> bool:
        """Whether the text is a link."""
        return isinstance(self.text, WebLink)


Facts = Mapping[str, str | Sequence[str] | Sequence[Fact]]
# what a template may name, with an example that it is tried with
SAMPLE: Facts = {
    "direction": "Inbound",
    "started": "2026-03-01 13:00:00",
    "ended": "2026-03-01 13:04:10",
    "timezone": "Europe/Stockholm",
    "duration": "4 min 10 s",
    "waiting": "40 s",
    "talking": "3 min 30 s",
    "from_number": "+46701740605",
    "to_number": "+46846500400",
    "contact_number": "+46701740605",
    "own_number": "+46846500400",
    "caller_name": "Ada Webb",
    "agent": "Bo Ek",
    "group": "Support",
    "outcome": "Answered",
    "transferred_to": "Cy Dahl",
    "transferred_by": "Di Falk",
    "journey": ("Support", "Bo Ek (Support)"),
    "call_type": "Outbound",
    "recording": WebLink("https://pbx.example/r/1"),
    "transcript": WebLink("https://pbx.example/t/1"),
    "summary": "Wants a red one.",
    "action_items": ("Send the prices.",),
    "sentiment": "positive",
    "facts": (Fact(label="Duration", text="4 min 10 s"),),
}


def web_link(url: str | None) -> WebLink | None:
    """Return the URL as a link that may stand anywhere; none if it is not http(s)."""
    if not url or not re.match(r"https?://[^/?#\s]", url, re.I):
        return None
    return WebLink(_UNSAFE_IN_URL.sub(lambda sign: "".join(f"%{byte:02X}" for byte in _utf8(sign[0])), url.strip()))


def clean(text: str) -> str:
    """Return the text without control characters, which no CRM stores and nobody reads."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def escape_html(value: str) -> str:
    """Return what a browser shows as ``value``."""
    return html.escape(value).replace("\n", "<br>\n")


def escape_markdown(value: str) -> str:
    """Return what a renderer of markdown shows as ``value``, its lines one below the other."""
    if isinstance(value, WebLink):
        return value
    lines = (_LINE.sub(_escape_begin, _INLINE.sub(r"\\\g<0>", line.strip())) for line in value.split("\n"))
    return re.sub(r"(?<=\S)\n(?=\S)", "  \n", "\n".join(lines))


ESCAPES: dict[LogFormat, Callable[[str], str]] = {
    "text": str,
    "html": escape_html,
    "markdown": escape_markdown,
}


def find_fault(source: str) -> str | None:
    """Return what is wrong with a template, in words for who wrote it."""
    if len(source) > MAX_TEMPLATE:
        return f"has more than {MAX_TEMPLATE} characters"
    try:
        tree = _environment("text").parse(source)
        fault = next(_faults(tree), None)
        if fault:
            return fault
        for facts in (SAMPLE, dict.fromkeys(SAMPLE, "")):
            render(source, "text", facts)
    except TemplateSyntaxError as error:
        return f"line {error.lineno}: {error.message}"
    except RecursionError:
        return "is nested too deeply"
    except Exception as error:
        return f"cannot be filled in ({type(error).__name__}: {error})"
    return None


def render(source: str, log_format: LogFormat, facts: Facts, most: int = 1_000_000) -> str:
    """Return the template filled in; nothing more than a little over ``most`` characters is made."""
    pieces: list[str] = []
    made = 0
    for piece in _template(source, log_format).generate(facts):
        pieces.append(piece)
        made += len(piece)
        if made > most:
            break
    return "".join(pieces)


class _Environment(ImmutableSandboxedEnvironment):
    """Templates see the attributes of facts and of nothing else, and call nothing."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return isinstance(obj, Fact) and attr in ("label", "text", "is_link")

    def is_safe_callable(self, obj: Any) -> bool:
        return False


@cache
def _environment(log_format: LogFormat) -> _Environment:
    escape = ESCAPES[log_format]

    def finalize(value: object) -> str:
        return escape(value if isinstance(value, str) else str(value))

    environment = _Environment(
        autoescape=False,  # every printed value is escaped by finalize, also what a filter calls safe
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in _FILTERS}
    environment.tests = {name: environment.tests[name] for name in _TESTS}
    return environment


@lru_cache(maxsize=256)
def _template(source: str, log_format: LogFormat) -> Template:
    return _environment(log_format).from_string(source)


def _faults(tree: nodes.Template) -> Iterator[str]:
    for unknown in sorted(meta.find_undeclared_variables(tree) - set(SAMPLE)):
        yield f"{unknown!r} is no fact; known: {', '.join(SAMPLE)}"
    for node in _walk(tree):
        if not isinstance(node, _ALLOWED):
            yield f"line {node.lineno}: {type(node).__name__.lower()} is not for templates; if, for and filters are"
        elif isinstance(node, nodes.For) and (node.recursive or any(node.find_all(nodes.For))):
            yield f"line {node.lineno}: a for in another is too much"
        elif isinstance(node, nodes.Filter) and node.name not in _FILTERS:
            yield f"line {node.lineno}: the filter {node.name!r} is unknown; known: {', '.join(_FILTERS)}"


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    for child in node.iter_child_nodes():
        yield child
        yield from _walk(child)


def _escape_begin(match: re.Match[str]) -> str:
    return f"\\{match['sign']}" if match["sign"] else f"{match['digits']}\\{match['after']}"


def _utf8(sign: str) -> bytes:
    return sign.encode("utf-8", "replace")
