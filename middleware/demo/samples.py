"""Made-up requests of every sender and type, and the specifications' own examples."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

Body = dict[str, Any]
_EXTENSION, _GROUP = "302", "Sales"
_AGENTS = ("Ada Webb", "Bo Ek", "Cy Dahl")
_SUMMARIES = ("Asked about an order.", "Wants a quote for ten.", "Complains about a late delivery.", "Moved a meeting.")
_RINGING = timedelta(seconds=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The call that all senders tell of: whose, when, and what it was about."""

    contact: str
    own: str
    began_at: datetime
    duration: timedelta
    call_id: str
    summary: str
    is_inbound: bool = True
    agent: str = _AGENTS[0]
    status: str = "answered"  # as a PBX says how a queue's call ended

    @property
    def mail(self) -> str:
        """The agent's e-mail address."""
        return f"{self.agent.lower().replace(' ', '.')}@example.com"

    @property
    def numbers(self) -> tuple[str, str]:
        """The caller's and the called number."""
        return (self.contact, self.own) if self.is_inbound else (self.own, self.contact)

    @property
    def ended_at(self) -> datetime:
        """When it was over."""
        return self.began_at + self.duration

    @property
    def answered_at(self) -> datetime:
        """When somebody took it; when it was over, if nobody did."""
        return min(self.began_at + _RINGING, self.ended_at) if self.status == "answered" else self.ended_at


def vary(call: Situation, numbers: Sequence[str], place: int) -> Situation:
    """Return another call, the earlier the greater ``place``, with one of the ``numbers``."""
    return replace(
        call,
        contact=numbers[place % len(numbers)],
        began_at=call.began_at - place * timedelta(minutes=11),
        duration=timedelta(seconds=10 + 97 * place % 600),
        call_id=secrets.token_hex(12),
        summary=_SUMMARIES[place % len(_SUMMARIES)],
        agent=_AGENTS[place % len(_AGENTS)],
        status=("answered", "answered", "abandoned", "timedout")[place % 4],
    )


def _calllog(call: Situation) -> Body:
    caller, called = call.numbers
    return {
        "fromNumber": caller,
        "toNumber": called,
        "duration": _millis(call.duration),
        "startTime": _unix(call.began_at),
        "callType": "Outbound" if call.is_inbound else "Inbound",  # M8Com sees it from the contact
        "body": _text(call),
        "userId": "u-4711",
    }


def _text(call: Situation) -> str:
    user = f"{call.mail} ({call.own})"
    if call.is_inbound:
        lines = [f"Call to user: {user}", f"Call from: {call.contact}", "Call type: Outbound"]
    else:
        lines = [f"Call from user: {user}", f"Call to: {call.contact}", "Call type: Inbound"]
    return "\n".join([*lines, call.summary])


def _recording(call: Situation, *, version: int) -> Body:
    caller, called = call.numbers
    number = int.from_bytes(call.call_id.encode()[-6:], "big")
    body = {
        "id": number,
        "fileUrls": [f"https://recordings.example/{number}.mp3"],
        "callerNumber": caller,
        "calleeNumber": called,
        "startTime": _unix(call.began_at),
        "endTime": _unix(call.ended_at),
        "waitTime": _millis(call.answered_at - call.began_at),
        "talkTime": _millis(call.ended_at - call.answered_at),
        "agentId": "a-17",
        "agentName": call.agent,
        "answerGroupName": _GROUP,
        "answerGroupId": "g-4",
        "referredTo": None,
        "referredBy": None,
        "direction": "inbound" if call.is_inbound else "outbound",
        "recorderId": call.mail,
    }
    return body if version == 1 else {**body, "summary": call.summary, "userId": "u-4711"}


