"""Makes what a CRM holds fit to be shown: text without control characters, links that are links.

M8Com shows HTML as text and renders markdown without images (specs/001, Markdown): HTML becomes markdown,
images become their description, and markdown with a link that is not a web, mail or phone link is shown as
plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from typing import TypeVar
from urllib.parse import urlsplit

import structlog
from markdown_it import MarkdownIt

from middleware.lookup.markup import strip_tags, to_markdown
from middleware.model.activity import Activity
from middleware.model.contact import Contact, ContactNumber, Email, Field, Link

MAX_TEXT = 10_000  # characters of a body; more cannot be read while a phone rings
MAX_URL = 2_000  # characters
MAX_LINE = 500  # characters of any other text
_WESTERN = bytes((*range(0x20, 0x7F), *range(0x80, 0xC0), 0xC3))  # of ASCII and U+00C0 to U+00FF in UTF-8
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# anybody may write these texts: no pattern may read a character more than a few times, or one text stops the process
_HTML = re.compile(r"</?(?:p|br|div|span|ul|ol|li|b|strong|i|em|u|a|table|tr|td|h[1-6]|img|blockquote)\b[^<>]*+>", re.I)
_IMAGE = re.compile(r"!\[([^\[\]]*+)\](?:\((?:[^()]|\([^()]*+\))*+\)|\[[^\[\]]*+\])")
_SAFE_SCHEMES = ("http://", "https://", "mailto:", "tel:")
_SAFE = r"(?:https?://|mailto:|tel:)"
_PLAIN_LINK = re.compile(rf"(?<!!)\[[^\[\]<>\\]*+\]\({_SAFE}[^\s()<>\\]*+\)|<{_SAFE}[^\s<>\\]*+>", re.I)
_MAYBE_LINK = re.compile(r"\]\(|\]:|<[a-z]", re.I)  # without one of these there is no link in markdown
_UNSAFE_LINK = re.compile(rf"\](?:\(|:)\s*+<?+(?!{_SAFE})|<(?!{_SAFE})[a-z][a-z0-9+.-]++:", re.I)
_MOST_BRACKETS = 200  # that markdown-it looks at, in time that grows with their square; with more it is shown as text
_MARKDOWN = MarkdownIt("commonmark", {"html": False})

log = structlog.get_logger("m8crm.lookup")

Record = Contact | ContactNumber | Email | Field | Link | Activity
RecordT = TypeVar("RecordT", bound=Record)


def clean_contact(contact: Contact) -> Contact:
    """Return the contact with every text and link fit to be shown."""
    if not _is_fit(contact):
        contact = _clean_fields(contact)
        contact = _changed(
            contact,
            display_name=contact.display_name or _fallback_name(contact),
            numbers=tuple([number for number in map(_clean_fields, contact.numbers) if number.number]),
            emails=tuple([email for email in map(_clean_fields, contact.emails) if email.address]),
            fields=tuple([field for field in map(_clean_fields, contact.fields) if field.title and field.comment]),
        )
    return _changed(
        contact,
        url=web_url(contact.url),
        avatar_url=web_url(contact.avatar_url),
        cover_photo_url=web_url(contact.cover_photo_url),
    )


def clean_links(links: Iterable[Link]) -> tuple[Link, ...]:
    """Return the links that have a name and lead to the web."""
    return tuple([link for link in map(_clean_fields, links) if link.name and web_url(link.url)])


def clean_activity(activity: Activity) -> Activity:
    """Return the activity with a body M8Com can show and no link but a web link."""
    body, markdown = clean_body(activity.body, is_markdown=activity.markdown)
    return replace(_clean_fields(activity), body=body, markdown=markdown, link=web_url(activity.link))


def clean_body(text: str, *, is_markdown: bool) -> tuple[str, bool]:
    """Return the text of a body and whether it is markdown; HTML becomes markdown.

    A body is never worth a contact: one that cannot be read is shown as text without tags.
    """
    text = clean_text(text[: 2 * MAX_TEXT], MAX_TEXT)
    try:
        return _read_body(text, is_markdown)
    except Exception as error:
        log.warning("body_shown_without_markup", error=type(error).__name__)
        return strip_tags(text), False


def _read_body(text: str, is_markdown: bool) -> tuple[str, bool]:
    if not is_markdown and has_html(text):
        text, is_markdown = clean_text(to_markdown(text), MAX_TEXT), True
    if not is_markdown:
        return text, False
    text = _IMAGE.sub(lambda match: match[1], text)
    return text, _has_only_safe_links(text)


def has_html(text: str) -> bool:
    """Whether a text that is not called markdown is taken for HTML."""
    return _HTML.search(text) is not None


def clean_text(text: str, most: int = MAX_LINE) -> str:
    """Return ``text`` without control characters, cut at ``most`` characters."""
    if not _is_printable(text):
        text = _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = text.strip()
    return text if len(text) <= most else text[: most - 1] + "…"


def web_url(url: str | None) -> str | None:
    """Return ``url`` when it is an absolute http(s) link, else ``None``."""
    if not url:
        return None
    text = clean_text(url, MAX_URL)
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    is_web = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and " " not in text
    return text if is_web else None


def _is_fit(contact: Contact) -> bool:
    """Whether no text is to be cleaned, as nearly always: to look at all at once takes a tenth of the time.

    What an adapter brings may be of any type: all that is not as it should be is not fit.
    """
    lists, moment = (contact.numbers, contact.emails, contact.fields), contact.updated_at
    is_aware = moment is None or getattr(moment, "tzinfo", None) is not None
    if not (is_aware and all(isinstance(records, tuple) for records in lists)):
        return False
    optional = [contact.first_name, contact.last_name, contact.company, contact.title]
    optional += [number.comment for number in contact.numbers]
    optional += [email.comment for email in contact.emails]
    texts = [contact.id, contact.display_name, *(text for text in optional if text is not None)]
    texts += [number.number for number in contact.numbers]
    texts += [email.address for email in contact.emails]
    texts += [fact.title for fact in contact.fields]
    texts += [fact.comment for fact in contact.fields]
    try:
        is_printable = _is_printable("".join(texts))
    except TypeError:  # some are no text
        return False
    return is_printable and all(texts) and texts == [*map(str.strip, texts)] and max(map(len, texts)) <= MAX_LINE


def _is_printable(text: str) -> bool:
    """Say what ``str.isprintable`` does, of what Western Europe writes in a tenth of the time."""
    return not text.encode(errors="surrogatepass").translate(None, _WESTERN) or text.isprintable()


def _clean_fields(record: RecordT) -> RecordT:
    """Return the record with short texts cleaned, empty optional ones ``None``, and naive moments read in UTC."""
    changes: dict[str, object] = {}
    values, limits = _looked_at(type(record))  # type: ignore[arg-type]  # a type is hashable
    for value, (name, most, is_optional) in zip(values(record), limits, strict=True):
        if value is None:
            continue
        if isinstance(value, str):
            text = clean_text(value, most) or (None if is_optional else "")
            if text != value:
                changes[name] = text
        elif isinstance(value, datetime) and value.tzinfo is None:
            changes[name] = value.replace(tzinfo=UTC)
    return _changed(record, **changes) if changes else record


def _changed(record: RecordT, **fields: object) -> RecordT:
    """Return the record with ``fields`` as they are now; itself where they are so: making another one takes long."""
    changes = {name: value for name, value in fields.items() if value != getattr(record, name)}
    return replace(record, **changes) if changes else record  # type: ignore[arg-type]  # mypy cannot match names


@cache
def _looked_at(kind: type[Record]) -> tuple[attrgetter[tuple[object, ...]], list[tuple[str, int, bool]]]:
    """Return what gets the fields that are looked at, and of each its name, most characters, and if it is optional."""
    looked_at = [field for field in fields(kind) if field.name != "body"]
    assert len(looked_at) > 1  # or the value would come without its tuple
    limits = [(f.name, MAX_URL if f.name.endswith(("url", "link")) else MAX_LINE, f.default is None) for f in looked_at]
    return attrgetter(*(field.name for field in looked_at)), limits


def _fallback_name(contact: Contact) -> str:
    names = " ".join(filter(None, (contact.first_name, contact.last_name)))
    return names or contact.company or (contact.numbers[0].number if contact.numbers else contact.id)


def _has_only_safe_links(text: str) -> bool:
    rest = _PLAIN_LINK.sub(" ", text)
    if not _MAYBE_LINK.search(rest):
        return True
    if rest.count("[") > _MOST_BRACKETS:
        return False
    for token in _MARKDOWN.parse(text):
        for child in token.children or ():
            if child.type == "image":
                return False
            if child.type == "link_open" and not str(child.attrs.get("href", "")).lower().startswith(_SAFE_SCHEMES):
                return False
    # what markdown-it refuses to link it leaves as text; another renderer may not
    return not _UNSAFE_LINK.search(text)
