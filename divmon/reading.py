"""A run in words and as a table: what a person reads."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.table import Table

from divmon.alerts import MOST_WITHOUT_ANSWER, risen, unsoundness
from divmon.measurement import UNMEASURED, Accuracy, Measurement, MetricSummary
from divmon.metrics import AXES, NAMES

_SHORT_AXES = {**AXES, "vendi": "modes"}


def measurements_table(measurements: Sequence[Measurement]) -> Table:
    """A table of measurements: each metric with the percentage retained, accuracy where there is one, and validity."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("step", justify="right", no_wrap=True)
    metrics = list(measurements[0].metrics) if measurements else []
    verified = any(measurement.accuracy for measurement in measurements)
    digits = 2 if verified else 3  # one column more must still fit into 80 characters
    for metric in metrics:
        heading = f"{NAMES[metric]}\nleft" if verified else f"{NAMES[metric]} left\n{_SHORT_AXES[metric]}"
        table.add_column(heading, justify="right", no_wrap=True)
    if verified:
        table.add_column("acc", justify="right", no_wrap=True)
    # Entropy and the base's log-likelihood in nats a token; shares that were cut off, and that repeat another's text.
    for name in ("ent-\nropy", "base\nlogp", "cut\noff", "same\ntext"):
        table.add_column(name, justify="right", no_wrap=True)
    for measurement in measurements:
        cells = [str(measurement.step)]
        for metric in metrics:
            summary = measurement.metrics.get(metric, UNMEASURED)
            cells.append(f"{format_number(summary.mean, digits)} {format_percent(summary.retained):>4}")
        if verified:
            cells.append(format_percent(measurement.accuracy.mean if measurement.accuracy else None))
        validity = measurement.validity
        cells += [
            format_number(validity.entropy, 2),
            format_number(validity.base_logprob, 2),
            format_percent(validity.truncated),
            format_percent(validity.repeated),
        ]
        table.add_row(*cells)
    return table


def verdict(measurements: Sequence[Measurement]) -> list[str]:
    """What happened to diversity between the baseline and the last measurement, one short line each."""
    if not measurements:
        return ["Nothing was measured."]
    last = measurements[-1]
    if not last.baseline:
        return ["Only the baseline was measured: there is nothing to compare yet.", *_rot(last, measurements)]
    lines = []
    for metric, summary in last.metrics.items():
        low, high = summary.retained_interval
        if math.isnan(summary.retained):
            lines.append(f"{NAMES[metric]} ({AXES[metric]}): not comparable with the baseline.")
            continue
        kept = f"{NAMES[metric]} ({AXES[metric]}): {_share(summary.retained)} left"
        if math.isnan(low):
            lines.append(f"{kept} (too few prompts for an interval).")
            continue
        interval = f"95% interval {_share(low)} to {_share(high)}"
        lines.append(f"{kept} ({interval}): {_direction(summary)}.")
    if last.accuracy:
        lines.append(_accuracy_line(last.accuracy))
    lines += _rot(measurements[0], measurements)
    return lines


def _accuracy_line(accuracy: Accuracy) -> str:
    """Accuracy and what became of it."""
    low, high = (100 * bound for bound in accuracy.change_interval)
    now = f"Accuracy: {format_percent(accuracy.mean)}"
    if math.isnan(accuracy.change):
        return f"{now}, not comparable with the baseline."
    now = f"{now}, {100 * accuracy.change:+.0f} points"
    if math.isnan(low):
        return f"{now} (too few prompts for an interval)."
    said = "it fell" if high < 0 else "it rose" if low > 0 else "no change can be told"
    return f"{now} (95% interval {low:+.0f} to {high:+.0f}): {said}."


def _share(fraction: float) -> str:
    """A percentage, with as many digits as tell it from 100%."""
    return format_percent(fraction) if abs(fraction - 1) > 0.0051 or fraction == 1 else f"{100 * fraction:.2f}%"


def _direction(summary: MetricSummary) -> str:
    low, high = summary.retained_interval
    if high < 1:
        return "diversity was lost"
    if low > 1:
        return "diversity rose"
    return "no change can be told"


def _rot(first: Measurement, measurements: Sequence[Measurement]) -> list[str]:
    """Warnings that completions may not be sound, by the last measurement and by the first that rose suspiciously."""
    last = measurements[-1].validity
    lines = []
    if last.empty + last.unclosed > MOST_WITHOUT_ANSWER:
        lines.append(f"Beware: {format_percent(last.empty + last.unclosed)} of the completions have no answer.")
    for measurement in measurements:
        rose = [NAMES[name] for name in risen(measurement)]
        why = unsoundness(measurement, first)
        if rose and why:
            where = f"at step {measurement.step} {' and '.join(rose)}"
            lines.append(f"Beware: {where} rose, but {why}: read some, this may be rot.")
            break
    return lines


def format_number(value: float | None, digits: int = 3) -> str:
    """A number for a table; a dash for one that was not measured."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def format_percent(value: float | None) -> str:
    """A share or fraction as a whole percentage; a dash for one that was not measured."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.0f}%"
