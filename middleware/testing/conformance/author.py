"""``Conformance``: what an adapter's author writes, and what finds the classes that authors have written."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from middleware.crm.base import CRMAdapter
from middleware.testing.conformance import declaration, faults, hostile, lookups, payloads, times, writes
from middleware.testing.conformance.exchanges import Exchange, load_exchanges
from middleware.testing.conformance.registry import CHECKS
from middleware.testing.conformance.samples import NUMBER, REGION
from middleware.testing.conformance.trial import NotApplicableError, Trial

ROOMS = (declaration, lookups, payloads, faults, writes, times, hostile)  # their checks, in the order they are shown

_CLASS = re.compile(r"^class \w+\(.*\bConformance\b", re.M)


class Conformance:
    """Dear author, say which adapter, with which settings, and what the CRM answers; the rest is checked.

    ``settings`` hold made-up secrets.  ``exchanges`` are a list, or the name of a file beside yours that
    ``m8crm adapter record`` has written; at least one per method.  One of the contacts in them has ``number``;
    what they say of a logged call holds ``samples.KEY``.  ``numeric_id`` is an id that ``find_contact_by_id`` knows,
    unless it is the contact's.  ``not_applicable`` has the names of checks that your CRM cannot pass, each with
    the reason.  An adapter that needs a database or a file makes it in ``build_settings``.
    """

    adapter: ClassVar[type[CRMAdapter[Any]]]
    settings: ClassVar[Any] = None
    exchanges: ClassVar[Sequence[Exchange] | str] = ()
    number: ClassVar[str] = NUMBER
    region: ClassVar[str] = REGION
    numeric_id: ClassVar[str | None] = None
    not_applicable: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls) -> None:
        if unknown := cls.not_applicable.keys() - CHECKS.keys():
            raise TypeError(f"not_applicable: there is no check called {min(unknown)}")

    def build_settings(self, folder: Path) -> Any:
        """Return the settings; ``folder`` is empty and the check's own."""
        return self.settings

    def trial(self, folder: Path) -> Trial:
        """Return a fresh trial of the adapter."""
        given = self.exchanges
        exchanges = load_exchanges(_file_of(type(self)).parent / given) if isinstance(given, str) else given
        return Trial(
            kind=self.adapter,
            settings=self.build_settings(folder),
            exchanges=exchanges,
            raw_number=self.number,
            region=self.region,
            numeric_id=self.numeric_id,
        )

    def run_check(self, name: str, folder: Path) -> None:
        """Run one check; raises ``ConformanceError``, or ``NotApplicableError`` with the reason."""
        if name in self.not_applicable:
            raise NotApplicableError(self.not_applicable[name])
        trial = self.trial(folder)
        try:
            CHECKS[name](trial)
        finally:
            if "adapter" in vars(trial):
                with suppress(Exception):  # what closing does has a check of its own
                    trial.adapter.close()

    def test_conformance(self, check: str, tmp_path: Path) -> None:
        """The adapter keeps the promise of the check that is named in brackets; pytest calls this for each."""
        self.run_check(check, tmp_path)


def _file_of(kind: type) -> Path:
    return Path(str(sys.modules[kind.__module__].__file__))


def find_conformance(folder: Path) -> Iterator[tuple[Path, type[Conformance]]]:
    """Yield every conformance class of the ``test_*.py`` below ``folder``, with its file.

    Raises what a file raises that cannot be imported.
    """
    for path in sorted(folder.rglob("test_*.py")):
        if not _CLASS.search(path.read_text(encoding="utf-8")):
            continue
        name = f"conformance_of_{abs(hash(path))}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec
        assert spec.loader
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield from (
            (path, kind)
            for kind in vars(module).values()
            if isinstance(kind, type) and issubclass(kind, Conformance) and hasattr(kind, "adapter")
        )
