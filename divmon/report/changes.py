"""What each prompt lost: the map of prompts over steps (or over runs), worst first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from divmon.comparison import baseline_values
from divmon.measurement import Measurement
from divmon.metrics import NAMES
from divmon.protocols import FloatArray
from divmon.report.bounds import MOST_COLUMNS, MOST_PROMPTS, thinned
from divmon.report.curves import FLOORS, points
from divmon.report.runs import COMPLETIONS, Grouping, NamedRun, problem_between


@dataclass(frozen=True)
class PromptLine:
    """A prompt of the map: how runs know it, and what it is about."""

    key: str
    id: str
    task: str
    category: str


@dataclass(frozen=True)
class Changes:
    """Values of each prompt beside its baseline's.

    Attributes:
        columns: Headings, a step or a run each.
        over_runs: Whether a column is a run's last measurement.
        prompts: The rows, (P,), those that lost most on average over the metrics first.
        values: Metric -> (P, C) values; NaN where not measured or not comparable.
        baseline: Metric -> (P, C) values of the baseline that a column counts from.
        scales: Metric -> the change that counts as a whole: the mean of the baseline above the metric's lowest value.
        losses: (P,) what each lost in its last column, over the metrics in parts of their scales; NaN where unknown.
        left_out: What the bounds left out, in words.
    """

    columns: tuple[str, ...]
    over_runs: bool
    prompts: tuple[PromptLine, ...]
    values: Mapping[str, FloatArray]
    baseline: Mapping[str, FloatArray]
    scales: Mapping[str, float]
    losses: FloatArray
    left_out: tuple[str, ...]


def changes_of(runs: Sequence[NamedRun], metrics: Sequence[str], found: Grouping) -> Changes | None:
    """The map of one run over its steps, or of several over the runs that share prompts and sampling with the first.

    Args:
        runs: The runs.
        metrics: The metrics to compare.
        found: Which runs' completions can be compared.

    Returns:
        The map; None where nothing was measured.
    """
    group = found.groups[0] if found.groups else ()
    columns = [(named.name, named, named.last) for named in (runs[place] for place in group) if named.last]
    left_out = []
    if len(runs) == 1 and runs[0].last:
        steps = points(runs[0], COMPLETIONS)
        chosen = [steps[place] for place in thinned(len(steps), MOST_COLUMNS)]
        columns = [(f"{measurement.step:,}", runs[0], measurement) for measurement in chosen]
        if len(chosen) < len(runs[0].run.measurements):
            left_out.append(f"{len(chosen)} of {len(runs[0].run.measurements):,} measurements are in the map")
    if not columns or not metrics:
        return None
    last = columns[-1][2]
    lines = [PromptLine(*line) for line in zip(*_places(last), strict=False)]
    keys = [line.key for line in lines]
    values = {metric: _table(columns, keys, metric) for metric in metrics}
    baseline = {metric: _baselines(columns, keys, metric) for metric in metrics}
    scales = {metric: _scale(baseline[metric], metric) for metric in metrics}
    losses = _losses(values, baseline, scales, over_runs=len(runs) > 1)
    order = np.argsort(losses, kind="stable")[:MOST_PROMPTS]  # NaN comes last
    if len(order) < len(keys):
        left_out.append(f"the {len(order)} of {len(keys):,} prompts that lost most are in the map and in the search")
    return Changes(
        columns=tuple(title for title, _, _ in columns),
        over_runs=len(runs) > 1,
        prompts=tuple(lines[place] for place in order),
        values={metric: table[order] for metric, table in values.items()},
        baseline={metric: table[order] for metric, table in baseline.items()},
        scales=scales,
        losses=losses[order],
        left_out=tuple(left_out),
    )


_Column = tuple[str, NamedRun, Measurement]


def _places(measurement: Measurement) -> tuple[tuple[str, ...], ...]:
    prompts = measurement.prompts
    return prompts.keys, prompts.ids, prompts.tasks, prompts.categories


def _table(columns: Sequence[_Column], keys: Sequence[str], metric: str) -> FloatArray:
    """(P, C) values; a column that may not stand beside the first is empty."""
    table = np.full((len(keys), len(columns)), math.nan)
    first = columns[0][2]
    for place, (_, _, measurement) in enumerate(columns):
        summary = measurement.metrics.get(metric)
        if summary is None or problem_between(measurement, first, metric):
            continue
        known = dict(zip(measurement.prompts.keys, summary.per_prompt, strict=False))
        table[:, place] = [known.get(key, math.nan) for key in keys]
    return table


def _baselines(columns: Sequence[_Column], keys: Sequence[str], metric: str) -> FloatArray:
    table = np.full((len(keys), len(columns)), math.nan)
    for place, (_, named, measurement) in enumerate(columns):
        baseline = named.run.baseline
        known = baseline_values(measurement, baseline, metric) if baseline else {}
        table[:, place] = [known.get(key, math.nan) for key in keys]
    return table


def _scale(baseline: FloatArray, metric: str) -> float:
    measured = baseline[~np.isnan(baseline)]
    return max(float(measured.mean()) - FLOORS.get(metric, 0.0), 1e-6) if measured.size else math.nan


def _losses(
    values: Mapping[str, FloatArray],
    baseline: Mapping[str, FloatArray],
    scales: Mapping[str, float],
    *,
    over_runs: bool,
) -> FloatArray:
    """(P,) mean change over the metrics: at the last column, or over all where the columns are runs."""
    parts = []
    for metric, table in values.items():
        change = (table - baseline[metric]) / scales[metric]
        parts.append(_nanmean(change, axis=1) if over_runs else change[:, -1])
    return _nanmean(np.stack(parts), axis=0) if parts else np.array([])


def _nanmean(table: FloatArray, axis: int) -> FloatArray:
    """The mean of what is there; NaN, without a warning, where nothing is."""
    there = ~np.isnan(table)
    count = there.sum(axis=axis)
    total = np.where(there, table, 0.0).sum(axis=axis)
    return np.divide(total, count, out=np.full(total.shape, math.nan), where=count > 0)


def metric_choices(changes: Changes) -> list[tuple[str, str]]:
    """Id and name of the metrics in which any change is known (else of all), the semantic one first."""
    known = [
        metric for metric in changes.values if not np.isnan(changes.values[metric] - changes.baseline[metric]).all()
    ]
    return [(metric, NAMES[metric]) for metric in sorted(known or changes.values, key=lambda metric: metric != "sbert")]
