"""An AI call agent's post-call webhook (specs/004, Webhook Payload)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from middleware.model.call import CallEvent, Direction, EventKind, Media
from middleware.receivers.fields import Anything, EventSchema, Identity, Loose, any_text, call_id, load

SENDER = "postcall"
CALLER = {
    "email": "E-mail",
    "scheduledTime": "Scheduled time",
    "address": "Address",
    "pincode": "Postal code",
    "city": "City",
    "state": "State",
    "country": "Country",
    "age": "Age",
    "gender": "Gender",
    "occupation": "Occupation",
    "company": "Company",
    "preferredContactMethod": "Preferred contact method",
    "bestTimeToCall": "Best time to call",
    "language": "Language",
}
ANALYSIS = {
    "mood": "Mood",
    "score": "Score",
    "callOutcome": "Result",  # "Outcome" is how the call ended
    "classification": "Classification",
    "interestsAndNeeds": "Interests and needs",
}
_WORDS = ("text", "title", "description", "task", "action", "item", "name")  # one action item has one of these


class PostCallSchema(EventSchema):
    """The request body; only the id is sure to be there."""

    callId = Identity(required=True, metadata={"description": "Unique identifier of the call."})  # noqa: N815
    recordingUri = Loose("URL of the recording (audio).")  # noqa: N815
    transcriptUri = Loose("URL of the transcript (JSON).")  # noqa: N815
    callerDetails = Anything(f"An object: name, phoneNumber, {', '.join(CALLER)}.")  # noqa: N815
    callAnalysis = Anything(f"An object: summary, {', '.join(ANALYSIS)}, actionItems, sentiment.")  # noqa: N815


_schema = PostCallSchema()


def read_postcall(document: object) -> dict[str, Any]:
    """Return the fields; raises ``FieldErrors`` when the schema does not understand the document."""
    return load(_schema, document)


def key_of(loaded: dict[str, Any]) -> str:
    """Return the call's id."""
    return loaded["callId"]  # type: ignore[no-any-return]


def parse_postcall(document: object) -> CallEvent:
    """Return what the agent made of the call; raises ``FieldErrors`` when the document has no id.

    When the call began, and on which number of ours, nobody tells.
    """
    loaded = read_postcall(document)
    caller, analysis = _object(loaded["callerDetails"]), _object(loaded["callAnalysis"])
    return CallEvent(
        sender=SENDER,
        kind=EventKind.ANALYSIS,
        key=key_of(loaded),
        call_ids=(call_id(SENDER, loaded["callId"]),),
        direction=Direction.INBOUND,
        from_number=any_text(caller.get("phoneNumber")),
        caller_name=any_text(caller.get("name")),
        summary=any_text(analysis.get("summary")),
        action_items=tuple(dict.fromkeys(_items(analysis.get("actionItems")))),
        sentiment=any_text(analysis.get("sentiment")),
        media=tuple(_media(loaded)),
        facts=_facts(caller, CALLER) | _facts(analysis, ANALYSIS),
    )


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _facts(told: dict[str, Any], labels: dict[str, str]) -> dict[str, str]:
    texts = {label: any_text(told.get(name)) for name, label in labels.items()}
    return {label: text for label, text in texts.items() if text}


def _media(loaded: dict[str, Any]) -> Iterator[Media]:
    if loaded["recordingUri"]:
        yield Media(url=loaded["recordingUri"])
    if loaded["transcriptUri"]:
        yield Media(url=loaded["transcriptUri"], kind="transcript")


def _items(value: object) -> Iterator[str]:
    """Return one text per action, of a text with lines, a list, one object, or an object of any of these."""
    if isinstance(value, str):
        yield from filter(None, (line.strip(" -*•\t") for line in value.splitlines()))
    elif isinstance(value, list):
        yield from filter(None, map(_item, value))
    elif isinstance(value, dict) and _words(value) is None:
        for name, inner in value.items():
            if isinstance(inner, list):
                yield from _items(inner)
            elif text := _item(inner):
                yield text if isinstance(inner, dict) or name.isdigit() else f"{name}: {text}"
    elif text := _item(value):
        yield text


def _item(value: object) -> str | None:
    """Return e.g. ``Send the offer (due: Friday)``."""
    if not isinstance(value, dict) or (name := _words(value)) is None:
        return any_text(value)
    more = any_text({key: inner for key, inner in value.items() if key != name})
    return f"{any_text(value[name])} ({more})" if more else any_text(value[name])


def _words(value: dict[str, Any]) -> str | None:
    return next((name for name in _WORDS if isinstance(value.get(name), str) and value[name].strip()), None)
