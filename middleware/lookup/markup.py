"""Turns the HTML of a CRM's notes into markdown.

Hand-written: markdownify takes 8 ms for a note of 1 kB, recurses as deep as the tags are nested, and its parser takes
a second for some texts of 10 kB; anybody who writes an e-mail that becomes a ticket writes such a text.  This reads
the text once, whatever it holds, and remembers at most a few tags: work and memory grow with the length alone.
"""

from __future__ import annotations

import re
from html import unescape

# no part crosses a "<" that it might have to give back, so nothing is read twice
_TOKEN = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(?P<hidden>script|style|head|title)\b[^<>]*>.*?(?:</(?P=hidden)\s*+>|\Z)"
    r"|<[!?][^<>]*+>"
    r"""|<(?P<close>/?)(?P<name>[a-z][a-z0-9:-]*+)(?=[\s/>])(?P<rest>(?:[^<>"']|"[^"<]*+"|'[^'<]*+'|["'])*+)>"""
    r"|<[/a-z][^<>]*+(?<=…)\Z",  # what a cut left of a tag
    re.I | re.S,
)
_HREF = re.compile(r"""(?<![\w-])href\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'>]++))""", re.I)
_SPECIAL = re.compile(r"[\\`*_]")
_LONG_NUMBER = re.compile(r"&(?=#\d{20})")  # Python refuses to read a number of thousands of digits
_SPACE = re.compile(r"\s++")
_IN_A_LINK = {" ": "%20", "\n": "%0A", "(": "%28", ")": "%29", "<": "%3C", ">": "%3E", "\\": "%5C"}
_MARKS = {"b": "**", "strong": "**", "i": "*", "em": "*"}
_BLOCKS = frozenset("p div blockquote table ul ol h1 h2 h3 h4 h5 h6 hr pre section article header footer body".split())
_BREAKS = ("", " ", "\n", "  \n", "\n\n")  # the stronger, the further behind
_MOST_LISTS = 6  # one in another; deeper ones are not indented further
_MOST_QUOTES = 3


def strip_tags(text: str) -> str:
    """Return the text between the tags, spaces collapsed."""
    return _SPACE.sub(" ", _unescape(_TOKEN.sub(" ", text))).strip()


def to_markdown(text: str) -> str:
    """Return HTML as markdown, without its images; what is no tag is text."""
    writer, at = _Writer(), 0
    for token in _TOKEN.finditer(text):
        writer.text(text[at : token.start()])
        if token["name"]:
            writer.tag(token["name"].lower(), token["rest"], is_closing=bool(token["close"]))
        at = token.end()
    writer.text(text[at:])
    return writer.finish()


class _Writer:
    """Markdown as it is being written: a mark is written with the next word, and a break once it separates words."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._break = ""
        self._prefix = ""  # of the line that the next word begins
        self._waiting: list[str] = []  # marks that are open and have no word yet
        self._written: list[str] = []  # marks that are open and have one: at most "**", "*" and a link
        self._href = ""
        self._lists: list[int] = []  # the number of the latest item, -1 in a list without numbers
        self._quotes = 0

    def text(self, raw: str) -> None:
        """Write what stands between two tags."""
        if not raw:
            return
        text = _unescape(raw)
        words = text.strip()
        if words:
            self._separate(_break_of(text[: len(text) - len(text.lstrip())]))
            self._begin()
            words = _SPACE.sub(lambda spaces: _break_of(spaces[0]), words)
            self._out.append(_SPECIAL.sub(r"\\\g<0>", words))
            self._separate(_break_of(text[len(text.rstrip()) :]))
        else:
            self._separate(_break_of(text))

    def tag(self, name: str, rest: str, *, is_closing: bool) -> None:
        """Heed a tag that means something in markdown."""
        if mark := _MARKS.get(name):
            self._close(mark) if is_closing else self._open(mark)
        elif name == "a":
            self._close("[")
            if not is_closing and (href := _href(rest)):
                self._href = href
                self._open("[")
        elif name == "br":
            self._separate("  \n")
        elif name in ("td", "th"):
            self._cell(is_closing=is_closing)
        elif name in ("li", "tr"):
            self._line("\n" if name == "li" else "  \n")
            self._prefix = "" if is_closing or name == "tr" else self._item()
        elif name in _BLOCKS:
            self._block(name, is_closing=is_closing)

    def finish(self) -> str:
        """Close what is open and return the whole."""
        self._line("")
        return "".join(self._out)

    def _block(self, name: str, *, is_closing: bool) -> None:
        if name in ("ul", "ol"):
            if is_closing:
                del self._lists[-1:]
            self._line("\n" if self._lists else "\n\n")
            if not is_closing and len(self._lists) < _MOST_LISTS:
                self._lists.append(0 if name == "ol" else -1)
            return
        self._line("\n" if self._lists else "\n\n")
        if name == "blockquote":
            self._quotes = max(0, self._quotes - 1) if is_closing else min(self._quotes + 1, _MOST_QUOTES)
        elif name[0] == "h" and name[1:].isdigit():
            self._prefix = "" if is_closing else "#" * int(name[1:]) + " "

    def _item(self) -> str:
        indent = "   " * (len(self._lists) - 1)
        if not self._lists or self._lists[-1] < 0:
            return indent + "* "
        self._lists[-1] += 1
        return f"{indent}{self._lists[-1]}. "

    def _cell(self, *, is_closing: bool) -> None:
        if is_closing:
            self._shut()
            self._break = self._break or " "
        elif self._out and self._break in ("", " "):
            self._out.append(" |")
            self._break = " "

    def _open(self, mark: str) -> None:
        if mark not in self._waiting and mark not in self._written:
            self._waiting.append(mark)

    def _close(self, mark: str) -> None:
        if mark in self._waiting:
            self._waiting.remove(mark)
        elif mark in self._written:
            inner = self._written[self._written.index(mark) + 1 :]
            while self._written[-1] != mark:
                self._end_mark()
            self._end_mark()
            self._waiting[:0] = [other for other in inner if other != "["]  # a link is written once

    def _end_mark(self) -> None:
        mark = self._written.pop()
        self._out.append(f"]({self._href})" if mark == "[" else mark)

    def _line(self, kind: str) -> None:
        """End the line; marks do not reach beyond it in markdown, so that they begin anew."""
        self._shut()
        self._separate(kind)

    def _shut(self) -> None:
        again = [mark for mark in self._written if mark != "["]
        while self._written:
            self._end_mark()
        self._waiting[:0] = again

    def _separate(self, kind: str) -> None:
        self._break = max(self._break, kind, key=_BREAKS.index)

    def _begin(self) -> None:
        """Write the break, what begins a line, and the marks that wait for a word."""
        if not self._out:
            self._break = "\n\n"
        if self._out:
            self._out.append(self._break)
        if self._break in ("\n\n", "  \n") or self._prefix:
            self._out.append("> " * self._quotes + self._prefix)
        self._break = self._prefix = ""
        self._out += self._waiting
        self._written += self._waiting
        self._waiting.clear()


def _unescape(text: str) -> str:
    return unescape(_LONG_NUMBER.sub("&amp;", text)) if "&" in text else text


def _break_of(spaces: str) -> str:
    return "\n" if "\n" in spaces else spaces and " "


def _href(rest: str) -> str:
    found = _HREF.search(rest)
    href = _unescape(found[1] or found[2] or found[3] or "").strip() if found else ""
    is_web = href.lower().startswith(("http://", "https://", "mailto:", "tel:"))
    return "".join(_IN_A_LINK.get(sign, sign) for sign in href) if is_web else href
