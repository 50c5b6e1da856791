"""The tables of a CDR (specs/003, CDR Data and CDR Contact Directory Item), field by field."""

from __future__ import annotations

from datetime import timedelta

from marshmallow import Schema

from middleware.receivers.fields import Anything, EventSchema, Flag, Identity, Loose, Moment, Span

_SECOND = timedelta(seconds=1)
_TEXTS = {
    "dType": 'Record type: "CloudSessionCdr".',
    "sVer": "Version: 1.",
    "pbxId": "The platform's id.",
    "pbxName": "The platform's name.",
    "tz": "The zone of times without an offset.",
    "cause": "Clear down cause.",
    "dir": "0 unknown, 1 internal, 2 incoming, 3 outgoing, 4 both.",
    "type": "0 unknown, 1 internal, 2 external.",
    "cliNum": "The caller's number.",
    "cliName": "The caller's name.",
    "cliLoc": "The caller's location.",
    "cliArea": "The caller's area code.",
    "cliState": "The caller's state (USA).",
    "cliCtry": "The caller's country.",
    "ddiNum": "The number that was called.",
    "ddiName": "Its name.",
    "rteID": "Prefix number added to the CLI.",
    "rteName": "Prefix added to the caller's name.",
    "rateCost": "What the call cost.",
    "rateBand": "The band of the rate.",
    "rateName": "The name of the rate.",
}
_STAGES = {"fRng": "First rang", "lRng": "Last rang", "ans": "Answering", "lAns": "Last answering"}
_WHO = {"Dev": "device", "Usr": "user", "Agt": "agent"}
_MOMENTS = {"start": "Start of the session.", "answer": "When it was first answered.", "end": "End of the session."}
_SPANS = ("dur", "ring", "talk", "hold", "park")
_FLAGS = {
    "lost": "The call was abandoned.",
    "lostinPark": "The call was abandoned while parked.",
    "aban": "A short ringing call.",
    "ans": "The call was answered.",
    "short": "The call was short.",
    "t2t": "Trunk to trunk.",
    "hasRec": "The call was recorded.",
    "rate": "The call has been rated.",
}
LISTS = {
    "recordingIds": "Ids of recordings.",
    "directoryMatches": "Contacts of the directory that match; crmId is a contact's id in the CRM.",
    "tags": "Keys and values.",
}
_CONTACT = (
    "title fullName companyName jobTitle phone1 phone2 phone3 phone4 email crmId "
    "field1 field2 field3 field4 field5 field6 field7 field8 field9 field10"
).split()

CdrSchema: type[Schema] = EventSchema.from_dict(
    {
        "id": Identity(required=True, metadata={"description": "The session's id."}),
        **{name: Loose(about) for name, about in _TEXTS.items()},
        **{
            f"{stage}{who}{what}": Loose(f"{when} {whose} {said}.")
            for stage, when in _STAGES.items()
            for who, whose in _WHO.items()
            for what, said in (("Num", "number"), ("Name", "name"))
        },
        **{f"{stage}GroupName": Loose(f"{when} group.") for stage, when in _STAGES.items() if stage != "lAns"},
        **{name: Moment(about) for name, about in _MOMENTS.items()},
        **{name: Span(_SECOND, "Seconds.") for name in _SPANS},
        **{name: Flag(about) for name, about in _FLAGS.items()},
        **{name: Anything(about) for name, about in LISTS.items()},
    },
    name="CdrSchema",
)
DirectoryFieldsSchema: type[Schema] = EventSchema.from_dict(
    {name: Loose() for name in _CONTACT}, name="DirectoryFieldsSchema"
)
