"""Scores to summaries: means, intervals, and the fraction retained against the baseline."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from divmon import stats
from divmon.comparison import baseline_shares, baseline_values
from divmon.measurement import Accuracy, Measurement, MetricSummary
from divmon.protocols import FloatArray
from divmon.scoring import Scores

Places = NDArray[np.signedinteger]


def summarise(
    measurement: Measurement,
    scores: Scores,
    metrics: Sequence[str],
    baseline: Measurement | None,
    seed: int,
    without: Sequence[Collection[str]] | None = None,
) -> Measurement:
    """Fill the summaries of a measurement.

    Args:
        measurement: With everything but ``metrics``, ``tasks`` and ``baseline``; its accuracy stays as it is.
        scores: Its scores, a value a prompt in the order of ``measurement.prompts``.
        metrics: The metrics that were asked for; one that was not measured gets NaN.
        baseline: What ``retained`` compares with; None makes the measurement its own baseline.
        seed: Seed of the bootstrap.
        without: For each prompt the metrics that mean nothing on it. A task all of whose prompts lack a metric has no
            summary of it and no part in its mean over tasks.
    """
    tasks = measurement.prompts.tasks
    groups = {task: np.array([i for i, name in enumerate(tasks) if name == task]) for task in dict.fromkeys(tasks)}
    names = [()] * len(tasks) if without is None else without
    overall: dict[str, MetricSummary] = {}
    by_task: dict[str, dict[str, MetricSummary]] = {task: {} for task in groups}
    unmeasured = np.full(len(tasks), math.nan)
    for metric in metrics:
        now = np.asarray(scores.per_prompt.get(metric, unmeasured), dtype=float)
        then = _baseline_values(measurement, now, baseline, metric)
        meant = {task: places for task, places in groups.items() if any(metric not in names[i] for i in places)}
        for task, places in meant.items():
            by_task[task][metric] = _summary([now[places]], [then[places]], math.nan, seed)
        together = list((meant or groups).values())
        overall[metric] = _summary(
            [now[places] for places in together],
            [then[places] for places in together],
            scores.across.get(metric, math.nan),
            seed,
            per_prompt=now,
        )
    reference = {} if baseline is None else {"run_id": baseline.run_id, "step": baseline.step, "kind": baseline.kind}
    return dataclasses.replace(
        measurement, metrics=overall, tasks=by_task if len(groups) > 1 else {}, baseline=reference
    )


def accuracy_of(
    measurement: Measurement,
    shares: Sequence[float],
    verifiers: Sequence[str],
    baseline: Measurement | None,
    seed: int,
    right: Mapping[str, FloatArray] | None = None,
) -> Accuracy | None:
    """The accuracy of a measurement.

    Args:
        measurement: The measurement, for its prompts, tasks and protocol.
        shares: Share of each prompt's completions that verify, in the order of ``measurement.prompts``; NaN without a
            verifier.
        verifiers: What verified each prompt, as in `Accuracy`.
        baseline: What the change is counted from; None makes the measurement its own baseline.
        seed: Seed of the bootstrap.
        right: The diversity of the right completions, as in `Accuracy`.

    Returns:
        The accuracy, with one for each task where there are several; None where no prompt has a share.
    """
    now = np.asarray(shares, dtype=float)
    if np.isnan(now).all():
        return None
    then = _baseline_shares(measurement, now, verifiers, baseline)
    tasks = measurement.prompts.tasks
    groups = {task: np.array([i for i, name in enumerate(tasks) if name == task]) for task in dict.fromkeys(tasks)}
    groups = {task: places for task, places in groups.items() if not np.isnan(now[places]).all()}

    def over(chosen: Sequence[Places], places: Places) -> Accuracy:
        parts = [now[part] for part in chosen]
        changes = [now[part] - then[part] for part in chosen]
        change = float(np.mean([stats.mean(part) for part in changes]))
        return Accuracy(
            mean=stats.mean([stats.mean(part) for part in parts]),
            interval=stats.interval_over_tasks(parts, seed=seed),
            change=change,
            change_interval=stats.NO_INTERVAL if math.isnan(change) else stats.interval_over_tasks(changes, seed=seed),
            change_p=stats.change(
                np.concatenate(parts), np.concatenate([then[part] for part in chosen]), seed=seed
            ).p_value,
            per_prompt=tuple(now[places].tolist()),
            verifiers=tuple(verifiers[place] for place in places),
            right={name: tuple(values[places].tolist()) for name, values in (right or {}).items()},
        )

    whole = over(list(groups.values()), np.arange(len(now)))
    if len(set(tasks)) == 1:
        return whole
    return dataclasses.replace(whole, tasks={task: over([places], places) for task, places in groups.items()})


def _baseline_shares(
    measurement: Measurement, now: FloatArray, verifiers: Sequence[str], baseline: Measurement | None
) -> FloatArray:
    """The baseline's share of each prompt; NaN where it was verified otherwise, or not at all."""
    if baseline is None:
        return now
    shares = baseline_shares(measurement, baseline, verifiers)
    return np.array([shares.get(key, math.nan) for key in measurement.prompts.keys], dtype=float)


def _baseline_values(
    measurement: Measurement, now: FloatArray, baseline: Measurement | None, metric: str
) -> FloatArray:
    """The baseline's value of each prompt; NaN where the two must not be compared."""
    if baseline is None:
        return now
    values = baseline_values(measurement, baseline, metric)
    return np.array([values.get(key, math.nan) for key in measurement.prompts.keys], dtype=float)


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
