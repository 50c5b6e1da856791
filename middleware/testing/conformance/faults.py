"""What an adapter makes of a CRM that is ill: every failure is told, none becomes "nobody found"."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from middleware.errors import (
    BreakerOpenError,
    CRMAuthError,
    CRMError,
    CRMRejectedError,
    CRMResponseError,
    CRMTimeoutError,
    CRMUnavailableError,
    RateLimitedError,
)
from middleware.testing.conformance.registry import check
from middleware.testing.conformance.trial import WRITES, ConformanceError, Run, Trial, is_told
from middleware.testing.conformance.wire import Reply, with_reply

NO_CATCH = "let the error of ctx.http pass; never catch an error only to return nothing"


def _suffer(trial: Trial, reply: Reply, *methods: str) -> Iterator[tuple[Run, int, Run]]:
    """Yield, for each request of each method, the run in which it was answered with ``reply``."""
    for usual in trial.each_usual(*methods):
        for place in range(len(usual.sent)):
            yield usual, place, trial.run(usual.method, answering=with_reply(place, reply, usual.sent))


def _is_raised(trial: Trial, reply: Reply, what: str, *kinds: type[CRMError]) -> None:
    for usual, place, run in _suffer(trial, reply):
        is_a_finding = usual.method == "check" and CRMRejectedError in kinds  # what the CRM refuses may be fine
        if not (is_told(run, *kinds) or is_a_finding):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            wrong = f"{usual.method}: {usual.sent[place]} was answered {what}, and the method gave {run.told()}"
            raise ConformanceError(f"{wrong}; it must raise {wanted}", NO_CATCH)


@check
def status_401_is_told(trial: Trial) -> None:
    """A CRM that does not know our credentials pauses the customer and tells a person."""
    _is_raised(trial, Reply(status=401, body=b'{"message": "unauthorized"}'), "401", CRMAuthError)


@check
def status_403_is_told(trial: Trial) -> None:
    """A missing right is told, for a person must grant it."""
    _is_raised(trial, Reply(status=403, body=b'{"message": "forbidden"}'), "403", CRMAuthError)


@check
def status_404_is_no_crash(trial: Trial) -> None:
    """A 404 is nothing found, or an error of ours; a write that met one is not done."""
    for usual, place, run in _suffer(trial, Reply(status=404, body=b'{"message": "not found"}')):
        is_write = usual.sent[place].is_write
        is_fine = is_told(run, CRMRejectedError) or (run.error is None and not is_write and not run.result)
        if not is_fine and (is_write or (run.error is not None and not isinstance(run.error, CRMError))):
            wrong = f"{usual.method}: {usual.sent[place]} was answered 404, and the method gave {run.told()}"
            raise ConformanceError(wrong, "return None or nothing where nothing was found, else " + NO_CATCH)


@check
def status_409_is_told(trial: Trial) -> None:
    """A conflict is told, unless it says that the CRM has the call already."""
    for usual, place, run in _suffer(trial, Reply(status=409, body=b'{"message": "conflict"}')):
        has_it = usual.sent[place].is_write and "find_logged_call" in trial.methods and len(run.sent) > place + 1
        if not (is_told(run, CRMError) or has_it or usual.method == "check"):
            wrong = f"{usual.method}: {usual.sent[place]} was answered 409, and the method gave {run.told()}"
            raise ConformanceError(wrong, NO_CATCH)


@check
def status_422_is_told(trial: Trial) -> None:
    """A request that the CRM refuses is a dead letter with the vendor's text, not silence."""
    _is_raised(trial, Reply(status=422, body=b'{"message": "invalid"}'), "422", CRMRejectedError)


@check
def status_400_is_told(trial: Trial) -> None:
    """A request that the CRM cannot read is told."""
    _is_raised(trial, Reply(status=400, body=b'{"message": "bad request"}'), "400", CRMRejectedError)


@check
def status_429_is_no_miss(trial: Trial) -> None:
    """A rate limit is told with the time to wait; taken for "not found", it is shown to callers as a stranger."""
    reply = Reply(status=429, headers={"Retry-After": "17"}, body=b'{"message": "slow down"}')
    for usual, place, run in _suffer(trial, reply):
        is_waiting = isinstance(run.error, RateLimitedError) and run.error.retry_after == timedelta(seconds=17)
        if not (is_waiting or (run.method == "check" and is_told(run, RateLimitedError))):
            wrong = f"{usual.method}: {usual.sent[place]} was answered 429 with Retry-After: 17, and the method gave "
            raise ConformanceError(f"{wrong}{run.told()}; it must raise RateLimitedError with retry_after", NO_CATCH)


