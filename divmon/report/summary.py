"""What a reader sees first: how much is left of each metric, the warnings, and where it went."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from divmon import stats
from divmon.comparison import baseline_values
from divmon.measurement import UNMEASURED, Measurement, MetricSummary
from divmon.metrics import AXES, NAMES
from divmon.reading import measured, too_few, verdict
from divmon.report.bounds import MOST_GROUPS, MOST_OF_A_NAME
from divmon.report.chart import Unit, interval, written
from divmon.report.runs import NamedRun, compared
from divmon.report.text import cut

_BAR = 1.4  # the fraction retained at the right end of a bar


@dataclass(frozen=True)
class Tile:
    """How much is left of one metric.

    Attributes:
        name: The metric.
        axis: What it measures.
        kept: The fraction retained, written; of a baseline its mean.
        interval: Its interval, written; empty for none.
        values: The means before and now.
        lowest: The lowest fraction on the way and its step, where it is lower than the last.
        state: ``lost``, ``rose``, ``same`` or ``unknown``.
        said: The same in words.
        bar: Places in percent of the bar's width: the fraction, the bounds of its interval, and 100%.
    """

    name: str
    axis: str
    kept: str
    interval: str
    values: str
    lowest: str
    state: str
    said: str
    bar: Mapping[str, float]


@dataclass(frozen=True)
class Cell:
    """A fraction retained in a table."""

    kept: str
    interval: str
    state: str


def tiles(named: NamedRun) -> list[Tile]:
    """A tile a metric of a run's last measurement."""
    if named.last is None:
        return []
    return [_tile(named, metric, summary) for metric, summary in named.last.metrics.items()]


def _tile(named: NamedRun, metric: str, summary: MetricSummary) -> Tile:
    baseline = named.run.baseline
    before = baseline.metrics.get(metric, UNMEASURED).mean if baseline else math.nan
    counted = bool(named.last and named.last.baseline)
    low, high = summary.retained_interval
    history = [
        (measurement.metrics[metric].retained, measurement.step)
        for measurement in named.run.measurements
        if metric in measurement.metrics and math.isfinite(measurement.metrics[metric].retained)
    ]
    worst, step = min(history, default=(math.nan, 0))
    state = state_of(summary) if counted else "unknown"
    said = {
        "lost": "lost",
        "rose": "rose",
        "same": "no change can be told",
        "unknown": "not comparable with the baseline" if counted else "the baseline",
    }
    if counted and math.isfinite(summary.retained):
        said["unknown"] = too_few(measured(summary.per_prompt)) or "no interval"
    kept = summary.retained if counted else math.nan
    return Tile(
        name=NAMES[metric],
        axis=AXES[metric],
        kept=written(kept, "percent") if counted else written(summary.mean, "number"),
        interval=interval(low, high, "percent") if math.isfinite(low) and counted else "",
        values=f"{written(before, 'number')} → {written(summary.mean, 'number')}" if counted else "",
        lowest=f"{written(worst, 'percent')} at step {step:,}" if worst < min(kept, 1.0) - 0.005 else "",
        state=state,
        said=said[state],
        bar={
            name: round(100 * min(max(value, 0.0), _BAR) / _BAR, 2)
            for name, value in {"kept": kept, "low": low, "high": high, "whole": 1.0}.items()
            if math.isfinite(value) and (counted or name == "whole")
        },
    )


def state_of(summary: MetricSummary) -> str:
    """``lost`` or ``rose`` where the whole interval is on one side of 1, ``same`` where not, ``unknown`` without it or
    with too few prompts.
    """
    low, high = summary.retained_interval
    if math.isnan(low) or math.isnan(high) or too_few(measured(summary.per_prompt)):
        return "unknown"
    return "lost" if high < 1 else "rose" if low > 1 else "same"


def cell(summary: MetricSummary) -> Cell:
    """A fraction retained as a cell of a table."""
    low, high = summary.retained_interval
    known = math.isfinite(low)
    return Cell(
        written(summary.retained, "percent"), interval(low, high, "percent") if known else "", state_of(summary)
    )


def run_row(named: NamedRun, metrics: Sequence[str], apart: Collection[str]) -> dict[str, Any]:
    """A run in the table of a comparison: last and lowest fractions of each metric, accuracy, alerts.

    ``apart`` names the metrics that cannot be compared with the first run's.
    """
    measurements, last = named.run.measurements, named.last
    if last is None:
        return {"name": named.name, "measurements": 0, "cells": []}
    cells = []
    for metric in metrics:
        found = [(m.metrics.get(metric, UNMEASURED), m.step) for m in measurements]
        known = [(summary.retained, step) for summary, step in found if math.isfinite(summary.retained)]
        worst, step = min(known, default=(math.nan, 0))
        lowest = f"{written(worst, 'percent')} at step {step:,}" if known and len(measurements) > 1 else ""
        summary = last.metrics.get(metric, UNMEASURED)
        shown = cell(summary) if compared(named) else Cell(written(summary.mean, "number"), "the baseline", "unknown")
        cells.append({"last": shown, "lowest": lowest, "apart": metric in apart})
    return {
        "name": named.name,
        "measurements": len(measurements),
        "step": f"{last.step:,}",
        "prompts": len(last.prompts.ids),
        "cells": cells,
        "accuracy": accuracy_words(last),
        "alerts": len(named.run.alerts),
        "gaps": len(named.run.gaps),
    }


