"""Writing: one write for each call, with its key, whole, and found again."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

from middleware.errors import CRMError, UnsupportedError
from middleware.model.call import Direction, Ending, LoggedCall
from middleware.model.phone import parse_number
from middleware.testing.conformance import samples
from middleware.testing.conformance.exchanges import leaves_of
from middleware.testing.conformance.lookups import replaced
from middleware.testing.conformance.registry import check
from middleware.testing.conformance.trial import WRITES, ConformanceError, NotApplicableError, Run, Trial
from middleware.testing.conformance.wire import Reply, in_turn

OTHER_KEY = "m8crm-conformance-0ther1"  # as long as the sample call's
INWARD, OUTWARD = re.compile(r"in(bound|coming)?\Z", re.I), re.compile(r"out(bound|going)?\Z", re.I)
LENGTH = re.compile(r"duration|length|seconds", re.I)


def _written(run: Run) -> list[str]:
    return [text for sent in run.writes for text in sent.asked.texts()]


def _says(run: Run, text: str) -> bool:
    return any(text in value for value in _written(run))


def _usual(trial: Trial, method: str) -> Run:
    trial.needs(method)
    return trial.each_usual(method)[0]


def _must_say(trial: Trial, method: str, text: str, what: str, mend: str) -> None:
    if not _says(_usual(trial, method), text):
        raise ConformanceError(f"what {method} writes does not hold {what}", mend)


@check
def a_write_is_one_write(trial: Trial) -> None:
    """One write, or a failure between two leaves half a call that nobody can complete."""
    for usual in trial.each_usual(*WRITES):
        most = 1 if usual.method == "log_call" else 2 if usual.method == "attach_recording" else 1
        if len(usual.writes) > most or (usual.method in ("log_call", "create_contact") and not usual.writes):
            sent = ", ".join(map(str, usual.writes)) or "none"
            mend = "send everything with one request (a POST that only searches is recorded with reads=True)"
            raise ConformanceError(f"{usual.method} sends {len(usual.writes)} writes: {sent}", mend)


@check
def the_log_has_the_key(trial: Trial) -> None:
    """The key is what tells a second attempt from a second call."""
    _must_say(trial, "log_call", samples.KEY, "call.key", "write call.key into a field of its own, or into the body")


@check
def the_log_is_on_the_contact(trial: Trial) -> None:
    """The call stands with the one who called."""
    usual = _usual(trial, "log_call")
    other = trial.run("log_call", like=usual, contact=replace(trial.contact, id=trial.contact.id + "9"))
    if _written(other) == _written(usual):
        raise ConformanceError("log_call writes the same for every contact", "link the record to contact.id")


@check
def the_log_has_its_owner(trial: Trial) -> None:
    """The call belongs to the colleague who spoke; some CRMs refuse one without an owner."""
    _must_say(trial, "log_call", samples.OWNER, "call.owner", "write call.owner as the record's owner")


@check
def the_log_has_its_text(trial: Trial) -> None:
    """People read what the middleware has composed."""
    for text, name in (
        (samples.sample_call(trial.number).subject, "subject"),
        (samples.sample_call(trial.number).body, "body"),
    ):
        _must_say(trial, "log_call", text, f"call.{name}", f"write call.{name} unchanged: it is composed in log_format")


@check
def the_log_has_its_direction(trial: Trial) -> None:
    """Incoming and outgoing are told apart in more than words; the words for them are not exchanged."""
    usual = _usual(trial, "log_call")
    call = replace(trial.inputs.call, direction=Direction.OUTBOUND)
    outgoing = trial.run("log_call", like=usual, call=call)
    if _written(outgoing) == _written(usual):
        raise ConformanceError("log_call writes the same for incoming and outgoing calls", "write call.direction")
    of_in, of_out = {*_written(usual)}, {*_written(outgoing)}
    if exchanged := [*filter(OUTWARD.match, of_in - of_out), *filter(INWARD.match, of_out - of_in)]:
        raise ConformanceError(f"log_call writes {exchanged[0]!r} for the other direction", "turn the two round")


@check
def the_log_has_its_duration(trial: Trial) -> None:
    """A field for the duration holds it in seconds, milliseconds, minutes or hh:mm:ss."""
    right = {"95", "95.0", "95000", "00:01:35", "0:01:35", "01:35", "1:35", "00:01", "2", "1", "PT95S", "PT1M35S"}
    for sent in _usual(trial, "log_call").writes:
        for way, value in sent.asked.leaves():
            if LENGTH.search(str(way[-1])) and str(value) not in right:
                mend = "call.duration.total_seconds(), times 1000 for milliseconds"
                raise ConformanceError(f"{way[-1]} is {value!r} for a call of 95 s", mend)


@check
def a_missed_call_is_no_answered_one(trial: Trial) -> None:
    """A call that nobody took does not read as one that was answered, and one of no seconds is written."""
    usual = _usual(trial, "log_call")
    call = replace(trial.inputs.call, ending=Ending.MISSED, duration=timedelta(), talk_time=None, wait_time=None)
    run = trial.run("log_call", like=usual, call=call)
    if run.error is not None or _written(run) == _written(usual):
        raise ConformanceError(
            f"log_call of a missed call gives {run.told()}", "write call.ending and the duration as they are"
        )


@check
def what_is_unknown_is_not_written(trial: Trial) -> None:
    """No record says ``None``: what is not known is left out."""
    usual = _usual(trial, "log_call")
    bare = replace(trial.inputs.call, agent=None, user_id=None, owner=None, summary=None, ending=None, recording=None)
    run = trial.run("log_call", like=usual, call=replace(bare, talk_time=None, wait_time=None, action_items=()))
    if run.error is not None:
        raise ConformanceError(
            f"log_call of a call with little known gives {run.told()}", "every field that may be None may be"
        )
    if any(re.search(r"\b(None|null|undefined)\b", text) for text in _written(run)):
        raise ConformanceError("log_call writes the text None", "leave out what is None before you write it")


@check
def a_call_of_nobody_is_written_or_refused(trial: Trial) -> None:
    """A caller who is in no CRM: his call is written without a contact, or UnsupportedError says that it cannot be."""
    usual = _usual(trial, "log_call")
    run = trial.run("log_call", like=usual, contact=None)
    if run.error is not None and not isinstance(run.error, UnsupportedError):
        raise ConformanceError(
            f"log_call without a contact gives {run.told()}", "write it without, or raise UnsupportedError"
        )


@check
def the_record_s_id_is_the_crm_s(trial: Trial) -> None:
    """What log_call returns is the id that the CRM gave, for later updates."""
    usual = _usual(trial, "log_call")
    told = {str(value) for sent in usual.sent for _, value in leaves_of(sent.reply.json)}
    headers = " ".join(value for sent in usual.sent for value in sent.reply.headers.values())
    logged = usual.result
    parts = re.split(r"[:/|,]", logged.external_id)  # an author may keep several ids in one
    if not all(part in told or part in headers for part in parts):
        raise ConformanceError(
            "LoggedCall.external_id is nowhere in the answers", "read it from the answer to the write"
        )


@check
def a_logged_call_is_found_again(trial: Trial) -> None:
    """After a write whose outcome is unknown the call is found by its key, and has the same id."""
    found = _usual(trial, "find_logged_call")
    if found.result is None:
        mend = f"search for call.key, and record the answer that has it: the sample call's key is {samples.KEY}"
        raise ConformanceError("find_logged_call does not find the recorded call", mend)
    texts = [text for sent in found.sent for text in sent.asked.texts()]
    answers = [str(value) for sent in found.sent for _, value in leaves_of(sent.reply.json)]
    if trial.speaks_http and not any(samples.KEY in text for text in (*texts, *answers)):
        raise ConformanceError("find_logged_call neither asks for call.key nor finds it", "compare call.key")
    if found.result.external_id != trial.inputs.logged.external_id:
        raise ConformanceError(
            "find_logged_call finds another id than log_call returned", "record the same call in both"
        )


@check
def another_call_is_not_found(trial: Trial) -> None:
    """A call with another key is another call, whoever called and whenever."""
    usual = _usual(trial, "find_logged_call")
    call = replace(trial.inputs.call, key=OTHER_KEY)
    asks_alike = trial.run("find_logged_call", like=usual, call=call)
    if [sent.asked for sent in asks_alike.sent] == [sent.asked for sent in usual.sent]:  # it looks for itself
        run = asks_alike
    else:
        nobody = [
            Reply(status=404) if not isinstance(_list_in(sent.reply.json), list) else _empty(sent.reply)
            for sent in usual.sent
        ]
        run = trial.run("find_logged_call", answering=in_turn(nobody), call=call)
    if run.result is not None or run.error is not None:
        raise ConformanceError(f"find_logged_call of a call that was never logged gives {run.told()}", "return None")


def _list_in(json: Any) -> Any:
    if isinstance(json, dict):
        return next((inner for inner in map(_list_in, json.values()) if isinstance(inner, list)), json)
    return json


def _empty(reply: Reply) -> Reply:
    def emptied(json: Any) -> Any:
        if isinstance(json, list):
            return []
        return {key: emptied(inner) for key, inner in json.items()} if isinstance(json, dict) else json

    return reply.with_json(emptied(reply.json))


@check
def a_similar_call_is_not_this_one(trial: Trial) -> None:
    """A search that finds too much (words, beginnings) does not pass off another call as this one."""
    usual = _usual(trial, "find_logged_call")
    marks = [
        (place, way, value)
        for place, sent in enumerate(usual.sent)
        for way, value in leaves_of(sent.reply.json)
        if samples.KEY in str(value)
    ]
    if not marks:
        raise NotApplicableError("the CRM's answers do not tell the key")
    replies = [sent.reply for sent in usual.sent]
    for place, way, value in marks:
        other = str(value).replace(samples.KEY, OTHER_KEY)
        replies[place] = replies[place].with_json(replaced(replies[place].json, way, other))
    run = trial.run("find_logged_call", answering=in_turn(replies))
    if run.result is not None:
        mend = "compare the key in the answer with call.key: searches are by words, and find what is alike"
        raise ConformanceError(
            "the CRM finds a call with another key, and find_logged_call takes it for this one", mend
        )


@check
def an_update_is_of_the_record(trial: Trial) -> None:
    """What came later completes the record that is there, and makes no second one."""
    usual = _usual(trial, "update_call")
    other = LoggedCall(external_id=trial.inputs.logged.external_id + "9")
    if _written(trial.run("update_call", like=usual, logged=other)) == _written(usual):
        raise ConformanceError("update_call does not name the record", "write to logged.external_id")
    later = replace(trial.inputs.call, body="Ada Webb called. Later: she wants two.")
    if not _says(trial.run("update_call", like=usual, call=later), later.body):
        raise ConformanceError(
            "update_call does not write the new body", "write call.body again: it holds what came later"
        )


@check
def a_recording_is_sent_as_it_is_read(trial: Trial) -> None:
    """A recording is as large as an hour: it is never held as a whole."""
    trial.needs("attach_recording")
    tape = samples.Tape()
    run = trial.run("attach_recording", tape=tape)
    if run.error is not None:
        raise NotApplicableError("attach_recording fails as recorded")
    if tape.largest >= len(samples.AUDIO):
        raise ConformanceError("attach_recording reads the recording as a whole", "hand it over: data=recording.file")
    if trial.speaks_http and not run.writes:
        raise ConformanceError("attach_recording writes nothing", "send recording.file")


@check
def a_new_contact_has_number_and_name(trial: Trial) -> None:
    """Whoever is created is found by his number the next time, and belongs to somebody."""
    usual = _usual(trial, "create_contact")
    digits = "".join(re.sub(r"\D", "", text) for text in _written(usual))
    if trial.number.suffix not in digits:
        raise ConformanceError("create_contact does not write the number", "write draft.number, e.g. its e164")
    if not all(_says(usual, word) for word in usual_name(trial).split()):
        raise ConformanceError("create_contact does not write the name", "write draft.display_name")
    other = trial.run(
        "create_contact", like=usual, draft=replace(trial.inputs.draft, number=parse_number("+46701740699", "SE"))
    )
    if other.sent and [sent.asked for sent in other.sent] == [sent.asked for sent in usual.sent]:
        raise ConformanceError("create_contact writes the same for everybody", "write the draft")


def usual_name(trial: Trial) -> str:
    """Return the name of the draft that contacts are created from."""
    return trial.inputs.draft.display_name


@check
def a_task_has_its_text(trial: Trial) -> None:
    """What is to be done is what the task says."""
    _must_say(trial, "create_task", samples.ACTION_ITEM, "the action item", "write `text`")


@check
def writes_are_of_this_call(trial: Trial) -> None:
    """Two calls one after the other are two records, each with its own key."""
    usual = _usual(trial, "log_call")
    second = trial.run("log_call", like=usual, call=replace(trial.inputs.call, key=OTHER_KEY))
    if _says(second, samples.KEY) or not _says(second, OTHER_KEY):
        raise ConformanceError(
            "the second call is written with the first one's key", "keep nothing of a call in the adapter"
        )


@check
def errors_of_writes_keep_the_vendor_s_words(trial: Trial) -> None:
    """A person who mends a dead letter reads why the CRM refused it."""
    words = "assignedUser is required"
    for usual in trial.each_usual(*WRITES):
        for place, sent in enumerate(usual.sent):
            if sent.is_write:
                replies = [each.reply for each in usual.sent]
                replies[place] = Reply(status=422, body=f'{{"message": "{words}"}}'.encode())
                run = trial.run(usual.method, answering=in_turn(replies))
                if isinstance(run.error, CRMError) and words not in (run.error.vendor_text or ""):
                    raise ConformanceError(
                        f"{usual.method} loses what the CRM says", "set vendor_text, or let the error pass"
                    )
