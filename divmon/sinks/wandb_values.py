"""The names under which W&B holds what is no scalar of the trainer's log, and the values.

Whoever opens a run and does nothing sees one panel a key, in a section for what stands before the first slash, in
alphabetical order. So the section ``train`` has the means and retained fractions (``train/divmon/...``, through
transformers' callback), and the section ``divmon`` the completions, validity and the categories (``within``), in this
order. The bounds of intervals say little in a panel of their own: they are logged, but get no automatic panel; the
saved view (`divmon.workspace`) draws them around their means.

| key | what |
|---|---|
| ``divmon/<metric>/{low,high}`` | 95% interval of the mean |
| ``divmon/<metric>/{retained_low,retained_high}`` | 95% interval of the retained fraction |
| ``divmon/accuracy/{low,high}`` | 95% interval of the accuracy, where there is one |
| ``divmon/sbert_{genuine,quality_control}/{low,high}`` | 95% interval of the parts of SBERT's loss, likewise |
| ``divmon/task/<task>/...`` | the four above for each task, where there are several |
| ``divmon/validity/<field>`` | every field of `Validity` |
| ``divmon/within/<category>/<metric>`` | the mean over a category's prompts, where there are several |
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from divmon import stats
from divmon.measurement import Accuracy, Measurement, MetricSummary
from divmon.quality.decomposition import Decomposition, decompose

PREFIX = "divmon/"
TABLE = f"{PREFIX}completions"
MOST_CATEGORIES = 12
_HIDDEN = ("/low", "/high", "/retained_low", "/retained_high", "/validity/completions")


def interval_keys(name: str) -> tuple[str, str]:
    """Where the bounds of a metric's mean (or of ``accuracy``, or of a part of SBERT's loss) are."""
    return f"{PREFIX}{name}/low", f"{PREFIX}{name}/high"


def retained_keys(metric: str) -> tuple[str, str]:
    """Where the bounds of a metric's retained fraction are."""
    return f"{PREFIX}{metric}/retained_low", f"{PREFIX}{metric}/retained_high"


def validity_key(field: str) -> str:
    """Where a field of `Validity` is."""
    return f"{PREFIX}validity/{field}"


def within_key(category: str, metric: str) -> str:
    """Where the mean over a category's prompts is; ``category`` as `key_parts` writes it."""
    return f"{PREFIX}within/{category}/{metric}"


def is_hidden(key: str) -> bool:
    """Whether ``key`` gets no panel unless somebody asks for one."""
    return key.endswith(_HIDDEN)


def logged(measurement: Measurement, baseline: Measurement | None = None) -> dict[str, float]:
    """What is logged of a measurement beside the trainer's own scalars; what was not measured is absent.

    Of more than ``MOST_CATEGORIES`` categories, those with most prompts.

    Args:
        measurement: The measurement.
        baseline: What SBERT's loss counts from; without it there are no bounds of its parts.
    """
    loss = decompose(measurement, baseline) if baseline is not None else None
    values = _intervals(measurement.metrics, measurement.accuracy, loss)
    names = key_parts([*measurement.tasks, *(measurement.accuracy.tasks if measurement.accuracy else ())])
    for task, name in names.items():
        accuracy = measurement.accuracy.tasks.get(task) if measurement.accuracy else None
        parts = loss.tasks.get(task) if loss else None
        values |= _intervals(measurement.tasks.get(task, {}), accuracy, parts, f"task/{name}/")
    for field, value in dataclasses.asdict(measurement.validity).items():
        values[validity_key(field)] = value
    values |= _categories(measurement)
    return {key: value for key, value in values.items() if math.isfinite(value)}


def summarised(history: Sequence[Measurement]) -> dict[str, float | int]:
    """For the run's summary: each metric's last and worst retained fraction, and the step of the worst."""
    values: dict[str, float | int] = {}
    for metric in history[-1].metrics:
        kept = [(m.metrics[metric].retained, m.step) for m in history if metric in m.metrics]
        kept = [(retained, step) for retained, step in kept if math.isfinite(retained)]
        if kept:
            worst, step = min(kept)
            values[f"{PREFIX}{metric}/retained_last"] = kept[-1][0]
            values[f"{PREFIX}{metric}/retained_worst"] = worst
            values[f"{PREFIX}{metric}/retained_worst_step"] = step
    return values


def key_parts(names: Iterable[str]) -> dict[str, str]:
    """Each name as one part of a key: letters, digits and ``_-``, at most 40 of them, no two alike."""
    parts: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        part = base = re.sub(r"[^\w-]+", "_", name)[:40].strip("_") or "none"
        number = 1
        while part in taken:
            number += 1
            part = f"{base}_{number}"
        taken.add(part)
        parts[name] = part
    return parts


def _intervals(
    metrics: Mapping[str, MetricSummary], accuracy: Accuracy | None, loss: Decomposition | None, scope: str = ""
) -> dict[str, float]:
    values: dict[str, float] = {}
    for metric, summary in metrics.items():
        values |= zip(interval_keys(scope + metric), summary.interval, strict=True)
        values |= zip(retained_keys(scope + metric), summary.retained_interval, strict=True)
    if accuracy is not None:
        values |= zip(interval_keys(f"{scope}accuracy"), accuracy.interval, strict=True)
    if loss is not None:
        for part in ("genuine", "quality_control"):
            values |= zip(interval_keys(f"{scope}sbert_{part}"), getattr(loss, part).interval, strict=True)
    return values


def _categories(measurement: Measurement) -> dict[str, float]:
    categories = measurement.prompts.categories
    parts = key_parts(categories)
    if len(parts) < 2:
        return {}
    values: dict[str, float] = {}
    for category, _ in Counter(categories).most_common(MOST_CATEGORIES):
        for metric, summary in measurement.metrics.items():
            pairs = zip(categories, summary.per_prompt, strict=True)
            values[within_key(parts[category], metric)] = stats.mean([value for of, value in pairs if of == category])
    return values
