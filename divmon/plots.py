"""Pictures of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from divmon.errors import InputError
from divmon.measurement import UNMEASURED, Measurement
from divmon.reading import AXES, NAMES, format_percent

# Okabe and Ito's colours, which stay apart for colour-blind readers.
_COLOURS = {"ead": "#0072B2", "sbert": "#D55E00", "nli": "#009E73", "vendi": "#CC79A7"}
_RANGES = {"ead": "share of distinct n-grams, 0 to 1", "sbert": "1 - mean cosine", "nli": "1 - mean (P(e) - P(c))"}


def plot_metrics(
    measurements: Sequence[Measurement],
    path: str | Path,
    title: str = "Output diversity",
    baseline: Measurement | None = None,
) -> Path:
    """Draw the metrics over steps with their 95% intervals, the baseline dashed, what is left in each panel's title.

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
    # The object interface: pyplot would keep global state in a training process.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    baseline = baseline or measurements[0]
    metrics = list(measurements[0].metrics)
    figure = Figure(figsize=(9, 1 + 2.9 * ((len(metrics) + 1) // 2)), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=13, fontweight="bold", parse_math=False)
    panels = figure.subplots((len(metrics) + 1) // 2, 2, squeeze=False, sharex=True).ravel()
    for panel in panels[len(metrics) :]:
        panel.set_visible(False)
    steps = [measurement.step for measurement in measurements]
    for metric, panel in zip(metrics, panels, strict=False):
        found = [measurement.metrics.get(metric, UNMEASURED) for measurement in measurements]
        panel.fill_between(
            steps,
            [summary.interval[0] for summary in found],
            [summary.interval[1] for summary in found],
            color=_COLOURS[metric],
            alpha=0.18,
            linewidth=0,
        )
        panel.plot(steps, [s.mean for s in found], color=_COLOURS[metric], marker="o", markersize=4, linewidth=1.8)
        reference = baseline.metrics.get(metric, UNMEASURED).mean
        if math.isfinite(reference):
            panel.axhline(reference, color="0.5", linewidth=0.9, linestyle="--")
        last = found[-1]
        low, high = last.retained_interval
        panel.set_title(
            f"{NAMES[metric]} ({AXES[metric]}): {format_percent(last.retained)} left "
            f"[{format_percent(low)}, {format_percent(high)}]",
            fontsize=10,
            loc="left",
        )
        panel.set_ylabel(_RANGES.get(metric, "effective number of modes"), fontsize=8)
        panel.tick_params(labelsize=8)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        if any(math.isfinite(summary.mean) for summary in found):
            panel.set_ylim(bottom=0 if metric != "vendi" else 1)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[max(0, len(metrics) - 2) : len(metrics)]:
        panel.set_xlabel("optimizer step", fontsize=9)
        panel.tick_params(labelbottom=True)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
