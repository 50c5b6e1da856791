"""What an adapter makes of answers that are not as recorded: a result or a ``CRMResponseError``, never a crash."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from middleware.errors import CRMError, CRMResponseError
from middleware.testing.conformance.exchanges import leaves_of
from middleware.testing.conformance.lookups import replaced
from middleware.testing.conformance.registry import check
from middleware.testing.conformance.shapes import misfits
from middleware.testing.conformance.trial import ConformanceError, NotApplicableError, Run, Trial, is_told
from middleware.testing.conformance.wire import EndlessError, Reply, in_turn, with_reply

Way = tuple[str | int, ...]
DROPPED = object()
MEND_READING = (
    "read the answer with row, records or Reader of middleware.crm.api: they expect anything, and name a place"
)
MOST_WAYS = 150  # of one answer that are tried; a list's further records are like its first


def _ways(value: Any, way: Way = ()) -> Iterator[Way]:
    """Yield the way to every key of the JSON; of a list, only its first record is looked at."""
    inner = value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else ()
    for key, each in inner:
        yield (*way, key)
        yield from _ways(each, (*way, key))


def _without(value: Any, way: Way) -> Any:
    head, rest = way[0], way[1:]
    if isinstance(value, list):
        kept = [(place, inner) for place, inner in enumerate(value) if place != head or rest]
        return [_without(inner, rest) if place == head else inner for place, inner in kept]
    return {key: _without(inner, rest) if key == head else inner for key, inner in value.items() if key != head or rest}


def _at(json: Any, way: Way) -> Any:
    for step in way:
        json = json[step]
    return json


def _is_moment(value: Any) -> bool:
    """Whether it may be a moment or a span; numbers are both."""
    is_number = isinstance(value, int | float) or (isinstance(value, str) and value.isdigit())
    return is_number or (isinstance(value, str) and bool(re.match(r"\d{1,4}[-:/.]\d", value)))


def _changed(trial: Trial, news: Sequence[Any], *, only_moments: bool) -> Iterator[tuple[Run, int, Way, Run]]:
    """Yield the run with each key of each answer dropped, or replaced by each of ``news``."""
    for usual in trial.each_usual():
        for place, sent in enumerate(usual.sent):
            json = sent.reply.json
            for way in list(_ways(json))[:MOST_WAYS]:
                if only_moments and not _is_moment(_at(json, way)):
                    continue
                for new in news:
                    other = _without(json, way) if new is DROPPED else replaced(json, way, new)
                    reply = sent.reply.with_json(other)
                    yield usual, place, way, trial.run(usual.method, answering=with_reply(place, reply, usual.sent))


def _is_survived(trial: Trial, what: str, *news: Any, only_moments: bool = False) -> None:
    for usual, place, way, run in _changed(trial, news, only_moments=only_moments):
        name = ".".join(map(str, way))
        if run.error is not None and not isinstance(run.error, CRMError):
            wrong = f"{usual.method}: with {name} of {usual.sent[place]} {what}, it raises {run.told()}"
            raise ConformanceError(wrong, MEND_READING) from run.error
        results = run.result if isinstance(run.result, list) else [run.result]
        if wrong_fields := [text for each in results for text in misfits(each)]:
            wrong = f"{usual.method}: with {name} of {usual.sent[place]} {what}, {wrong_fields[0]}"
            raise ConformanceError(wrong, MEND_READING)


@check
def a_dropped_key_is_no_crash(trial: Trial) -> None:
    """Vendors remove keys: what is needed is asked for by name, and what is not is done without."""
    _is_survived(trial, "missing", DROPPED)


@check
def a_null_is_no_crash(trial: Trial) -> None:
    """Any value may be null, and some CRMs write ``false`` for it."""
    _is_survived(trial, "null or false", None, False)


@check
def another_type_is_no_crash(trial: Trial) -> None:
    """A text where a list was, a number where a text was: an error that is told, or a value of the right type."""
    _is_survived(trial, "of another type", "x", {"x": [None]}, True)


@check
def an_unreadable_moment_is_told(trial: Trial) -> None:
    """A date that no calendar has is an unreadable answer."""
    _is_survived(trial, "an impossible date", "0000-00-00 00:00:00", 10**17, only_moments=True)


@check
def a_null_costs_no_contact(trial: Trial) -> None:
    """Somebody without a company, an e-mail or a first name is shown all the same; most people lack something."""
    usual = trial.each_usual("find_contacts")[0]
    ids = {contact.id for contact in usual.result}
    for place, sent in enumerate(usual.sent):
        json = sent.reply.json
        for way, value in list(leaves_of(json))[:MOST_WAYS]:
            is_in_record = any(isinstance(step, int) for step in way)
            if not is_in_record or value is None or str(value) in ids or _is_phone(value, trial):
                continue
            reply = sent.reply.with_json(replaced(json, way, None))
            run = trial.run("find_contacts", answering=with_reply(place, reply, usual.sent))
            if run.error is not None or len(run.result) < len(usual.result):
                wrong = f"with {'.'.join(map(str, way))} null, find_contacts gives {run.told()}"
                raise ConformanceError(wrong, "leave out what is not known: only the id and a number are needed")


def _is_phone(value: Any, trial: Trial) -> bool:
    return any(str(value) == each.number or each.number in str(value) for each in trial.contact.numbers)


@check
def unknown_keys_change_nothing(trial: Trial) -> None:
    """Vendors add keys."""
    for usual in trial.each_usual():
        replies = [
            sent.reply.with_json(_more(sent.reply.json)) if sent.reply.body else sent.reply for sent in usual.sent
        ]
        run = trial.run(usual.method, answering=in_turn(replies))
        if run.error is not None or run.result != usual.result:
            wrong = f"{usual.method}, with keys nobody knows in its answers, gives {run.told()}"
            raise ConformanceError(wrong, "read the keys that you need by name, and no others")


def _more(value: Any) -> Any:
    if isinstance(value, dict):
        return {**{key: _more(inner) for key, inner in value.items()}, "m8crm_unknown": {"a": [1, None]}}
    return [_more(inner) for inner in value] if isinstance(value, list) else value


def _answered(trial: Trial, reply: Reply) -> Iterator[tuple[Run, int, Run]]:
    """Yield what became of each request that expects JSON when it was answered with ``reply``."""
    for usual in trial.each_usual():
        for place, sent in enumerate(usual.sent):
            if sent.reply.json is not None and (usual.result is not None or not sent.is_write):
                yield usual, place, trial.run(usual.method, answering=with_reply(place, reply, usual.sent))


def _is_unreadable(trial: Trial, what: str, body: bytes, kind: str = "application/json") -> None:
    for usual, place, run in _answered(trial, Reply(body=body, headers={"Content-Type": kind})):
        if not is_told(run, CRMError) and not _ignores(trial, usual, place):
            wrong = f"{usual.method}: {usual.sent[place]} was answered 200 and {what}, and the method gave {run.told()}"
            raise ConformanceError(wrong, "call .json() of the answer, and let its CRMResponseError pass")


def _ignores(trial: Trial, usual: Run, place: int) -> bool:
    """Whether the method does not read the answer at all: only its status counts, e.g. of ``check``."""
    empty = usual.sent[place].reply.with_json({"m8crm": 1})
    run = trial.run(usual.method, answering=with_reply(place, empty, usual.sent))
    return usual.method in ("check", "update_call", "create_task", "attach_recording") and run.error is None


@check
def an_answer_that_is_no_json_is_told(trial: Trial) -> None:
    """A broken answer is an error of the CRM's and no miss."""
    _is_unreadable(trial, "broken JSON", b'{"results": [{"id": 7')


