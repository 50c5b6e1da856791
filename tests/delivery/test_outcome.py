"""What is done about an attempt, by what the adapter raised."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import CapturingLogger

from middleware.crm.base import Context
from middleware.delivery.outcome import Dead, Paused, Retry, Wait, outcome_of
from middleware.errors import (
    BreakerOpenError,
    BudgetError,
    CRMAuthError,
    CRMRejectedError,
    CRMResponseError,
    CRMTimeoutError,
    CRMUnavailableError,
    NotAskedError,
    RateLimitedError,
    UnsupportedError,
)
from middleware.model.call import CallRecord, LoggedCall
from middleware.model.contact import Contact
from tests.delivery.test_worker import ANOTHER, Ledger, Post, raising

NINE = timedelta(seconds=9)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Post]:
    office = Post(f"sqlite:///{tmp_path / 'inbox.db'}")
    yield office
    office.inbox.close()


@pytest.mark.parametrize("kind", [RateLimitedError, NotAskedError, BudgetError, BreakerOpenError])
def test_a_crm_that_is_spared_is_waited_for(kind: type[RateLimitedError]) -> None:
    """The CRM's pause, our budget and an open breaker are a wait of known length, with words that say which."""
    outcome = outcome_of(kind("the reason", retry_after=NINE))
    assert isinstance(outcome, Wait)
    assert outcome.wait == NINE
    assert ("the reason" in outcome.words) is (kind is not RateLimitedError)


@pytest.mark.parametrize("kind", [CRMTimeoutError, CRMUnavailableError])
def test_after_an_outage_nobody_knows_what_was_written(kind: type[CRMTimeoutError]) -> None:
    """A time-out and an outage hold up the lane, and the next attempt asks the CRM first."""
    outcome = outcome_of(kind("down"))
    assert isinstance(outcome, Retry)
    assert (outcome.is_lane, outcome.is_unknown, outcome.is_unreadable) == (True, True, False)


@pytest.mark.parametrize("error", [CRMResponseError("html"), ValueError("+46701740605"), SystemExit("+46701740605")])
def test_what_cannot_be_read_holds_up_only_itself(error: BaseException) -> None:
    """A fault of one answer or of the adapter is tried a few times, and its message is not kept."""
    outcome = outcome_of(error)
    assert isinstance(outcome, Retry)
    assert (outcome.is_lane, outcome.is_unknown, outcome.is_unreadable) == (False, True, True)
    assert "4670" not in outcome.words


@pytest.mark.parametrize(
    ("error", "kind"), [(CRMAuthError("who"), Paused), (CRMRejectedError("no"), Dead), (UnsupportedError("no"), Dead)]
)
def test_what_needs_a_person_is_not_tried_again(error: Exception, kind: type) -> None:
    """Refused credentials pause the lane; a refused call is dead."""
    assert isinstance(outcome_of(error), kind)


@pytest.mark.parametrize("kind", [BudgetError, BreakerOpenError])
def test_waiting_for_the_crm_uses_up_no_attempt(office: Post, kind: type[RateLimitedError]) -> None:
    """However often a call finds the CRM spared, it is delivered afterwards, once, and its end was never in doubt."""
    crm = Ledger(fail=raising(*[kind("spared", retry_after=NINE)] * 20), can_find=False)
    office.connect(crm)
    event_id = office.send()
    assert office.later() == 1
    assert office.later(seconds=8) == 0
    for _ in range(19):
        assert office.later(seconds=9) == 1
    assert office.event(event_id).state == "waiting"
    office.later(seconds=9)
    event = office.event(event_id)
    assert (event.state, crm.writes) == ("delivered", 1)
    assert [attempt.outcome for attempt in event.attempts] == ["wait"] * 20 + ["delivered"]
    assert "duplicate" not in event.attempts[-1].words


@pytest.mark.parametrize("brought", [None, "4711", LoggedCall(external_id=4711)])  # type: ignore[arg-type]
def test_an_adapter_that_forgets_the_record_writes_once(office: Post, brought: object) -> None:
    """What is no record of the CRM's is a fault that says so; nothing is written again, and other calls go on."""

    class Forgetful(Ledger):
        def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
            super().log_call(call, contact, ctx)
            return brought  # type: ignore[return-value]

    crm = Forgetful(can_find=False)
    office.connect(crm)
    events = [office.send(), office.send(startTime=ANOTHER)]
    for _ in range(5):
        office.later(hours=1)
    assert crm.writes == 2
    for each in map(office.event, events):
        assert each.state == "dead"
        (attempt,) = each.attempts
        assert "log_call returned" in attempt.words
        assert "may have the call already" in attempt.words


def test_a_dead_call_that_may_be_written_says_so_when_it_is_retried(office: Post) -> None:
    """Who has such a call tried again with a mended adapter is told that the CRM may have it twice."""
    crm = Ledger(can_find=False)
    crm.log_call, whole = lambda *_: None, crm.log_call  # type: ignore[method-assign,assignment]
    office.connect(crm)
    event_id = office.send()
    office.later()
    crm.log_call = whole  # type: ignore[method-assign]
    assert office.inbox.retry_events([event_id]) == 1
    office.later()
    assert "may be a duplicate" in office.event(event_id).attempts[-1].words


def test_a_fault_of_an_adapter_has_its_place_in_the_log(office: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of the attempt send people to the log: there stands where it broke, and not with what."""
    log = CapturingLogger()
    monkeypatch.setattr("middleware.delivery.worker.log", log)
    office.connect(Ledger(fail=raising(KeyError("+46701740605"))))
    event_id = office.send()
    office.later()
    assert "The log has the place." in office.event(event_id).attempts[0].words
    (fault,) = [call.kwargs for call in log.calls if call.args == ("adapter_bug",)]
    assert (fault["error"], fault["step"], fault["customer"]) == ("KeyError", "log_call", "acme")
    assert "test_worker.py:" in fault["place"]
    assert "4670" not in repr(log.calls)
