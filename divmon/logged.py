"""The scalars that go into a trainer's log and into an evaluation's metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from divmon.measurement import Measurement
from divmon.quality.decomposition import decompose

PREFIX = "divmon/"
EVALUATION_PREFIX = "eval_divmon/"


def logged_values(
    measurement: Measurement | None,
    metrics: Sequence[str],
    tasks: Sequence[str] = (),
    verified: Sequence[str] = (),
    baseline: Measurement | None = None,
) -> dict[str, float]:
    """Every logged key, without its prefix, with NaN for what was not measured.

    Args:
        measurement: What was measured, or None for a measurement that failed.
        metrics: The metrics that were asked for.
        tasks: The tasks, where there are several: their values stand under ``<task>/<metric>``.
        verified: Those of the tasks that have a verifier (``Monitor.verified_tasks``), of which there should be an
            accuracy; one that the measurement has is there in any case.
        baseline: What a loss of SBERT counts from, where its parts are logged.

    Returns:
        ``<metric>`` and ``<metric>_retained`` for each metric (and task); where prompts have a verifier (and for each
        such task) ``accuracy`` (0 to 1) and the two parts of what SBERT lost since the baseline, ``sbert_genuine`` and
        ``sbert_quality_control`` (`divmon.quality.decomposition`); ``entropy`` (nats a token), ``truncated`` and
        ``repeated`` (shares, 0 to 1) and ``seconds``.
    """
    values: dict[str, float] = {}
    scopes = {"": measurement.metrics if measurement else {}}
    if len(tasks) > 1:
        scopes |= {f"{task}/": measurement.tasks.get(task, {}) if measurement else {} for task in tasks}
    for scope, summaries in scopes.items():
        for metric in metrics:
            summary = summaries.get(metric)
            values[f"{scope}{metric}"] = summary.mean if summary else math.nan
            values[f"{scope}{metric}_retained"] = summary.retained if summary else math.nan
    accuracy = measurement.accuracy if measurement else None
    verified_scopes = [""] if accuracy or verified else []
    found = accuracy.tasks if accuracy else {}
    verified_scopes += [task for task in tasks if task in found or task in verified] if len(tasks) > 1 else []
    loss = decompose(measurement, baseline) if measurement and baseline and "sbert" in metrics else None
    for task in verified_scopes:
        scope = f"{task}/" if task else ""
        right = found.get(task) if task else accuracy
        values[f"{scope}accuracy"] = right.mean if right else math.nan
        if "sbert" in metrics:
            parts = (loss.tasks.get(task) if task else loss) if loss else None
            values[f"{scope}sbert_genuine"] = parts.genuine.value if parts else math.nan
            values[f"{scope}sbert_quality_control"] = parts.quality_control.value if parts else math.nan
    for name in ("entropy", "truncated", "repeated"):
        values[name] = getattr(measurement.validity, name) if measurement else math.nan
    values["seconds"] = sum(measurement.seconds.values()) if measurement else math.nan
    return values


def for_log(values: Mapping[str, float]) -> dict[str, float]:
    """``values`` as ``Trainer.log`` takes them: what was not measured is absent."""
    return {PREFIX + name: value for name, value in values.items() if math.isfinite(value)}


def for_evaluation(values: Mapping[str, float]) -> dict[str, float]:
    """``values`` as an evaluation's metrics hold them: every key, always."""
    return {EVALUATION_PREFIX + name: value for name, value in values.items()}
