"""What strangers write: callers choose their number and name; none of it steers a request."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields, replace
from typing import Any
from urllib.parse import urlsplit

from middleware.crm.base import ACTIVITY_METHODS
from middleware.crm.settings import Secret
from middleware.errors import CRMError
from middleware.model.call import LoggedCall
from middleware.model.phone import NumberKind, PhoneNumber
from middleware.testing.conformance.exchanges import Asked, leaves_of
from middleware.testing.conformance.registry import check
from middleware.testing.conformance.trial import ConformanceError, NotApplicableError, Run, Trial
from middleware.testing.conformance.wire import Reply, with_reply

IDS = (  # what stands where an id is expected
    "7/../../admin",
    "..",
    "7?all=true&x=1",
    "7#top",
    "7%2F..",
    "7;drop",
    "7' OR '1'='1",
    'x" OR "1"="1',
    "*)(objectClass=*",
    "7\\",
    "7&role=admin",
    "https://evil.example/7",
    "//evil.example",
    "7\r\nX-Admin: 1",
    "åäö 7",
    "",
)
QUOTING = {"'": "O'Hara", '"': 'say "hi"', "\\": "back\\slash", "<": "<b>&amp;", "*": "a*)(b", "%": "100%_"}
TEXT = 'Åsa O\'Hara "7" <b>&</b> \\ {x} ${y} %s 100% 🎉 \u202e ); DROP TABLE calls; --'
LETTERS = re.compile(r"[^\w]+")
MEND_URL = "put ids into a path with url_segment (of middleware.crm.api), and everything else into params= or json="
MEND_QUERY = "bind the value, or escape it as the query language wants: \\' in SOQL, '' in OData and SQL, \\2a in LDAP"


def _shape(asked: Asked) -> tuple[Any, ...]:
    """Return what of a request no value may change."""
    body = asked.body
    form = [way for way, _ in leaves_of(body)] if isinstance(body, dict | list) else type(body).__name__
    names = sorted(name.lower() for name, _ in asked.headers if name.lower() != "content-length")
    return asked.method, len(asked.segments), [name for name, _ in asked.query], form, names


def _is_steady(usual: Run, run: Run, value: str) -> None:
    if isinstance(run.error, CRMError | None) is False:
        raise ConformanceError(f"{run.method} with {value!r} raises {run.told()}", MEND_URL)
    for before, after in zip(usual.sent, run.sent, strict=False):
        same_host = urlsplit(before.url)[:2] == urlsplit(after.url)[:2]
        climbs = ".." in after.asked.segments or "." in after.asked.segments
        if not same_host or climbs or _shape(before.asked) != _shape(after.asked):
            wrong = f"{run.method}: the value {value!r} changes the request {before} into {after}"
            raise ConformanceError(wrong, MEND_URL)


def _is_quoted(run: Run, value: str) -> None:
    """Look for ``value`` between quotes in what is sent, with its own quotes as they were."""
    for sent in run.sent:
        for text in sent.asked.texts():
            for quote in "'\"":
                if quote in value and re.search(rf"[=(,:\s%*~]\s*{quote}[%*]?{re.escape(value)}[%*]?{quote}", text):
                    raise ConformanceError(
                        f"{run.method}: {quote} in a value ends the quoted text of {sent}", MEND_QUERY
                    )
            if "*" in value and re.search(rf"\([\w-]+=[^()]*{re.escape(value)}", text):
                raise ConformanceError(f"{run.method}: * and ) in a value change the filter of {sent}", MEND_QUERY)


def _with_id(trial: Trial, method: str, value: str) -> dict[str, Any]:
    contact = replace(trial.contact, id=value)
    return {"numeric_id": value, "contact": contact, "logged": LoggedCall(external_id=value)}


@check
def ids_do_not_steer_requests(trial: Trial) -> None:
    """An id with slashes, quotes or question marks asks for no other page of the CRM."""
    methods = ("find_contact_by_id", *ACTIVITY_METHODS, "log_call", "update_call", "attach_recording", "create_task")
    for usual in trial.each_usual(*methods):
        for value in IDS:
            run = trial.run(usual.method, like=usual, **_with_id(trial, usual.method, value))
            _is_steady(usual, run, value)
            _is_quoted(run, value)


@check
def numbers_do_not_steer_requests(trial: Trial) -> None:
    """A caller's "number" is what he wants it to be; it is searched for and never obeyed."""
    usual = trial.each_usual("find_contacts")[0]
    for value in (*IDS, *QUOTING.values()):
        number = PhoneNumber(raw=value, kind=NumberKind.DIALLABLE, e164=trial.number.e164)
        run = trial.run("find_contacts", like=usual, number=number)
        _is_steady(usual, run, value)
        _is_quoted(run, value)


@check
def call_keys_do_not_steer_requests(trial: Trial) -> None:
    """The key of a call is searched for as it is."""
    trial.needs("find_logged_call")
    usual = trial.each_usual("find_logged_call")[0]
    for value in ("a'b", 'a"b', "a/b?c=d&e#f", "a*)(b", "a\\b", "a%b"):
        run = trial.run("find_logged_call", like=usual, call=replace(trial.inputs.call, key=value))
        _is_steady(usual, run, value)
        _is_quoted(run, value)


