"""Means, bootstrap intervals over prompts, paired comparison with a baseline; NaN is "not measured"."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from divmon.errors import InputError
from divmon.protocols import FloatArray

FEWEST_PROMPTS = 8
"""Prompts below which no verdict is read out of a number: with fewer, the interval is too narrow to be trusted."""

_BASELINE_FLOOR = 1e-6
_BLOCK = 1_000_000  # elements of one block of a (resamples, prompts) array: bounds memory, not results
_EXACT_PROMPTS = 12  # up to here all 2**P sign patterns are tried
_SIGN_FLIPS = 9_999
_RESAMPLES = 2000

Interval = tuple[float, float]
NO_INTERVAL: Interval = (math.nan, math.nan)


@dataclass(frozen=True)
class Retained:
    """How much of the baseline's diversity is left.

    Attributes:
        fraction: Mean now / mean at the baseline, below 1 is narrower; NaN where not measurable.
        interval: Percentile bootstrap interval of it; (NaN, NaN) with fewer than two prompts.
        prompts: Prompts measured at both times, over which both means go.
    """

    fraction: float
    interval: Interval
    prompts: int


@dataclass(frozen=True)
class Change:
    """Paired difference from the baseline.

    Attributes:
        difference: Mean of now - baseline, in the metric's unit; negative is narrower. NaN without prompts.
        interval: Percentile bootstrap interval of it; (NaN, NaN) with fewer than two prompts.
        p_value: Two-sided, of the paired sign-flip test; NaN without prompts, 1 without change.
        prompts: Prompts measured at both times.
    """

    difference: float
    interval: Interval
    p_value: float
    prompts: int


def mean(values: ArrayLike) -> float:
    """Mean over the prompts that have a value; NaN if none has. Errors: as `bootstrap_interval`."""
    valid = (vector := _vector(values))[~np.isnan(vector)]
    return float(valid.mean()) if valid.size else math.nan


def bootstrap_interval(
    values: ArrayLike, *, resamples: int = _RESAMPLES, level: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of the mean over prompts.

    With few prompts it is too narrow: at 95% it covers the mean of 10 normal values 90% of the time, of 32
    94%, of 50 95%.

    Args:
        values: (P,) one value a prompt; NaN prompts are left out.
        resamples: Number of bootstrap resamples.
        level: Coverage, between 0 and 1.
        seed: Seed of the local generator: equal input gives an equal interval.

    Returns:
        Lower and upper bound; (NaN, NaN) with fewer than two prompts, which have no spread to resample.

    Raises:
        InputError: If ``values`` is not one-dimensional or holds infinity, or an option is out of range.
    """
    _check_options(resamples, level, seed)
    valid = (vector := _vector(values))[~np.isnan(vector)]
    if valid.size < 2:
        return NO_INTERVAL
    means = [valid[rows].mean(axis=1) for rows in _draws(valid.size, resamples, valid.size, seed)]
    return _percentiles(np.concatenate(means), level)


def retained(
    now: ArrayLike, baseline: ArrayLike, *, resamples: int = _RESAMPLES, level: float = 0.95, seed: int = 0
) -> Retained:
    """Fraction of the baseline's diversity that is left: ratio of means over the same prompts.

    The interval resamples prompts, each with both its values. Where ``now`` equals ``baseline`` bit for bit
    the fraction and both bounds are exactly 1. Resamples whose baseline mean is below 1e-6 have no ratio and
    are left out.

    Args:
        now: (P,) values now; NaN where not measured.
        baseline: (P,) values of the same prompts, in the same order, at the baseline.
        resamples: As for `bootstrap_interval`.
        level: As for `bootstrap_interval`.
        seed: As for `bootstrap_interval`.

    Returns:
        The fraction; NaN if no prompt has both values or the baseline mean is below 1e-6.

    Raises:
        InputError: If the lengths differ; else as `bootstrap_interval`.
    """
    _check_options(resamples, level, seed)
    now, baseline = _paired(now, baseline)
    if (prompts := now.size) == 0 or baseline.mean() < _BASELINE_FLOOR:
        return Retained(math.nan, NO_INTERVAL, prompts)
    fraction = float(now.mean() / baseline.mean())
    if prompts < 2:
        return Retained(fraction, NO_INTERVAL, prompts)
    ratios = _ratios(now, baseline, resamples, seed)
    return Retained(fraction, _percentiles(ratios[~np.isnan(ratios)], level), prompts)


