"""What an evaluation is asked for: models, prompts, and how; the one record that every process and machine shares."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from divmon.errors import InputError
from divmon.evaluation.cost import weight
from divmon.evaluation.subject import Subject
from divmon.evaluation.units import UNIT_PROMPTS, Unit, sliced, units_of
from divmon.options import MonitorOptions
from divmon.prompt import Prompt
from divmon.prompts import PromptSet
from divmon.tasks import TASKS, asked_for, load_tasks
from divmon.tasks.load import Asked
from divmon.tasks.rows import SAMPLE, rows_of

OTHER_LIMIT = 2048
"""Limit of a completion, in tokens, on prompts that are no task's."""

BATCH_TOKENS = 1_048_576
"""Bound on rows x (prompt + limit) of a batch. A task's limit is mostly far above what answers take, and memory is
taken only as they grow.
"""

DTYPES = ("auto", "bfloat16", "float16", "float32")


@dataclass(frozen=True)
class Request:
    """Which models are asked what.

    Attributes:
        subjects: The models, each under a label of its own; one that others are compared with stands before them.
        output_dir: Each model's results go to a folder of its label in it.
        options: Everything that a measurement has options for, but for ``num_prompts`` and ``max_new_tokens``.
        tasks: Names of tasks, as for ``PromptSet.of_tasks``.
        prompts_file: A JSONL file of prompts besides, or instead; without either the bundled prompts are taken.
        per_task: At most this many prompts of each task; default: the paper's number, or all.
        max_new_tokens: Upper bound of every task's own limit of a completion.
        dtype: What the weights are loaded in; ``auto`` is as they are stored.
        unit_prompts: Prompts of a unit.
        baseline: Folder of an earlier evaluation or run that all models are compared with.
    """

    subjects: tuple[Subject, ...]
    output_dir: Path
    options: MonitorOptions = field(default_factory=lambda: MonitorOptions(batch_tokens=BATCH_TOKENS))
    tasks: str = ""
    prompts_file: Path | None = None
    per_task: int | None = None
    max_new_tokens: int | None = None
    dtype: str = "auto"
    unit_prompts: int = UNIT_PROMPTS
    baseline: Path | None = None

    def __post_init__(self) -> None:
        for name in ("per_task", "max_new_tokens", "unit_prompts"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise InputError(f"{name}: expected a whole number of at least 1, got {value!r}.")
        if self.dtype not in DTYPES:
            raise InputError(f"dtype: expected one of {', '.join(DTYPES)}, got {self.dtype!r}.")
        labels = [subject.label for subject in self.subjects]
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise InputError(f"Two models are called {twice[0]!r}.")

    @cached_property
    def _asked(self) -> list[Asked]:
        return asked_for(self.tasks) if self.tasks else []

    @property
    def samples(self) -> tuple[str, ...]:
        """The tasks whose sample was asked for; others may turn out to be one, where no data set is to be had."""
        return tuple(asked.task.name for asked in self._asked if asked.sample)

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Task -> number of prompts, as planned: no data set is loaded, and one may turn out to have fewer."""
        counts = {}
        for asked in self._asked:
            known = len(rows_of(asked.task, sample=True).rows) if asked.sample else asked.task.count
            counts[asked.task.name] = min(self.per_task or asked.task.count, known)
        return counts | {task: len(prompts) for task, prompts in self._given.items()}

    @cached_property
    def _given(self) -> Mapping[str, PromptSet]:
        """The prompts of a file, or the bundled ones, by task."""
        if self.prompts_file is None and self.tasks:
            return {}
        prompts = PromptSet.bundled() if self.prompts_file is None else PromptSet.from_file(self.prompts_file)
        named = {asked.task.name for asked in self._asked}
        if both := sorted(named & set(prompts.tasks)):
            raise InputError(f"--tasks and --prompts both have prompts of {both[0]!r}: leave one of them out.")
        return by_task(prompts, self.per_task)

    def limit(self, task: str) -> int:
        """The most tokens of a completion on a task, without a thinking budget of its own."""
        own = TASKS[task].max_new_tokens if task in TASKS and task not in self._given else OTHER_LIMIT
        return min(own, self.max_new_tokens or own)

    @property
    def tasks_by_limit(self) -> dict[int, list[str]]:
        """Limit -> the tasks that have it."""
        found: dict[int, list[str]] = {}
        for task in self.counts:
            found.setdefault(self.limit(task), []).append(task)
        return found

    @property
    def limits(self) -> dict[str, int]:
        """The tasks' limits, where they differ; empty where they are one."""
        limits = {task: self.limit(task) for task in self.counts}
        return limits if len(set(limits.values())) > 1 else {}

    @cached_property
    def monitor_options(self) -> MonitorOptions:
        """The options of the measurement: as many prompts as there are, and the largest of the limits."""
        limit = max(map(self.limit, self.counts))
        return dataclasses.replace(self.options, num_prompts=max(1, sum(self.counts.values())), max_new_tokens=limit)

    @cached_property
    def units(self) -> list[Unit]:
        """The plan."""
        return units_of([subject.label for subject in self.subjects], self.counts, self.unit_prompts)

    def unit(self, text: str) -> Unit:
        """The unit of the plan that an id names.

        Raises:
            InputError: If the plan has none of this id, with those that it has.
        """
        unit = Unit.of(text)
        if unit in self.units:
            return unit
        near = [other.id for other in self.units if (other.model, other.task) == (unit.model, unit.task)]
        ids = near or [other.id for other in self.units]
        more = f" and {len(ids) - 5:,} more" if len(ids) > 6 else ""
        raise InputError(
            f"--unit: the plan has no unit {unit.id!r:.80}; it has {', '.join(ids[: 5 if more else 6])}{more} "
            f"(--plan --json lists them), each of at most {self.unit_prompts:,} prompts (--unit-prompts)."
        )

    def slice(self, index: int, count: int) -> list[Unit]:
        """One of ``count`` parts of the plan, from 1; see `divmon.evaluation.units.sliced`."""
        return sliced(self.units, [weight(unit, self) for unit in self.units], index, count)

    def subject(self, label: str) -> Subject:
        """The subject of a label.

        Raises:
            InputError: If there is none.
        """
        for subject in self.subjects:
            if subject.label == label:
                return subject
        known = ", ".join(subject.label for subject in self.subjects)
        raise InputError(f"There is no model {label!r} in this evaluation; it has {known}.")

    def has_chain(self, subject: Subject) -> bool:
        """Whether a model is expected to write a chain of thought, for estimates."""
        checkpoint, thinking = subject.checkpoint, self.options.thinking
        if checkpoint is not None and checkpoint.reasons and not checkpoint.thinks:
            return True  # in plain text, which cannot be suppressed
        return thinking == "full" or (thinking is None and checkpoint is not None and checkpoint.thinks)

    def load_prompts(self, tasks: set[str] | None = None) -> Evaluation:
        """The evaluation with its prompts, from the hub or wherever `divmon.tasks` finds them.

        Args:
            tasks: Load these alone, where no more is needed.

        Raises:
            InputError: If they are not to be had.
        """
        given = {task: prompts for task, prompts in self._given.items() if tasks is None or task in tasks}
        names = [
            f"{asked.task.name}:{SAMPLE}" if asked.sample else asked.task.name
            for asked in self._asked
            if tasks is None or asked.task.name in tasks
        ]
        if not names:
            return Evaluation(self, given)
        loaded = load_tasks(names, per_task=self.per_task)  # all at once: what stands in is said once
        found = {
            task: PromptSet(tuple(prompt for prompt in loaded.prompts if prompt.task == task), f"{task}: {origin}")
            for task, origin in loaded.origins.items()
        }
        return Evaluation(self, found | given, loaded.samples)


@dataclass(frozen=True)
class Evaluation:
    """A request with its prompts.

    Attributes:
        request: What is asked for.
        prompts: Task -> prompts, each task's without repetitions.
        samples: The tasks whose prompts are the sample that divmon ships, not the benchmark.
    """

    request: Request
    prompts: Mapping[str, PromptSet]
    samples: tuple[str, ...] = ()

    @cached_property
    def all_prompts(self) -> PromptSet:
        """The prompts of all tasks; of one that several tasks have, the first is taken."""
        sources = dict.fromkeys(prompts.source for prompts in self.prompts.values())
        together: tuple[Prompt, ...] = tuple(itertools.chain.from_iterable(self.prompts.values()))
        return PromptSet(together, source="; ".join(sources))

    def of_unit(self, unit: Unit) -> PromptSet | None:
        """The prompts of a unit; None where the task has none there.

        Raises:
            InputError: For a task that the evaluation does not have.
        """
        if unit.task not in self.prompts:
            raise InputError(f"{unit.id}: this evaluation has no task {unit.task!r}; it has {', '.join(self.prompts)}.")
        prompts = self.prompts[unit.task]
        part = prompts.prompts[unit.start : unit.stop]
        return dataclasses.replace(prompts, prompts=part) if part else None


def by_task(prompts: PromptSet, per_task: int | None = None) -> dict[str, PromptSet]:
    """Prompts, the first ``per_task`` of each task."""
    found = {task: [prompt for prompt in prompts if prompt.task == task][:per_task] for task in prompts.tasks}
    return {task: dataclasses.replace(prompts, prompts=tuple(part)) for task, part in found.items()}
