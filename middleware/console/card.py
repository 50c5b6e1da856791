"""The answer of a lookup as Insights shows it (specs/001, RESPONSE), made of the very JSON that M8Com gets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from markdown_it import MarkdownIt
from markupsafe import Markup

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).disable("image")  # HTML is shown as text, images not at all
_NAMES = {
    "NOTE": "Note",
    "TASK": "Task",
    "CALL": "Call",
    "TICKET": "Ticket",
    "DEAL": "Deal",
    "APPOINTMENT": "Appointment",
}
# what a type has beside its body, in the order that it is read in
_MOMENTS = {
    "dueDate": "Due",
    "startTime": "Began",
    "createdDate": "Created",
    "closeDate": "Closes",
    "startDate": "Begins",
    "endDate": "Ends",
}
_TEXTS = {
    "fromNumber": "From",
    "toNumber": "To",
    "priority": "Priority",
    "status": "Status",
    "venue": "Place",
    "associatedUser": "By",
    "assignedUser": "For",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An activity of the card: ``facts`` are label and text, ``is_done`` is the green mark."""

    kind: str
    header: str
    at: str
    body: str | Markup
    link: str | None
    is_done: bool
    facts: list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardView:
    """What the template shows; ``answer`` is the JSON as M8Com gets it."""

    answer: dict[str, Any]
    initials: str
    activities: list[Shown]
    links: list[dict[str, str]]


def read_card(answer: dict[str, Any], timezone: ZoneInfo) -> CardView:
    """Return the card of an answer; moments are written in the customer's ``timezone``."""
    return CardView(
        answer=answer,
        initials=initials_of(answer["displayName"]),
        activities=[_shown(activity, timezone) for activity in answer.get("activities", ())],
        links=answer.get("createActivityUrls", answer.get("createActivityUrl", [])),
    )


def initials_of(name: str) -> str:
    """Return the first letters of the first and the last word of a name."""
    words = [word for word in name.split() if word[0].isalnum()]
    return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words)).upper() or "?"


def render_markdown(text: str) -> Markup:
    """Return markdown as HTML without anything in it that a browser would run or fetch."""
    tokens = _MARKDOWN.parse(text)
    for token in tokens:
        for child in token.children or ():
            if child.type == "link_open":
                child.attrs |= {"rel": "noopener noreferrer nofollow", "target": "_blank"}
    # markdown-it has escaped what is no markdown, and refuses links such as javascript:
    return Markup(_MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {}))  # noqa: S704


def _shown(activity: dict[str, Any], timezone: ZoneInfo) -> Shown:
    kind = activity["type"]
    body = activity["body"]
    return Shown(
        kind=kind.lower(),
        header=_header(activity),
        at=_moment(activity["timestamp"], timezone),
        body=render_markdown(body) if activity.get("markdown") else body,
        link=activity.get("link") or activity.get("ticketLink") or activity.get("dealLink"),
        is_done=bool(activity.get("done")),
        facts=list(_facts(activity, timezone)),
    )


def _header(activity: dict[str, Any]) -> str:
    """Return the header: an own one alone, any other behind the type's name."""
    name = _NAMES.get(activity["type"], activity["type"])
    own, header = activity.get("customHeader"), activity.get("header")
    return str(own or (f"{name} - {header}" if header else name))


def _facts(activity: dict[str, Any], timezone: ZoneInfo) -> Iterable[tuple[str, str]]:
    if activity.get("customDescription"):
        yield "Description", activity["customDescription"]
    is_whole_day = activity.get("allDay")
    for key, label in _MOMENTS.items():
        if key in activity:
            text = _moment(activity[key], timezone)
            yield label, text.partition(" ")[0] if is_whole_day else text
    if "duration" in activity:
        minutes, seconds = divmod(round(activity["duration"] / 1000), 60)
        yield "Duration", f"{minutes}:{seconds:02}"
    for key, label in _TEXTS.items():
        if activity.get(key) and not (key == "status" and activity.get("done")):  # the mark stands for it
            yield label, str(activity[key])
    if "amount" in activity:
        yield "Value", f"{activity['amount']:,} {activity.get('currency', '')}".strip()
    if activity.get("pipelineStage"):
        yield activity.get("pipeline") or "Stage", activity["pipelineStage"]


def _moment(ms: int, timezone: ZoneInfo) -> str:
    try:
        return f"{datetime.fromtimestamp(ms / 1000, UTC).astimezone(timezone):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"