@check
def texts_do_not_steer_requests(trial: Trial) -> None:
    """What somebody is called, and what an AI has understood, is written and never obeyed."""
    for method in trial.needs("log_call", "update_call", "create_contact", "create_task"):
        usual = trial.each_usual(method)[0]
        for value in (*QUOTING.values(), TEXT, "line\r\nbreak", "x" * 20_000):
            run = trial.run(method, like=usual, **_with_text(trial, value))
            _is_steady(usual, run, value[:40])
            _is_quoted(run, value)


def _with_text(trial: Trial, value: str) -> dict[str, Any]:
    call = replace(trial.inputs.call, subject=value, body=value, summary=value, agent=value)
    return {"call": call, "draft": replace(trial.inputs.draft, display_name=value), "action_item": value}


@check
def texts_arrive_as_they_are(trial: Trial) -> None:
    """å, quotes, emoji and angle brackets reach the CRM unharmed."""
    trial.needs("log_call")
    usual = trial.each_usual("log_call")[0]
    run = trial.run("log_call", like=usual, call=replace(trial.inputs.call, body=TEXT))
    words = [word for word in LETTERS.split(TEXT) if word]
    if not any(
        all(word in text for word in words) and "🎉" in text for sent in run.writes for text in sent.asked.texts()
    ):
        raise ConformanceError(
            "a text with å, quotes and emoji does not arrive", "send JSON with json=, or encode in UTF-8"
        )


@check
def links_are_quoted(trial: Trial) -> None:
    """The id in a button's address leads to no other page."""
    trial.needs("create_links")
    usual = {urlsplit(link.url).hostname for link in trial.usual("create_links").result}
    for value in IDS[:-1]:
        run = trial.run("create_links", contact=replace(trial.contact, id=value))
        for link in run.result if run.error is None else ():
            parts = urlsplit(link.url)
            if parts.hostname not in usual or re.search(r"[\s<>\"']", link.url) or "/../" in parts.path + "/":
                raise ConformanceError(f"create_links with the id {value!r} leads elsewhere", MEND_URL)
        if run.error is not None and not isinstance(run.error, CRMError):
            raise ConformanceError(f"create_links with the id {value!r} raises {run.told()}", MEND_URL)


def _secrets(trial: Trial) -> list[str]:
    values = (getattr(trial.settings, field.name) for field in fields(trial.settings))
    return [value.reveal() for value in values if isinstance(value, Secret) and value.reveal()]


@check
def no_secret_is_in_an_address(trial: Trial) -> None:
    """Addresses are written to logs on the way: credentials travel in headers."""
    for usual in trial.each_usual():
        for sent in usual.sent:
            if any(secret in sent.url for secret in _secrets(trial)):
                raise ConformanceError(
                    f"{usual.method} sends a secret in the address of {sent}", "return it from auth(): HeaderAuth"
                )


@check
def requests_are_signed(trial: Trial) -> None:
    """A request without credentials is refused on the first day, or worse, is not."""
    if trial.adapter.auth() is None:
        if trial.adapter.base_url and _secrets(trial):
            raise ConformanceError("the settings hold a Secret, and auth() returns None", "return it from auth()")
        raise NotApplicableError("the adapter signs nothing")
    for usual in trial.each_usual():
        for sent in usual.sent:
            if not any(name.lower() not in USUAL_HEADERS for name, _ in sent.asked.headers):
                raise ConformanceError(f"{usual.method} sends {sent} without credentials", "return them from auth()")


USUAL_HEADERS = {"accept", "user-agent", "content-type", "content-length", "accept-encoding", "connection"}


def _echoes(trial: Trial) -> Iterator[tuple[str, Run, list[str]]]:
    """Yield what an adapter says when the CRM repeats our secrets and the number in its errors."""
    kept = [*_secrets(trial), trial.number.suffix, trial.number.national]
    words = " ".join(kept)
    for usual in trial.each_usual():
        for status in (400, 401, 429, 500, 200):
            body = f'{{"error": "{words}", "{words}": 1}}' if status != 200 else f"<p>{words}"
            for place in range(len(usual.sent)):
                reply = Reply(status=status, body=body.encode())
                yield usual.method, trial.run(usual.method, answering=with_reply(place, reply, usual.sent)), kept


@check
def no_message_holds_a_secret(trial: Trial) -> None:
    """Messages are shown and logged: no token, no number and nothing of an answer is in them."""
    for method, run, kept in _echoes(trial):
        error: BaseException | None = run.error
        while error is not None:
            if any(secret in f"{error} {error!r}" for secret in kept):
                wrong = f"{method} raises {type(error).__name__} with a secret or the number in its message"
                raise ConformanceError(wrong, "let the error of ctx.http pass; the CRM's words belong into vendor_text")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@check
def nothing_is_said_aloud(trial: Trial) -> None:
    """An adapter logs no number and no secret, and prints nothing: the middleware tells what happened."""
    aloud = io.StringIO()
    ear = logging.StreamHandler(aloud)
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(ear)
    root.setLevel(logging.DEBUG)
    try:
        with redirect_stdout(aloud), redirect_stderr(aloud):
            for method in trial.methods:
                trial.run(method)
    finally:
        root.removeHandler(ear)
        root.setLevel(before)
    kept = [*_secrets(trial), trial.number.suffix, trial.number.national_digits]
    if any(secret in aloud.getvalue() for secret in kept):
        raise ConformanceError("an adapter writes a number or a secret to a log or the screen", "take the line out")
