"""A call as an adapter writes it: whose it is, how it ended, and its text, composed in one place for every CRM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from middleware.inbox.calls import tell_sides
from middleware.model.call import UNANSWERED, CallEvent, CallRecord, Direction, Ending, Leg
from middleware.tenants.log_template import Fact, Facts, LogFormat, clean, render, web_link
from middleware.tenants.tenant import Tenant

MAX_SUBJECT = 255  # characters; the shortest that a CRM's field for it is known to hold
MAX_BODY = 30_000  # characters; Salesforce takes 32,000
MAX_ITEMS = 50  # action items, stages and further facts
SHORTER = (16_000, 4_000, 400)  # characters of a text: shorter ones are tried until the body fits
SUBJECT = """\
{{ direction }} call{% if outcome and outcome != "Answered" %}
{% if agent %}{{ " for " if direction == "Inbound" else " by " }}{{ agent }}{% endif %}
: {{ outcome }}{% else %}
{% if agent %} with {{ agent }}{% endif %}
{% if duration %}, {{ duration }}{% endif %}
{% endif %}"""
BODIES: dict[LogFormat, str] = {
    "text": """\
{% for fact in facts %}
{{ fact.label }}: {{ fact.text }}
{% endfor %}
{% if summary %}

{{ summary }}
{% endif %}
{% if action_items %}

Action items:
{% for item in action_items %}
- {{ item }}
{% endfor %}
{% endif %}""",
    "html": """\
<ul>
{% for fact in facts %}
<li><b>{{ fact.label }}:</b>
{% if fact.is_link %}
<a href="{{ fact.text }}">{{ fact.text }}</a></li>
{% else %}
{{ fact.text }}</li>
{% endif %}
{% endfor %}
</ul>
{% if summary %}
<p>{{ summary }}</p>
{% endif %}
{% if action_items %}
<p><b>Action items:</b></p>
<ul>
{% for item in action_items %}
<li>{{ item }}</li>
{% endfor %}
</ul>
{% endif %}""",
    "markdown": """\
{% for fact in facts %}
{% if fact.is_link %}
* **{{ fact.label }}:** <{{ fact.text }}>
{% else %}
* **{{ fact.label }}:** {{ fact.text }}
{% endif %}
{% endfor %}
{% if summary %}

{{ summary }}
{% endif %}
{% if action_items %}

**Action items:**

