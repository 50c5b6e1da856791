"""Finding: the recorded contact and what belongs to it, whole, and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from middleware.crm.base import ACTIVITY_METHODS, Finding
from middleware.model.activity import Activity, Appointment, Call, Deal, Note, Task, Ticket
from middleware.model.call import LoggedCall
from middleware.model.contact import Contact, Link
from middleware.model.phone import NumberKind, PhoneNumber, iter_stored_numbers, parse_number
from middleware.testing.conformance import samples
from middleware.testing.conformance.exchanges import leaves_of
from middleware.testing.conformance.registry import check
from middleware.testing.conformance.shapes import misfits
from middleware.testing.conformance.trial import ConformanceError, NotApplicableError, Run, Trial
from middleware.testing.conformance.wire import EndlessError, UnansweredError, in_turn

KINDS: dict[str, type] = {
    "find_notes": Note,
    "find_tasks": Task,
    "find_calls": Call,
    "find_tickets": Ticket,
    "find_deals": Deal,
    "find_appointments": Appointment,
    "find_activities": Activity,
    "find_contacts": Contact,
    "iter_contacts": Contact,
    "create_links": Link,
    "check": Finding,
}
SINGLE: dict[str, type] = {"find_contact_by_id": Contact, "create_contact": Contact, "log_call": LoggedCall}
SINGLE["find_logged_call"] = LoggedCall
OTHER_NUMBER = "+46701740699"
PHONE_KEY = re.compile(r"phone|mobile|cell|landline|tel\b|telephone|msisdn", re.I)
DELETED_KEY = re.compile(r"^(is_?)?(deleted|archived|trashed|removed)$", re.I)


@check
def the_exchanges_answer_every_method(trial: Trial) -> None:
    """Every method works with what was recorded; without that nothing else can be checked."""
    for method in trial.methods:
        run = trial.run(method)
        if isinstance(run.error, UnansweredError):
            raise ConformanceError(f"{method} asks {run.error}, which no exchange answers", "record that exchange")
        if isinstance(run.error, EndlessError):
            raise ConformanceError(f"{method} sends {run.error} without end", "stop when a page brings nothing new")
        if run.error is not None:
            wrong = f"{method} fails with the recorded answers: {run.told()}"
            raise ConformanceError(
                wrong, "mend the adapter, or the exchange if the CRM answers otherwise"
            ) from run.error


@check
def the_recorded_contact_is_found(trial: Trial) -> None:
    """Somebody in the exchanges has the number, and the adapter yields him with it."""
    try:
        _ = trial.contact
    except NotApplicableError:
        wrong = f"nobody who has {trial.raw_number} is found: {trial.first.method} gives {trial.first.told()}"
        mend = "put every number of the contact into numbers, record that search, and set `number` to the recorded one"
        raise ConformanceError(wrong, mend) from trial.first.error


@check
def every_exchange_is_asked_for(trial: Trial) -> None:
    """An exchange that no method asks for is stale, or its method is broken."""
    asked = {id(sent.exchange) for method in trial.methods for sent in trial.run(method).sent}
    stale = [each.request for each in trial.exchanges if id(each) not in asked and samples.KEY not in str(each)]
    known = {each.request for each in trial.exchanges if id(each) in asked}
    if unasked := [request for request in stale if request not in known]:
        raise ConformanceError(f"nothing asks {unasked[0]}", "remove the exchange, or write the method that needs it")


@check
def results_are_of_the_right_types(trial: Trial) -> None:
    """Ids are text, moments aware, unknown values ``None``: what a method gives is what its type says."""
    for run in trial.each_usual(http=False):
        if run.method in KINDS and not isinstance(run.result, list):
            raise ConformanceError(f"{run.method} returns {run.told()}", "yield what was found, or return a list")
        for each in run.result if isinstance(run.result, list) else [run.result]:
            _is_fitting(run, each)


def _is_fitting(run: Run, each: Any) -> None:
    wanted = KINDS.get(run.method) or SINGLE.get(run.method)
    if each is None and run.method not in ("create_contact", "log_call") and run.method not in KINDS:
        return
    if wanted and not isinstance(each, wanted):
        raise ConformanceError(f"{run.method} gives {each!r}"[:200], f"give a {wanted.__name__}")
    if wrong := misfits(each):
        raise ConformanceError(
            f"{run.method}: {wrong[0]}", "turn it into the type of the field, and what is unknown into None"
        )


@check
def each_contact_comes_once(trial: Trial) -> None:
    """A contact that several searches find is yielded once."""
    ids = [contact.id for contact in trial.usual(trial.first.method).result]
    if len(ids) != len(set(ids)):
        raise ConformanceError(
            f"{trial.first.method} yields a contact twice", "keep the ids that were yielded, in this call only"
        )


@check
def numbers_are_as_the_crm_has_them(trial: Trial) -> None:
    """A number is passed on as it is stored; the middleware reads every spelling, and a rewrite breaks some."""
    run = trial.each_usual(trial.first.method)[0]
    stored = {str(value) for sent in run.sent for _, value in leaves_of(sent.reply.json)}
    for contact in run.result:
        for each in contact.numbers:
            if not any(each.number in text for text in stored):
                mend = "take it from the answer unchanged: do not clean, prefix or join numbers"
                raise ConformanceError("a contact's number is nowhere in the answers like that", mend)


@check
def every_number_of_a_contact_is_told(trial: Trial) -> None:
    """A contact who is called by his landline and his mobile is found by both."""
    run = trial.each_usual(trial.first.method)[0]
    told = {
        e164
        for contact in run.result
        for each in contact.numbers
        for e164 in iter_stored_numbers(each.number, trial.region)
    }
    for sent in run.sent:
        for way, value in leaves_of(sent.reply.json):
            names = [step for step in way if isinstance(step, str)]
            if not (isinstance(value, str) and any(PHONE_KEY.search(name) for name in names)):
                continue
            if missing := set(iter_stored_numbers(value, trial.region)) - told:
                wrong = f"the number in {'.'.join(names)} ({len(missing)} in all) is on no contact"
                raise ConformanceError(wrong, "read every phone field of the CRM into Contact.numbers")


@check
def the_search_names_the_number(trial: Trial) -> None:
    """The CRM searches; who copies every contact to look himself breaks at 25,000 of them."""
    usual = trial.each_usual("find_contacts")[0]
    other = trial.run("find_contacts", like=usual, number=parse_number(OTHER_NUMBER, "SE"))
    if [sent.asked for sent in usual.sent] == [sent.asked for sent in other.sent]:
        raise ConformanceError(
            "find_contacts asks the same for every number", "send the number along: ctx.written or number.suffix"
        )


@check
def nobody_found_is_nothing(trial: Trial) -> None:
    """A stranger's call finds nobody, and is no error."""
    usual = trial.each_usual("find_contacts")[0]
    empty = [sent.reply.with_json(_emptied(sent.reply.json)) for sent in usual.sent]
    if all(reply.json == sent.reply.json for reply, sent in zip(empty, usual.sent, strict=True)):
        raise NotApplicableError("no answer holds a list")
    run = trial.run("find_contacts", answering=in_turn(empty))
    if run.error is not None or run.result:
        raise ConformanceError(
            f"when the CRM finds nobody, find_contacts gives {run.told()}", "yield nothing for an empty list"
        )


