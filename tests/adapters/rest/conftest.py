"""A real Tryton and a real Roundup, each in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from middleware.crm.base import Context, CRMAdapter
from middleware.crm.context import build_context
from middleware.model.deadline import Deadline

HERE = Path(__file__).resolve().parent
Ask = Callable[..., Context]


def serve(name: str, library: str, folder: Path) -> Iterator[str]:
    """Yield the address of the server that the program ``name`` is; skip where its library is missing."""
    if importlib.util.find_spec(library) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{library} is not installed")
        pytest.skip(f"{library} is not installed")
    program = [sys.executable, str(HERE / f"{name}.py"), str(folder)]
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout
    port = process.stdout.readline().strip()
    assert port, (folder / "errors").read_text()[-1000:]
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.communicate()


@pytest.fixture(scope="session")
def tryton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a Tryton."""
    yield from serve("serve_tryton", "trytond", tmp_path_factory.mktemp("tryton"))


@pytest.fixture(scope="session")
def roundup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a Roundup."""
    yield from serve("serve_roundup", "roundup", tmp_path_factory.mktemp("roundup"))


def context(adapter: CRMAdapter[Any]) -> Context:
    """Return a context with time enough for a busy machine."""
    return build_context(adapter, region="SE", deadline=Deadline.after(timedelta(seconds=30)))
