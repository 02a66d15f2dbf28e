"""A loss of diversity in two parts: right answers that grew alike, and wrong answers that went away.

Per prompt and model, D_a is the diversity of all K completions, D_c that of the correct ones where at least two are.
Between a baseline and a later model, over the prompts where both have a D_c:

- **total loss** ``D_a(baseline) - D_a(later)``;
- **genuine narrowing** ``D_c(baseline) - D_c(later)``: the part that is there among right answers too;
- **quality control**, the rest: what wrong answers no longer add. Either fewer are wrong, or the wrong ones are alike.

``genuine / total`` is the genuine share. V_a and V_c are the same of the Vendi Score.

*The paper's share* (arXiv 2604.16027, Table 14; `divmon.quality.paper`) is the same ratio of other means: it divides
differences of the table's columns, where D_a is a mean over all prompts and D_c one over those with two right answers
*under that model*, another set for each model. A model that solves harder problems has a D_c over harder problems, so
that its share mixes narrowing with a change of prompts. Here every term is over the same prompts, which is what allows
paired intervals; the price is that these prompts are a selected, easier set. ``whole`` says what the total loss is over
all verified prompts. The two shares agree where D_a and D_c do not depend on how hard a prompt is.

The Vendi Score of k answers is at most k, and grows with k at equal diversity: a model that is right more often has a
higher V_c for that alone, and its genuine narrowing by Vendi is too low. SBERT, a mean over pairs, has no such bias.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from divmon import stats
from divmon.comparison import comparison_problem
from divmon.errors import InputError
from divmon.measurement import NO_INTERVAL, UNMEASURED, Accuracy, Interval, Measurement
from divmon.metrics import NAMES
from divmon.protocols import FloatArray
from divmon.quality.words import reading

METRICS = ("sbert", "vendi")
_NO_LOSS = 1e-6  # a total loss nearer to zero than this has no shares


@dataclass(frozen=True)
class Estimate:
    """A mean over prompts with its paired 95% bootstrap interval; NaN where it cannot be told."""

    value: float = math.nan
    interval: Interval = NO_INTERVAL


Pair = tuple[float, float]
"""At the baseline, and later."""


@dataclass(frozen=True)
class Decomposition:
    """What became of diversity between a baseline and a later model, in the metric's unit; positive is a loss.

    Everything but ``whole`` is over the same prompts, those with two right answers in both. Over several tasks it is
    the mean of the tasks' values, of those tasks that have such prompts.

    Attributes:
        metric: ``sbert`` or ``vendi``.
        total: Loss over all completions.
        genuine: Loss over the correct ones.
        quality_control: ``total - genuine``.
        share: ``genuine / total``: below 0 and above 1 where the parts have different signs, and never clipped; NaN for
            a total within 1e-6 of zero. It has an interval only where the total's excludes zero: else it has no bounds.
        d_all: Diversity of all completions (D_a or V_a), at the baseline and later.
        d_correct: Diversity of the correct ones (D_c or V_c), likewise.
        accuracy: Share of completions that are right, 0 to 1, likewise.
        whole: The total loss over all prompts that were measured and verified alike, two right answers or not.
        prompts: The prompts with two right answers in both.
        of: The prompts that were measured and verified alike at both.
        tasks: The same for each task with verified prompts, where there are several tasks.
    """

    metric: str
    total: Estimate = Estimate()
    genuine: Estimate = Estimate()
    quality_control: Estimate = Estimate()
    share: Estimate = Estimate()
    d_all: Pair = NO_INTERVAL
    d_correct: Pair = NO_INTERVAL
    accuracy: Pair = NO_INTERVAL
    whole: Estimate = Estimate()
    prompts: int = 0
    of: int = 0
    tasks: Mapping[str, Decomposition] = field(default_factory=dict)

    @property
    def reading(self) -> str:
        """What the numbers and their intervals say, in a sentence or two."""
        return reading(self)


def decompose(now: Measurement, baseline: Measurement, metric: str = "sbert", *, seed: int = 0) -> Decomposition | None:
    """Decompose the loss of diversity from ``baseline`` to ``now``.

    Prompts are paired by their keys. Only those count that were verified alike at both, by the same verifier against
    the same ground truth.

    Args:
        now: The later measurement.
        baseline: What it counts from.
        metric: ``sbert`` or ``vendi``.
        seed: Seed of the bootstrap.

    Returns:
        The decomposition; None where `decomposition_problem` says why there is none.

    Raises:
        InputError: For another metric.
    """
    if decomposition_problem(now, baseline, metric) is not None:
        return None
    tables = _tables(now, baseline, metric)
    whole = _over(metric, list(tables.values()), seed)
    if len(set(now.prompts.tasks)) < 2:
        return whole
    return dataclasses.replace(whole, tasks={task: _over(metric, [table], seed) for task, table in tables.items()})


def decomposition_problem(now: Measurement, baseline: Measurement, metric: str = "sbert") -> str | None:
    """Why there is no decomposition between two measurements, in words; None where there is one.

    Raises:
        InputError: As `decompose`.
    """
    if metric not in METRICS:
        raise InputError(f"A loss is decomposed by {' or '.join(METRICS)}, got {metric!r}.")
    for measurement, when in ((now, "now"), (baseline, "at the baseline")):
        if measurement.accuracy is None:
            return f"no completion was verified {when} (give prompts a verifier and a ground_truth)"
        accuracy = measurement.accuracy
        every, right = measurement.metrics.get(metric, UNMEASURED).per_prompt, accuracy.right.get(metric, ())
        if not every or not right:
            return f"{NAMES[metric]} of the right answers was not measured {when}"
        lists = (every, right, accuracy.per_prompt, accuracy.verifiers, measurement.prompts.tasks)
        if {len(values) for values in lists} != {len(measurement.prompts.keys)}:
            return f"a broken record: not every prompt has a value of {NAMES[metric]} and a verdict {when}"
    problem = comparison_problem(now, baseline, metric)
    if problem is None and not _tables(now, baseline, metric):
        return "different verifiers or ground truth"
    return problem


_Row = tuple[float, float, float, str]


def _rows(measurement: Measurement, metric: str) -> dict[str, _Row]:
    """Prompt key -> diversity of all completions, of the correct ones, share that is right, and what verified it."""
    accuracy = measurement.accuracy
    assert isinstance(accuracy, Accuracy)
    found = (measurement.metrics[metric].per_prompt, accuracy.right[metric], accuracy.per_prompt, accuracy.verifiers)
    return dict(zip(measurement.prompts.keys, zip(*found, strict=True), strict=True))


def _tables(now: Measurement, baseline: Measurement, metric: str) -> dict[str, FloatArray]:
    """Task -> (6, P) D_a, D_c and accuracy of the prompts verified alike, each at the baseline and now.

    One that has no verdict at either (the sandbox was gone, say) was not verified there, whatever its verifier; one
    without a diversity (fewer than two answers) has nothing to be decomposed.
    """
    before, after = _rows(baseline, metric), _rows(now, metric)
    columns: dict[str, list[tuple[float, ...]]] = {}
    for key, task in zip(now.prompts.keys, now.prompts.tasks, strict=True):
        (*then, verifier), (*later, again) = before[key], after[key]
        known = not any(math.isnan(row[part]) for row in (then, later) for part in (0, 2))
        if verifier and verifier == again and known:
            columns.setdefault(task, []).append(
                tuple(value for pair in zip(then, later, strict=True) for value in pair)
            )
    return {task: np.array(rows, dtype=float).T for task, rows in columns.items()}


def _over(metric: str, tables: Sequence[FloatArray], seed: int) -> Decomposition:
    """The decomposition over tasks: each table holds a task's values."""
    losses = [table[0] - table[1] for table in tables]
    made = Decomposition(
        metric,
        whole=Estimate(stats.mean(list(map(stats.mean, losses))), stats.interval_over_tasks(losses, seed=seed)),
        of=sum(table.shape[1] for table in tables),
    )
    both = [table[:, ~np.isnan(table).any(axis=0)] for table in tables]
    both = [table for table in both if table.shape[1]]
    if not both:
        return made
    means = np.mean([table.mean(axis=1) for table in both], axis=0)
    d_all, d_correct, accuracy = ((float(then), float(later)) for then, later in means.reshape(3, 2))
    total, genuine = d_all[0] - d_all[1], d_correct[0] - d_correct[1]
    # (2, resamples): every quantity comes from the same resamples of the prompts.
    draws = np.mean(
        [stats.resampled_means(table[[0, 2]] - table[[1, 3]], seed=seed + number) for number, table in enumerate(both)],
        axis=0,
    )
    interval = stats.percentile_interval(draws[0])
    return dataclasses.replace(
        made,
        total=Estimate(total, interval),
        genuine=Estimate(genuine, stats.percentile_interval(draws[1])),
        quality_control=Estimate(total - genuine, stats.percentile_interval(draws[0] - draws[1])),
        share=_share(total, genuine, draws, interval),
        d_all=d_all,
        d_correct=d_correct,
        accuracy=accuracy,
        prompts=sum(table.shape[1] for table in both),
    )


def _share(total: float, genuine: float, draws: FloatArray, interval: Interval) -> Estimate:
    if abs(total) < _NO_LOSS:
        return Estimate()
    if not (interval[0] > 0 or interval[1] < 0):
        return Estimate(genuine / total)
    kept = draws[:, np.abs(draws[0]) >= _NO_LOSS]
    return Estimate(genuine / total, stats.percentile_interval(kept[1] / kept[0]))
