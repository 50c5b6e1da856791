"""One customer's account at one CRM: what protects it outlives calls and reloads of the configuration."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from threading import Lock

from requests.auth import AuthBase

from middleware.crm.breaker import Breaker
from middleware.crm.budget import Budget, Lane, Ledger, SharedBudget
from middleware.crm.oauth import Tokens
from middleware.errors import (
    BreakerOpenError,
    BudgetError,
    CRMAuthError,
    CRMError,
    CRMNotFoundError,
    CRMRejectedError,
    CRMResponseError,
    CRMTimeoutError,
    CRMUnavailableError,
    NotAskedError,
    RateLimitedError,
    TransientError,
)
from middleware.metrics.counts import NOT_COUNTED, Counts
from middleware.metrics.names import BREAKER_OPEN_UNTIL, CRM_REQUESTS
from middleware.model.deadline import Clock, Deadline

MIN_PAUSE, MAX_PAUSE = timedelta(seconds=1), timedelta(hours=1)
PAUSE = timedelta(seconds=5)  # when the CRM does not say how long
PATIENCE = 0.5  # seconds that a call waits for its turn, and never more than half of the time it has
OUTCOMES: dict[type, str] = {  # of requests, as they are counted
    BreakerOpenError: "breaker",
    BudgetError: "budget",
    NotAskedError: "pause",
    RateLimitedError: "rate_limited",
    CRMTimeoutError: "timeout",
    CRMUnavailableError: "unavailable",
    CRMAuthError: "refused_credentials",
    CRMNotFoundError: "not_found",
    CRMRejectedError: "rejected",
    CRMResponseError: "unreadable",
    CRMError: "failed",
    BaseException: "fault",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Account:
    """Breaker, budget and pause of one account; without a ``budget`` requests are not counted.

    ``patience``: seconds that a request waits for its turn, else as long as somebody who is on the phone would.
    ``auth`` is what signs the requests until a deadline where tokens do (OAuth2).
    """

    budget: Budget | None = None
    breaker: Breaker = field(default_factory=Breaker)
    ledger: Ledger = field(default_factory=Ledger)
    shared: SharedBudget | None = None
    sleep: Callable[[float], object] = time.sleep
    patience: float | None = None
    counts: Counts = NOT_COUNTED
    auth: Callable[[Deadline], AuthBase] | None = None

    @contextmanager
    def guard(self, lane: Lane, deadline: Deadline, adapter: str = "") -> Iterator[None]:
        """Admit one request of the ``adapter``, or raise at once why it is not sent.

        What comes of it opens or closes the breaker, and is counted.
        """
        ticket = None
        try:
            self._obey_pause()
            ticket = self.breaker.enter(deadline)
            self._take(lane, deadline)
            yield
        except BaseException as error:
            if ticket is not None:
                self._judge(error, ticket)
            self.counts.add(CRM_REQUESTS, adapter, next(OUTCOMES[k] for k in type(error).__mro__ if k in OUTCOMES))
            raise
        self.breaker.succeeded(ticket)
        self.counts.add(CRM_REQUESTS, adapter, "answered")

    def pause(self, wait: timedelta | None) -> timedelta:
        """Send nothing for as long as the CRM asks, within reason; return how long that is."""
        wait = min(max(PAUSE if wait is None else wait, MIN_PAUSE), MAX_PAUSE)
        self.ledger.pause(wait.total_seconds())
        return wait

    def _judge(self, error: BaseException, ticket: int) -> None:
        """Tell the breaker what the end of a request says about the CRM."""
        match error:
            case NotAskedError():
                self.breaker.abandoned(ticket)
            case RateLimitedError():  # it is well, and has had enough
                error.retry_after = self.pause(error.retry_after)
                self.breaker.succeeded(ticket)
            case TransientError():
                self.breaker.failed(ticket)
            case CRMError():
                self.breaker.succeeded(ticket)
            case _:  # a fault of the adapter's says nothing about the CRM
                self.breaker.abandoned(ticket)

    def _obey_pause(self) -> None:
        left = self.ledger.paused()
        if left:
            raise NotAskedError("the CRM wants a pause: not asked", retry_after=timedelta(seconds=left))

    def _take(self, lane: Lane, deadline: Deadline) -> None:
        if self.budget is None:
            return
        patience = min(PATIENCE, deadline.remaining / 2) if self.patience is None else self.patience
        while wait := self._wait_for(self.budget, lane):
            if wait > patience:
                message = f"our budget of {self.budget} is used up for {lane.name.lower()}: not asked"
                raise BudgetError(message, retry_after=timedelta(seconds=wait))
            patience -= wait
            self.sleep(wait)

    def _wait_for(self, budget: Budget, lane: Lane) -> float:
        shared = self.shared.take(budget, lane) if self.shared else None
        if shared is None:
            return self.ledger.take(budget, lane)
        if not shared:  # noted, so that the local budget is right should the shared one fail
            self.ledger.take(budget, lane, is_granted=True)
        return shared


class Accounts:
    """The accounts of this process by customer and name of the source; ``folder`` is shared by its machine.

    ``tokens`` are there for those that are reached by OAuth2.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        share: Callable[[str], SharedBudget] | None = None,
        clock: Clock = time.monotonic,
        counts: Counts = NOT_COUNTED,
        tokens: Tokens | None = None,
    ) -> None:
        self.tokens = tokens
        self._folder = folder
        self._share = share
        self._clock = clock
        self._counts = counts
        self._known: dict[tuple[str, str], Account] = {}
        self._lock = Lock()

    def get(self, tenant_id: str, source: str, budget: Budget | None) -> Account:
        """Return the account with ``budget``; its breaker and its pause are those that it had before."""
        key = (tenant_id, source)
        with self._lock:
            if key not in self._known:
                self._known[key] = self._make(tenant_id, source)
            return replace(self._known[key], budget=budget)

    def _make(self, tenant_id: str, source: str) -> Account:
        name = f"{tenant_id}.{hashlib.sha256(source.encode()).hexdigest()[:16]}"  # a source may be called anything
        path = None
        if self._folder is not None:
            with suppress(OSError):  # a ledger that cannot be written keeps to its process
                self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / name
        shared = self._share(name) if self._share else None

        def changed(pause: float) -> None:
            self._counts.set(BREAKER_OPEN_UNTIL, pause and round(time.time() + pause), tenant_id, source)

        breaker = Breaker(clock=self._clock, changed=changed)
        return Account(breaker=breaker, ledger=Ledger(path), shared=shared, counts=self._counts)
