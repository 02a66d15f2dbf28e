"""Pictures of a run, through matplotlib's object interface: pyplot would keep global state in a training process."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divmon.errors import InputError
from divmon.measurement import UNMEASURED, Measurement, MetricSummary
from divmon.protocols import FloatArray
from divmon.reading import AXES, NAMES, format_number, format_percent, measured, too_few

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which stay apart for colour-blind readers; dashes and markers differ too.
_COLOURS = {"ead": "#0072B2", "sbert": "#D55E00", "nli": "#009E73", "vendi": "#CC79A7", "ast": "#E69F00"}
_OF_RUNS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")
_DASHES = ("-", "--", ":", "-.")
_MARKERS = "os^Dv"
_RANGES = {
    "ead": "share of distinct n-grams, 0 to 1",
    "sbert": "1 - mean cosine",
    "nli": "1 - mean (P(e) - P(c))",
    "ast": "mean distance of syntax trees, 0 to 1",
}

Panel = Mapping[str, tuple[int, Sequence[Measurement]]]
"""Run name -> its number, which chooses the style, and its measurements by step."""


def plot_metrics(
    measurements: Sequence[Measurement],
    path: str | Path,
    title: str = "Output diversity",
    baseline: Measurement | None = None,
) -> Path:
    """Draw the metrics over steps with their 95% intervals, the baseline dashed, what is left in each panel's title.

    A single measurement has no steps: its tasks stand side by side.

    Args:
        measurements: By step, at least one.
        path: The PNG (or any format that matplotlib writes) to make.
        title: Heading.
        baseline: What the dashed lines show; default: the first measurement.

    Returns:
        ``path``.

    Raises:
        InputError: If there is no measurement.
    """
    if not measurements:
        raise InputError("Nothing to draw: the run has no measurement.")
    baseline = baseline or measurements[0]
    metrics = list(measurements[0].metrics)
    if len(measurements) == 1:
        return plot_side_by_side([_by_task(measurements[0], baseline, metric) for metric in metrics], path, title)
    figure, panels = _panels(len(metrics), title)
    steps = [measurement.step for measurement in measurements]
    for metric, panel in zip(metrics, panels, strict=False):
        found = [measurement.metrics.get(metric, UNMEASURED) for measurement in measurements]
        _curve(panel, steps, [(s.mean, *s.interval) for s in found], color=_COLOURS[metric])
        reference = baseline.metrics.get(metric, UNMEASURED).mean
        if math.isfinite(reference):
            panel.axhline(reference, color="0.5", linewidth=0.9, linestyle="--")
        _dress(panel, _heading(measurements[-1], metric), value_label(metric))
        if any(math.isfinite(summary.mean) for summary in found):
            panel.set_ylim(bottom=lowest(metric))
    return _saved(figure, path)


def _by_task(measurement: Measurement, baseline: Measurement, metric: str) -> Apart:
    """The values of a single measurement, task by task."""
    bars = [
        Bar(name, found.mean, found.interval)
        for name, found in summaries_of(measurement, metric).items()
        if math.isfinite(found.mean)
    ]
    alone = len(bars) == 1 and measurement.baseline  # each task has a baseline's value of its own
    reference = baseline.metrics.get(metric, UNMEASURED).mean if alone else math.nan
    return Apart(_heading(measurement, metric), value_label(metric), bars, reference, lowest(metric))


def summaries_of(measurement: Measurement, metric: str) -> dict[str, MetricSummary]:
    """Name -> what was measured of each task that has it, the mean over the tasks first; of one task that alone."""
    tasks = {task: of[metric] for task, of in measurement.tasks.items() if metric in of}
    found = measurement.metrics.get(metric, UNMEASURED)
    if len(tasks) > 1:
        return {"all tasks": found, **tasks}
    return {next(iter([*tasks, *measurement.prompts.tasks]), "") or "all prompts": found}


def lowest(metric: str) -> float:
    """The lowest value that a metric can have."""
    return 1.0 if metric == "vendi" else 0.0


def value_label(metric: str) -> str:
    """What an axis of a metric's values shows."""
    return _RANGES.get(metric, "effective number of modes")


def _heading(measurement: Measurement, metric: str) -> str:
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


