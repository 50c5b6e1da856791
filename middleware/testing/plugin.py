"""The pytest plugin of the conformance kit; it ships with the product (entry point ``pytest11``).

Every subclass of ``Conformance`` that has an ``adapter`` is collected, whatever it is called, and each check
is a test of its own.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

CHECK = "check"  # the parameter of Conformance.test_conformance


def _is_conformance(kind: object) -> bool:
    import sys  # noqa: PLC0415  # nothing of the kit is loaded by those who do not use it

    author = sys.modules.get("middleware.testing.conformance.author")
    return author is not None and isinstance(kind, type) and issubclass(kind, author.Conformance)


def pytest_pycollect_makeitem(collector: pytest.Module, name: str, obj: object) -> Any:
    """Collect conformance classes whatever their name, and not the kit's own."""
    if not _is_conformance(obj):
        return None
    return pytest.Class.from_parent(collector, name=name) if hasattr(obj, "adapter") else []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each check."""
    if metafunc.cls is not None and CHECK in metafunc.fixturenames and _is_conformance(metafunc.cls):
        from middleware.testing.conformance.registry import CHECKS  # noqa: PLC0415

        metafunc.parametrize(CHECK, list(CHECKS))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, None, None]:
    """Show what is wrong and how it is mended, and not the inside of the kit."""
    if not _is_conformance(pyfuncitem.cls):
        yield
        return
    from middleware.testing.conformance.trial import ConformanceError, NotApplicableError  # noqa: PLC0415

    failure = ""
    try:
        yield
        return
    except NotApplicableError as reason:
        pytest.skip(str(reason))
    except ConformanceError as error:
        failure = str(error)
    pytest.fail(failure, pytrace=False)
