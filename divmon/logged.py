"""The scalars that go into a trainer's log and into an evaluation's metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from divmon.measurement import Measurement

PREFIX = "divmon/"
EVALUATION_PREFIX = "eval_divmon/"


def logged_values(
    measurement: Measurement | None, metrics: Sequence[str], tasks: Sequence[str] = (), verified: Sequence[str] = ()
) -> dict[str, float]:
    """Every logged key, without its prefix, with NaN for what was not measured.

    Args:
        measurement: What was measured, or None for a measurement that failed.
        metrics: The metrics that were asked for.
        tasks: The tasks, where there are several: their values stand under ``<task>/<metric>``.
        verified: Those of the tasks that have a verifier (``PromptSet.verified_tasks``), of which there should be an
            accuracy; one that the measurement has is there in any case.

    Returns:
        ``<metric>`` and ``<metric>_retained`` for each metric (and task), ``accuracy`` (0 to 1) where prompts have a
        verifier (and for each such task), ``entropy`` (nats a token), ``truncated`` and ``repeated`` (shares, 0 to 1)
        and ``seconds``.
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
    if accuracy or verified:
        values["accuracy"] = accuracy.mean if accuracy else math.nan
    found = accuracy.tasks if accuracy else {}
    for task in tasks if len(tasks) > 1 else ():
        if task in found or task in verified:
            values[f"{task}/accuracy"] = found[task].mean if task in found else math.nan
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
