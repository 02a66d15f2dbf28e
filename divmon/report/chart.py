"""A chart as a value: what the page draws, and the table that says the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Unit = Literal["number", "percent", "points"]


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        name: Whose it is.
        style: Number of its colour, dashes and marker.
        x: Steps.
        y: Values; NaN where there is none.
        low: Lower bounds of the 95% intervals; empty where there are none.
        high: Upper bounds.
        baseline: The dashed line; NaN for none.
    """

    name: str
    style: int
    x: tuple[int, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    baseline: float = math.nan


@dataclass(frozen=True)
class Level:
    """A thin line across the chart, as a reference."""

    label: str
    y: float


@dataclass(frozen=True)
class Event:
    """Something that happened at a step.

    Attributes:
        x: The step.
        kind: ``collapse``, ``rot`` or ``gap``.
        label: What happened, in words.
    """

    x: int
    kind: str
    label: str


@dataclass(frozen=True)
class View:
    """One way to draw a chart.

    Attributes:
        unit: How values are written.
        label: What the vertical axis shows.
        floor: Where it begins; None where the values decide.
        lines: The curves.
        levels: Reference levels under the name of what they belong to.
    """

    unit: Unit
    label: str
    floor: float | None
    lines: tuple[Line, ...]
    levels: Mapping[str, tuple[Level, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """A chart with one or more views of the same thing, of which the reader chooses.

    Attributes:
        id: Unique in the page; letters, digits and hyphens.
        title: Heading.
        about: What it shows, in a few words.
        views: By name: ``kept`` and ``values`` of a metric, ``values`` of anything else.
        events: What is marked on the time line.
        names: Where there are no steps: what stands below each place, 0 for the first. Else empty.
    """

    id: str
    title: str
    about: str
    views: Mapping[str, View]
    events: tuple[Event, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(math.isfinite(y) for view in self.views.values() for line in view.lines for y in line.y)


@dataclass(frozen=True)
class Table:
    """The numbers of a chart as cells of text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def table_of(chart: Chart) -> Table:
    """A row a run and step, or a name; in each view the value, and its interval where there is one."""
    lines: dict[str, dict[str, Line]] = {}
    for key, view in chart.views.items():
        for line in view.lines:
            lines.setdefault(line.name, {})[key] = line
    several = len(lines) > 1
    columns: list[str] = [""] if chart.names else ["run"] * several + ["step"]
    for view in chart.views.values():
        columns.append(view.label)
        if any(line.low for line in view.lines):
            columns.append("95% interval")
    rows = []
    for name, by_view in lines.items():
        for step in sorted({x for line in by_view.values() for x in line.x}):
            cells = [chart.names[step]] if chart.names else [name] * several + [f"{step:,}"]
            for key, view in chart.views.items():
                cells += _cells(by_view.get(key), step, view, any(line.low for line in view.lines))
            rows.append(tuple(cells))
    return Table(tuple(columns), tuple(rows))


def written(value: float, unit: Unit) -> str:
    """A value of a chart; a dash for one that was not measured."""
    if not math.isfinite(value):
        return "–"
    if unit == "percent":
        return f"{100 * value:.0f}%"
    if unit == "points":
        return f"{round(100 * value):+d}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 1 else f"{value:.3f}"


def interval(low: float, high: float, unit: Unit) -> str:
    """An interval of a chart; a dash for none."""
    return f"{written(low, unit)} to {written(high, unit)}" if math.isfinite(low) and math.isfinite(high) else "–"


def _cells(line: Line | None, step: int, view: View, intervals: bool) -> list[str]:
    if line is None or step not in line.x:
        return ["–"] * (1 + intervals)
    place = line.x.index(step)
    cells = [written(line.y[place], view.unit)]
    if intervals:
        cells.append(interval(line.low[place], line.high[place], view.unit) if line.low else "–")
    return cells


def whole(values: Sequence[float]) -> tuple[float, ...]:
    """Values of a line; an empty tuple where none of them is a number, so that nothing is drawn."""
    return tuple(values) if any(math.isfinite(value) for value in values) else ()
