"""What comes of requests to CRMs is counted, sent or not."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from middleware.crm.account import OUTCOMES, Accounts
from middleware.crm.breaker import FAILURES
from middleware.crm.budget import Budget, Lane
from middleware.errors import (
    CRMAuthError,
    CRMError,
    CRMNotFoundError,
    CRMRejectedError,
    CRMResponseError,
    CRMTimeoutError,
    CRMUnavailableError,
    RateLimitedError,
    UnsupportedError,
)
from middleware.metrics.counts import Counts
from middleware.metrics.names import BREAKER_OPEN_UNTIL, CRM_REQUESTS
from middleware.model.deadline import Deadline

SOON = timedelta(seconds=2)


class Asked:
    """An account whose requests end as the test wants."""

    def __init__(self, folder: Path, budget: Budget | None = None) -> None:
        self.counts = Counts(folder / "metrics.db")
        self.now = 0.0
        accounts = Accounts(folder / "accounts", clock=lambda: self.now, counts=self.counts)
        self.account = accounts.get("acme", "crm", budget)

    def ask(self, error: BaseException | None = None) -> None:
        with (
            suppress(type(error), CRMError) if error else suppress(CRMError),
            self.account.guard(Lane.LOOKUP, Deadline.after(SOON), "zoo"),
        ):
            if error:
                raise error

    def counted(self) -> dict[str, float]:
        return {labels[1]: n for (name, labels), n in self.counts.read().items() if name == CRM_REQUESTS.name}

    def open_until(self) -> float | None:
        return self.counts.read().get((BREAKER_OPEN_UNTIL.name, ("acme", "crm")))


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "answered"),
        (CRMTimeoutError("x"), "timeout"),
        (CRMUnavailableError("x"), "unavailable"),
        (RateLimitedError("x"), "rate_limited"),
        (CRMAuthError("x"), "refused_credentials"),
        (CRMNotFoundError("x"), "not_found"),
        (CRMRejectedError("x"), "rejected"),
        (CRMResponseError("x"), "unreadable"),
        (UnsupportedError("x"), "failed"),
        (KeyError("x"), "fault"),
        (SystemExit(), "fault"),
    ],
)
def test_every_end_is_counted_once(tmp_path: Path, error: BaseException | None, outcome: str) -> None:
    """A request is counted by its adapter and by how it ended."""
    asked = Asked(tmp_path)
    asked.ask(error)
    assert asked.counted() == {outcome: 1}
    assert outcome == "answered" or outcome in OUTCOMES.values()


def test_what_is_not_sent_is_counted_apart(tmp_path: Path) -> None:
    """Requests that the budget, the CRM's pause or the breaker held back are not taken for the CRM's failures."""
    asked = Asked(tmp_path, Budget(1, timedelta(hours=1)))
    asked.ask()
    asked.ask()
    assert asked.counted() == {"answered": 1, "budget": 1}
    paused = Asked(tmp_path / "paused")
    paused.ask(RateLimitedError("x"))
    paused.ask()
    assert paused.counted() == {"rate_limited": 1, "pause": 1}


def test_an_open_breaker_is_seen_until_it_closes(tmp_path: Path) -> None:
    """The gauge says until when a CRM is left alone, and 0 when it answers again."""
    asked = Asked(tmp_path)
    for _ in range(FAILURES - 1):
        asked.ask(CRMUnavailableError("x"))
    assert asked.open_until() is None
    asked.ask(CRMUnavailableError("x"))
    assert asked.open_until()
    asked.ask()
    assert asked.counted() == {"unavailable": FAILURES, "breaker": 1}
    asked.now += 60
    asked.ask()
    assert asked.open_until() == 0