def _pbx(call: Situation, *, name: str) -> Body:
    """Return the event with the fields that its type has (specs/002)."""
    is_outbound = "outbound" in name
    told = {
        "type": name,
        "unique_call_id": call.call_id,
        "caller_id": call.own if is_outbound else call.contact,
        "caller_name": "M ANDERSSON",
        "user_name": call.agent,
        "user_number": _EXTENSION,
        "dest_number": call.contact if is_outbound else call.own,
        "call_start_at": call.began_at.isoformat(timespec="seconds"),
        "connected_at": call.answered_at.isoformat(timespec="seconds") if call.status == "answered" else "",
        "recorded_at": call.ended_at.isoformat(timespec="seconds"),
        "call_duration": round(call.duration.total_seconds()),
        "conversation_duration": round((call.ended_at - call.answered_at).total_seconds()),
        "queue_name": _GROUP,
        "ring_group_name": "",
        "status": call.status,
        "emails": call.mail,
        "email_subject": "New message",
        "email_message": call.summary,
        "mode": "storage",
        "component_name": "After hours",
    }
    if name == "webhook_component_event":
        told |= {"user_name": "M ANDERSSON", "user_number": call.contact}
    if name == "ring_group_call":
        told["ring_group_name"] = _GROUP
    return {field: told[field] for field in PBX_FIELDS[name].split()}


_CALL = "type unique_call_id caller_id caller_name user_name user_number dest_number call_start_at "
_OUT = _CALL.replace("caller_name ", "")
_LENGTHS = "connected_at call_duration conversation_duration "
_MAILED = "recorded_at emails email_subject email_message"
PBX_FIELDS = {
    "user_inbound": _CALL + "queue_name ring_group_name",
    "user_inbound_answered": _CALL + "connected_at queue_name ring_group_name",
    "user_inbound_completed": _CALL + _LENGTHS + "queue_name ring_group_name",
    "user_outbound": _OUT,
    "user_outbound_answered": _OUT + "connected_at",
    "user_outbound_completed": _OUT + _LENGTHS,
    "queue_call": _CALL + _LENGTHS + "queue_name status",
    "ring_group_call": _CALL + _LENGTHS + "ring_group_name status",
    "voicemail": "type unique_call_id caller_id dest_number " + _MAILED,
    "recording_inbound": "type unique_call_id caller_id dest_number " + _MAILED,
    "recording_outbound": "type unique_call_id caller_id user_name user_number dest_number mode " + _MAILED,
    "webhook_component_event": "type unique_call_id user_name user_number dest_number call_start_at component_name",
}


def _cdr(call: Situation, *, name: str) -> Body:
    caller, called = call.numbers
    is_answered = name == "answered"
    cdr = {
        "id": call.call_id,
        "dType": "CloudSessionCdr",
        "sVer": 1,
        "tz": "Europe/Stockholm",
        "start": call.began_at.isoformat(timespec="seconds"),
        "end": call.ended_at.isoformat(timespec="seconds"),
        "dur": round(call.duration.total_seconds()),
        "ring": round((call.answered_at - call.began_at).total_seconds()),
        "cause": "NORMAL_CLEARING",
        "dir": 1 if name == "internal" else 2 if call.is_inbound else 3,
        "type": 1 if name == "internal" else 2,
        "cliNum": "301" if name == "internal" else caller,
        "ddiNum": _EXTENSION if name == "internal" else called,
        "fRngUsrNum": _EXTENSION,
        "fRngUsrName": call.agent,
        "fRngGroupName": _GROUP,
        "tags": {"Reason": "Order"},
    }
    if is_answered:
        cdr |= {
            "answer": call.answered_at.isoformat(timespec="seconds"),
            "talk": round((call.ended_at - call.answered_at).total_seconds()),
            "ans": 1,
            "ansUsrNum": _EXTENSION,
            "ansUsrName": call.agent,
            "ansGroupName": _GROUP,
        }
    else:
        cdr |= {"lost": 1, "ans": 0}
    return {"triggerId": "t-1", "id": "e-1", "tenantId": "n-1", "cdr": cdr, "customData": {"hook": "post call"}}


def _postcall(call: Situation) -> Body:
    return {
        "callId": call.call_id,
        "recordingUri": f"https://recordings.example/{call.call_id}.ogg",
        "transcriptUri": f"https://recordings.example/{call.call_id}.json",
        "callerDetails": {"name": "Maria Andersson", "phoneNumber": call.contact, "language": "Swedish"},
        "callAnalysis": {
            "summary": call.summary,
            "mood": "Positive",
            "score": 85,
            "callOutcome": "Call back",
            "classification": "Order",
            "interestsAndNeeds": {"product": "Pump"},
            "actionItems": {"items": ["Call back on Monday", {"title": "Send the offer", "due": "Friday"}]},
            "sentiment": {"overall": "positive", "score": 0.8},
        },
    }