{% for item in action_items %}
* {{ item }}
{% endfor %}
{% endif %}""",
}
log = structlog.get_logger("m8crm.delivery")


def compose_call(
    event: CallEvent,
    *,
    event_id: str,
    key: str,
    tenant: Tenant,
    received_at: datetime,
    log_format: LogFormat = "text",
) -> CallRecord:
    """Return the call as an adapter writes it.

    ``event`` is what all senders told; ``received_at`` stands in for the end of a call whose start nobody knows.
    A link to a recording is taken only where it does not expire, as ours.
    """
    direction, contact, own = tell_sides(event, tenant)
    duration = event.duration or timedelta()
    recordings, transcripts = event.lasting_links("recording"), event.lasting_links("transcript")
    record = CallRecord(
        id=event_id,
        key=key,
        direction=direction,
        contact_number=contact,
        own_number=own,
        started_at=event.started_at or received_at - duration,
        duration=duration,
        subject="",
        body="",
        agent=event.agent or event.username,
        answer_group=event.answer_group,
        user_id=event.user_id,
        referred_to=event.referred_to,
        referred_by=event.referred_by,
        summary=event.summary,
        ending=event.ending,
        wait_time=event.wait_time,
        talk_time=event.talk_time,
        owner=_owner(event, tenant),
        contact_id=event.contact_id,
        recording=web_link(next(iter(recordings), None)),
        transcript=web_link(next(iter(transcripts), None)),
        action_items=event.action_items[:MAX_ITEMS],
        sentiment=event.sentiment,
        journey=event.journey[:MAX_ITEMS],
        caller_name=event.caller_name if direction is Direction.INBOUND else None,
    )
    further = {f"Recording {part}": url for part, url in enumerate(recordings[1:], 2)}
    return _with_texts(record, replace(event, facts={**further, **event.facts}), tenant, log_format)


def spell_duration(duration: timedelta) -> str:
    """Return e.g. ``1 h 02 min 03 s``, without the units that are zero at the front."""
    minutes, seconds = divmod(round(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min {seconds:02} s"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def spell_outcome(record: CallRecord) -> str:
    """Return how the call ended, e.g. ``Missed: the caller gave up after 40 s in Support``."""
    wait = spell_duration(record.wait_time) if record.wait_time else ""
    where = f" in {record.answer_group}" if record.answer_group else ""
    match record.ending:
        case Ending.ANSWERED | None:
            return "Answered" if record.ending else ""
        case _ if record.direction is Direction.OUTBOUND and record.ending in UNANSWERED:
            return "Not answered"
        case Ending.VOICEMAIL:
            return "Voicemail: the caller left a message" if record.direction is Direction.INBOUND else "Voicemail"
        case Ending.ABANDONED:
            return f"Missed: the caller gave up{wait and f' after {wait}'}{where}"
        case Ending.TIMED_OUT:
            return f"Missed: nobody answered{where}{wait and f' for {wait}'}"
        case Ending.MISSED:
            return "Missed"


def append_line(body: str, line: Fact, log_format: LogFormat) -> str:
    """Return the body with one more fact below it."""
    templates: dict[LogFormat, str] = {
        "text": "\n\n{% for fact in facts %}{{ fact.label }}: {{ fact.text }}{% endfor %}",
        "html": "\n{% for fact in facts %}<p>{{ fact.label }}: {{ fact.text }}</p>{% endfor %}",
        "markdown": "\n\n{% for fact in facts %}{{ fact.label }}: {{ fact.text }}{% endfor %}",
    }
    fact = Fact(label=line.label, text=_short(line.text, SHORTER[-1]))
    return body + render(templates[log_format], log_format, {"facts": (fact,)})


def _owner(event: CallEvent, tenant: Tenant) -> str | None:
    """Return the CRM's id of the user who spoke last, by whatever a sender calls him; else the customer's default."""
    owners = tenant.calls.owners
    latest = event.journey[::-1]
    spoke = [leg for leg in latest if leg.ending in (None, Ending.ANSWERED)]
    rang = [leg for leg in latest if leg not in spoke]
    names = (*_names(spoke), event.user_id, event.username, event.agent, *_names(rang))
    known = (owners.get(name.strip().casefold()) for name in names if name)
    return next(filter(None, known), owners.get("default"))


def _names(legs: Iterable[Leg]) -> Iterator[str | None]:
    for leg in legs:
        yield from (leg.user_id, leg.agent, leg.number)


def _with_texts(record: CallRecord, event: CallEvent, tenant: Tenant, log_format: LogFormat) -> CallRecord:
    calls = tenant.calls
    subject = _fill(calls.subject, SUBJECT, "text", record, event, tenant)
    body = _fill(calls.body, BODIES[log_format], log_format, record, event, tenant)
    return replace(record, subject=_short(" ".join(subject.split()), MAX_SUBJECT), body=body.strip())


def _fill(
    template: str, default: str, log_format: LogFormat, record: CallRecord, event: CallEvent, tenant: Tenant
) -> str:
    """Return the customer's template, or ours, filled in with facts so short that it fits."""
    for source in filter(None, (template, default)):
        for most in SHORTER:
            try:
                text = render(source, log_format, _facts(record, event, tenant, most), MAX_BODY)
            except Exception as error:  # it was tried when the file was read: the call is logged all the same
                log.warning("template_failed", customer=tenant.id, error=type(error).__name__)
                break
            if len(text) <= MAX_BODY:
                return text
    return ""  # our own always fits


