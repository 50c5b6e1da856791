"""Moments, durations and state: what depends on when, where and how often an adapter is asked."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from middleware.crm.base import ACTIVITY_METHODS
from middleware.crm.mapping import parse_moment
from middleware.testing.conformance.exchanges import leaves_of
from middleware.testing.conformance.lookups import replaced
from middleware.testing.conformance.registry import check
from middleware.testing.conformance.trial import ConformanceError, NotApplicableError, Run, Trial
from middleware.testing.conformance.wire import in_turn

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
ZONE = timedelta(hours=14, minutes=1)  # the most that a CRM's own time zone may lie from UTC
STOCKHOLM = ZoneInfo("Europe/Stockholm")
MOMENTS = (  # of calls: January, the last day of a month, midnight, a leap day, and both sides of summer time's ends
    datetime(2026, 1, 31, 23, 30, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 59, tzinfo=UTC),
    datetime(2028, 2, 29, 0, 0, tzinfo=UTC),
    datetime(2026, 7, 1, 0, 30, tzinfo=STOCKHOLM),
    datetime(2026, 3, 29, 3, 30, tzinfo=STOCKHOLM),
    datetime(2026, 10, 25, 2, 30, tzinfo=STOCKHOLM),
    datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=STOCKHOLM),
)


def _moments_in(value: Any) -> Iterator[tuple[str, datetime]]:
    for each in value if isinstance(value, list) else [value]:
        for field in fields(each):
            inner = getattr(each, field.name)
            if isinstance(inner, datetime):
                yield f"{type(each).__name__}.{field.name}", inner


def _parsed(values: list[Any]) -> set[datetime]:
    found = set()
    for value in values:
        try:
            if not isinstance(value, bool) and (isinstance(value, int | float) or len(str(value)) >= 8):
                found.add(parse_moment(value, UTC).astimezone(UTC))
        except (ValueError, TypeError, OverflowError, OSError):
            continue
    return found


def _sources(run: Run) -> list[tuple[int, tuple[str | int, ...], Any]]:
    return [(place, way, value) for place, sent in enumerate(run.sent) for way, value in leaves_of(sent.reply.json)]


def _is_told_rightly(run: Run) -> None:
    texts = [value for _, _, value in _sources(run)]
    texts += [f"{day} {hour}" for day in texts for hour in texts if _is_day(day) and _is_hour(hour)]
    known = _parsed(texts)
    for name, moment in _moments_in(run.result):
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if known and not any(abs(aware - each) <= ZONE for each in known):
            wrong = f"{run.method}: {name} is {moment:%Y-%m-%d}, and no moment in the answers is near it"
            mend = "read moments with mapping.parse_moment: months begin at 1, and epochs are in s or ms"
            raise ConformanceError(wrong, mend)


def _is_day(value: Any) -> bool:
    return bool(DAY.fullmatch(str(value)))


def _is_hour(value: Any) -> bool:
    return bool(re.fullmatch(r"\d{2}:\d{2}(:\d{2})?", str(value)))


@check
def moments_are_those_of_the_crm(trial: Trial) -> None:
    """A note of yesterday is not of 1970 or of next month."""
    for run in trial.each_usual("find_contacts", *set(ACTIVITY_METHODS) & set(trial.methods)):
        _is_told_rightly(run)


@check
def january_comes_after_december(trial: Trial) -> None:
    """The month of a moment is right in January, on the last of a month and on a leap day."""
    tried = False
    for usual in trial.each_usual(*ACTIVITY_METHODS):
        for day in ("2026-01-31", "2025-12-31", "2028-02-29"):
            replies = [sent.reply for sent in usual.sent]
            for place, way, value in _sources(usual):
                if isinstance(value, str) and DAY.match(value):
                    new = DAY.sub(day, value, count=1)
                    replies[place] = replies[place].with_json(replaced(replies[place].json, way, new))
                    tried = True
            run = trial.run(usual.method, answering=in_turn(replies))
            if run.error is not None:
                mend = "read moments with mapping.parse_moment"
                raise ConformanceError(f"{usual.method}, with all moments on {day}, gives {run.told()}", mend)
            _is_told_rightly(run)
    if not tried:
        raise NotApplicableError("no answer holds a date in ISO 8601")


@contextmanager
def _machine_in(zone: str) -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = zone
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
        time.tzset()


@check
def the_machine_s_zone_changes_nothing(trial: Trial) -> None:
    """What is read and written is the same on a server in Stockholm and on one in Auckland."""
    for usual in trial.each_usual(http=False):
        told = []
        for zone in ("UTC0", "XXX-12:45", "YYY9:30"):
            with _machine_in(zone):
                run = trial.run(usual.method)
                result = run.result if run.method.startswith("find_") else None  # a write makes a new record
                told.append((run.error is None, result, [sent.asked for sent in run.sent]))
        if told[0] != told[1] or told[0] != told[2]:
            wrong = f"{usual.method} reads or writes other moments in another time zone of the machine"
            raise ConformanceError(
                wrong, "use aware datetimes: .astimezone(UTC) to write, parse_moment(value, UTC) to read"
            )


@check
def the_log_has_its_moment(trial: Trial) -> None:
    """The call began when it began: in January, at midnight, and when clocks are put forward and back."""
    trial.needs("log_call")
    usual = trial.each_usual("log_call")[0]
    for moment in MOMENTS:
        run = trial.run("log_call", like=usual, call=replace(trial.inputs.call, started_at=moment))
        if run.error is not None:
            raise ConformanceError(
                f"log_call of a call at {moment} gives {run.told()}", "started_at is any aware moment"
            )
        values = [value for sent in run.writes for _, value in sent.asked.leaves()]
        values += [f"{day} {hour}" for day in values for hour in values if _is_day(day) and _is_hour(hour)]
        if not any(abs(each - moment) < timedelta(minutes=1) for each in _parsed(values)):
            mend = (
                "write call.started_at.astimezone(UTC) where the API wants UTC, .isoformat() or milliseconds since 1970"
            )
            raise ConformanceError(
                f"no value that log_call writes is the start of a call at {moment.isoformat()}", mend
            )


def _state(trial: Trial) -> dict[str, Any]:
    """Return what instance, class and module hold, as it is now."""
    module = sys.modules[trial.kind.__module__]
    return {
        f"{'self' if holder is trial.adapter else getattr(holder, '__name__', '')}.{name}": _copied(value)
        for holder in (trial.adapter, trial.kind, module)
        for name, value in vars(holder).items()
        if not name.startswith("__")
    }


def _copied(value: Any) -> Any:
    """Return a copy of the containers; what is in them is compared as it is."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_copied(inner) for inner in value]
    return set(value) if isinstance(value, set) else value


