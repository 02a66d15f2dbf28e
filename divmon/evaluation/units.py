"""The plan: what is to be sampled, cut into units by model, task and slice of the task's prompts.

A unit's id says all of it (``think-sft/gsm8k/0-100``), so it is the same in a plan, on a cluster and in a file's name,
and nothing has to be agreed on before units are spread over machines.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from divmon.errors import InputError
from divmon.evaluation.subject import safe_name

UNITS = "units"
UNIT_PROMPTS = 100
"""Prompts of a unit, unless told otherwise."""


@dataclass(frozen=True)
class Unit:
    """Some prompts of one task for one model.

    Attributes:
        model: The model's label.
        task: The task.
        start: Place of the first prompt in the task.
        stop: Place behind the last; a task may turn out to have fewer.
    """

    model: str
    task: str
    start: int
    stop: int

    @property
    def id(self) -> str:
        """Its name, the same everywhere."""
        return f"{self.model}/{self.task}/{self.start}-{self.stop}"

    @classmethod
    def of(cls, text: str) -> Unit:
        """The unit of an id.

        Raises:
            InputError: If it is none.
        """
        found = re.fullmatch(r"([^/]+)/(.+)/(\d+)-(\d+)", text.strip(), re.DOTALL)
        if found is None or int(found[3]) >= int(found[4]):
            raise InputError(f"{text!r:.80}: expected a unit such as think-sft/gsm8k/0-100 (--plan --json lists them).")
        return cls(found[1], found[2], int(found[3]), int(found[4]))

    def path(self, output_dir: Path) -> Path:
        """The file of its rows."""
        return task_folder(output_dir / self.model, self.task) / f"{self.start:05d}-{self.stop:05d}.jsonl"

    def part(self, index: int, count: int, prompts: int) -> Unit | None:
        """The ``index``-th of ``count`` parts for as many processes; None where nothing is left for it.

        Args:
            index: From 0.
            count: How many parts.
            prompts: How many the task has.
        """
        size = min(self.stop, prompts) - self.start
        bounds = [self.start + size * edge // count for edge in (index, index + 1)]
        return Unit(self.model, self.task, *bounds) if bounds[0] < bounds[1] else None


def task_folder(folder: Path, task: str) -> Path:
    """Where the units of a task are in a model's folder."""
    return folder / UNITS / safe_name(task)


def units_of(models: Sequence[str], counts: Mapping[str, int], size: int = UNIT_PROMPTS) -> list[Unit]:
    """All units: model by model, so that neighbours share one.

    Args:
        models: Labels.
        counts: Task -> number of prompts.
        size: Prompts of a unit.
    """
    return [
        Unit(model, task, start, min(start + size, count))
        for model in models
        for task, count in counts.items()
        for start in range(0, count, size)
    ]


def sliced(units: Sequence[Unit], weights: Sequence[float], index: int, count: int) -> list[Unit]:
    """The ``index``-th of ``count`` parts of a plan: neighbours, and about as much work in each part.

    Args:
        units: The plan.
        weights: How much work each unit is.
        index: From 1.
        count: How many parts there are; together they are the plan, and none overlaps another.

    Raises:
        InputError: For a part that is none.
    """
    if count < 1 or not 1 <= index <= count:
        raise InputError(f"--slice: expected I/N with I from 1 to N, got {index}/{count}.")
    total = sum(weights) or 1.0
    ends = itertools.accumulate(weights)
    middles = (end - weight / 2 for end, weight in zip(ends, weights, strict=True))
    places = [min(count - 1, int(middle / total * count)) for middle in middles]
    return [unit for unit, place in zip(units, places, strict=True) if place == index - 1]


def parse_slice(text: str) -> tuple[int, int]:
    """``"3/40"`` as numbers.

    Raises:
        InputError: For anything else.
    """
    found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
    if found is None:
        raise InputError(f"--slice: expected I/N such as 3/40, got {text!r:.40}.")
    return int(found[1]), int(found[2])
