"""No adapter is left out of the conformance kit."""

from __future__ import annotations

from pathlib import Path

import pytest

from middleware.crm.registry import broken_adapters, load_adapters
from middleware.testing.conformance.author import find_conformance

CLASSES = {kind.adapter.name: path for path, kind in find_conformance(Path(__file__).parent)}


@pytest.mark.parametrize("name", sorted(load_adapters()))
def test_an_adapter_has_its_conformance_class(name: str) -> None:
    """Every adapter that is registered has a class below tests/adapters that pytest collects."""
    mend = f"class Test{name.title()}(Conformance) in tests/adapters/{name}/test_{name}_conforms.py"
    assert name in CLASSES, f"the adapter {name!r} has no conformance class: write {mend}"


def test_every_adapter_can_be_loaded() -> None:
    """A module of ``adapters`` that cannot be imported is no adapter that may be forgotten."""
    assert broken_adapters() == {}
