"""A lineage from a table of values, for numbers that were measured elsewhere."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path

import numpy as np

from divmon.errors import InputError
from divmon.lineage import BASE, Checkpoint, Values, stage_of
from divmon.metrics import METRICS
from divmon.protocols import FloatArray

SUFFIX = ".csv"
_NEEDED = ("stage", "metric", "value")
_KNOWN = (*_NEEDED, "task", "prompt")

_Cells = dict[str, dict[str, dict[str, dict[str, float]]]]  # stage -> metric -> task -> prompt -> value


def checkpoints_of_table(path: str | Path) -> tuple[Values, list[Checkpoint]]:
    """Read a CSV file with the columns ``stage``, ``metric``, ``value`` and, perhaps ``task`` and ``prompt``.

    Args:
        path: The file. ``stage`` is ``base`` or a label that ``divmon lineage`` takes for a run (``think-sft``,
            ``rl-zero-math``); ``metric`` one of divmon's; rows of one stage, metric and task that differ by ``prompt``
            are paired over the stages, and give intervals. An empty value is one that could not be measured.

    Returns:
        The base's values and the later checkpoints, as ``attribute`` takes them.

    Raises:
        InputError: For an unreadable file, a missing or unknown column, metric or stage, a value that is no number, one
            that stands there twice, no base, or stages that differ in their tasks or prompts.
    """
    path = Path(path)
    cells = _cells(path)
    if BASE not in cells:
        raise InputError(f"{path}: expected rows of the stage {BASE!r}, got {', '.join(cells) or 'no rows'}.")
    base = cells.pop(BASE)
    if not cells:
        raise InputError(f"{path}: expected rows of stages after the base, got the base alone.")
    order = {metric: {task: list(prompts) for task, prompts in tasks.items()} for metric, tasks in base.items()}
    checkpoints = []
    for label, found in cells.items():
        for metric, tasks in order.items():
            for task, prompts in tasks.items():
                there = found.get(metric, {}).get(task)
                if there is None or set(there) != set(prompts):
                    what = "no rows" if there is None else f"{len(there)} prompts, not the base's {len(prompts)}"
                    raise InputError(f"{path}: {label} has {what} of {metric}, task {task!r}.")
        checkpoints.append(Checkpoint(*stage_of(label), label, _values(found, order)))
    return _values(base, order), checkpoints


def _cells(path: Path) -> _Cells:
    cells: _Cells = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            missing = [name for name in _NEEDED if name not in columns]
            unknown = [name for name in columns if name not in _KNOWN]
            if missing or unknown:
                raise InputError(
                    f"{path}: expected the columns {', '.join(_NEEDED)} and perhaps task and prompt, got "
                    f"{', '.join(columns) or 'none'}."
                )
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                metric = (row["metric"] or "").strip()
                if metric not in METRICS:
                    raise InputError(f"{where}: expected a metric of {', '.join(METRICS)}, got {metric!r}.")
                values = cells[(row["stage"] or "").strip()][metric][(row.get("task") or "default").strip()]
                prompt = (row.get("prompt") or "").strip()
                if prompt in values:
                    raise InputError(f"{where}: this stage, metric, task and prompt stand there twice.")
                values[prompt] = _number(row["value"], where)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Cannot read {path} as a CSV file ({error}).") from error
    return cells


def _number(text: str | None, where: str) -> float:
    if not (text or "").strip():
        return math.nan
    try:
        return float(text or "")
    except ValueError as error:
        raise InputError(f"{where}: expected a number as value, got {text!r}.") from error


def _values(found: dict[str, dict[str, dict[str, float]]], order: dict[str, dict[str, list[str]]]) -> Values:
    def column(metric: str, task: str, prompts: list[str]) -> FloatArray:
        return np.array([found[metric][task][prompt] for prompt in prompts], dtype=float)

    return {
        metric: {task: column(metric, task, prompts) for task, prompts in tasks.items()}
        for metric, tasks in order.items()
    }