@check
def status_500_is_told(trial: Trial) -> None:
    """A fault of the CRM's is told: it is tried again."""
    _is_raised(trial, Reply(status=500, body=b"<h1>Internal Server Error</h1>"), "500", CRMUnavailableError)


@check
def status_503_is_told(trial: Trial) -> None:
    """A CRM that is down is told, and is no miss."""
    _is_raised(trial, Reply(status=503, body=b"<h1>Service Unavailable</h1>"), "503", CRMUnavailableError)


@check
def a_redirect_is_told(trial: Trial) -> None:
    """An answer that sends us elsewhere, e.g. to a login, is an error."""
    reply = Reply(status=302, headers={"Location": "https://login.example/"})
    _is_raised(trial, reply, "302", CRMResponseError)


@check
def a_time_out_is_told(trial: Trial) -> None:
    """A CRM that does not answer in time is told: a write may have happened."""
    _is_raised(trial, Reply(failure="timeout"), "nothing in time", CRMTimeoutError)


@check
def a_reset_is_told(trial: Trial) -> None:
    """A connection that breaks is told: a write may have happened."""
    _is_raised(trial, Reply(failure="reset"), "a reset of the connection", CRMUnavailableError)


@check
def nothing_is_repeated_after_an_error(trial: Trial) -> None:
    """The request that failed is the last: the middleware repeats, when the CRM is ready and knows what it has."""
    for reply in (Reply(status=503), Reply(status=429), Reply(failure="timeout"), Reply(failure="reset")):
        for usual, place, run in _suffer(trial, reply):
            failed = usual.sent[place]
            again = [
                sent
                for sent in run.sent[place + 1 :]
                if (sent.asked.method, sent.url) == (failed.asked.method, failed.url)
            ]
            if again and (failed.is_write or again[0].asked == failed.asked):
                wrong = f"{usual.method} sends {failed} again after {reply.failure or reply.status}"
                raise ConformanceError(wrong, "never repeat a request yourself; let the error pass")


@check
def nothing_happens_after_the_deadline(trial: Trial) -> None:
    """When no time is left, nothing is sent and CRMTimeoutError is raised."""
    for usual in trial.each_usual():
        run = trial.run(usual.method, is_late=True)
        if run.sent or not is_told(run, CRMTimeoutError):
            wrong = f"{usual.method}, asked after its deadline, sent {len(run.sent)} requests and gave {run.told()}"
            raise ConformanceError(wrong, "send with ctx.http only, and " + NO_CATCH)


@check
def a_pause_is_obeyed(trial: Trial) -> None:
    """While the CRM is spared (pause, budget, breaker) nothing is sent and the error passes."""

    @contextmanager
    def closed() -> Iterator[None]:
        if trial.methods:
            raise BreakerOpenError("the CRM is left alone", retry_after=timedelta(seconds=5))
        yield

    for usual in trial.each_usual(http=trial.speaks_http):
        if usual.method in ("create_links", "check"):
            continue
        run = trial.run(usual.method, guard=closed)
        if run.sent or not is_told(run, BreakerOpenError):
            wrong = f"{usual.method} goes on although the CRM is to be left alone: it gave {run.told()}"
            mend = "ask with ctx.http, or each time `with ctx.guard(): …`; a NotAskedError is nothing to catch"
            raise ConformanceError(wrong, mend)


@check
def an_unknown_outcome_is_no_success(trial: Trial) -> None:
    """A write whose answer nobody can read has not succeeded: the middleware looks for it before it tries again."""
    bodies = (b"", b"<html>Gateway</html>", b"{}", b"null", b'{"id": null}', b'{"error": "no"}')
    for body in bodies:
        for usual, place, run in _suffer(trial, Reply(status=200, body=body), *WRITES):
            if not usual.sent[place].is_write or usual.result is None:
                continue
            if not is_told(run, CRMError):
                wrong = f"{usual.method} was answered 200 and {body.decode() or 'an empty body'}, and gave {run.told()}"
                mend = "read the id out of the answer and raise CRMResponseError if there is none"
                raise ConformanceError(wrong, mend)
