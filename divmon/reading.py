"""A run in words and as a table: what a person reads."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table

from divmon.measurement import Measurement, MetricSummary

NAMES = {"ead": "EAD", "sbert": "SBERT", "nli": "NLI", "vendi": "Vendi"}
AXES = {"ead": "lexical", "sbert": "semantic", "nli": "logical", "vendi": "effective modes"}


def measurements_table(measurements: Sequence[Measurement]) -> Table:
    """A table of measurements: each metric with its 95% interval and the percentage retained, and validity."""
    table = Table(title=None, header_style="bold", pad_edge=False)
    table.add_column("step", justify="right")
    metrics = list(measurements[0].metrics) if measurements else []
    for metric in metrics:
        table.add_column(f"{NAMES[metric]}\n{AXES[metric]}", justify="right")
        table.add_column("kept", justify="right")
    for name in ("entropy\nnats", "cut\noff", "same\ntext"):
        table.add_column(name, justify="right")
    for measurement in measurements:
        cells = [str(measurement.step)]
        for metric in metrics:
            summary = measurement.metrics[metric]
            cells += [_number(summary.mean), _percent(summary.retained)]
        validity = measurement.validity
        cells += [_number(validity.entropy, 2), _percent(validity.truncated), _percent(validity.repeated)]
        table.add_row(*cells)
    return table


def verdict(measurements: Sequence[Measurement]) -> list[str]:
    """What happened to diversity between the baseline and the last measurement, a sentence a line."""
    if not measurements:
        return ["Nothing was measured."]
    last = measurements[-1]
    lines = []
    for metric, summary in last.metrics.items():
        low, high = summary.retained_interval
        if math.isnan(summary.retained):
            lines.append(f"{NAMES[metric]} ({AXES[metric]}): not comparable with the baseline.")
            continue
        kept = f"{_percent(summary.retained)} of the baseline is left"
        if math.isnan(low):
            lines.append(f"{NAMES[metric]} ({AXES[metric]}): {kept} (too few prompts for an interval).")
            continue
        lines.append(
            f"{NAMES[metric]} ({AXES[metric]}): {kept} (95% interval {_percent(low)} to {_percent(high)}): "
            f"{_direction(summary)}."
        )
    lines += _rot(measurements[0], last)
    return lines


def _direction(summary: MetricSummary) -> str:
    low, high = summary.retained_interval
    if high < 1:
        return "diversity was lost"
    if low > 1:
        return "diversity rose"
    return "no change can be told"


def _rot(first: Measurement, last: Measurement) -> list[str]:
    """Warnings that the completions may not be sound, so that their diversity says little."""
    before, now = first.validity, last.validity
    lines = []
    if now.empty + now.unclosed > 0.2:
        lines.append(f"Beware: {_percent(now.empty + now.unclosed)} of the completions have no answer.")
    if not math.isnan(now.base_logprob) and now.base_logprob < before.base_logprob - 2:
        lines.append(
            f"Beware: the base model finds the completions unlikely ({now.base_logprob:.1f} nats a token, "
            f"{before.base_logprob:.1f} before): read some, a rise in diversity may be rot."
        )
    return lines


def _number(value: float, digits: int = 3) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.0f}%"
