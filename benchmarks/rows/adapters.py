"""What an adapter costs its author: lines of code, and how long the conformance kit takes."""

from __future__ import annotations

import ast
import subprocess
import sys
import tokenize
from collections.abc import Collection
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from benchmarks.table import Figure, say, spread
from middleware.settings import ROOT
from middleware.testing.skeleton import ADAPTER

LINES, SECONDS = 120, 5.0
SKELETON = "m8crm adapter new"
NAMES = ("freshdesk", "hubspot", "pipedrive", "upsales")
# what an adapter with lookup, activities and a keyed log does without
MORE = {
    "attach_recording",
    "check",
    "create_contact",
    "create_links",
    "create_task",
    "find_contact_by_id",
    "has_recording",
    "iter_contacts",
    "oauth2",
    "update_call",
}


def measure(rounds: int) -> list[Figure]:
    """Count the lines, and run the kit on every adapter in turn, ``rounds`` times."""
    sources = {name: (ROOT / "adapters" / f"{name}.py").read_text(encoding="utf-8") for name in NAMES}
    sources[SKELETON] = ADAPTER
    base = sum(code_lines(path.read_text(encoding="utf-8")) for path in (ROOT / "middleware" / "crm").glob("*.py"))
    return [*(_size(name, source, base) for name, source in sources.items()), _conformance(rounds)]


def _size(name: str, source: str, base: int) -> Figure:
    core, whole = code_lines(source, without=MORE), code_lines(source)
    return Figure(
        what=f"code lines of {name}: lookup, activities and keyed log",
        figure=f"{core}; with all that it can do {whole}",
        goal=f"≤ {LINES}",
        reached=core <= LINES,
        control=f"with what the base class brings: {core + base:,}",
        control_reached=core + base <= LINES,
    )


def code_lines(source: str, without: Collection[str] = ()) -> int:
    """Return how many lines hold code: no imports, docstrings, comments or empty lines, and none of these methods."""
    skipped: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        is_left_out = isinstance(node, ast.FunctionDef) and node.name in without
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and (
            is_left_out or is_docstring or isinstance(node, ast.Import | ast.ImportFrom)
        ):
            first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
            skipped |= set(range(first, (node.end_lineno or first) + 1))
    none = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [token for token in tokenize.generate_tokens(StringIO(source).readline) if token.type not in none]
    return len({line for token in tokens for line in range(token.start[0], token.end[0] + 1)} - skipped)


def _conformance(rounds: int) -> Figure:
    seconds: dict[str, list[float]] = {}
    for round_ in range(rounds):
        for name, took in _run_kit().items():
            seconds.setdefault(name, []).append(took)
        say(f"adapters {round_ + 1}/{rounds}: {max(values[-1] for values in seconds.values()):.1f} s at most")
    most = max(max(values) for values in seconds.values())
    together = [sum(values) for values in zip(*seconds.values(), strict=True)]
    return Figure(
        what="conformance kit, seconds for an adapter",
        figure="; ".join(f"{name} {spread(values, 's')}" for name, values in sorted(seconds.items())),
        goal=f"each ≤ {SECONDS:g} s",
        reached=most <= SECONDS,
        control=f"all of them in one run: {spread(together, 's')}",
        control_reached=max(together) <= SECONDS,
        samples=seconds,
    )


def _run_kit() -> dict[str, float]:
    """Return how long the checks of each conformance class took together."""
    files = sorted(map(str, (ROOT / "tests" / "adapters").glob("*/test_*_conforms.py")))
    with TemporaryDirectory() as folder:
        told = Path(folder) / "told.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", f"--junitxml={told}", *files]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        took: dict[str, float] = {}
        for case in ElementTree.parse(told).iter("testcase"):
            name = case.attrib["classname"].rpartition(".")[2]
            took[name] = took.get(name, 0.0) + float(case.attrib["time"])
    return took
