"""Anybody may write what a CRM holds: no text stops the process or loses a contact."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from time import thread_time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from middleware.lookup import clean, markup
from middleware.lookup.clean import MAX_TEXT, clean_activity, clean_body, clean_text
from middleware.model.activity import Note

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BAD_LINK = "[x](javascript:a)"  # has everything looked at closely
MARKDOWN = ["![", "[", "]", "(", ")", "a", " ", "\n", "\\", "`", "*", "_", "<", ">", "<a:", "]:", "](", "](http://a"]
HTML = ["<b>", "</b>", "<p>", "<i>", "<a href=x>", "<a b='", '"', ">", "<!--", "<ul><li>", "<td>", "<", "&#1", " ", "x"]
LITTLE = 0.03  # seconds of work that are too few to compare
MOST = 16  # times the work for eight times the text; work that grows with the square takes sixty-four


@pytest.mark.parametrize(
    ("text", "is_markdown"),
    [
        ("![" * 5_000, True),
        ("![" * 4_900 + BAD_LINK, True),
        ("[" * 9_900 + BAD_LINK, True),
        ("![](" * 2_500, True),
        ("![a](()" * 1_400, True),
        ("a" + "\n" * 9_990 + "b", True),
        ("a" + "\n" * 9_900 + BAD_LINK, True),
        ("]:" + " " * 9_900 + "b" + BAD_LINK, True),
        ("<" + "a" * 9_900 + BAD_LINK, True),
        ("<b>x</b><a b=" * 800, False),
        ("<b>x</b><a b='" * 800, False),
        ("<p>" + "<!--" * 2_490, False),
        ("<p>" + "<script>" * 1_200, False),
        ("<p>" + "<![CDATA[" * 1_100, False),
        ("<p><b><i><a href=" + "x" * 200 + ">" + "<p>x" * 1_900, False),
    ],
)
def test_no_body_stops_the_process(text: str, is_markdown: bool) -> None:
    """The work for a text grows with its length, not with the square of it."""
    for _ in range(5):  # whatever else runs may disturb some
        if not _grows(text, is_markdown):
            return
    pytest.fail("eight times the text is far more than eight times the work")


PATTERNS = {
    name: pattern
    for module in (clean, markup)
    for name, pattern in vars(module).items()
    if isinstance(pattern, re.Pattern)
}


@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_reads_again_what_it_read(name: str) -> None:
    """A pattern's work grows with the text's length, whatever is repeated in it."""
    search = PATTERNS[name].findall
    for piece in {*MARKDOWN, *HTML, "\n ", "![]("}:
        text = piece * (16_000 // len(piece))
        for _ in range(5):
            whole = _timed(partial(search, text))
            if whole < LITTLE or whole < MOST * _timed(partial(search, text[: len(text) // 8])):
                break
        else:
            pytest.fail(f"{piece!r} is read again and again")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(MARKDOWN), min_size=1, max_size=4), st.booleans())
def test_repeated_markdown_is_read_in_time(pieces: list[str], is_bad: bool) -> None:
    """Whatever is repeated in markdown, reading it takes time that grows with its length."""
    _check_repeated("".join(pieces), "", BAD_LINK if is_bad else "", is_markdown=True)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(HTML), min_size=1, max_size=4))
def test_repeated_html_is_read_in_time(pieces: list[str]) -> None:
    """Whatever is repeated in HTML, reading it takes time that grows with its length."""
    _check_repeated("".join(pieces), "<p>", "x", is_markdown=False)


@pytest.mark.parametrize(("brackets", "is_markdown"), [(100, True), (4_900, False)])
def test_markdown_full_of_brackets_is_text(brackets: int, is_markdown: bool) -> None:
    """What the renderer takes long to read is not given to it."""
    text = "![" * brackets + "\n\n[a]: https://a.se"
    assert clean_body(text, is_markdown=True) == (text, is_markdown)


@pytest.mark.parametrize(
    "tag", ["b", "i", "div", "p", "blockquote", "ul><li", "ol><li", "table><tr><td", "a href=x", "h1"]
)
def test_deep_html_is_read(tag: str) -> None:
    """Tags in one another, however many, are a body like any other."""
    depth = sys.getrecursionlimit() * 2
    body, _ = clean_body(f"<{tag}>" * min(depth, (MAX_TEXT - 20) // (len(tag) + 2)) + "call back", is_markdown=False)
    assert "call back" in body
    assert len(body) < 100


def test_a_body_that_cannot_be_read_is_shown_without_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in reading one body costs its markup, not the contact."""

    def fail(text: str) -> str:
        raise RecursionError

    monkeypatch.setattr(clean, "to_markdown", fail)
    note = clean_activity(Note(timestamp=NOW, body="<p>Call <b>back</b> &amp; ask</p>"))
    assert (note.body, note.markdown) == ("Call back & ask", False)


def test_a_number_of_thousands_of_digits_is_text() -> None:
    """A character reference that Python refuses to read costs nothing but itself."""
    assert clean_body("<b>x</b> &#" + "1" * 5_000 + ";", is_markdown=False)[0].startswith("**x** &#111")


@given(
    st.lists(st.sampled_from([*HTML, *MARKDOWN, "javascript:a", "https://a.se", "<a href='javascript:a'>"])).map(
        "".join
    )
)
def test_what_passes_as_markdown_has_only_safe_links(text: str) -> None:
    """The short way to find a text harmless agrees with the renderer."""
    body, is_markdown = clean_body(text, is_markdown=True)
    assume(is_markdown)
    for part in clean._MARKDOWN.render(body).split('href="')[1:]:
        assert part.startswith(("http://", "https://", "mailto:", "tel:"))
    assert "<img" not in clean._MARKDOWN.render(body)


@pytest.mark.parametrize("text", ["\r" * 40_000, "\u202e" * 40_000, " " * 40_000 + "x", "\r\n" * 20_000 + "x"])
def test_control_characters_in_plenty_are_left_out(text: str) -> None:
    """Short texts are made fit to be shown however much there is to leave out."""
    assert clean_text(text) in ("", "x")


def _check_repeated(piece: str, begin: str, end: str, *, is_markdown: bool) -> None:
    text = begin + piece * ((MAX_TEXT - len(begin + end)) // len(piece)) + end
    assert not all(_grows(text, is_markdown) for _ in range(4))


def _grows(text: str, is_markdown: bool) -> bool:
    """Whether the whole takes far more than eight times the work of its two ends, an eighth of it."""
    end = len(text) // 16
    whole = _work(text, is_markdown)
    if whole < LITTLE:
        return False
    return whole > MOST * max(_work(text[:end] + text[-end:], is_markdown), LITTLE / 8)


def _work(text: str, is_markdown: bool) -> float:
    return _timed(lambda: clean_body(text, is_markdown=is_markdown))


def _timed(work: Callable[[], object]) -> float:
    begin = thread_time()
    work()
    return thread_time() - begin
