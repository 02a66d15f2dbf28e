"""Scores to summaries: means, intervals, and the fraction retained against the baseline."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from divmon import stats
from divmon.measurement import Measurement, MetricSummary, comparison_problem
from divmon.protocols import FloatArray
from divmon.scoring import Scores


def summarise(
    measurement: Measurement, scores: Scores, metrics: Sequence[str], baseline: Measurement | None, seed: int
) -> Measurement:
    """Fill the summaries of a measurement.

    Args:
        measurement: With everything but ``metrics``, ``tasks`` and ``baseline``.
        scores: Its scores, a value a prompt in the order of ``measurement.prompts``.
        metrics: The metrics that were asked for; one that was not measured gets NaN.
        baseline: What ``retained`` compares with; None makes the measurement its own baseline.
        seed: Seed of the bootstrap.
    """
    tasks = measurement.prompts.tasks
    groups = {task: np.array([i for i, name in enumerate(tasks) if name == task]) for task in dict.fromkeys(tasks)}
    overall: dict[str, MetricSummary] = {}
    by_task: dict[str, dict[str, MetricSummary]] = {task: {} for task in groups}
    unmeasured = np.full(len(tasks), math.nan)
    for metric in metrics:
        now = np.asarray(scores.per_prompt.get(metric, unmeasured), dtype=float)
        then = _baseline_values(measurement, now, baseline, metric)
        for task, places in groups.items():
            by_task[task][metric] = _summary([now[places]], [then[places]], math.nan, seed)
        overall[metric] = _summary(
            [now[places] for places in groups.values()],
            [then[places] for places in groups.values()],
            scores.across.get(metric, math.nan),
            seed,
            per_prompt=now,
        )
    reference = {} if baseline is None else {"run_id": baseline.run_id, "step": baseline.step, "kind": baseline.kind}
    return dataclasses.replace(
        measurement, metrics=overall, tasks=by_task if len(groups) > 1 else {}, baseline=reference
    )


def _baseline_values(
    measurement: Measurement, now: FloatArray, baseline: Measurement | None, metric: str
) -> FloatArray:
    """The baseline's value of each prompt; NaN where the two must not be compared."""
    if baseline is None:
        return now
    if metric not in baseline.metrics or comparison_problem(measurement, baseline, metric):
        return np.full(len(now), math.nan)
    values = dict(zip(baseline.prompts.keys, baseline.metrics[metric].per_prompt, strict=True))
    return np.array([values[key] for key in measurement.prompts.keys], dtype=float)


def _summary(
    now: list[FloatArray],
    then: list[FloatArray],
    across: float,
    seed: int,
    per_prompt: FloatArray | None = None,
) -> MetricSummary:
    """One metric over tasks: each list holds a task's values."""
    together, before = np.concatenate(now), np.concatenate(then)
    kept = stats.retained_over_tasks(now, then, seed=seed)
    return MetricSummary(
        mean=stats.mean([stats.mean(values) for values in now]),
        interval=stats.interval_over_tasks(now, seed=seed),
        retained=kept.fraction,
        retained_interval=kept.interval,
        change_p=stats.change(together, before, seed=seed).p_value,
        across=across,
        per_prompt=tuple(float(value) for value in (together if per_prompt is None else per_prompt)),
    )
