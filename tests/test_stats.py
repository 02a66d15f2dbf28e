"""Means, bootstrap intervals, retained fraction, paired change."""

import itertools
import math

import numpy as np
import pytest

from divmon import stats
from divmon.errors import InputError
from divmon.stats import Change, Retained, bootstrap_interval, change, mean, retained

NAN = math.nan


def is_nan(interval):
    return all(math.isnan(bound) for bound in interval)


# mean ----------------------------------------------------------------------------------------------------


def test_mean_leaves_nan_out():
    # (1 + 2 + 6) / 3 = 3
    assert mean([1.0, NAN, 2.0, 6.0]) == 3.0


@pytest.mark.parametrize("values", [[], [NAN], [NAN, NAN]])
def test_mean_of_nothing_is_nan(values):
    assert math.isnan(mean(values))


# bootstrap_interval --------------------------------------------------------------------------------------


def test_interval_equals_a_loop():
    values = np.random.default_rng(0).normal(size=13)
    rng = np.random.default_rng(4)
    means = sorted(np.mean([values[k] for k in rng.integers(0, 13, 13)]) for _ in range(401))
    # 401 sorted means: the 2.5% and 97.5% quantiles stand at positions 10 and 390 exactly.
    low, high = bootstrap_interval(values, resamples=401, seed=4)
    assert low == pytest.approx(means[10], abs=1e-12)
    assert high == pytest.approx(means[390], abs=1e-12)


def test_interval_level():
    values = np.random.default_rng(0).normal(size=30)
    narrow, wide = bootstrap_interval(values, level=0.5), bootstrap_interval(values, level=0.99)
    assert wide[0] < narrow[0] < values.mean() < narrow[1] < wide[1]


def test_interval_leaves_nan_prompts_out():
    values = np.random.default_rng(0).normal(size=20)
    holes = np.insert(values, [0, 7, 20], NAN)
    assert bootstrap_interval(holes) == bootstrap_interval(values)


@pytest.mark.parametrize("values", [[], [NAN], [1.0], [1.0, NAN]])
def test_no_interval_below_two_prompts(values):
    assert is_nan(bootstrap_interval(values))


def test_interval_of_a_constant_is_that_constant():
    assert bootstrap_interval([0.25] * 8) == (0.25, 0.25)


def test_interval_does_not_depend_on_the_memory_block(monkeypatch):
    values = np.random.default_rng(0).normal(size=57)
    whole = bootstrap_interval(values), change(values, values + 0.1)
    monkeypatch.setattr(stats, "_BLOCK", 1000)
    assert (bootstrap_interval(values), change(values, values + 0.1)) == whole


def test_interval_covers_the_mean_as_often_as_it_says():
    rng, trials, covered = np.random.default_rng(2), 1500, 0
    for trial in range(trials):
        low, high = bootstrap_interval(rng.normal(0.4, 0.1, 50), resamples=600, seed=trial)
        covered += low <= 0.4 <= high
    # 94.5% +- 2.5 points: the percentile bootstrap is a little narrow; the standard error is .6 points.
    assert 0.92 <= covered / trials <= 0.97


def test_retained_interval_covers_the_ratio_as_often_as_it_says():
    rng, trials, covered = np.random.default_rng(3), 1000, 0
    for trial in range(trials):
        baseline = rng.gamma(8, 0.05, 50)  # mean .4
        now = baseline * rng.uniform(0.3, 0.7, 50)  # half of it is left
        low, high = retained(now, baseline, resamples=500, seed=trial).interval
        covered += low <= 0.5 <= high
    assert 0.91 <= covered / trials <= 0.975


def test_nothing_touches_the_global_generator():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    values = np.arange(20.0)
    bootstrap_interval(values)
    retained(values, values + 1)
    change(values, values + 1)
    assert (np.random.get_state()[1] == before).all()


def test_equal_seeds_give_equal_results():
    now, baseline = np.random.default_rng(0).random((2, 30))
    for function in (retained, change):
        assert function(now, baseline, seed=3) == function(now, baseline, seed=3)
        assert function(now, baseline, seed=3).interval != function(now, baseline, seed=4).interval


# retained ------------------------------------------------------------------------------------------------


def test_retained_by_hand():
    # Prompts 0 and 3 have both values: (1 + 3) / (4 + 4) = .5
    result = retained([1.0, 9.0, NAN, 3.0], [4.0, NAN, 9.0, 4.0])
    assert (result.fraction, result.prompts) == (0.5, 2)
    # Resamples are {0,0}: 2/8, {0,3}: 4/8, {3,3}: 6/8, so the bounds are the extremes.
    assert result.interval == (0.25, 0.75)


def test_retained_interval_equals_a_loop():
    rng = np.random.default_rng(1)
    now, baseline = rng.random(9), rng.random(9) + 0.5
    draw = np.random.default_rng(6)
    ratios = []
    for _ in range(201):
        rows = draw.integers(0, 9, 9)
        ratios.append(sum(now[k] for k in rows) / sum(baseline[k] for k in rows))
    ratios.sort()
    low, high = retained(now, baseline, resamples=201, seed=6).interval
    assert low == pytest.approx(ratios[5], abs=1e-12)
    assert high == pytest.approx(ratios[195], abs=1e-12)