@check
def nothing_is_kept_between_calls(trial: Trial) -> None:
    """One instance serves all threads for months: what a call leaves in it meets other people's calls."""
    before = _state(trial)
    for method in trial.methods:
        trial.run(method)
    for name, value in _state(trial).items():
        if name not in before or before[name] != value:
            raise ConformanceError(f"{name} is another after calls", "keep no state: pass values from method to method")


@check
def the_same_question_asks_the_same(trial: Trial) -> None:
    """Asked again, an adapter asks the CRM again; keeping answers is the middleware's."""
    if trial.speaks_http and not trial.first.sent:
        raise ConformanceError(
            f"{trial.first.method} asks nothing", "keep no answers of the CRM, neither in self nor in the module"
        )
    for usual in (trial.first, *trial.each_usual()):
        again = trial.run(usual.method)
        if [sent.asked for sent in again.sent] != [sent.asked for sent in usual.sent]:
            wrong = f"{usual.method} sends other requests when it is asked again"
            mend = "keep no cache, and send no random value or present time: call.key is the same for a retry"
            raise ConformanceError(wrong, mend)


@check
def two_lookups_do_not_mix(trial: Trial) -> None:
    """Two numbers that are looked up at once each find their own."""
    usual = trial.each_usual("find_contacts")[0]
    trial.run("find_contacts", like=usual, number=replace(trial.number, raw="+46701740699", e164="+46701740699"))
    again = trial.run("find_contacts")
    if again.result != usual.result:
        raise ConformanceError(
            "find_contacts finds somebody else after another lookup", "keep no state of a call in the adapter"
        )


@check
def what_was_changed_since_is_asked_for(trial: Trial) -> None:
    """The number index follows changes: it does not read everybody every time."""
    trial.needs("iter_contacts")
    usual = trial.each_usual("iter_contacts")[0]
    later = trial.run("iter_contacts", like=usual, since=datetime(2026, 1, 15, tzinfo=UTC))
    if [sent.asked for sent in later.sent] == [sent.asked for sent in usual.sent]:
        raise ConformanceError(
            "iter_contacts asks the same with and without `since`", "ask for what was changed since then"
        )
