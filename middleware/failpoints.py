"""Failpoints: steps of an event's life at which a tester has the process die, fail or stand still.

``M8CRM_FAIL_AT=before-commit`` kills the process there as ``kill -9`` does, ``before-commit:raise`` raises, and
``before-commit:sleep=5`` stands still for five seconds (docs/promises.rst).  Unset, a step costs one comparison.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

from middleware.errors import FailpointError

Step = Literal[
    "read",  # the request is there as a whole
    "parsed",  # it is understood, or known not to be
    "before-insert",  # the transaction is open
    "before-commit",  # the rows are in it
    "after-commit",  # they are on disk
    "before-200",
    "after-200",  # the kernel has the answer; of plain events only: what gunicorn itself sends has no such step
    "claimed",  # the attempt is counted, the delivery in flight
    "before-write",  # the contact is found
    "after-write",  # the CRM has the call
    "before-done",
    "after-done",  # it is on disk how the attempt ended
]
STEPS: tuple[Step, ...] = get_args(Step)

_armed: tuple[Step, Callable[[], None]] | None = None


def arm(fail_at: str | None) -> None:
    """Have the process do at a step what ``step[:action]`` says, or nothing at any; raises ``ValueError``."""
    global _armed  # noqa: PLW0603 - one process, one failpoint
    _armed = parse(fail_at) if fail_at else None


def reach(step: Step) -> None:
    """Do what is armed for this step."""
    if _armed is not None and _armed[0] == step:
        _armed[1]()


def parse(fail_at: str) -> tuple[Step, Callable[[], None]]:
    """Return what ``step[:action]`` says; raises ``ValueError`` that names what it may say."""
    name, _, action = fail_at.partition(":")
    kind, _, seconds = action.partition("=")
    step = next((step for step in STEPS if step == name), None)
    if step and action in ("", "kill"):
        return step, _kill
    if step and action == "raise":
        return step, partial(_raise, step)
    if step and kind == "sleep":
        return step, partial(time.sleep, float(seconds))
    raise ValueError(f"must be STEP, STEP:kill, STEP:raise or STEP:sleep=SECONDS; steps: {', '.join(STEPS)}")


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _raise(step: Step) -> None:
    raise FailpointError(f"a failpoint: {step}")
