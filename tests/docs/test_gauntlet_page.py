"""The page of the gauntlet names its tests, and all of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_every_row_names_a_test_that_there_is() -> None:
    """A row without a test, or a test without a row, is a promise that nobody keeps or knows."""
    named = re.findall(r"^     - ``(test_\w+)``$", (ROOT / "docs/gauntlet.rst").read_text(encoding="utf-8"), re.M)
    tree = ast.parse((ROOT / "tests/promises/test_gauntlet.py").read_text(encoding="utf-8"))
    tests = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    assert named == tests
    assert len(named) == 8
