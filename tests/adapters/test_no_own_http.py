"""Adapters bring no way out of their own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ADAPTERS = sorted((Path(__file__).resolve().parent.parent.parent / "adapters").glob("*.py"))
FORBIDDEN = {"requests", "urllib3", "http", "httpx", "socket", "aiohttp", "pycurl", "flask"}


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: path.name)
def test_adapter_imports_no_http_library(path: Path) -> None:
    """HTTP belongs to ``ctx.http``, with its deadline, its limits and its errors."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {a.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    urllib = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "urllib.request"]
    assert not (names & FORBIDDEN)
    assert not urllib