@pytest.mark.parametrize("count", [2, 3, 10, 33, 500])
def test_an_unchanged_model_retains_exactly_everything(count):
    values = np.random.default_rng(count).random(count) / 3
    values[count // 2 :: 7] = NAN if count > 3 else 0.1
    result = retained(values, values.copy())
    assert (result.fraction, result.interval) == (1.0, (1.0, 1.0))
    unchanged = change(values, values.copy())
    assert (unchanged.difference, unchanged.interval, unchanged.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_retained_pairs_the_prompts():
    # Every prompt lost exactly half, so there is no doubt although prompts differ a hundredfold.
    baseline = np.geomspace(0.01, 1, 20)
    low, high = retained(baseline / 2, baseline).interval
    assert low == pytest.approx(0.5, abs=1e-12)
    assert high == pytest.approx(0.5, abs=1e-12)


def test_retained_without_a_baseline_is_nan():
    for baseline in ([0.0, 0.0], [9e-7, 9e-7]):
        result = retained([0.1, 0.2], baseline)
        assert math.isnan(result.fraction)
        assert is_nan(result.interval)
        assert result.prompts == 2
    assert retained([1e-6, 1e-6], [1e-6, 1e-6]).fraction == 1.0


def test_resamples_without_a_baseline_are_left_out():
    # {0,0} has baseline mean 0 and no ratio; {0,1}: 2/2, {1,1}: 2/4 with now = (1, 1)
    assert retained([1.0, 1.0], [0.0, 2.0]).interval == (0.5, 1.0)


def test_retained_with_few_prompts():
    none = retained([NAN, 1.0], [1.0, NAN])
    assert math.isnan(none.fraction)
    assert none.prompts == 0
    one = retained([1.0, NAN], [4.0, 1.0])
    assert (one.fraction, one.prompts) == (0.25, 1)
    assert is_nan(one.interval)
    assert retained([], []).prompts == 0


def test_results_are_frozen():
    for result in (Retained(1.0, (1.0, 1.0), 2), Change(0.0, (0.0, 0.0), 1.0, 2)):
        with pytest.raises(AttributeError):
            result.prompts = 3


# change --------------------------------------------------------------------------------------------------


def test_change_by_hand():
    # Differences -1, -2, -3. Of the 8 sign patterns only +++ and --- reach |sum| = 6: p = 2 / 8.
    result = change([1.0, 1.0, NAN, 1.0], [2.0, 3.0, 5.0, 4.0])
    assert (result.difference, result.p_value, result.prompts) == (-2.0, 0.25, 3)
    assert result.interval == bootstrap_interval([-1.0, -2.0, -3.0])


@pytest.mark.parametrize("prompts", [1, 2, 5, 12])
def test_p_value_equals_an_enumeration(prompts):
    rng = np.random.default_rng(prompts)
    now, baseline = rng.normal(0.3, 1, prompts), rng.normal(0, 1, prompts)
    differences = now - baseline
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product([1, -1], repeat=prompts)]
    exact = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-9)
    assert change(now, baseline).p_value == exact


def test_sampled_p_value_is_near_scipy():
    from scipy.stats import permutation_test

    rng = np.random.default_rng(0)
    now, baseline = rng.normal(0.25, 1, 40), np.zeros(40)
    peer = permutation_test(
        (now,),
        np.mean,
        permutation_type="samples",
        n_resamples=19_999,
        vectorized=True,
        rng=np.random.default_rng(1),
    ).pvalue
    # Standard error of a p near .1 from 9,999 flips: sqrt(.1 * .9 / 9999) = .003
    assert change(now, baseline).p_value == pytest.approx(peer, abs=0.015)


def test_p_value_of_a_clear_change_is_the_smallest():
    assert change(np.zeros(50), np.ones(50)).p_value == 1e-4


def test_ties_by_rounding_count():
    # .1 + .2 - .3 is 5.6e-17 in floating point, 0 in truth: every pattern is as extreme.
    assert change([0.1, 0.2, -0.3], [0.0, 0.0, 0.0]).p_value == 1.0


def test_p_value_is_uniform_without_a_change():
    rng = np.random.default_rng(8)
    p = [change(rng.normal(size=10), rng.normal(size=10), resamples=1).p_value for _ in range(800)]
    # Standard error at .05: .8 points
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.025)


def test_change_with_few_prompts():
    none = change([NAN], [1.0])
    assert math.isnan(none.difference)
    assert math.isnan(none.p_value)
    assert none.prompts == 0
    one = change([1.0], [3.0])
    assert (one.difference, one.p_value, one.prompts) == (-2.0, 1.0, 1)
    assert is_nan(one.interval)


# errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [retained, change])
def test_prompts_must_be_the_same(function):
    with pytest.raises(InputError, match="got 2 now and 3 at the baseline: measure the baseline again"):
        function([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("function", [mean, bootstrap_interval, lambda v: retained(v, v), lambda v: change(v, v)])
def test_values_must_be_a_finite_vector(function):
    with pytest.raises(InputError, match=r"array \(P,\), got shape \(1, 2\)"):
        function([[1.0, 2.0]])
    with pytest.raises(InputError, match="got infinity"):
        function([1.0, math.inf])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"resamples": 0}, "resamples of at least 1 and a seed of at least 0, got 0, 0"),
        ({"seed": -1}, "a seed of at least 0, got 2000, -1"),
        ({"level": 0.0}, "level between 0 and 1"),
        ({"level": 95}, r"level between 0 and 1 \(0.95 for 95%\), got 95"),
    ],
)
def test_options_out_of_range(options, match):
    values = [1.0, 2.0]
    with pytest.raises(InputError, match=match):
        bootstrap_interval(values, **options)
    for function in (retained, change):
        with pytest.raises(InputError, match=match):
            function(values, values, **options)
