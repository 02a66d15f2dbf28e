"""Stage attribution: at which stage of post-training diversity went.

Every part is in percent of the base model's value, so that SFT, DPO and RL add up to what is lost:
``sft = 100 (SFT - base) / base``, ``dpo = 100 (DPO - SFT) / base``, ``rl = 100 (RL - DPO) / base`` and
``retained = 100 last / base``; a stage that a lineage lacks is passed over. RL-Zero, which goes straight from the base
to RL in several reward domains, has ``retained`` only: the mean over its checkpoints. The average is the mean of the
tasks' percentages, as in the paper (arXiv 2604.16027, Tables 3 and 18).
"""

from __future__ import annotations

import importlib.resources
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from divmon import stats
from divmon.comparison import comparison_problem
from divmon.errors import InputError
from divmon.ledger import Ledger, RunRecord
from divmon.measurement import Measurement
from divmon.protocols import FloatArray

STAGES = ("sft", "dpo", "rl")
RL_ZERO = "rl_zero"
UNNAMED = "lineage"
BASE = "base"
AVERAGE = "average"
_PAPER_LINEAGES = {
    "think": {"sft": "Think-SFT", "dpo": "Think-DPO", "rl": "Think"},
    "instruct": {"sft": "Instruct-SFT", "dpo": "Instruct-DPO", "rl": "Instruct"},
}

Values = Mapping[str, Mapping[str, FloatArray]]
"""Metric -> task -> one value a prompt, (P,); a published mean is an array of one."""


@dataclass(frozen=True)
class Checkpoint:
    """One model of a lineage.

    Attributes:
        lineage: ``think``, ``instruct``, ``rl_zero`` or any other name.
        stage: ``sft``, ``dpo`` or ``rl``.
        label: What it is called in the report.
        values: Its diversity.
    """

    lineage: str
    stage: str
    label: str
    values: Values


@dataclass(frozen=True)
class Part:
    """A stage's part.

    Attributes:
        percent: In percent of base; NaN where not measurable.
        interval: Its paired 95% bootstrap interval over prompts; NaN for published means and single prompts.
        prompts: How many prompts it is of.
    """

    percent: float
    interval: tuple[float, float]
    prompts: int = 0

    @property
    def few(self) -> bool:
        """Whether it is of too few prompts to be told (`divmon.stats.FEWEST_PROMPTS`); never of a published mean."""
        return self.prompts < stats.FEWEST_PROMPTS and not math.isnan(self.interval[0])


Attribution = dict[str, dict[str, dict[str, dict[str, Part]]]]
"""Metric -> lineage -> task or ``average`` -> ``sft``, ``dpo``, ``rl``, ``retained``."""


def attribute(base: Values, checkpoints: Sequence[Checkpoint], *, seed: int = 0) -> Attribution:
    """Attribute the change of diversity from ``base`` to the stages of each lineage.

    Args:
        base: The base model's values.
        checkpoints: The later models, measured on the same prompts in the same order.
        seed: Seed of the bootstrap.

    Raises:
        InputError: If a stage is unknown or doubled within a lineage other than RL-Zero, a checkpoint lacks a metric or
            task of the base, or the numbers of prompts differ.
    """
    result: Attribution = {}
    for metric, tasks in base.items():
        result[metric] = {}
        for lineage in dict.fromkeys(checkpoint.lineage for checkpoint in checkpoints):
            members = _ordered([c for c in checkpoints if c.lineage == lineage])
            exact: dict[str, dict[str, float]] = {}
            counts: dict[str, int] = {}
            resampled: dict[str, dict[str, FloatArray]] = {}
            for number, task in enumerate(tasks):
                columns = _paired(metric, task, tasks[task], members)
                means = columns.mean(axis=1) if columns.shape[1] else np.full(len(columns), math.nan)
                counts[task] = columns.shape[1]
                exact[task] = {name: float(value) for name, value in _parts(means, members).items()}
                draws = stats.resampled_means(columns, seed=seed + number)
                resampled[task] = _parts(draws, members)
            names = list(next(iter(exact.values())))
            counts[AVERAGE] = sum(counts.values())
            exact[AVERAGE] = {name: float(np.mean([parts[name] for parts in exact.values()])) for name in names}
            resampled[AVERAGE] = {name: np.mean([p[name] for p in resampled.values()], axis=0) for name in names}
            intervals = {
                task: {name: stats.percentile_interval(samples) for name, samples in parts.items()}
                for task, parts in resampled.items()
            }
            result[metric][lineage] = {
                task: {name: Part(percent, intervals[task][name], counts[task]) for name, percent in parts.items()}
                for task, parts in exact.items()
            }
    return result


