"""The report's pictures beside the page, for slides and threads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from divmon.plots import plot_changes, plot_metrics, plot_retained
from divmon.report.changes import Changes, metric_choices
from divmon.report.curves import points
from divmon.report.runs import NamedRun, grouped, metrics_of
from divmon.report.stages import Stages
from divmon.report.text import cut

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
    panels = {
        metric: [
            {cut(runs[place].name, 40): (place, points(runs[place], metric)) for place in group}
            for group in grouped(runs, metric).groups
        ]
        for metric in metrics
    }
    if any(panels.values()):
        drawn.append(plot_retained(panels, folder / "retained.png", title))
    if changes:
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
