"""The figures and how they are shown: one table, for people, as JSON or as reStructuredText."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

from rich.console import Console
from rich.table import Table

TITLES = ("what", "figure: median (range)", "goal", "verdict", "control, which must fail")
PASS, FAIL, VOID = "PASS", "FAIL", "VOID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table.

    ``reached`` is ``None`` for what has no goal.  ``control`` is the same measured with something that must not
    reach it, judged by the same rule (``control_reached``): where it does, the measurement cannot fail and says
    nothing.  ``samples`` are all rounds of everything measured.
    """

    what: str
    figure: str
    goal: str = ""
    reached: bool | None = None
    control: str = ""
    control_reached: bool | None = None
    samples: dict[str, list[float]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """PASS, FAIL, VOID when the control reached the goal, too, and nothing without a goal."""
        if self.reached is None:
            return ""
        if self.control_reached:
            return VOID
        return PASS if self.reached else FAIL

    @property
    def cells(self) -> tuple[str, ...]:
        """The line's columns."""
        outcome = {True: " (reached)", False: " (missed)", None: ""}[self.control_reached]
        return (self.what, self.figure, self.goal, self.verdict, f"{self.control}{outcome}")


def say(text: str) -> None:
    """Tell on stderr what is going on."""
    print(text, file=sys.stderr, flush=True)


def spread(values: Sequence[float], unit: str = "", digits: int = 1) -> str:
    """Return median and range, e.g. ``4.8 (4.2-5.8) ms``."""
    middle, least, most = (f"{value:,.{digits}f}" for value in (median(values), min(values), max(values)))
    return f"{middle} ({least}-{most}){' ' if unit else ''}{unit}"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return the ratio of each round: machines are noisy, two servers in the same round share the noise."""
    return [mine / other if other else float("inf") for mine, other in zip(ours, theirs, strict=True)]


def show(figures: Iterable[Figure]) -> None:
    """Print the table for people."""
    table = Table(*TITLES, show_lines=True)
    for figure in figures:
        table.add_row(*figure.cells)
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def dump_json(figures: Iterable[Figure]) -> str:
    """Return all figures with every round."""
    return json.dumps([{**asdict(figure), "verdict": figure.verdict} for figure in figures], indent=2)


def dump_rst(figures: Sequence[Figure]) -> str:
    """Return the table as docs/performance.rst holds it."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 25 35 20 8 25", ""]
    for cells in [TITLES, *(figure.cells for figure in figures)]:
        lines += [f"   {' ' if i else '*'} - {_escaped(cell) or '..'}" for i, cell in enumerate(cells)]
    return "\n".join(lines)


def _escaped(cell: str) -> str:
    return "".join(f"\\{sign}" if sign in "*`|_" else sign for sign in cell)