def _ratios(now: NDArray[np.float64], baseline: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """(resamples,) ratios of means over resampled pairs; NaN where a baseline mean is too small for one."""
    blocks = []
    for rows in _draws(now.size, resamples, now.size, seed):
        above, below = now[rows].mean(axis=1), baseline[rows].mean(axis=1)
        blocks.append(np.divide(above, below, out=np.full_like(below, math.nan), where=below >= _BASELINE_FLOOR))
    return np.concatenate(blocks)


def interval_over_tasks(tasks: Sequence[ArrayLike], *, seed: int = 0) -> Interval:
    """95% percentile bootstrap interval of the mean of the tasks' means; prompts are resampled within each task.

    Args:
        tasks: For each task its values, (P,) with NaN for what was not measured. A task without values is left out.
        seed: As for `bootstrap_interval`, to which this is equal for one task.

    Returns:
        Lower and upper bound; (NaN, NaN) if a task has only one prompt with a value.

    Raises:
        InputError: As `bootstrap_interval`.
    """
    valid = [vector[~np.isnan(vector)] for vector in map(_vector, tasks)]
    valid = [vector for vector in valid if vector.size]
    if not valid or min(vector.size for vector in valid) < 2:
        return NO_INTERVAL
    means = [
        np.concatenate([vector[rows].mean(axis=1) for rows in _draws(vector.size, _RESAMPLES, vector.size, seed + i)])
        for i, vector in enumerate(valid)
    ]
    return _percentiles(np.mean(means, axis=0), 0.95)


def retained_over_tasks(now: Sequence[ArrayLike], baseline: Sequence[ArrayLike], *, seed: int = 0) -> Retained:
    """Mean over tasks of the fraction of each task's diversity that is left, with its interval.

    Not the ratio of the means over all prompts: the paper's averages are means of the tasks' fractions.

    Args:
        now: For each task its values now.
        baseline: For each task the values of the same prompts at the baseline.
        seed: As for `retained`, to which this is equal for one task.

    Returns:
        As `retained`; NaN if a task has no fraction.

    Raises:
        InputError: As `retained`.
    """
    pairs = list(zip(now, baseline, strict=True))
    each = [retained(*pair, seed=seed + i) for i, pair in enumerate(pairs)]
    if len(each) == 1:
        return each[0]
    prompts = sum(part.prompts for part in each)
    fraction = float(np.mean([part.fraction for part in each])) if each else math.nan
    if math.isnan(fraction) or min(part.prompts for part in each) < 2:
        return Retained(fraction, NO_INTERVAL, prompts)
    samples = [_ratios(*_paired(*pair), _RESAMPLES, seed + i) for i, pair in enumerate(pairs)]
    means = np.mean(samples, axis=0)
    return Retained(fraction, _percentiles(means[~np.isnan(means)], 0.95), prompts)


def resampled_means(columns: FloatArray, *, seed: int = 0) -> NDArray[np.float64]:
    """Means over bootstrap resamples of prompts, the same resamples for every row: the paired bootstrap's raw material.

    Args:
        columns: (N, P) values of N models on the same P prompts, without NaN.
        seed: Seed of the local generator.

    Returns:
        (N, 2000) means; NaN with fewer than two prompts.
    """
    if columns.shape[1] < 2:
        return np.full((len(columns), _RESAMPLES), math.nan)
    blocks = [columns[:, rows].mean(axis=2) for rows in _draws(columns.shape[1], _RESAMPLES, columns.shape[1], seed)]
    return np.concatenate(blocks, axis=1)


def percentile_interval(samples: FloatArray) -> Interval:
    """The central 95% of bootstrap samples; NaN samples are left out, and (NaN, NaN) if there is no other."""
    return _percentiles(samples[~np.isnan(samples)], 0.95)


def change(
    now: ArrayLike, baseline: ArrayLike, *, resamples: int = _RESAMPLES, level: float = 0.95, seed: int = 0
) -> Change:
    """Mean paired difference from the baseline, with its interval and a two-sided p-value.

    The p-value is that of the paired sign-flip permutation test of the mean: all 2**P sign patterns for up to
    12 prompts, else 9,999 random ones, counted as (1 + as extreme) / 10,000, so never below 1e-4 there. It is
    not corrected for testing at many steps.

    Args, errors: as `retained`.
    """
    _check_options(resamples, level, seed)
    differences = np.subtract(*_paired(now, baseline))
    if differences.size == 0:
        return Change(math.nan, NO_INTERVAL, math.nan, 0)
    interval = bootstrap_interval(differences, resamples=resamples, level=level, seed=seed)
    return Change(float(differences.mean()), interval, _sign_flip_p(differences, seed), differences.size)


def _sign_flip_p(differences: NDArray[np.float64], seed: int) -> float:
    prompts = differences.size
    # Sums that differ by rounding only are ties and count as extreme.
    threshold = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()
    if prompts <= _EXACT_PROMPTS:
        patterns = (np.arange(2**prompts)[:, None] >> np.arange(prompts)) & 1
        return float(np.mean(np.abs((1 - 2 * patterns) @ differences) >= threshold))
    extreme = 0
    for draws in _draws(2, _SIGN_FLIPS, prompts, seed):
        extreme += int(np.count_nonzero(np.abs((1 - 2 * draws) @ differences) >= threshold))
    return (1 + extreme) / (1 + _SIGN_FLIPS)


def _draws(below: int, rows: int, columns: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Integers in [0, below) of an array (rows, columns), in blocks of rows that fit into memory."""
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // columns)
    return (rng.integers(0, below, (min(step, rows - start), columns)) for start in range(0, rows, step))


def _percentiles(samples: FloatArray, level: float) -> Interval:
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2]) if samples.size else NO_INTERVAL
    return float(low), float(high)


def _vector(values: ArrayLike) -> NDArray[np.float64]:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise InputError(f"Expected one value a prompt, an array (P,), got shape {vector.shape}.")
    if np.isinf(vector).any():
        raise InputError("Expected finite values, or NaN for what could not be measured, got infinity.")
    return vector


def _paired(now: ArrayLike, baseline: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The values of the prompts that have both."""
    first, second = _vector(now), _vector(baseline)
    if first.size != second.size:
        raise InputError(
            f"Expected values of the same prompts, got {first.size} now and {second.size} at the baseline: "
            "measure the baseline again with these prompts."
        )
    both = ~(np.isnan(first) | np.isnan(second))
    return first[both], second[both]


def _check_options(resamples: int, level: float, seed: int) -> None:
    if resamples < 1 or seed < 0:
        raise InputError(f"Expected resamples of at least 1 and a seed of at least 0, got {resamples}, {seed}.")
    if not 0 < level < 1:
        raise InputError(f"Expected a level between 0 and 1 (0.95 for 95%), got {level}.")