def accuracy_words(measurement: Measurement) -> tuple[str, str]:
    """Accuracy, and what became of it; empty where there is none."""
    accuracy = measurement.accuracy
    if accuracy is None:
        return "", ""
    words = ""
    if math.isfinite(accuracy.change) and measurement.baseline:
        words = f"{written(accuracy.change, 'points')} points"
        low, high = accuracy.change_interval
        words += f", {interval(low, high, 'points')}" if math.isfinite(low) else ""
    return written(accuracy.mean, "percent"), words


def verdict_of(named: NamedRun) -> list[str]:
    """What happened, in plain words (`divmon.reading.verdict`); with what failed where nothing was measured."""
    lines = verdict(named.run.measurements)
    if not named.run.measurements and named.run.gaps:
        count = len(named.run.gaps)
        lines.append(f"{count} measurement{'s' * (count != 1)} failed; the reasons are below.")
    return lines


def alerts_of(named: NamedRun, most: int) -> list[dict[str, Any]]:
    """The newest ``most`` alerts of a run, ready to be shown; advice that the one before gave is not given again."""
    shown = [_alert(alert) for alert in named.run.alerts[-most:]]
    for earlier, alert in itertools.pairwise(shown):
        if alert["full_advice"] == earlier["full_advice"]:
            alert["advice"] = ""
    return shown


def gaps_of(named: NamedRun, most: int) -> list[tuple[str, str]]:
    """Step and error of the first ``most`` measurements that failed."""
    return [(f"{gap['step']}", cut(str(gap.get("error") or "no reason given"))) for gap in named.run.gaps[:most]]


def _alert(alert: Mapping[str, Any]) -> dict[str, Any]:
    examples = alert.get("examples")
    return {
        "kind": str(alert.get("kind")),
        "title": cut(str(alert.get("title") or f"{alert.get('kind')} at step {alert.get('step')}")),
        "advice": cut(str(alert.get("advice") or ""), 600),
        "full_advice": alert.get("advice"),
        "examples": [
            {name: cut(str(example.get(name) or "")) for name in ("prompt", "before", "now")}
            for example in (examples if isinstance(examples, list) else [])[:2]
            if isinstance(example, Mapping)
        ],
    }


def where_it_went(named: NamedRun, metrics: Sequence[str]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The fractions retained at the last measurement by task and by category, where there are several of either."""
    last, baseline = named.last, named.run.baseline
    if last is None or baseline is None or baseline is last:
        return
    for what, labels in (("task", last.prompts.tasks), ("category", last.prompts.categories)):
        names = list(dict.fromkeys(labels))
        if len(names) < 2 or (what == "category" and labels == last.prompts.tasks):
            continue
        yield what, [_group_row(last, baseline, metrics, what, name, labels) for name in names[:MOST_GROUPS]]


def _group_row(
    last: Measurement, baseline: Measurement, metrics: Sequence[str], what: str, name: str, labels: Sequence[str]
) -> dict[str, Any]:
    chosen = [place for place, label in enumerate(labels) if label == name]
    cells = []
    for metric in metrics:
        before = baseline_values(last, baseline, metric)
        values = last.metrics.get(metric, UNMEASURED).per_prompt
        if not before or not values:
            cells.append(Cell("–", "", "unknown"))
            continue
        now = np.array([values[place] for place in chosen], dtype=float)
        then = np.array([before.get(last.prompts.keys[place], math.nan) for place in chosen], dtype=float)
        kept, values = stats.retained(now, then), tuple(now.tolist())
        cells.append(
            cell(
                MetricSummary(
                    stats.mean(now), retained=kept.fraction, retained_interval=kept.interval, per_prompt=values
                )
            )
        )
    accuracy = last.accuracy
    shares = [accuracy.per_prompt[place] for place in chosen] if accuracy and accuracy.per_prompt else []
    unit: Unit = "percent"
    return {
        "name": cut(name, MOST_OF_A_NAME) or f"no {what}",
        "prompts": len(chosen),
        "cells": cells,
        "accuracy": written(stats.mean(shares), unit) if shares else "",
    }
