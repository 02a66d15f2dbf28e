"""Pictures of runs over their steps, and of what changed prompt by prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from divmon.errors import InputError
from divmon.figures import COLOURS, MARKERS, OF_RUNS, dress, grid, lowest, saved, value_label
from divmon.measurement import UNMEASURED, Measurement
from divmon.protocols import FloatArray
from divmon.reading import AXES, NAMES
from divmon.side_by_side import by_task, heading, plot_side_by_side

_DASHES = ("-", "--", ":", "-.")

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
        return plot_side_by_side([by_task(measurements[0], baseline, metric) for metric in metrics], path, title)
    figure, panels = grid(len(metrics), title)
    steps = [measurement.step for measurement in measurements]
    for metric, panel in zip(metrics, panels, strict=False):
        found = [measurement.metrics.get(metric, UNMEASURED) for measurement in measurements]
        _curve(panel, steps, [(s.mean, *s.interval) for s in found], color=COLOURS[metric])
        reference = baseline.metrics.get(metric, UNMEASURED).mean
        if math.isfinite(reference):
            panel.axhline(reference, color="0.5", linewidth=0.9, linestyle="--")
        dress(panel, heading(measurements[-1], metric), value_label(metric))
        if any(math.isfinite(summary.mean) for summary in found):
            panel.set_ylim(bottom=lowest(metric))
    return saved(figure, path)


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
    figure, axes = grid(len(flat), title)
    several = any(len(panel) > 1 for _, panel in flat) or len(flat) > len(panels)
    for (metric, runs), axis in zip(flat, axes, strict=False):
        for name, (number, measurements) in runs.items():
            found = [measurement.metrics.get(metric, UNMEASURED) for measurement in measurements]
            values = [(100 * s.retained, 100 * s.retained_interval[0], 100 * s.retained_interval[1]) for s in found]
            style: dict[str, Any] = {"color": COLOURS[metric]}
            if several:
                style = {
                    "color": OF_RUNS[number % len(OF_RUNS)],
                    "linestyle": _DASHES[number % len(_DASHES)],
                    "marker": MARKERS[number % len(MARKERS)],
                    "label": name if not name.startswith("_") else f" {name}",  # matplotlib hides those
                }
            _curve(axis, [measurement.step for measurement in measurements], values, **style)
        axis.axhline(100, color="0.5", linewidth=0.9, linestyle="--")
        dress(axis, f"{NAMES[metric]} ({AXES[metric]})", "percent of the baseline")
        axis.set_ylim(bottom=0)
        if several:
            axis.legend(frameon=False, fontsize=7)
            for text in axis.get_legend().get_texts():
                text.set_parse_math(False)
    return saved(figure, path)


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
    return saved(figure, path)


def _curve(panel: Any, steps: Sequence[int], values: Sequence[tuple[float, float, float]], **style: Any) -> None:
    """A line through (value, low, high) with its band."""
    lows, highs = [low for _, low, _ in values], [high for _, _, high in values]
    panel.fill_between(steps, lows, highs, color=style["color"], alpha=0.18, linewidth=0)
    panel.plot(steps, [value for value, _, _ in values], **({"marker": "o", "markersize": 4, "linewidth": 1.8} | style))
