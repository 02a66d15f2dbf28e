"""The report's pictures beside the page, for slides and threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from divmon.figures import lowest, value_label
from divmon.measurement import Interval, MetricSummary
from divmon.metrics import AXES
from divmon.metrics import NAMES as METRIC_NAMES
from divmon.plots import Panel, plot_changes, plot_metrics, plot_retained
from divmon.report.changes import Changes, metric_choices
from divmon.report.curves import points, side_by_side
from divmon.report.runs import NamedRun, compared, grouped, metrics_of, without_steps
from divmon.report.stages import Stages
from divmon.report.text import cut
from divmon.side_by_side import Apart, Bar, plot_side_by_side

NAMES = ("metrics.png", "retained.png", "changes.png", "stages.png")


def draw_pictures(
    runs: Sequence[NamedRun], folder: Path, title: str, stages: Stages | None, changes: Changes | None
) -> list[Path]:
    """Draw what there is to draw; a picture of an earlier report that this one lacks is removed.

    Args:
        runs: One run, or several to be compared.
        folder: Where to.
        title: Heading.
        stages: The lineage that the runs form, or None.
        changes: What each prompt lost, or None.

    Returns:
        The pictures.
    """
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)
    drawn: list[Path] = []
    title = cut(title, 80)
    metrics = metrics_of(runs)
    if len(runs) == 1 and runs[0].run.measurements:
        drawn.append(plot_metrics(runs[0].run.measurements, folder / "metrics.png", title, runs[0].run.baseline))
    if without_steps(runs):
        if len(runs) > 1 and (panels := list(_side_by_side(runs, metrics, "values"))):
            drawn.append(plot_side_by_side(panels, folder / "metrics.png", title))
        if panels := list(_side_by_side(runs, metrics, "kept")):
            drawn.append(plot_side_by_side(panels, folder / "retained.png", title))
    elif any((curves := _curves(runs, metrics)).values()):
        drawn.append(plot_retained(curves, folder / "retained.png", title))
    if changes and any(map(compared, runs)):
        metric, name = metric_choices(changes)[0]
        shares = (changes.values[metric] - changes.baseline[metric]) / changes.scales[metric]
        order = np.argsort(shares[:, -1], kind="stable")
        columns = [cut(column, 30) for column in changes.columns]
        what = "run" if changes.over_runs else "optimizer step"
        if not np.isnan(shares).all():
            drawn.append(
                plot_changes(shares[order], columns, folder / "changes.png", f"{title}: {name} by prompt", what)
            )
    if stages:
        drawn.append(stages.picture(folder / "stages.png"))
    return drawn


def _curves(runs: Sequence[NamedRun], metrics: Sequence[str]) -> dict[str, list[Panel]]:
    """The runs of each panel over the steps."""
    return {
        metric: [
            {cut(runs[place].name, 40): (place, points(runs[place], metric)) for place in group}
            for group in grouped(runs, metric).groups
        ]
        for metric in metrics
    }


def _side_by_side(runs: Sequence[NamedRun], metrics: Sequence[str], view: str) -> Iterator[Apart]:
    """The panels of runs with one measurement each, or of the tasks of one, where there is something to show."""
    for metric in metrics:
        groups = grouped(runs, metric).groups
        for group in groups:
            bars = [
                Bar(cut(name, 24), *(_kept(found) if view == "kept" else (found.mean, found.interval)), number)
                for name, number, found in side_by_side([(place, runs[place]) for place in group], metric)
                if found.mean == found.mean and (view == "values" or found.retained == found.retained)
            ]
            bars = [bar for bar in bars if view == "values" or compared(runs[bar.number])]
            if bars:
                heading = f"{METRIC_NAMES[metric]} ({AXES[metric]})"
                yield (
                    Apart(heading, "percent of the baseline", bars, 100.0)
                    if view == "kept"
                    else Apart(heading, value_label(metric), bars, floor=lowest(metric))
                )


def _kept(found: MetricSummary) -> tuple[float, Interval]:
    low, high = found.retained_interval
    return 100 * found.retained, (100 * low, 100 * high)
