"""Measurements as tidy data frames: a row an observation, a column a variable."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from divmon.comparison import baseline_shares, baseline_values
from divmon.measurement import Measurement, MetricSummary, Validity
from divmon.quality.decomposition import METRICS, decompose

if TYPE_CHECKING:
    import pandas as pd

# Column -> kind. A frame without rows has the same kinds, and a column of which nothing was measured is one of floats.
_MEANS = {
    "step": "int64",
    "epoch": "float64",
    "task": "str",
    "metric": "str",
    "mean": "float64",
    "low": "float64",
    "high": "float64",
    "retained": "float64",
    "retained_low": "float64",
    "retained_high": "float64",
    "change_p": "float64",
}
_PER_PROMPT = {
    "step": "int64",
    "prompt": "str",
    "key": "str",
    "task": "str",
    "category": "str",
    "metric": "str",
    "value": "float64",
    "baseline": "float64",
}
_COUNTS = ("completions", "unmeasured")
_VALIDITY = {
    "step": "int64",
    "epoch": "float64",
    **{part.name: "int64" if part.name in _COUNTS else "float64" for part in dataclasses.fields(Validity)},
    "sampling_seconds": "float64",
    "scoring_seconds": "float64",
}
_PARTS = ("total", "genuine", "quality_control", "share")
_PAIRS = ("d_all", "d_correct", "accuracy")
_DECOMPOSITION = {
    "step": "int64",
    "epoch": "float64",
    "task": "str",
    "metric": "str",
    **{f"{part}{end}": "float64" for part in _PARTS for end in ("", "_low", "_high")},
    **{f"{name}{end}": "float64" for name in _PAIRS for end in ("_baseline", "")},
    "prompts": "int64",
    "of": "int64",
}


def means(measurements: Sequence[Measurement]) -> pd.DataFrame:
    """The columns of `_MEANS`, a row for each step, task (empty: all of them) and metric or ``accuracy``."""
    return _frame((row for measurement in measurements for row in _mean_rows(measurement)), _MEANS)


def per_prompt(measurements: Sequence[Measurement], baseline: Measurement | None) -> pd.DataFrame:
    """The columns of `_PER_PROMPT`, a row for each step, prompt and metric or ``accuracy``."""
    return _frame((row for measurement in measurements for row in _prompt_rows(measurement, baseline)), _PER_PROMPT)


def validity(measurements: Sequence[Measurement]) -> pd.DataFrame:
    """The columns of `_VALIDITY`, a row for each step."""
    rows = (
        {"step": measurement.step, "epoch": measurement.epoch}
        | dataclasses.asdict(measurement.validity)
        | {f"{part}_seconds": measurement.seconds.get(part, math.nan) for part in ("sampling", "scoring")}
        for measurement in measurements
    )
    return _frame(rows, _VALIDITY)


def decomposition(measurements: Sequence[Measurement], baseline: Measurement | None) -> pd.DataFrame:
    """The columns of `_DECOMPOSITION`, a row for each step, task (empty: all of them) and metric that has one."""
    return _frame((row for measurement in measurements for row in _loss_rows(measurement, baseline)), _DECOMPOSITION)


def _frame(rows: Iterable[dict[str, Any]], kinds: Mapping[str, str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(kinds)).astype(dict(kinds))


def _mean_rows(measurement: Measurement) -> Iterator[dict[str, Any]]:
    scopes: Sequence[tuple[str, Mapping[str, MetricSummary]]] = [("", measurement.metrics), *measurement.tasks.items()]
    for task, summaries in scopes:
        place = {"step": measurement.step, "epoch": measurement.epoch, "task": task}
        for metric, summary in summaries.items():
            yield place | {
                "metric": metric,
                "mean": summary.mean,
                "low": summary.interval[0],
                "high": summary.interval[1],
                "retained": summary.retained,
                "retained_low": summary.retained_interval[0],
                "retained_high": summary.retained_interval[1],
                "change_p": summary.change_p,
            }
        whole = measurement.accuracy
        accuracy = whole if whole is None or not task else whole.tasks.get(task)
        if accuracy is not None:
            low, high = accuracy.interval
            change = {"change_p": accuracy.change_p}
            yield place | {"metric": "accuracy", "mean": accuracy.mean, "low": low, "high": high} | change


def _prompt_rows(measurement: Measurement, baseline: Measurement | None) -> Iterator[dict[str, Any]]:
    prompts = measurement.prompts
    values = {metric: summary.per_prompt for metric, summary in measurement.metrics.items()}
    if measurement.accuracy is not None:
        values["accuracy"] = measurement.accuracy.per_prompt
    for metric, found in values.items():
        before = _before(measurement, baseline, metric)
        for number, value in enumerate(found):
            yield {
                "step": measurement.step,
                "prompt": prompts.ids[number],
                "key": prompts.keys[number],
                "task": prompts.tasks[number],
                "category": prompts.categories[number],
                "metric": metric,
                "value": value,
                "baseline": before.get(prompts.keys[number], math.nan),
            }


def _loss_rows(measurement: Measurement, baseline: Measurement | None) -> Iterator[dict[str, Any]]:
    if baseline is None:
        return
    for metric in METRICS:
        whole = decompose(measurement, baseline, metric)
        for task, found in {"": whole, **whole.tasks}.items() if whole else ():
            row: dict[str, Any] = {"step": measurement.step, "epoch": measurement.epoch, "task": task, "metric": metric}
            for part in _PARTS:
                estimate = getattr(found, part)
                row |= {part: estimate.value, f"{part}_low": estimate.interval[0], f"{part}_high": estimate.interval[1]}
            for name in _PAIRS:
                row |= zip((f"{name}_baseline", name), getattr(found, name), strict=True)
            yield row | {"prompts": found.prompts, "of": found.of}


def _before(measurement: Measurement, baseline: Measurement | None, metric: str) -> dict[str, float]:
    """The baseline's value of each prompt that may be compared, by the prompt's key."""
    if baseline is None:
        return {}
    if metric != "accuracy":
        return baseline_values(measurement, baseline, metric)
    return baseline_shares(measurement, baseline, measurement.accuracy.verifiers) if measurement.accuracy else {}
