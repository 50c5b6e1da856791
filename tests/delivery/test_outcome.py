"""What is done about an attempt, by what the adapter raised."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

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
from tests.delivery.test_worker import Ledger, Post, raising

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
