"""When a person is told, and when not."""

import dataclasses
import math

import numpy as np
import pytest

from divmon.alerts import alerts, unsoundness
from divmon.measurement import Accuracy, MetricSummary
from divmon.nearness import nearness
from tests.fakes import FakeEncoder
from tests.test_records import VALIDITY, measurement

KEYS = ("a", "b", "c")


def at(step, high=1.0, low=None, *, per_prompt=(0.5, 0.5, 0.5), metrics=("sbert",), **validity):
    low = high - 0.1 if low is None else low
    summary = MetricSummary(
        mean=0.5, retained=(low + high) / 2, retained_interval=(low, high), per_prompt=tuple(per_prompt)
    )
    whole = measurement(step=step, metrics=dict.fromkeys(metrics, summary))
    prompts = dataclasses.replace(whole.prompts, keys=KEYS, ids=KEYS, categories=("",) * 3, tasks=("",) * 3)
    return dataclasses.replace(whole, prompts=prompts, validity=dataclasses.replace(VALIDITY, **validity))


def kinds(history, threshold=0.7):
    """The (step, kind) of every alert that a run of these measurements gives."""
    seen = (alerts(history[: count + 1], history[0], threshold) for count in range(len(history)))
    return [(alert.step, alert.kind) for found in seen for alert in found]


def test_a_collapse_is_told_once_for_each_crossing():
    history = [at(0), at(1, 0.8), at(2, 0.69), at(3, 0.5), at(4, 0.75), at(5, 0.6)]
    assert kinds(history) == [(2, "collapse"), (5, "collapse")]


def test_the_threshold_is_the_users():
    assert kinds([at(0), at(1, 0.69)], threshold=0.69) == []
    assert kinds([at(0), at(1, 0.69)], threshold=0.695) == [(1, "collapse")]


def test_a_measurement_without_an_interval_neither_warns_nor_forgets():
    assert kinds([at(0), at(1, 0.5), at(2, math.nan, math.nan), at(3, 0.5)]) == [(1, "collapse")]


def test_a_run_that_begins_low_crossed_nothing():
    assert kinds([at(0, 0.4), at(1, 0.3)]) == []


def test_a_rise_of_unsound_completions_is_rot_and_no_collapse():
    assert kinds([at(0), at(1, 1.4, 1.2, base_logprob=-9.0), at(2, 1.5, 1.3, base_logprob=-9.0)]) == [(1, "rot")]
    assert kinds([at(0), at(1, 1.4, 1.2)]) == []
    assert kinds([at(0), at(1, 0.4, base_logprob=-9.0)]) == [(1, "rot")]


def test_soundness_that_comes_and_goes_is_told_of_once():
    rot = {"base_logprob": -9.0}
    low = [at(1, 0.5), at(2, 0.5, **rot), at(3, 0.5), at(4, 0.5, **rot), at(5, 0.5)]
    assert kinds([at(0), *low]) == [(1, "collapse"), (2, "rot")]
    assert kinds([at(0), *low[1:]]) == [(2, "rot"), (3, "collapse")]
    again = [at(6), at(7, 0.5, **rot)]
    assert kinds([at(0), *low, *again]) == [(1, "collapse"), (2, "rot"), (7, "rot")]
    assert kinds([at(0, 0.4), at(1, 0.4, **rot), at(2, 0.4)]) == []


def test_metrics_that_cross_together_are_one_alert():
    before, now = at(0, metrics=("ead", "sbert")), at(7, 0.5, metrics=("ead", "sbert"))
    (alert,) = alerts([before, now], before, 0.7)
    assert list(alert.metrics) == ["ead", "sbert"]
    assert alert.title == ("Diversity collapse at step 7: EAD 45% [40, 50], SBERT 45% [40, 50] retained, below 70%")
    assert "more sources" in alert.advice


def test_rot_says_why():
    before, now = at(0), at(3, 1.4, 1.2, truncated=0.9)
    (alert,) = alerts([before, now], before, 0.7)
    assert alert.title.startswith("Completions may rot at step 3: 90% of the completions are cut off")


def test_examples_are_of_the_prompts_that_changed_most():
    before, now = at(0), at(1, 0.5, per_prompt=(0.5, 0.1, 0.3))
    now_rows = [{"key": key, "prompt": f"q{key}", "outputs": [f"now {key}", "x"]} for key in KEYS]
    then_rows = [{"key": key, "outputs": [f"<think>t</think>then {key}", "x"]} for key in KEYS]
    (alert,) = alerts([before, now], before, 0.7, now_rows, then_rows)
    assert [(e.prompt, e.before, e.now) for e in alert.examples] == [
        ("qb", "then b", "now b"),
        ("qc", "then c", "now c"),
    ]
    (alert,) = alerts([before, now], before, 0.7, now_rows)
    assert alert.examples[0].before == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base_logprob": -9.0}, "unlikely"),
        ({"entropy": 50.0}, "uncertainty"),
        ({"truncated": 1.0}, "cut off"),
        ({"empty": 0.9}, "no answer"),
    ],
)
def test_what_is_unsound(change, said):
    assert said in unsoundness(at(1, **change), at(0))
    assert unsoundness(at(1, **change), at(0, **change)) is None


def test_lost_accuracy_is_unsound():
    wrong = dataclasses.replace(at(1), accuracy=Accuracy(0.1, change=-0.6, change_interval=(-0.7, -0.5)))
    assert unsoundness(wrong, at(0)) == "accuracy fell by 60 points"


def test_neighbours():
    near = nearness(["one two", "One  two", None, "else", "one two three"], ["one two", None], FakeEncoder())
    assert near.repeats == (None, 0, None, None, None)
    assert near.distances[0] == pytest.approx(0, abs=1e-6)
    assert math.isnan(near.distances[2])
    assert near.distances[3] > 0.1


def test_neighbours_without_an_encoder_or_a_baseline():
    near = nearness(["a b", "c", "A B "])
    assert near.repeats == (None, None, 0)
    assert np.isnan(near.distances).all()
    assert nearness([None]).repeats == (None,)
