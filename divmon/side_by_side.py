"""Pictures of measurements that have no steps between them: of evaluations, side by side with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from divmon.errors import InputError
from divmon.figures import MARKERS, OF_RUNS, dress, grid, lowest, saved, value_label
from divmon.measurement import UNMEASURED, Measurement, MetricSummary
from divmon.reading import AXES, NAMES, format_number, format_percent, measured, too_few


@dataclass(frozen=True)
class Bar:
    """One value of a panel whose measurements stand side by side.

    Attributes:
        name: What stands below it: a run or a task.
        value: Its value; NaN where there is none.
        interval: Its 95% interval.
        number: Chooses its colour and marker.
    """

    name: str
    value: float
    interval: tuple[float, float]
    number: int = 0


@dataclass(frozen=True)
class Apart:
    """A panel of values side by side.

    Attributes:
        title: Heading.
        label: What its axis shows.
        bars: The values.
        reference: A dashed line; NaN for none.
        floor: Where the axis begins.
    """

    title: str
    label: str
    bars: Sequence[Bar]
    reference: float = math.nan
    floor: float = 0.0


def plot_side_by_side(panels: Sequence[Apart], path: str | Path, title: str) -> Path:
    """Draw measurements that have no steps between them: values with their 95% intervals, side by side.

    Args:
        panels: What is drawn, at least one.
        path: The PNG to make.
        title: Heading.

    Returns:
        ``path``.

    Raises:
        InputError: If there is no panel.
    """
    if not panels:
        raise InputError("Nothing to draw: nothing was measured.")
    figure, axes = grid(len(panels), title, "")
    for panel, axis in zip(panels, axes, strict=False):
        for place, bar in enumerate(panel.bars):
            low, high = bar.interval
            colour = OF_RUNS[bar.number % len(OF_RUNS)]
            axis.plot(place, bar.value, color=colour, marker=MARKERS[bar.number % len(MARKERS)], markersize=6)
            if math.isfinite(low) and math.isfinite(high):
                axis.vlines(place, low, high, color=colour, linewidth=1.8)
                axis.plot([place, place], [low, high], color=colour, marker="_", markersize=9, linestyle="")
        if math.isfinite(panel.reference):
            axis.axhline(panel.reference, color="0.5", linewidth=0.9, linestyle="--")
        dress(axis, panel.title, panel.label)
        names = [bar.name for bar in panel.bars]
        crowded = sum(map(len, names)) > 44
        axis.set_xticks(range(len(names)), names, rotation=30 if crowded else 0, ha="right" if crowded else "center")
        for text in axis.get_xticklabels():
            text.set_parse_math(False)
        axis.set_xlim(-0.6, len(names) - 0.4)
        if any(math.isfinite(bar.value) for bar in panel.bars):
            axis.set_ylim(bottom=panel.floor)
    return saved(figure, path)


def by_task(measurement: Measurement, baseline: Measurement, metric: str) -> Apart:
    """The values of a single measurement, task by task."""
    bars = [
        Bar(name, found.mean, found.interval)
        for name, found in summaries_of(measurement, metric).items()
        if math.isfinite(found.mean)
    ]
    alone = len(bars) == 1 and measurement.baseline  # each task has a baseline's value of its own
    reference = baseline.metrics.get(metric, UNMEASURED).mean if alone else math.nan
    return Apart(heading(measurement, metric), value_label(metric), bars, reference, lowest(metric))


def summaries_of(measurement: Measurement, metric: str) -> dict[str, MetricSummary]:
    """Name -> what was measured of each task that has it, the mean over the tasks first; of one task that alone."""
    tasks = {task: of[metric] for task, of in measurement.tasks.items() if metric in of}
    found = measurement.metrics.get(metric, UNMEASURED)
    if len(tasks) > 1:
        return {"all tasks": found, **tasks}
    return {next(iter([*tasks, *measurement.prompts.tasks]), "") or "all prompts": found}


def heading(measurement: Measurement, metric: str) -> str:
    """A metric, and what a measurement has of it: of the baseline itself the value, else what is left."""
    found = measurement.metrics.get(metric, UNMEASURED)
    heading = f"{NAMES[metric]} ({AXES[metric]})"
    if not measurement.baseline:
        return f"{heading}: {format_number(found.mean)} at the baseline"
    if math.isnan(found.retained):
        return f"{heading}: {format_number(found.mean)}, not comparable"
    low, high = found.retained_interval
    caution = too_few(measured(found.per_prompt)) or f"{format_percent(low)} to {format_percent(high)}"
    return f"{heading}: {format_percent(found.retained)} left ({caution})"
