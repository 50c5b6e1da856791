"""How many requests a lookup and a logged call cost, counted from recorded exchanges and told in the documentation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.freshdesk import FreshdeskAdapter, FreshdeskSettings
from adapters.hubspot import HubSpotAdapter, HubSpotSettings
from adapters.pipedrive import PipedriveAdapter, PipedriveSettings
from adapters.upsales import UpsalesAdapter, UpsalesSettings
from middleware.crm.base import ACTIVITY_METHODS, Context, CRMAdapter
from middleware.crm.settings import Secret
from middleware.lookup.verify import find_verified, written_forms
from middleware.model.call import LoggedCall
from middleware.model.contact import Contact
from middleware.model.phone import parse_number
from tests.adapters.recorded import RecordedCrm, call, context

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent.parent / "docs" / "adapters"
NUMBER = parse_number("+46701740605", "SE")
CALL = call(owner="471100")
MADE: dict[str, Callable[[], CRMAdapter[Any]]] = {
    "pipedrive": lambda: PipedriveAdapter(PipedriveSettings(token=Secret("t"), company="nordlys")),
    "hubspot": lambda: HubSpotAdapter(HubSpotSettings(token=Secret("t"))),
    "freshdesk": lambda: FreshdeskAdapter(FreshdeskSettings(token=Secret("t"), domain="nordlys")),
    "upsales": lambda: UpsalesAdapter(UpsalesSettings(token=Secret("t"))),
}


@dataclass
class Crm:
    adapter: CRMAdapter[Any]
    recorded: RecordedCrm
    logged: LoggedCall | None = None

    def costs(self, work: Callable[[Context], object]) -> int:
        before = len(self.recorded.sent)
        work(context(self.adapter))
        return len(self.recorded.sent) - before

    def find(self, ctx: Context) -> Contact:
        found = (find_verified(self.adapter, NUMBER, form, ctx)[0] for form in written_forms(self.adapter, NUMBER))
        return next(filter(None, found))[0]

    def look_up(self, ctx: Context) -> None:
        contact = self.find(ctx)
        for method in filter(self.adapter.can, ACTIVITY_METHODS):
            assert list(getattr(self.adapter, method)(contact, ctx)), method

    def log(self, ctx: Context) -> LoggedCall:
        return self.adapter.log_call(CALL, self.find(ctx), ctx)

    def find_again(self, ctx: Context) -> None:
        self.logged = self.adapter.find_logged_call(CALL, ctx)

    def complete(self, logged: LoggedCall | None) -> Callable[[Context], object]:
        assert logged
        return lambda ctx: self.adapter.update_call(logged, CALL, ctx)


@pytest.mark.parametrize("name", MADE)
def test_the_page_tells_what_it_costs(name: str) -> None:
    """Whoever connects a CRM reads how many requests that takes from its account, as they are counted here."""
    with RecordedCrm(HERE / name / "exchanges.json") as recorded:
        crm = Crm(MADE[name](), recorded)
        counted = {
            "A lookup": crm.costs(crm.look_up),
            "A logged call": crm.costs(crm.log),
            "A logged call whose first attempt's end is unknown": crm.costs(crm.find_again),
            "A call that is completed": crm.costs(crm.complete(crm.logged)),
        }
    sys.stdout.write(f"{name}: {counted}\n")
    page = (DOCS / f"{name}.rst").read_text(encoding="utf-8")
    for what, requests in counted.items():
        assert any(
            line.startswith(f"* {what}") and f": {requests} request{'s'[: requests != 1]}" in line
            for line in page.splitlines()
        ), (what, requests)
