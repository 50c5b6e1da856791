"""What a customer leaves out is not logged, and he is told why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from middleware.delivery.compose import compose_call
from middleware.delivery.skip import why_skipped
from middleware.model.call import CallEvent, Direction, Ending, EventKind
from middleware.tenants.tenant import CallsConfig, SkipConfig
from tests.lookup.zoo import Zoo, tenant_of

SECOND = timedelta(seconds=1)


def why(skip: SkipConfig, **facts: Any) -> str | None:
    told = {"from_number": "+46701740605", "to_number": "+46101234567", **facts}
    event = CallEvent(sender="pbx", kind=EventKind.CALL_ENDED, key="1", **told)
    tenant = replace(tenant_of(Zoo()), calls=CallsConfig(skip=skip))
    received = datetime(2026, 3, 1, tzinfo=UTC)
    return why_skipped(event, compose_call(event, event_id="", key="", tenant=tenant, received_at=received), tenant)


SHORT = SkipConfig(shorter_than=timedelta(seconds=3))


@pytest.mark.parametrize(
    ("skip", "facts", "words"),
    [
        (SkipConfig(), {"is_internal": True}, "internal"),
        (SkipConfig(), {"from_number": "201"}, "internal"),
        (SHORT, {"duration": 2 * SECOND}, "shorter than 3 s"),
        (SHORT, {"duration": 0 * SECOND, "wait_time": SECOND, "ending": Ending.ABANDONED}, "shorter than 3 s"),
        (SkipConfig(numbers=frozenset({"+46701740605"})), {}, "numbers"),
        (SkipConfig(directions=frozenset({Direction.INBOUND})), {}, "inbound"),
        (SkipConfig(groups=frozenset({"support"})), {"answer_group": " Support"}, "group"),
    ],
)
def test_what_is_left_out_is_told(skip: SkipConfig, facts: dict[str, Any], words: str) -> None:
    """Each rule leaves its calls out, in words for people and without a number."""
    reason = why(skip, **facts)
    assert reason is not None
    assert words in reason
    assert "+46" not in reason


@pytest.mark.parametrize(
    ("skip", "facts"),
    [
        (SkipConfig(), {}),
        (SkipConfig(internal=False), {"is_internal": True}),
        (SHORT, {}),
        (SHORT, {"duration": 3 * SECOND}),
        (SHORT, {"duration": 0 * SECOND, "ending": Ending.MISSED}),
        (SHORT, {"duration": 0 * SECOND, "wait_time": 40 * SECOND, "ending": Ending.ABANDONED}),
        (SkipConfig(directions=frozenset({Direction.OUTBOUND})), {}),
        (SkipConfig(groups=frozenset({"support"})), {"answer_group": "Sales"}),
    ],
)
def test_what_is_wanted_is_logged(skip: SkipConfig, facts: dict[str, Any]) -> None:
    """A rule leaves out nothing else: a missed call that has no length stays."""
    assert why(skip, **facts) is None
