"""How many requests the mappings cost, counted from their exchanges and told on the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from middleware.crm.base import ACTIVITY_METHODS
from middleware.testing.conformance import Conformance
from tests.adapters.rest import test_rest_conforms as conforms

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "adapters" / "rest.rst").read_text(encoding="utf-8")
MAPPINGS = {"Tryton": conforms.TestTryton, "Roundup": conforms.TestRoundup, "Lime": conforms.TestLime}


@pytest.mark.parametrize("name", MAPPINGS)
def test_the_page_tells_what_a_mapping_costs(name: str, tmp_path: Path) -> None:
    """Whoever copies a mapping reads how many requests it takes, as they are counted here."""
    kind: type[Conformance] = MAPPINGS[name]
    trial = kind().trial(tmp_path)
    find = len(trial.run("find_contacts").sent)
    activities = sum(len(trial.run(method).sent) for method in ACTIVITY_METHODS if trial.adapter.can(method))
    log, again = len(trial.run("log_call").sent), len(trial.run("find_logged_call").sent)
    told = f"* {name}: a lookup {find + activities} requests, a logged call {find + log}, one that is looked for"
    assert f"{told} before it is written again {again}." in PAGE
