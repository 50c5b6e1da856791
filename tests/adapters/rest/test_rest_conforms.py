"""The mappings that are shipped keep what the middleware promises; Tryton's and Roundup's answers are recorded."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from adapters.rest import RestAdapter, RestSettings
from middleware.testing.conformance import Conformance
from tests.adapters.rest.mappings import shipped

IN_PARTS = "Tryton tells year, month and day apart, and the kit does not put them together"


class TestTryton(Conformance):
    """A Tryton 8.2 with the module party."""

    adapter = RestAdapter
    exchanges = "tryton.json"
    not_applicable: ClassVar = {
        "the_log_has_its_moment": "a note of Tryton's has no moment but its own; the call's stands in the text",
        "moments_are_those_of_the_crm": IN_PARTS,
        "january_comes_after_december": IN_PARTS,
    }

    def build_settings(self, folder: Path) -> RestSettings:
        """Read the mapping."""
        return shipped(folder, "tryton").settings


class TestRoundup(Conformance):
    """A Roundup 2.6 with the tracker "classic"."""

    adapter = RestAdapter
    exchanges = "roundup.json"

    def build_settings(self, folder: Path) -> RestSettings:
        """Read the mapping."""
        return shipped(folder, "roundup").settings


class TestLime(Conformance):
    """Lime CRM, as its documentation has it."""

    adapter = RestAdapter
    exchanges = "lime.json"

    def build_settings(self, folder: Path) -> RestSettings:
        """Read the mapping."""
        return shipped(folder, "lime").settings