def _facts(record: CallRecord, event: CallEvent, tenant: Tenant, most: int) -> Facts:
    inbound = record.direction is Direction.INBOUND
    contact, own = str(record.contact_number), str(record.own_number)
    small = max(most // 40, 100)  # of the further facts, items and names, of which there are many
    is_tight = most == SHORTER[-1]
    longest = 300 if is_tight else 2_000

    def line(text: str | None) -> str:
        return _short(" ".join(clean(text or "").split()), small)

    named = {
        "direction": "Inbound" if inbound else "Outbound",
        "started": _spell_moment(record.started_at, tenant),
        "ended": _spell_moment(record.ended_at, tenant),
        "timezone": tenant.timezone.key,
        "duration": spell_duration(event.duration) if event.duration is not None else "",
        "waiting": spell_duration(record.wait_time) if record.wait_time is not None else "",
        "talking": spell_duration(record.talk_time) if record.talk_time is not None else "",
        "from_number": line(contact if inbound else own),
        "to_number": line(own if inbound else contact),
        "contact_number": line(contact),
        "own_number": line(own),
        "caller_name": line(record.caller_name),
        "agent": line(record.agent),
        "group": line(record.answer_group),
        "outcome": line(spell_outcome(record)),
        "transferred_to": line(record.referred_to),
        "transferred_by": line(record.referred_by),
        "call_type": line(event.call_type),
        "sentiment": line(record.sentiment),
        "recording": _link(record.recording, longest),
        "transcript": _link(record.transcript, longest),
    }
    journey = tuple(line(stage) for stage in _stages(record.journey))
    told = [] if is_tight else list(event.facts.items())[:MAX_ITEMS]
    texts = [(label, _link(text, longest) or line(_localize(text, tenant))) for label, text in told]
    return {
        **named,
        "summary": _short(clean(record.summary or "").strip(), most),
        "action_items": tuple(line(item) for item in record.action_items[: 10 if is_tight else MAX_ITEMS]),
        "journey": journey,
        "facts": (*_own_facts(named, journey), *(Fact(label=line(label), text=text) for label, text in texts if text)),
    }


def _own_facts(named: dict[str, str], journey: tuple[str, ...]) -> Iterator[Fact]:
    """Yield the lines of a log, in the order in which people look for them."""
    labels = {
        "outcome": "Outcome",
        "started": "Started",
        "duration": "Duration",
        "waiting": "Waiting time",
        "talking": "Talking time",
        "from_number": "From",
        "to_number": "To",
        "caller_name": "Caller",
        "group": "Answer group",
        "agent": "Agent",
        "transferred_to": "Transferred to",
        "transferred_by": "Transferred by",
        "journey": "Journey",
        "sentiment": "Sentiment",
        "recording": "Recording",
        "transcript": "Transcript",
    }
    shown = {
        **named,
        "started": f"{named['started']} ({named['timezone']})",
        "journey": " → ".join(journey) if len(journey) > 1 else "",
    }
    yield from (Fact(label=label, text=shown[name]) for name, label in labels.items() if shown[name])


def _stages(journey: tuple[Leg, ...]) -> Iterator[str]:
    """Yield each stage, e.g. ``Ada (Support)``."""
    for leg in journey:
        names = [name for name in (leg.agent or leg.number, leg.group) if name]
        ending = f", {leg.ending.value}" if leg.ending and leg.ending is not Ending.ANSWERED else ""
        if names:
            yield f"{names[0]} ({names[1]}){ending}" if len(names) > 1 else f"{names[0]}{ending}"


def _spell_moment(moment: datetime, tenant: Tenant) -> str:
    return f"{moment.astimezone(tenant.timezone):%Y-%m-%d %H:%M:%S}"


def _localize(text: str, tenant: Tenant) -> str:
    """Return a text that is a moment with an offset as it is in the customer's zone, and any other as it came."""
    try:
        moment = datetime.fromisoformat(text)
        return f"{_spell_moment(moment, tenant)} ({tenant.timezone.key})" if moment.tzinfo else text
    except (ValueError, OverflowError):
        return text


def _link(url: str | None, longest: int) -> str:
    link = web_link(url)
    return link if link and len(link) <= longest else ""


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
