"""The checks by name; a check is a function of a :class:`Trial` that raises ``ConformanceError``."""

from __future__ import annotations

from collections.abc import Callable

from middleware.testing.conformance.trial import Trial

Check = Callable[[Trial], None]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Make ``function`` a check of the kit; its name is the check's, its docstring what it promises."""
    CHECKS[function.__name__] = function
    return function