def _example(body: Body, _call: Situation) -> Body:
    return copy.deepcopy(body)


def _millis(span: timedelta) -> int:
    return round(span / timedelta(milliseconds=1))


def _unix(moment: datetime) -> int:
    return _millis(moment - datetime.fromtimestamp(0, UTC))


_ID = "00000000-0000-0000-0000-000000000000"
CDR_EXAMPLE: Body = {  # specs/003, Example JSON payload, with the brace that is missing there
    "triggerId": _ID,
    "id": _ID,
    "tenantId": _ID,
    "cdr": {
        "id": _ID,
        "dType": "CloudSessionCdr",
        "sVer": 1,
        "pbxId": _ID,
        "pbxName": "BenDV1 - Dev - Ben",
        "tz": "Europe/London",
        "start": "2024-05-29T09:37:35+01:00",
        "end": "2024-05-29T09:37:45+01:00",
        "dur": 10,
        "ring": 10,
        "lost": 1,
        "cause": "NORMAL_CLEARING",
        "dir": 2,
        "type": 2,
        "cliNum": "+447000000000",
        "cliLoc": "United Kingdom",
        "cliCtry": "GB",
        "ddiNum": "+441610000000",
        "fRngDevNum": "user_******",
        "fRngDevName": "(T42S) Test User",
        "lRngDevNum": "user_******",
        "lRgDevName": "(T42S) Test User",
        "fRngUsrNum": "302",
        "fRngUsrName": "Test User",
        "lRngUsrNum": "302",
        "lRngUsrName": "Test User",
        "fRngAgtNum": "302",
        "fRngAgtName": "Test User",
        "lRngAgtNum": "302",
        "lRngAgtName": "Test User",
        "hasRec": 1,
        "recordingIds": [_ID],
        "directoryMatches": [
            {
                "dirName": "My Global",
                "dirId": _ID,
                "dirType": "DirectoryContactMatch",
                "contactId": _ID,
                "fields": {
                    "fullName": "Example Contact",
                    "companyName": "Company",
                    "jobTitle": "Job Title",
                    "email": "Email Address",
                    **{f"field{i}": f"field{i}" for i in range(1, 10)},
                    "field10": "301",
                },
            }
        ],
        "tags": {"Support": "step1"},
    },
    "customData": {"hook": "post call"},
}
POSTCALL_EXAMPLE: Body = {  # specs/004, Example Payload
    "callId": "693bff62619c51fac21acf50",
    "recordingUri": "https://storage.example.com/recordings/693bff62619c51fac21acf50/call_recording.ogg",
    "transcriptUri": "https://storage.example.com/transcripts/transcript_693bff62619c51fac21acf50.json",
    "callerDetails": {
        "name": "John Smith",
        "phoneNumber": "+1-555-123-4567",
        "email": "john.smith@example.com",
        "scheduledTime": "2025-01-20T10:00:00Z",
        "address": "123 Main Street",
        "city": "New York",
        "state": "NY",
        "country": "USA",
        "language": "English",
    },
    "callAnalysis": {
        "summary": "Customer called to schedule a product demo...",
        "mood": "Positive",
        "score": 85,
        "callOutcome": "Demo Scheduled",
        "classification": "Sales Inquiry",
    },
}
POSTCALL_TEST: Body = {  # specs/004, Testing
    "callId": "test-call-123",
    "recordingUri": "https://example.com/recording.ogg",
    "callerDetails": {"name": "Test User", "phoneNumber": "+1-555-000-0000"},
}
SAMPLES: dict[str, dict[str, Callable[[Situation], Body]]] = {
    "calllog": {"call": _calllog},
    "recording": {"v2": partial(_recording, version=2), "v1": partial(_recording, version=1)},
    "pbx": {name: partial(_pbx, name=name) for name in sorted(PBX_FIELDS, key=lambda name: name != "queue_call")},
    "cdr": {
        **{name: partial(_cdr, name=name) for name in ("answered", "abandoned", "internal")},
        "example": partial(_example, CDR_EXAMPLE),
    },
    "postcall": {
        "full": _postcall,
        "example": partial(_example, POSTCALL_EXAMPLE),
        "test": partial(_example, POSTCALL_TEST),
    },
}