def _ordered(members: list[Checkpoint]) -> list[Checkpoint]:
    """A lineage's checkpoints in the order of the stages."""
    for member in members:
        if member.stage not in STAGES:
            raise InputError(f"{member.label}: expected a stage of {', '.join(STAGES)}, got {member.stage!r}.")
    stages = [member.stage for member in members]
    if members[0].lineage != RL_ZERO and len(set(stages)) < len(stages):
        raise InputError(f"Lineage {members[0].lineage!r} has a stage twice: {', '.join(m.label for m in members)}.")
    return sorted(members, key=lambda member: STAGES.index(member.stage))


def _paired(metric: str, task: str, base: FloatArray, members: Sequence[Checkpoint]) -> FloatArray:
    """(1 + members, prompts) values of the prompts that were measured everywhere."""
    columns = [np.asarray(base, dtype=float)]
    for member in members:
        values = member.values.get(metric, {}).get(task)
        if values is None:
            raise InputError(f"{member.label} has no {metric} of task {task!r}, which the base has.")
        if len(values) != len(base):
            raise InputError(f"{member.label}: expected {len(base)} prompts of task {task!r}, got {len(values)}.")
        columns.append(np.asarray(values, dtype=float))
    table = np.stack(columns)
    return table[:, ~np.isnan(table).any(axis=0)]


def _parts(means: FloatArray, members: Sequence[Checkpoint]) -> dict[str, Any]:
    """The parts of a lineage from (1 + members, ...) means, the base first."""
    base = np.where(np.abs(means[0]) < 1e-6, math.nan, means[0])
    if members[0].lineage == RL_ZERO:
        return {"retained": 100 * means[1:].mean(axis=0) / base}
    before = [base, *means[1:-1]]
    parts = {m.stage: 100 * (now - then) / base for m, now, then in zip(members, means[1:], before, strict=True)}
    return parts | {"retained": 100 * means[-1] / base}


def paper_checkpoints() -> tuple[Values, list[Checkpoint]]:
    """The paper's Table 3 (tables of all four metrics): the base and the checkpoints of its three lineages."""
    resource = importlib.resources.files("divmon.data").joinpath("olmo3_paper_tables.json")
    tables = json.loads(resource.read_text(encoding="utf-8"))
    metrics = ("ead", "sbert", "nli", "vendi")

    def values(model: str) -> Values:
        return {
            metric: {task: np.array([value]) for task, value in tables[metric][model].items() if value is not None}
            for metric in metrics
        }

    checkpoints = [
        Checkpoint(lineage, stage, model, values(model))
        for lineage, models in _PAPER_LINEAGES.items()
        for stage, model in models.items()
    ]
    zero = [model for model in tables["sbert"] if model.startswith("RL-Zero")]
    checkpoints += [Checkpoint(RL_ZERO, "rl", model, values(model)) for model in zero]
    return values("Base"), checkpoints


def paper_attribution() -> Attribution:
    """The attribution of the paper's own tables."""
    return attribute(*paper_checkpoints())


def records_of_runs(runs: Sequence[str]) -> list[tuple[str, RunRecord]]:
    """Read the runs of one or more lineages.

    Args:
        runs: Folders, each ``[LINEAGE-]STAGE=FOLDER`` or just a folder with such a name: ``think-sft``,
            ``rl-zero-math``, ``dpo``. A run's last measurement is its checkpoint; its baseline is the base.

    Returns:
        Label and record of each.

    Raises:
        InputError: If a folder is missing, a name tells no stage, or a ledger is missing or empty.
    """
    named = [("", run) if Path(run).exists() else run.rpartition("=")[::2] for run in runs]
    ledgers = [Ledger.of(path) for _, path in named]  # a missing folder is said before a name without a stage
    labels = [name or Path(path).resolve().name for name, path in named]
    for label in labels:
        if label.lower() != BASE:
            stage_of(label)
    records = []
    for label, ledger, (_, path) in zip(labels, ledgers, named, strict=True):
        found = ledger.read()
        if found is None or found.baseline is None or not found.measurements:
            raise InputError(f"{path} has a ledger without a measurement.")
        records.append((label, found))
    return records


