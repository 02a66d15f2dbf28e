"""Names to prompts: which tasks are asked for, and which of their rows."""

from __future__ import annotations

import logging
import os
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from divmon.encoders.hub import why_unreachable
from divmon.errors import InputError, near_miss
from divmon.prompt import Prompt
from divmon.tasks.catalogue import TASKS
from divmon.tasks.rows import SAMPLE, Rows, rows_of
from divmon.tasks.task import Task

logger = logging.getLogger(__name__)

SEED = 42
"""What the paper's harness shuffles a split with before it takes the first prompts."""


@dataclass(frozen=True)
class Asked:
    """A task that was asked for, and whether its sample was."""

    task: Task
    sample: bool = False


def task_of(name: str) -> Task:
    """The task of a name; case and punctuation do not count (``MATH-Algebra`` is ``math_algebra``).

    Raises:
        InputError: With the near miss of an unknown one.
    """
    found = _known(name)
    if found is None:
        raise InputError(f"Unknown task {name.strip()!r}: {near_miss(name.strip().lower(), TASKS)}")
    return found


def asked_for(names: str | Sequence[str]) -> list[Asked]:
    """The tasks that ``names`` names.

    Args:
        names: Names separated by commas, or a list of them; ``all`` is every task, and ``:sample`` behind a name asks
            for the sample that divmon ships.

    Raises:
        InputError: For an unknown name, one given twice, or none.
    """
    texts = [names] if isinstance(names, str) else [str(name) for name in names]
    found: list[Asked] = []
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, colon, kind = part.partition(":")
        if colon and kind.strip() != SAMPLE:
            raise InputError(f'{part!r}: expected the name of a task, or the name and ":{SAMPLE}".')
        chosen = TASKS.values() if _plain(name) == "all" else [task_of(name)]
        found += [Asked(task, sample=bool(colon)) for task in chosen]
    given = [each.task.name for each in found]
    twice = sorted({name for name in given if given.count(name) > 1})
    if twice or not found:
        raise InputError(f"Tasks: {', '.join(twice)} given twice." if twice else "Expected at least one task.")
    return found


def is_task(name: str) -> bool:
    """Whether ``name`` is that of a task."""
    return _known(name) is not None


def names_tasks(text: str) -> bool:
    """Whether a text that might be a file's name names tasks instead; a path is told by its ``/`` or ``.``.

    Raises:
        InputError: If it is no path and looks like the names of tasks, with one of them misspelt.
    """
    names = [part.partition(":")[0] for part in text.split(",")]
    known = [name for name in names if _plain(name) == "all" or _known(name)]
    if len(known) == len(names):
        return True
    if os.path.exists(text) or re.search(r"[/\\.]", text):
        return False
    near = [near_miss(name.strip().lower(), TASKS).startswith("did you mean") for name in names if name not in known]
    if known or all(near):
        asked_for(text)  # which says what is wrong
    return False


@dataclass(frozen=True)
class Loaded:
    """The prompts of tasks.

    Attributes:
        prompts: The prompts, task by task.
        origins: Task -> where its prompts come from, in words.
        samples: The tasks whose prompts are the sample that divmon ships, asked for or in place of the data set.
    """

    prompts: tuple[Prompt, ...]
    origins: Mapping[str, str]
    samples: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Where the prompts come from, in words: tasks of one origin together."""
        together: dict[str, list[str]] = {}
        for name, origin in self.origins.items():
            together.setdefault(origin, []).append(name)
        return "; ".join(f"{', '.join(names)}: {origin}" for origin, names in together.items())


def load_tasks(
    names: str | Sequence[str], *, per_task: int | None = None, seed: int = SEED, folder: str | Path | None = None
) -> Loaded:
    """Load the prompts of tasks.

    A split is shuffled with ``seed`` by Python's own generator and its first prompts are taken, which is how the
    paper's harness chooses (lighteval, seed 42): with the same rows, the same prompts. Fewer are the first of more.

    Args:
        names: As for `asked_for`.
        per_task: Prompts of each task; default: the paper's number.
        seed: Of the choice, and of the prompts' order.
        folder: As for `rows_of`.

    Raises:
        InputError: For names that are none, a number below 1, or a data set that is not to be had in its form.
    """
    if per_task is not None and (not isinstance(per_task, int) or isinstance(per_task, bool) or per_task < 1):
        raise InputError(f"per_task: expected a whole number of at least 1, got {per_task!r}.")
    prompts: list[Prompt] = []
    origins: dict[str, str] = {}
    samples: list[str] = []
    replaced: list[str] = []
    for asked in asked_for(names):
        task = asked.task
        source = rows_of(task, sample=asked.sample, folder=folder)
        chosen = _choose(task, source, per_task or task.count, seed)
        prompts += chosen
        origins[task.name] = source.origin
        if source.sample:
            samples.append(task.name)
            if not asked.sample:
                replaced.append(task.name)
        _say_unverified(task, chosen)
    if replaced:
        logger.warning(
            "divmon: %s: a few items written for divmon stand in for the data set%s, because %s and no copy is cached. "
            "They are a sample to try things with, not the benchmark.",
            ", ".join(replaced),
            "s" * (len(replaced) > 1),
            why_unreachable(),
        )
    return Loaded(tuple(prompts), origins, tuple(samples))


def _choose(task: Task, source: Rows, count: int, seed: int) -> list[Prompt]:
    rows = source.rows
    places = [place for place in range(len(rows)) if task.keep is None or task.keep(rows[place])]
    random.Random(seed).shuffle(places)
    if not places:
        raise InputError(f"{task.name}: no row of {source.origin} is fit to be a prompt.")
    return [task.prompt(rows[place], place) for place in places[:count]]


def _say_unverified(task: Task, prompts: Sequence[Prompt]) -> None:
    without = sum(not prompt.verifier for prompt in prompts) if task.verifier else 0
    if without:
        logger.warning(
            "divmon: %s: no verifier knows what %d of its %d prompts ask for; accuracy leaves them out.",
            task.name,
            without,
            len(prompts),
        )


def _known(name: str) -> Task | None:
    wanted = _plain(name)
    return next((task for task in TASKS.values() if wanted in (_plain(task.name), _plain(task.title))), None)


def _plain(name: str) -> str:
    return re.sub(r"[-_;/ ]", "", name.strip().lower())  # a dot stays: "./gsm8k" is a file
