"""Measurements made by hand."""

import dataclasses
from typing import Any

import numpy as np

from divmon.measurement import Accuracy, Measurement, MetricSummary, PromptRecord, Validity
from divmon.metrics import METRICS
from divmon.scoring import Scores, TextValidity

VALIDITY = Validity(
    completions=8,
    empty=0.0,
    unclosed=0.0,
    truncated=0.25,
    repeated=0.125,
    mean_length=20.0,
    entropy=1.5,
    logprob=-1.25,
    base_gap=0.25,
    base_logprob=-1.5,
    unmeasured=0,
)


def prompts(tasks: tuple[str, ...] = ("",) * 8) -> PromptRecord:
    """A prompt for each task named."""
    names = tuple(str(number) for number in range(len(tasks)))
    return PromptRecord("d" * 64, "bundled", names, names, tuple("" for _ in names), tasks)


def summary(mean: float = 0.5, retained: float = 0.8, low: float = 0.7, high: float = 0.9) -> MetricSummary:
    """A metric that lost some of its diversity, for certain."""
    values = (mean - 0.1, mean + 0.1) * 4
    return MetricSummary(mean, (mean - 0.1, mean + 0.1), retained, (low, high), 0.01, 0.6, values)


def accuracy(mean: float = 0.4, change: float = -0.2, low: float = -0.3, high: float = -0.1) -> Accuracy:
    """An accuracy that fell, for certain."""
    values, verifiers = (mean - 0.1, mean + 0.1) * 4, tuple(f"math:{number:08x}" for number in range(8))
    return Accuracy(mean, (mean - 0.1, mean + 0.1), change, (low, high), 0.01, values, verifiers)


def measurement(**changes: Any) -> Measurement:
    """A measurement of eight prompts, the fewest that a verdict is read out of."""
    made = Measurement(
        run_id="r1",
        step=0,
        epoch=0.5,
        time="2026-01-01T00:00:00+00:00",
        metrics={name: summary() for name in METRICS},
        tasks={},
        accuracy=None,
        validity=VALIDITY,
        prompts=prompts(),
        baseline={"run_id": "r1", "step": 0, "kind": "measurement"},
        seconds={"sampling": 2.0, "scoring": 1.0},
        protocol={
            "sampling": {"samples": 4, "temperature": 0.6},
            "scoring": {"unclosed": "drop"},
            "nli_sentences": {"pairs": 3, "seed": 0},
            "vocab_size": 100,
            "sentence_encoder": {"name": "e", "digest": "1" * 64},
            "nli": {"name": "n", "digest": None},
        },
        provenance={
            "packages": {"divmon": "0"},
            "model": {"class": "Tiny", "name": "/some/where/base", "parameters": 1},
        },
    )
    return dataclasses.replace(made, **changes)


def scores(**per_prompt: list[float]) -> Scores:
    """Scores with the given values."""
    values = {name: np.array(row, dtype=float) for name, row in per_prompt.items()}
    return Scores(values, dict.fromkeys(values, 0.75), TextValidity(8, 0, 0, 0.0, 5.0, 0))