@check
def an_empty_answer_is_told(trial: Trial) -> None:
    """An empty 200 is a fault of the CRM's; taken for "nobody", it hides every contact."""
    _is_unreadable(trial, "an empty body", b"")


@check
def a_web_page_is_told(trial: Trial) -> None:
    """A login page or a proxy's, with status 200, is no answer."""
    _is_unreadable(trial, "a web page", b"<!doctype html><title>Log in</title>", "text/html")


@check
def an_error_with_status_200_is_told(trial: Trial) -> None:
    """Some CRMs say 200 and tell the error in the body: it is not taken for an empty list."""
    for body in (b'{"error": {"code": 100, "message": "internal"}}', b'{"success": false, "error": "no"}', b"null"):
        _is_unreadable(trial, body.decode(), body)


@check
def json_of_another_shape_is_no_crash(trial: Trial) -> None:
    """Whatever JSON comes, the method has a result or raises a ``CRMError``."""
    for body in (b"null", b"[]", b"{}", b'"text"', b"42", b"true", b"[null]", b'[{"id": 1}]', b"[" * 5000):
        for usual, place, run in _answered(trial, Reply(body=body)):
            if run.error is not None and not isinstance(run.error, CRMError):
                wrong = (
                    f"{usual.method}: {usual.sent[place]} was answered {body[:20].decode()}, and it raises {run.told()}"
                )
                raise ConformanceError(wrong, MEND_READING) from run.error