def _emptied(value: Any) -> Any:
    if isinstance(value, list):
        return []
    return {key: _emptied(inner) for key, inner in value.items()} if isinstance(value, dict) else value


@check
def deleted_people_are_left_out(trial: Trial) -> None:
    """Somebody who was deleted in the CRM is a stranger again."""
    usual = trial.each_usual("find_contacts")[0]
    marks = [
        (place, way)
        for place, sent in enumerate(usual.sent)
        for way, value in leaves_of(sent.reply.json)
        if way and isinstance(way[-1], str) and DELETED_KEY.match(way[-1]) and value in (False, 0, None)
    ]
    if not marks:
        raise NotApplicableError("the answers mark nobody as deleted")
    replies = [sent.reply for sent in usual.sent]
    for place, way in marks:
        replies[place] = replies[place].with_json(replaced(replies[place].json, way, True))
    if trial.run("find_contacts", answering=in_turn(replies)).result:
        raise ConformanceError("a contact that is marked as deleted is yielded", "leave it out, or ask the CRM to")


def replaced(value: Any, way: tuple[str | int, ...], new: Any) -> Any:
    """Return a copy of JSON in which ``new`` stands at ``way``."""
    if not way:
        return new
    if isinstance(value, list):
        return [replaced(inner, way[1:], new) if place == way[0] else inner for place, inner in enumerate(value)]
    return {key: replaced(inner, way[1:], new) if key == way[0] else inner for key, inner in value.items()}