def stand_ins(records: Sequence[tuple[str, RunRecord]]) -> list[str]:
    """The encoders that stood in for others, a sentence each: their values are not comparable with the paper's."""
    found: dict[str, str] = {}
    for _, record in records:
        for part in ("sentence_encoder", "nli"):
            identity = record.measurements[-1].protocol.get(part) if record.measurements else None
            if isinstance(identity, Mapping) and identity.get("fallback_for"):
                found[str(identity["name"])] = str(identity["fallback_for"])
    return [
        f"{name} stood in for {other}: its values cannot be compared with the paper's." for name, other in found.items()
    ]


def checkpoints_of_records(records: Sequence[tuple[str, RunRecord]]) -> tuple[Values, list[Checkpoint]]:
    """The base and the checkpoints of runs, each under a label that tells its stage; all must count from one base.

    A run that is named ``base`` may stand among them: it is the others' base, or an error.

    Raises:
        InputError: If a label tells no stage, or runs cannot be compared, in which case it says which and why.
    """
    checkpoints: list[Checkpoint] = []
    bases = [(label, found) for label, found in records if label.lower() == BASE]
    records = [(label, found) for label, found in records if label.lower() != BASE]
    base: Measurement | None = None
    base_of = ""
    for label, found in records:
        lineage, stage = stage_of(label)
        if found.baseline is None or not found.measurements:
            raise InputError(f"{label} has no measurement.")
        if base is None:
            base, base_of = found.baseline, label
        for measured, what in ((found.baseline, "the baseline"), (found.measurements[-1], "the last measurement")):
            for metric in base.metrics:
                problem = comparison_problem(measured, base, metric)
                if problem:
                    raise InputError(f"{what} of {label} cannot be compared with the base of {base_of}: {problem}.")
        if _values(found.baseline) != _values(base):
            raise InputError(
                f"{label} counts from another base model than {base_of}: train it with baseline= (the folder of the "
                "lineage's first run)."
            )
        checkpoints.append(Checkpoint(lineage, stage, label, _values_by_task(found.measurements[-1])))
    if base is None:
        after = "after the base" if bases else ""
        raise InputError(f"No run {after}".rstrip() + ": name the folders of a lineage, in any order, or --paper.")
    for label, found in bases:
        last = found.measurements[-1] if found.measurements else None
        if last is None or last.run_id != base.run_id or _values(last) != _values(base):
            raise InputError(
                f"{label} (run {found.run_id}) is not the base that the others count from (run {base.run_id}): leave "
                "it out, or measure the others with it as their baseline."
            )
    return _values_by_task(base), checkpoints


def stage_of(label: str) -> tuple[str, str]:
    """Lineage and stage that a label names.

    Raises:
        InputError: If it names no stage.
    """
    words = label.lower().replace("_", "-").split("-")
    if words[:2] == ["rl", "zero"]:
        return RL_ZERO, "rl"
    if words[-1] in STAGES:
        return "-".join(words[:-1]) or UNNAMED, words[-1]
    raise InputError(
        f"{label!r} tells no stage: expected sft, dpo or rl, a lineage's name before it (think-sft), rl-zero-math or "
        "base; put one before the folder: sft=FOLDER, think-dpo=FOLDER, base=FOLDER."
    )


def _values(measurement: Measurement) -> dict[str, list[str]]:
    """Per-prompt values in comparable form (NaN equals itself)."""
    return {name: [repr(value) for value in summary.per_prompt] for name, summary in measurement.metrics.items()}


def _values_by_task(measurement: Measurement) -> Values:
    """Values of the tasks that a metric means something on: a measurement of several has a summary for each."""
    tasks = measurement.prompts.tasks
    values = {
        metric: {
            task: np.array([v for v, of in zip(summary.per_prompt, tasks, strict=True) if of == task], dtype=float)
            for task in dict.fromkeys(tasks)
            if not measurement.tasks or metric in measurement.tasks[task]
        }
        for metric, summary in measurement.metrics.items()
    }
    return {metric: of_tasks for metric, of_tasks in values.items() if of_tasks}