@check
def a_huge_answer_is_survived(trial: Trial) -> None:
    """A thousand records in a list cost no more requests than one has, and an answer without end is refused."""
    for usual in trial.each_usual():
        if not usual.method.startswith("find_"):
            continue
        replies = [
            sent.reply.with_json(_many(sent.reply.json)) if sent.reply.body else sent.reply for sent in usual.sent
        ]
        run = trial.run(usual.method, answering=in_turn(replies))
        if len(run.sent) > len(usual.sent) + 5 or not isinstance(run.error, CRMError | None):
            wrong = (
                f"{usual.method}, with a thousand records in each list, sends {len(run.sent)} requests: {run.told()}"
            )
            raise ConformanceError(wrong, "never ask once for each record; ask for lists, and for the latest only")
        bomb = Reply(body=b'["' + b"x" * (3 * 1024 * 1024) + b'"]')
        run = trial.run(usual.method, answering=with_reply(0, bomb, usual.sent))
        if not is_told(run, CRMResponseError):
            raise ConformanceError(
                f"{usual.method} takes an answer of 3 MiB for {run.told()}", "let the CRMResponseError pass"
            )


def _many(value: Any) -> Any:
    """Return JSON whose outermost lists hold a thousand records."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return value * (1000 // len(value))
    return {key: _many(inner) for key, inner in value.items()} if isinstance(value, dict) else value


@check
def pages_come_to_an_end(trial: Trial) -> None:
    """A CRM that always says there is one more page is left, with what it has brought."""
    tried = False
    for usual in trial.each_usual():
        replies = [
            sent.reply.with_json(_going_on(sent.reply.json)) if sent.reply.body else sent.reply for sent in usual.sent
        ]
        if all(reply.json == sent.reply.json for reply, sent in zip(replies, usual.sent, strict=True)):
            continue
        tried = True
        run = trial.run(usual.method, answering=in_turn(replies))
        if isinstance(run.error, EndlessError):
            raise ConformanceError(
                f"{usual.method} follows pages without end", "stop when a page is the one before or brings nothing new"
            )
    if not tried:
        raise NotApplicableError("no answer has pages")


def _going_on(value: Any) -> Any:
    if isinstance(value, list):
        return [_going_on(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    return {key: True if _is_more(key, inner) else _going_on(inner) for key, inner in value.items()}


def _is_more(key: str, value: Any) -> bool:
    return value is False and key.lower().replace("_", "").startswith(("hasmore", "moreitems", "hasnext"))


@check
def a_204_is_nothing(trial: Trial) -> None:
    """A CRM that has found nothing may say 204 (Zoho does): nothing, or an error, and no crash."""
    for usual, place, run in _answered(trial, Reply(status=204)):
        if not isinstance(run.error, CRMError | None):
            raise ConformanceError(
                f"{usual.method}: {usual.sent[place]} was answered 204, and it gave {run.told()}", MEND_READING
            )
    run = trial.run("find_contacts", answering=in_turn([Reply(status=204)]))
    if run.result:
        raise ConformanceError(f"find_contacts, answered 204, gives {run.told()}", MEND_READING)
