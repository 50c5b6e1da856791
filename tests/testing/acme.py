"""The skeleton's adapter, as it stands or with a line of it changed, as a conformance class."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import ModuleType

from middleware.testing.conformance import Conformance
from middleware.testing.conformance.registry import CHECKS
from middleware.testing.conformance.trial import ConformanceError, NotApplicableError
from middleware.testing.skeleton import ADAPTER, TEST

_number = count()


@dataclass(frozen=True)
class Verdict:
    """The checks that failed, with their messages, and those that did not apply."""

    failed: Mapping[str, str]
    skipped: Mapping[str, str]


def load(folder: Path, changes: Mapping[str, str] | None = None) -> type[Conformance]:
    """Write adapter and test into ``folder``, each key of ``changes`` replaced by its value, and return the class."""
    adapter, test = ADAPTER, TEST
    for old, new in (changes or {}).items():
        assert (old in adapter) != (old in test), f"the skeleton has not exactly one place for {old!r}"
        adapter, test = adapter.replace(old, new), test.replace(old, new)
    module = f"acme_{next(_number)}"
    _load(folder, module, adapter)
    kind: type[Conformance] = _load(folder, f"test_{module}", test.replace("adapters.acme", module)).TestAcme
    return kind


def _load(folder: Path, name: str, source: str) -> ModuleType:
    path = folder / f"{name}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judge(kind: type[Conformance], folder: Path, *names: str) -> Verdict:
    """Run the named checks, or all of them."""
    failed: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for name in names or CHECKS:
        try:
            kind().run_check(name, folder)
        except ConformanceError as error:
            failed[name] = str(error)
        except NotApplicableError as reason:
            skipped[name] = str(reason)
    return Verdict(failed=failed, skipped=skipped)
