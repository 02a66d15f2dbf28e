"""The grades of a recorded run as a value, and as ``grades.json`` beside its ledger."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from divmon import stats
from divmon.measurement import SCHEMA, to_plain
from divmon.provenance import package_versions
from divmon.quality.estimates import Mean
from divmon.quality.judged import ChecklistScore, WinRate

FILE = "grades.json"
UNKNOWN = Mean(math.nan, (math.nan, math.nan), 0)


@dataclass(frozen=True)
class Following:
    """How far IFEval's instructions are followed, strictly or loosely (`divmon.verifiers.loose`).

    Attributes:
        prompt: Share of completions that follow all instructions of their prompt; mean over prompts.
        instruction: Share of instructions that are followed, of all of all completions.
    """

    prompt: Mean
    instruction: Mean


@dataclass(frozen=True)
class TaskGrades:
    """The grades of one task.

    Attributes:
        task: Its name.
        verifier: What verified it; empty where nothing did.
        prompts: Its prompts.
        k: Completions a prompt (the fewest, should that differ).
        accuracy_at_1: Expected accuracy of one sample, over the prompts that have verdicts.
        first_completion: Accuracy of the first sample.
        majority_at_k: Accuracy of the majority's answer.
        pass_at: k -> pass@k.
        d_correct: SBERT diversity of the right completions (D_c), over the prompts that have two.
        v_correct: Their Vendi Score (V_c).
        strict: For verifiable instructions, as the answers stand; None elsewhere.
        loose: Likewise, without what may be mere wrapping.
        won: Against what it was compared with; None where no judge was asked.
        checklist: What a judge says of its checklists; None where none was asked.
        keys: (P,) the prompts' keys.
        per_prompt: Name -> (P,) values, NaN where there is none.
    """

    task: str
    verifier: str
    prompts: int
    k: int
    accuracy_at_1: Mean = UNKNOWN
    first_completion: Mean = UNKNOWN
    majority_at_k: Mean = UNKNOWN
    pass_at: Mapping[int, Mean] = field(default_factory=dict)
    d_correct: Mean = UNKNOWN
    v_correct: Mean = UNKNOWN
    strict: Following | None = None
    loose: Following | None = None
    won: WinRate | None = None
    checklist: ChecklistScore | None = None
    keys: tuple[str, ...] = ()
    per_prompt: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The entry of ``grades.json``: each mean under its name, its interval under ``<name>_interval``."""
        means = ("accuracy_at_1", "first_completion", "majority_at_k", "d_correct", "v_correct")
        entry: dict[str, Any] = {"verifier": self.verifier, "k": self.k, "prompts": self.accuracy_at_1.prompts}
        for name in means:
            entry |= _named(name, getattr(self, name))
        entry["d_correct_prompts"] = self.d_correct.prompts
        entry["pass_at"] = {str(k): mean.value for k, mean in self.pass_at.items()}
        entry["pass_at_interval"] = {str(k): mean.interval for k, mean in self.pass_at.items()}
        for name in ("strict", "loose"):
            following = getattr(self, name)
            if following is not None:
                entry[name] = _named("prompt", following.prompt) | _named("instruction", following.instruction)
        if self.won is not None:
            facts = {name: getattr(self.won, name) for name in ("pairs", "unjudged", "consistent", "longer")}
            entry |= _named("win_rate", self.won.rate) | {"win_rate_facts": facts}
        if self.checklist is not None:
            facts = {name: getattr(self.checklist, name) for name in ("written", "unjudged")}
            entry |= _named("checklist", self.checklist.score) | {"checklist_facts": facts}
        return entry | {"all_prompts": self.prompts, "keys": self.keys, "per_prompt": self.per_prompt}


def over_tasks(tasks: Sequence[TaskGrades]) -> dict[str, Any] | None:
    """The entry of ``grades.json`` over several tasks: the means of the tasks' means, not over all prompts.

    Args:
        tasks: A run's tasks; those without verdicts do not count.

    Returns:
        ``accuracy_at_1`` with its interval, ``majority_at_k`` and ``pass_at`` (of the k that all have), each from 0 to
        1 and NaN where a task has none; ``prompts``, ``all_prompts``, and ``k``, None where the tasks differ. None for
        fewer than two tasks.
    """
    known = [grades for grades in tasks if grades.accuracy_at_1.prompts]
    if len(known) < 2:
        return None
    shared = [k for k in known[0].pass_at if all(k in grades.pass_at for grades in known)]
    return {
        "prompts": sum(grades.accuracy_at_1.prompts for grades in known),
        "all_prompts": sum(grades.prompts for grades in known),
        "k": known[0].k if len({grades.k for grades in known}) == 1 else None,
        "accuracy_at_1": float(np.mean([grades.accuracy_at_1.value for grades in known])),
        "accuracy_at_1_interval": stats.interval_over_tasks([grades.per_prompt["accuracy_at_1"] for grades in known]),
        "majority_at_k": float(np.mean([grades.majority_at_k.value for grades in known])),
        "pass_at": {str(k): float(np.mean([grades.pass_at[k].value for grades in known])) for k in shared},
    }


def _named(name: str, mean: Mean) -> dict[str, Any]:
    return {name: mean.value, f"{name}_interval": mean.interval}


@dataclass(frozen=True)
class Grades:
    """The grades of one measurement of a run.

    Attributes:
        name: The run's name.
        run_id: Its id.
        step: The measurement's step.
        tasks: The grades of each task.
        against: What answers were compared with, ``name``, ``run_id`` and ``step``; empty where nothing was.
        judge: Who judged; empty where nobody did.
        notes: What could not be graded, in words.
    """

    name: str
    run_id: str
    step: int
    tasks: Mapping[str, TaskGrades]
    against: Mapping[str, Any] = field(default_factory=dict)
    judge: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What ``grades.json`` holds: strict JSON, NaN as null."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        document = {
            "schema": SCHEMA,
            "kind": "grades",
            "run": self.name,
            "run_id": self.run_id,
            "step": self.step,
            "time": now,
            "tasks": {task: grades.to_json() for task, grades in self.tasks.items()},
            "over_tasks": over_tasks(list(self.tasks.values())),
            "against": self.against,
            "judge": self.judge,
            "notes": self.notes,
            "provenance": {"packages": package_versions()},
        }
        plain: dict[str, Any] = to_plain(document)
        return plain

    def write(self, folder: Path) -> Path:
        """Write ``grades.json`` into a ledger's folder, whole or not at all; its path."""
        path = folder / FILE
        partial = path.with_suffix(".partial")
        try:
            partial.write_text(json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return path
