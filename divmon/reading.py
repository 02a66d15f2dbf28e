"""A run in words and as a table: what a person reads."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.table import Table

from divmon.measurement import UNMEASURED, Measurement, MetricSummary

NAMES = {"ead": "EAD", "sbert": "SBERT", "nli": "NLI", "vendi": "Vendi"}
_SHORT_AXES = {"ead": "lexical", "sbert": "semantic", "nli": "logical", "vendi": "modes"}
AXES = {"ead": "lexical", "sbert": "semantic", "nli": "logical", "vendi": "effective modes"}


def measurements_table(measurements: Sequence[Measurement]) -> Table:
    """A table of measurements: each metric with its 95% interval and the percentage retained, and validity."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("step", justify="right", no_wrap=True)
    metrics = list(measurements[0].metrics) if measurements else []
    for metric in metrics:
        table.add_column(f"{NAMES[metric]} left\n{_SHORT_AXES[metric]}", justify="right", no_wrap=True)
    # Entropy and the base's log-likelihood in nats a token; shares that were cut off, and that repeat another's text.
    for name in ("entr-\nopy", "base\nlogp", "cut\noff", "same\ntext"):
        table.add_column(name, justify="right", no_wrap=True)
    for measurement in measurements:
        cells = [str(measurement.step)]
        for metric in metrics:
            summary = measurement.metrics.get(metric, UNMEASURED)
            cells.append(f"{format_number(summary.mean)} {format_percent(summary.retained):>4}")
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
    lines += _rot(measurements[0], measurements)
    return lines


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
    if last.empty + last.unclosed > 0.2:
        lines.append(f"Beware: {format_percent(last.empty + last.unclosed)} of the completions have no answer.")
    for measurement in measurements:
        before, now = first.validity, measurement.validity
        rose = [NAMES[name] for name, summary in measurement.metrics.items() if summary.retained_interval[0] > 1]
        unlikely = now.base_logprob < before.base_logprob - 1
        if rose and (unlikely or now.entropy > 1.5 * before.entropy):
            why = (
                f"the base model finds the completions unlikely ({now.base_logprob:.1f} nats a token, "
                f"{before.base_logprob:.1f} before)"
                if unlikely
                else f"the model's uncertainty rose too ({now.entropy:.1f} nats a token, {before.entropy:.1f} before)"
            )
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
