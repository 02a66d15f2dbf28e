"""Accuracy@1, majority vote and pass@k of one prompt's completions, and their means over prompts.

All three estimate what another draw from the same model would give: accuracy@1 with one sample, majority@K with a vote
among K, pass@k where somebody picks a right one among k. The first two are bounded by what the model says most often,
the last by what it says at all: a model whose answers have grown alike can gain accuracy@1 and lose pass@k.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from divmon import stats
from divmon.errors import InputError

Interval = tuple[float, float]

PASS_AT = (1, 2, 4, 8, 16)
"""The k of pass@k, as far as there are as many completions."""


@dataclass(frozen=True)
class Mean:
    """A mean over prompts.

    Attributes:
        value: The mean over the prompts that have a value; NaN without any.
        interval: Its 95% bootstrap interval over prompts; (NaN, NaN) with fewer than two.
        prompts: How many have a value.
    """

    value: float
    interval: Interval
    prompts: int


def mean_of(values: Sequence[float], *, seed: int = 0) -> Mean:
    """Mean over prompts with its interval (`divmon.stats.bootstrap_interval`).

    Args:
        values: (P,) one value a prompt, NaN where there is none.
        seed: Of the bootstrap.
    """
    vector = np.asarray(values, dtype=float)
    return Mean(stats.mean(vector), stats.bootstrap_interval(vector, seed=seed), int((~np.isnan(vector)).sum()))


def ratio_of(parts: Sequence[float], wholes: Sequence[float], *, seed: int = 0) -> Mean:
    """Sum of parts over sum of wholes, with an interval that resamples prompts: a share pooled over prompts.

    Args:
        parts: (P,) what counts in each prompt.
        wholes: (P,) of how much; prompts with 0 are left out.
        seed: Of the bootstrap.
    """
    columns = np.asarray([parts, wholes], dtype=float)
    columns = columns[:, columns[1] > 0]
    if not columns.size:
        return Mean(math.nan, stats.NO_INTERVAL, 0)
    means = stats.resampled_means(columns, seed=seed)
    interval = stats.percentile_interval(means[0] / means[1])
    return Mean(float(columns[0].sum() / columns[1].sum()), interval, columns.shape[1])


def accuracy_at_1(verdicts: Sequence[float]) -> float:
    """Accuracy of one sample, expected: the mean verdict of the K completions.

    The first completion's verdict estimates the same number from one sample instead of K, so the two agree on average
    over prompts and this one varies less. The paper's table of accuracy@1 (arXiv 2604.16027) has the first's: every
    one of its values is a whole number of prompts over their count. `first_completion` gives that.

    Args:
        verdicts: (K,) how right each completion is, 0 to 1.

    Returns:
        0 to 1; NaN without completions.
    """
    return math.fsum(verdicts) / len(verdicts) if verdicts else math.nan


def first_completion(verdicts: Sequence[float]) -> float:
    """The verdict of the first completion: accuracy@1 as the paper's table has it. 0 to 1; NaN without completions."""
    return float(verdicts[0]) if verdicts else math.nan


def majority_at_k(verdicts: Sequence[float], groups: Sequence[int | None]) -> float:
    """Is the answer that most of the K completions give right?

    After Wang et al. 2022, "Self-Consistency Improves Chain of Thought Reasoning in Language Models". A completion
    without an answer has no vote. Where several answers have the most votes, one of them is drawn: the value is the
    expected one, the mean over the tied answers. With every answer different that is accuracy@1 (over the completions
    that have one), and with K = 1 the completion's own verdict.

    Args:
        verdicts: (K,) how right each completion is, 0 to 1.
        groups: (K,) which answer each gives (`divmon.quality.answers.answer_groups`); None for none.

    Returns:
        0 to 1: the verdict of the chosen answer, which is the mean over those who gave it (they have the same, unless
        the verifier tells apart what the vote does not). 0 where no completion has an answer; NaN without completions.

    Raises:
        InputError: If there are not as many groups as verdicts.
    """
    if len(verdicts) != len(groups):
        raise InputError(f"Expected a group for each of {len(verdicts)} verdicts, got {len(groups)}.")
    if not verdicts:
        return math.nan
    votes = Counter(group for group in groups if group is not None)
    most = max(votes.values(), default=0)
    chosen = [group for group, count in votes.items() if count == most]
    values = [
        math.fsum(verdict for verdict, given in zip(verdicts, groups, strict=True) if given == group) / most
        for group in chosen
    ]
    return math.fsum(values) / len(values) if values else 0.0


def pass_at_k(completions: int, right: int, k: int) -> float:
    """Chance that at least one of k completions, drawn from all without replacement, is right.

    The unbiased estimator ``1 - C(n - c, k) / C(n, k)`` of Chen et al. 2021 ("Evaluating Large Language Models Trained
    on Code", equation 1), as their product ``1 - prod(1 - k / i)`` over i from n - c + 1 to n, which neither overflows
    nor loses digits. With k = n it is whether any is right; with k = 1 it is accuracy@1. ``1 - (1 - c/n)^k`` would be
    too small.

    Args:
        completions: n, how many there are.
        right: c, how many of them are right.
        k: How many are drawn.

    Returns:
        0 to 1.

    Raises:
        InputError: If not ``0 <= right <= completions`` and ``1 <= k <= completions``.
    """
    if not 0 <= right <= completions or not 1 <= k <= completions:
        raise InputError(
            f"pass@k: expected 0 to n right ones and k from 1 to n, got n = {completions}, {right} right, k = {k}."
        )
    if completions - right < k:
        return 1.0
    return 1.0 - float(np.prod(1.0 - k / np.arange(completions - right + 1, completions + 1)))


def pass_at(prompts: Sequence[tuple[int, int]], ks: Sequence[int] = PASS_AT, *, seed: int = 0) -> Mapping[int, Mean]:
    """Mean pass@k over prompts, for every k that each of them has completions enough for.

    Args:
        prompts: (P,) pairs of how many completions there are and how many are right.
        ks: The k.
        seed: Of the bootstrap.

    Returns:
        k -> the mean; a k above the smallest number of completions is left out.
    """
    most = min((completions for completions, _ in prompts), default=0)
    return {k: mean_of([pass_at_k(n, c, k) for n, c in prompts], seed=seed) for k in ks if k <= most}
