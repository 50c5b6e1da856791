"""Three whole machines behind the proxy of ``deploy/``, and what happens to machines."""

from __future__ import annotations

import pytest

from tests.promises.machines import BUDGET, MACHINES, Seen, harass

BETWEEN = 30  # acknowledged events between two misfortunes


@pytest.fixture(scope="module")
def seen() -> Seen:
    return harass(BETWEEN)


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost(seen: Seen) -> None:
    """One machine is killed, one cut off from the database, one stands still: every acknowledged call is stored."""
    assert seen.acknowledged > 5 * BETWEEN
    assert seen.lost == 0


@pytest.mark.timeout(300)
def test_every_call_is_in_the_crm_once(seen: Seen) -> None:
    """Whoever has died while it wrote a call, the others ask the CRM for it before they write it again."""
    assert (seen.missing, seen.twice) == (0, 0)


@pytest.mark.timeout(300)
def test_lookups_are_answered_meanwhile(seen: Seen) -> None:
    """A lookup is answered by whatever machine is there; only those that a frozen one has taken are not."""
    assert seen.lookups[200] > 0.9 * seen.lookups.total()


@pytest.mark.timeout(300)
def test_budget_is_one_for_all_machines(seen: Seen) -> None:
    """All machines together ask a CRM no more often than its budget allows; without Redis each has one of its own."""
    assert seen.asked <= BUDGET
    assert seen.asked_alone == MACHINES * BUDGET