@check
def activities_are_of_the_contact(trial: Trial) -> None:
    """The CRM is asked for the activities of this contact; others' are nobody's business."""
    for usual in trial.each_usual(*ACTIVITY_METHODS):
        other = replace(trial.contact, id=trial.contact.id + "9")
        run = trial.run(usual.method, like=usual, contact=other)
        if [sent.asked for sent in run.sent] == [sent.asked for sent in usual.sent]:
            raise ConformanceError(f"{usual.method} asks the same for every contact", "send contact.id along")


@check
def finding_changes_nothing(trial: Trial) -> None:
    """Whoever looks leaves the CRM as it was."""
    for usual in trial.each_usual():
        if usual.method.startswith(("find_", "has_", "iter_", "check")) and usual.writes:
            wrong = f"{usual.method} sends {usual.writes[0]}"
            raise ConformanceError(wrong, "do not write; if that POST only searches, record it with reads=True")


@check
def one_lookup_is_few_requests(trial: Trial) -> None:
    """M8Com waits three seconds: a contact is there after at most three requests a spelling, activities after four."""
    for usual in trial.each_usual("find_contacts", *set(ACTIVITY_METHODS) & set(trial.methods)):
        most = 3 * len(trial.adapter.number_forms) if usual.method == "find_contacts" else 4
        if len(usual.sent) > most:
            raise ConformanceError(
                f"{usual.method} sends {len(usual.sent)} requests", f"use at most {most}; ask for lists"
            )


@check
def an_unknown_id_is_none(trial: Trial) -> None:
    """A caller who types a wrong id is a stranger, not an error."""
    trial.needs("find_contact_by_id")
    usual = trial.each_usual("find_contact_by_id")[0]
    for status, body in ((404, b'{"message": "not found"}'), (200, b"[]")):
        reply = replace(usual.sent[0].reply, status=status, body=body)
        run = trial.run("find_contact_by_id", answering=in_turn([reply]))
        is_error_of_shape = status == 200 and not isinstance(usual.sent[0].reply.json, list)
        if not is_error_of_shape and (run.error is not None or run.result is not None):
            wrong = f"find_contact_by_id, answered {status} {body.decode()}, gives {run.told()}"
            raise ConformanceError(wrong, "return None: ctx.http.find does so for 404")


@check
def links_open_the_crm(trial: Trial) -> None:
    """The buttons on the card are web addresses with a name; nothing is asked to make them."""
    trial.needs("create_links")
    run = trial.usual("create_links")
    for link in run.result:
        if not (isinstance(link, Link) and link.name.strip() and re.match(r"https?://[^\s<>\"]+$", link.url)):
            raise ConformanceError(f"create_links gives {link!r}", "yield Link(name=…, url=…) with an https address")


@check
def withheld_numbers_ask_nothing_wild(trial: Trial) -> None:
    """A number without digits (withheld, a name) does not become a search for everybody."""
    usual = trial.each_usual("find_contacts")[0]
    run = trial.run("find_contacts", like=usual, number=PhoneNumber(raw="", kind=NumberKind.ANONYMOUS))
    bad = run.error is not None and not isinstance(run.error, Exception)
    if bad:
        raise ConformanceError(
            f"find_contacts breaks on a withheld number: {run.told()}", "do not loop until somebody is found"
        )


@check
def findings_are_sentences(trial: Trial) -> None:
    """``check`` says what was tried and, when it failed, what to do; with right credentials all is well."""
    trial.needs("check")
    found = trial.usual("check").result
    if not found or not all(isinstance(each.message, str) and each.message.strip() for each in found):
        raise ConformanceError("check yields nothing, or a finding without words", "yield one Finding for each right")
    if wrong := [each.message for each in found if not each.ok]:
        raise ConformanceError(
            f"with the recorded answers check says: {wrong[0]}", "record the answers of an account in order"
        )
