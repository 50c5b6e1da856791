"""Draws a plot: what a template needs to write it as SVG, and the same as a table.

Hand-written: a library for plots brings numpy or a script, and colours that do not follow the reader's light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

WIDTH, HEIGHT = 720, 220
LEFT, TOP, RIGHT, BOTTOM = 56, 10, 8, 24
_TICKS = 6  # moments written below
Values = Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A part of a stacked bar; ``colour`` is the number of a class of the sheet."""

    x: float
    y: float
    width: float
    height: float
    colour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An unbroken piece of a line, as ``points`` of SVG; one value alone is a dot."""

    points: str
    dot: tuple[float, float] | None
    colour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot and its numbers; ``words`` say in a sentence what it shows."""

    id: str
    title: str
    words: str
    begins: Sequence[datetime]
    series: Mapping[str, Values]
    colours: Mapping[str, int]
    bars: Sequence[Bar]
    lines: Sequence[Line]
    rows: Sequence[tuple[float, str]]  # heights with their amounts
    columns: Sequence[tuple[float, str]]  # places with their moments

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not any(value for values in self.series.values() for value in values)


def stack(
    name: str,
    title: str,
    begins: Sequence[datetime],
    series: Mapping[str, Sequence[float]],
    colours: Mapping[str, int],
) -> Plot:
    """Return bars, one for each moment, in which the series lie upon each other, the first below.

    ``colours``: so that a series has the same one whether or not there are others.
    """
    sums = [sum(values) for values in zip(*series.values(), strict=True)] or [0.0]
    top, step = _top(max(sums)), (WIDTH - LEFT - RIGHT) / max(1, len(begins))
    bars, heights = [], [0.0] * len(begins)
    for which, values in series.items():
        for i, value in enumerate(values):
            if value:
                heights[i] += value
                height = value / top * (HEIGHT - TOP - BOTTOM)
                place = {"x": LEFT + i * step, "y": _y(heights[i], top), "width": max(1.0, step - 1), "height": height}
                bars.append(Bar(**{key: round(at, 1) for key, at in place.items()}, colour=colours[which]))
    totals = ", ".join(f"{which} {sum(values):.0f}" for which, values in series.items()) or "nothing"
    return Plot(
        id=name,
        title=title,
        words=f"{title}: {totals}.",
        begins=begins,
        series=series,
        colours=colours,
        bars=bars,
        lines=(),
        rows=_rows(top),
        columns=_columns(begins),
    )


def lines(name: str, title: str, begins: Sequence[datetime], series: Mapping[str, Values]) -> Plot:
    """Return a line for each series, broken where there is no value."""
    top = _top(max((value for values in series.values() for value in values if value is not None), default=0.0))
    last = {which: next((v for v in reversed(values) if v is not None), None) for which, values in series.items()}
    told = ", ".join(f"{which} {value:.0f}" for which, value in last.items() if value is not None) or "nothing"
    drawn = [line for colour, values in enumerate(series.values()) for line in _pieces(values, top, colour)]
    return Plot(
        id=name,
        title=title,
        words=f"{title}; the latest: {told}.",
        begins=begins,
        series=series,
        colours={which: colour for colour, which in enumerate(series)},
        bars=(),
        lines=drawn,
        rows=_rows(top),
        columns=_columns(begins),
    )


def _pieces(values: Values, top: float, colour: int) -> list[Line]:
    pieces: list[list[tuple[float, float]]] = [[]]
    for i, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((round(_x(i + 0.5, len(values)), 1), round(_y(value, top), 1)))
    return [
        Line(points=" ".join(f"{x},{y}" for x, y in piece), dot=piece[0] if len(piece) == 1 else None, colour=colour)
        for piece in pieces
        if piece
    ]


def _x(place: float, count: int) -> float:
    return LEFT + place * (WIDTH - LEFT - RIGHT) / max(1, count)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)


def _top(most: float) -> float:
    """Return a round amount that is not less, for the height of the plot."""
    if most <= 0:
        return 4.0
    unit = 10.0 ** math.floor(math.log10(most))
    return max(4.0, next(unit * factor for factor in (1, 2, 4, 5, 8, 10) if unit * factor >= most))


def _rows(top: float) -> list[tuple[float, str]]:
    return [(round(_y(top * part / 4, top), 1), f"{top * part / 4:,.0f}") for part in range(5)]


def _columns(begins: Sequence[datetime]) -> list[tuple[float, str]]:
    every = max(1, math.ceil(len(begins) / _TICKS))
    is_long = len(begins) > 1 and (begins[-1] - begins[0]).days > 1
    return [
        (round(_x(i, len(begins)), 1), f"{begins[i]:%m-%d}" if is_long else f"{begins[i]:%H:%M}")
        for i in range(0, len(begins), every)
    ]
