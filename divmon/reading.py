"""A run in words and as a table: what a person reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table

from divmon import stats
from divmon.alerts import MOST_WITHOUT_ANSWER, risen, unsoundness
from divmon.measurement import UNMEASURED, Accuracy, Measurement, MetricSummary
from divmon.metrics import AXES, NAMES

_SHORT_AXES = {**AXES, "vendi": "modes"}


def measurements_table(measurements: Sequence[Measurement]) -> Table:
    """A table of measurements: each metric with the percentage retained, accuracy where there is one, and validity."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("step", justify="right", no_wrap=True)
    metrics = list(measurements[0].metrics) if measurements else []
    compared = any(measurement.baseline for measurement in measurements)
    verified = any(measurement.accuracy for measurement in measurements)
    digits = 2 if verified else 3  # one column more must still fit into 80 characters
    for metric in metrics:
        left = "left" if compared else ""
        heading = f"{NAMES[metric]}\n{left}" if verified else f"{NAMES[metric]} {left}\n{_SHORT_AXES[metric]}"
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
            kept = format_kept(summary, measurement) if compared else ""
            cells.append(f"{format_number(summary.mean, digits)} {kept:>4}".rstrip())
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
        kept, least, most = _shares(summary.retained, low, high)
        line = f"{NAMES[metric]} ({AXES[metric]}): {kept} left"
        if caution := too_few(measured(summary.per_prompt)):
            lines.append(f"{line} ({caution}).")
        elif math.isnan(low):
            lines.append(f"{line} (no interval).")
        else:
            lines.append(f"{line} (95% interval {least} to {most}): {_direction(summary)}.")
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
    if caution := too_few(measured(accuracy.per_prompt)):
        return f"{now} ({caution})."
    if math.isnan(low):
        return f"{now} (no interval)."
    said = "it fell" if high < 0 else "it rose" if low > 0 else "no change can be told"
    return f"{now} (95% interval {low:+.0f} to {high:+.0f}): {said}."


def _shares(*fractions: float) -> list[str]:
    """A fraction retained and its interval as whole percentages; all with two digits where those would hide what is
    told: an interval on one side of 100% that rounds to it.
    """
    _, low, high = fractions
    hidden = (high < 1 and round(100 * high) == 100) or (low > 1 and round(100 * low) == 100)
    return [f"{100 * fraction:.2f}%" if hidden else format_percent(fraction) for fraction in fractions]


def counted(number: int, thing: str = "prompt") -> str:
    """``1 prompt``, ``3 prompts``."""
    return f"{number:,} {thing}{'s' * (number != 1)}"


def measured(per_prompt: Iterable[float]) -> int:
    """How many prompts have a value."""
    return sum(not math.isnan(value) for value in per_prompt)


def too_few(prompts: int) -> str:
    """The caution where there are fewer than `divmon.stats.FEWEST_PROMPTS` prompts; empty where there are enough."""
    return f"{counted(prompts)}: too few to tell" if prompts < stats.FEWEST_PROMPTS else ""


def format_kept(summary: MetricSummary, measurement: Measurement) -> str:
    """What is left in a cell of a table; ``base`` where the measurement is what others are compared with."""
    return format_percent(summary.retained) if measurement.baseline else "base"


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