def plot_retained(panels: Mapping[str, Sequence[Panel]], path: str | Path, title: str = "Diversity retained") -> Path:
    """Draw the fractions retained over steps with their 95% intervals.

    Args:
        panels: Metric -> panels; the runs of one panel can be compared.
        path: The PNG to make.
        title: Heading.

    Returns:
        ``path``.

    Raises:
        InputError: If there is no panel.
    """
    flat = [(metric, panel) for metric, found in panels.items() for panel in found]
    if not flat:
        raise InputError("Nothing to draw: no metric was measured.")
    figure, axes = _panels(len(flat), title)
    several = any(len(panel) > 1 for _, panel in flat) or len(flat) > len(panels)
    for (metric, runs), axis in zip(flat, axes, strict=False):
        for name, (number, measurements) in runs.items():
            found = [measurement.metrics.get(metric, UNMEASURED) for measurement in measurements]
            values = [(100 * s.retained, 100 * s.retained_interval[0], 100 * s.retained_interval[1]) for s in found]
            style: dict[str, Any] = {"color": _COLOURS[metric]}
            if several:
                style = {
                    "color": _OF_RUNS[number % len(_OF_RUNS)],
                    "linestyle": _DASHES[number % len(_DASHES)],
                    "marker": _MARKERS[number % len(_MARKERS)],
                    "label": name if not name.startswith("_") else f" {name}",  # matplotlib hides those
                }
            _curve(axis, [measurement.step for measurement in measurements], values, **style)
        axis.axhline(100, color="0.5", linewidth=0.9, linestyle="--")
        _dress(axis, f"{NAMES[metric]} ({AXES[metric]})", "percent of the baseline")
        axis.set_ylim(bottom=0)
        if several:
            axis.legend(frameon=False, fontsize=7)
            for text in axis.get_legend().get_texts():
                text.set_parse_math(False)
    return _saved(figure, path)


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
    figure, axes = _panels(len(panels), title, "")
    for panel, axis in zip(panels, axes, strict=False):
        for place, bar in enumerate(panel.bars):
            low, high = bar.interval
            colour = _OF_RUNS[bar.number % len(_OF_RUNS)]
            axis.plot(place, bar.value, color=colour, marker=_MARKERS[bar.number % len(_MARKERS)], markersize=6)
            if math.isfinite(low) and math.isfinite(high):
                axis.vlines(place, low, high, color=colour, linewidth=1.8)
                axis.plot([place, place], [low, high], color=colour, marker="_", markersize=9, linestyle="")
        if math.isfinite(panel.reference):
            axis.axhline(panel.reference, color="0.5", linewidth=0.9, linestyle="--")
        _dress(axis, panel.title, panel.label)
        names = [bar.name for bar in panel.bars]
        crowded = sum(map(len, names)) > 44
        axis.set_xticks(range(len(names)), names, rotation=30 if crowded else 0, ha="right" if crowded else "center")
        for text in axis.get_xticklabels():
            text.set_parse_math(False)
        axis.set_xlim(-0.6, len(names) - 0.4)
        if any(math.isfinite(bar.value) for bar in panel.bars):
            axis.set_ylim(bottom=panel.floor)
    return _saved(figure, path)


def plot_changes(
    shares: FloatArray, columns: Sequence[str], path: str | Path, title: str, what: str = "optimizer step"
) -> Path:
    """Draw what each prompt lost or gained as a map, lost in orange, gained in blue.

    Args:
        shares: (P, C) changes against the baseline in parts of what an average prompt has; NaN is left blank.
        columns: Headings, (C,).
        path: The PNG to make.
        title: Heading.
        what: What a column is.

    Returns:
        ``path``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, min(9.0, 2 + 0.16 * len(shares))), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12, fontweight="bold", parse_math=False)
    panel = figure.subplots()
    colours = LinearSegmentedColormap.from_list("lost-gained", ["#8a3300", "#D55E00", "#eef0f2", "#56B4E9", "#00568a"])
    image = panel.imshow(shares, aspect="auto", cmap=colours, vmin=-1, vmax=1, interpolation="nearest")
    every = max(1, math.ceil(len(columns) / 12))
    places = range(0, len(columns), every)
    panel.set_xticks(places, [columns[place] for place in places], fontsize=8)
    for label in panel.get_xticklabels():
        label.set_parse_math(False)
    panel.set_yticks([])
    panel.set_ylabel(f"{len(shares)} prompts, lost most first", fontsize=9)
    panel.set_xlabel(what, fontsize=9)
    bar = figure.colorbar(image, ax=panel, shrink=0.7, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["lost all an\naverage prompt has", "as at the\nbaseline", "gained\nas much"], fontsize=7)
    return _saved(figure, path)


def _panels(count: int, title: str, across: str = "optimizer step") -> tuple[Figure, Any]:
    """A figure of ``count`` panels, two a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = (count + 1) // 2
    figure = Figure(figsize=(9, 1 + 2.9 * rows), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=13, fontweight="bold", parse_math=False)
    panels = figure.subplots(rows, 2, squeeze=False).ravel()
    for panel in panels[count:]:
        panel.set_visible(False)
    for panel in panels[max(0, count - 2) : count]:
        panel.set_xlabel(across, fontsize=9)
    return figure, panels


def _curve(panel: Any, steps: Sequence[int], values: Sequence[tuple[float, float, float]], **style: Any) -> None:
    """A line through (value, low, high) with its band."""
    lows, highs = [low for _, low, _ in values], [high for _, _, high in values]
    panel.fill_between(steps, lows, highs, color=style["color"], alpha=0.18, linewidth=0)
    panel.plot(steps, [value for value, _, _ in values], **({"marker": "o", "markersize": 4, "linewidth": 1.8} | style))


def _dress(panel: Any, title: str, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    panel.set_title(title, fontsize=10 if len(title) < 50 else 8.5, loc="left")
    panel.set_ylabel(label, fontsize=8)
    panel.tick_params(labelsize=8)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)


def _saved(figure: Figure, path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # a name in a script that the font lacks
        figure.savefig(path)
    return path
