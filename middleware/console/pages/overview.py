"""The first page: what is wrong now."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app, render_template
from flask.typing import ResponseReturnValue

from middleware import __version__
from middleware.console.guard import needs
from middleware.console.roles import ALL, Role, Viewer
from middleware.console.section import Section
from middleware.monitoring.alarms import KINDS, Ledger, StoredAlarm
from middleware.monitoring.condition import Condition, condition_of, free_bytes

MOST = 50  # alarms, and troubles: nobody reads more, and every browser asks for them four times a minute
section = Section("overview", __name__, title="Overview", roles=ALL, at_root=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that is wrong now, in words."""

    words: str
    about: str
    state: str = ""  # of the calls that it is about


@section.get("")
@needs(ALL)
def page(viewer: Viewer) -> ResponseReturnValue:
    """Show what is wrong: to a customer's admin with him alone, to others everywhere."""
    parts = current_app.extensions["m8crm"]
    condition = condition_of(parts.inbox)
    is_customer = viewer.role is Role.CUSTOMER
    raised = [] if is_customer else [alarm for alarm in Ledger(parts.inbox).list_alarms() if alarm.is_raised]
    troubles = _troubles(viewer, condition)
    return render_template(
        "console/overview.html",
        section=section,
        condition=None if is_customer else condition,
        free=free_bytes(parts.settings.data),
        version=__version__,
        alarms=[_alarm(alarm) for alarm in raised[:MOST]],
        troubles=troubles[:MOST],
        left_out=max(0, len(raised) - MOST) + max(0, len(troubles) - MOST),
    )


def _alarm(alarm: StoredAlarm) -> dict[str, object]:
    return {"words": KINDS.get(alarm.kind, alarm.kind), "subject": alarm.subject, "since": alarm.since}


def _troubles(viewer: Viewer, condition: Condition) -> list[Trouble]:
    """Return what is wrong with customers that he may see, what is most first."""
    tenants = current_app.extensions["m8crm"].tenants
    found = [
        Trouble(about=customer, words=f"The configuration is not valid: {'; '.join(problem.problems)}")
        for customer, problem in tenants.known_problems().items()
        if viewer.may_see(customer)
    ]
    found += [
        Trouble(
            about=customer, words=f"The CRM {channel} refuses the credentials; calls wait until somebody mends them."
        )
        for customer, channel in condition.paused
        if viewer.may_see(customer)
    ]
    for counts, words, state in (
        (condition.dead, "calls could not be written into the CRM", "dead"),
        (condition.lost, "recordings are lost", ""),
    ):
        most = sorted(counts.items(), key=lambda item: -item[1])
        seen = [(name, n) for name, n in most if viewer.may_see(name)]
        found += [Trouble(about=name, words=f"{n} {words}.", state=state) for name, n in seen]
    return found
