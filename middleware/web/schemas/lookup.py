"""The lookup answer, field by field (specs/001, RESPONSE)."""
# ruff: noqa: N815 - the fields bear the specification's names

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import orjson
from marshmallow import Schema, fields, validate

from middleware.lookup.card import Card
from middleware.model.activity import Activity, Appointment, Call, Deal, Note, Task, Ticket


class Millis(fields.Integer):
    """A moment as Unix milliseconds, or a span as milliseconds."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> int | None:
        if isinstance(value, timedelta):
            return round(value.total_seconds() * 1000)
        return round(value.timestamp() * 1000) if isinstance(value, datetime) else None


class Amount(fields.Number[float]):
    """A number JSON knows; NaN and infinity are unknown."""

    num_type = float

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        try:
            if value is None or not math.isfinite(value):
                return None
            return int(value) if value == int(value) and abs(value) < 2**53 else float(value)  # as JSON readers have it
        except OverflowError:  # an integer beyond what a JSON reader takes
            return None


class AnswerSchema(Schema):
    """Leaves out what is unknown: no null, no empty list, no empty text but a required one (specs/README.md)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._plan = [
            (field.data_key or name, field.attribute or name, field.required, type(field) is fields.String, field)
            for name, field in self.dump_fields.items()
        ]

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Do what marshmallow does, in a third of the time: a card has dozens of fields, most of them unknown."""
        if self.many if many is None else many:
            return [self._dump(one) for one in obj]
        return self._dump(obj)

    def _dump(self, obj: Any) -> dict[str, Any]:
        answer = {}
        for key, attribute, is_required, is_text, field in self._plan:
            value = getattr(obj, attribute, None)
            if not value and (value is None or (value in ("", (), []) and not is_required)):
                continue
            if is_text and type(value) is str:
                answer[key] = value
            elif isinstance(field, fields.Nested):
                answer[key] = field.schema.dump(value)
            else:
                answer[key] = field.serialize(attribute, obj)
        return answer


def _type(name: str) -> fields.String:
    """Return the field by which the types of activities are told apart; :func:`dump_activity` fills it."""
    return fields.String(required=True, validate=validate.OneOf([name]))


class EmailSchema(AnswerSchema):
    """Email."""

    id = fields.String(attribute="address", required=True)
    comment = fields.String()


class PhoneNumberSchema(AnswerSchema):
    """PhoneNumber."""

    id = fields.String(attribute="number", required=True)
    comment = fields.String()


class CompanyInfoSchema(AnswerSchema):
    """CompanyInfo."""

    name = fields.String(attribute="company")
    title = fields.String()


class FieldSchema(AnswerSchema):
    """Field."""

    comment = fields.String(required=True)
    title = fields.String(required=True)


class CreateUrlSchema(AnswerSchema):
    """CreateUrl."""

    name = fields.String(required=True)
    url = fields.URL(required=True)


class ActivitySchema(AnswerSchema):
    """What all activities have."""

    body = fields.String(required=True)
    timestamp = Millis(required=True)
    link = fields.URL()
    markdown = fields.Boolean()


class NoteSchema(ActivitySchema):
    """Note."""

    type = _type("NOTE")
    header = fields.String()
    customHeader = fields.String(attribute="custom_header")
    associatedUser = fields.String(attribute="associated_user")


class TaskSchema(ActivitySchema):
    """Task."""

    type = _type("TASK")
    dueDate = Millis(required=True, attribute="due_date")
    header = fields.String()
    customHeader = fields.String(attribute="custom_header")
    customDescription = fields.String(attribute="custom_description")
    status = fields.String()
    done = fields.Boolean()
    assignedUser = fields.String(attribute="assigned_user")


class CallSchema(ActivitySchema):
    """Call."""

    type = _type("CALL")
    toNumber = fields.String(required=True, attribute="to_number")
    fromNumber = fields.String(required=True, attribute="from_number")
    duration = Millis(required=True)
    startTime = Millis(required=True, attribute="start_time")
    customHeader = fields.String(attribute="custom_header")
    customDescription = fields.String(attribute="custom_description")


class TicketSchema(ActivitySchema):
    """Ticket."""

    type = _type("TICKET")
    createdDate = Millis(required=True, attribute="created_date")
    priority = fields.String(validate=validate.OneOf(["HIGH", "MEDIUM", "LOW"]))
    header = fields.String()
    customHeader = fields.String(attribute="custom_header")
    customDescription = fields.String(attribute="custom_description")
    pipeline = fields.String()
    pipelineStage = fields.String(attribute="pipeline_stage")
    ticketLink = fields.URL(metadata={"deprecated": True})


class DealSchema(ActivitySchema):
    """Deal."""

    type = _type("DEAL")
    closeDate = Millis(required=True, attribute="close_date")
    currency = fields.String()
    amount = Amount()
    done = fields.Boolean()
    header = fields.String()
    customHeader = fields.String(attribute="custom_header")
    customDescription = fields.String(attribute="custom_description")
    pipeline = fields.String()
    pipelineStage = fields.String(attribute="pipeline_stage")
    dealLink = fields.URL(metadata={"deprecated": True})


class AppointmentSchema(ActivitySchema):
    """Appointment."""

    type = _type("APPOINTMENT")
    startDate = Millis(required=True, attribute="start_date")
    endDate = Millis(required=True, attribute="end_date")
    allDay = fields.Boolean(attribute="all_day")
    venue = fields.String()
    header = fields.String()
    customDescription = fields.String(attribute="custom_description")
    status = fields.String()


# names in the OpenAPI description
ACTIVITY_SCHEMAS: dict[str, type[ActivitySchema]] = {
    "Note": NoteSchema,
    "Task": TaskSchema,
    "Call": CallSchema,
    "Ticket": TicketSchema,
    "Deal": DealSchema,
    "Appointment": AppointmentSchema,
}


class ContactSchema(AnswerSchema):
    """The whole answer of a hit."""

    displayName = fields.String(required=True, attribute="display_name")
    firstName = fields.String(attribute="first_name")
    lastName = fields.String(attribute="last_name")
    avatarUrl = fields.URL(attribute="avatar_url")
    coverPhotoUrl = fields.URL(attribute="cover_photo_url")
    emails = fields.Nested(EmailSchema, many=True)
    phoneNumbers = fields.Nested(PhoneNumberSchema, many=True, attribute="numbers")
    companyInfo = fields.Nested(CompanyInfoSchema)
    fields_ = fields.Nested(FieldSchema, many=True, attribute="fields", data_key="fields")
    activities = fields.List(
        fields.Raw(metadata={"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in ACTIVITY_SCHEMAS]}),
        metadata={"description": "Newest first, at most ten of a type."},
    )
    createActivityUrls = fields.Nested(CreateUrlSchema, many=True)
    createActivityUrl = fields.Nested(CreateUrlSchema, many=True, metadata={"deprecated": True})
    moreInfoUrl = fields.URL(attribute="url")


# type -> name on the wire, schema, and the required moment with what stands in for an unknown one
_ACTIVITIES: dict[type[Activity], tuple[str, ActivitySchema, str, str]] = {
    Note: ("NOTE", NoteSchema(), "timestamp", "timestamp"),
    Task: ("TASK", TaskSchema(), "dueDate", "timestamp"),
    Call: ("CALL", CallSchema(), "startTime", "timestamp"),
    Ticket: ("TICKET", TicketSchema(), "createdDate", "timestamp"),
    Deal: ("DEAL", DealSchema(), "closeDate", "timestamp"),
    Appointment: ("APPOINTMENT", AppointmentSchema(), "endDate", "startDate"),
}
_DEPRECATED_LINK = {"TICKET": "ticketLink", "DEAL": "dealLink"}
_contact = ContactSchema(exclude=["activities", "companyInfo", "createActivityUrls", "createActivityUrl"])
_company, _links = CompanyInfoSchema(), CreateUrlSchema(many=True)


def dump_card(card: Card, deprecated_names: bool) -> bytes:
    """Return the card as the JSON that M8Com expects; raises ``ValueError`` or ``TypeError`` for garbage."""
    contact = card.contact
    answer: dict[str, Any] = _contact.dump(contact)
    company = _company.dump(contact)
    links = _links.dump(card.links)
    if company:
        answer["companyInfo"] = company
    if card.activities:
        answer["activities"] = [dump_activity(activity, deprecated_names) for activity in card.activities]
    if links:
        answer["createActivityUrls"] = links
        if deprecated_names:
            answer["createActivityUrl"] = links
    return orjson.dumps(answer)


def dump_activity(activity: Activity, deprecated_names: bool = False) -> dict[str, Any]:
    """Return one activity as the specification's table has it."""
    name, schema, moment, substitute = _ACTIVITIES[type(activity)]
    known = {key: value for key, value in schema.dump(activity).items() if value is not None}  # an amount of NaN
    answer: dict[str, Any] = {"type": name, **known}
    answer.setdefault("body", "")
    answer.setdefault(moment, answer[substitute])
    if not activity.markdown:
        answer.pop("markdown", None)
    if deprecated_names and name in _DEPRECATED_LINK and "link" in answer:
        answer[_DEPRECATED_LINK[name]] = answer["link"]
    return answer
