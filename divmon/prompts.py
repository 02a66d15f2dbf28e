"""Prompts to monitor: bundled, of the paper's tasks, from a list, a file or a dataset."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from divmon.errors import InputError
from divmon.prompt import Prompt, prompt_of_value


@dataclass(frozen=True)
class PromptSet:
    """An ordered set of distinct prompts.

    Attributes:
        prompts: The prompts, each ``key`` once.
        source: Where they came from, in words (``bundled``, ``eval_dataset``, a file's name).
    """

    prompts: tuple[Prompt, ...]
    source: str = "given"

    def __post_init__(self) -> None:
        if not self.prompts:
            raise InputError(f"No prompt in {self.source}: give at least one.")
        distinct: dict[str, Prompt] = {}
        for prompt in self.prompts:
            distinct.setdefault(prompt.key, prompt)
        if len(distinct) < len(self.prompts):
            object.__setattr__(self, "prompts", tuple(distinct.values()))

    def __len__(self) -> int:
        return len(self.prompts)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    @cached_property
    def digest(self) -> str:
        """32 hex digits over all prompts in order; measurements are comparable only where it agrees."""
        return hashlib.blake2b("".join(prompt.key for prompt in self).encode(), digest_size=16).hexdigest()

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks in order of first appearance."""
        return tuple(dict.fromkeys(prompt.task for prompt in self))

    @property
    def verified_tasks(self) -> tuple[str, ...]:
        """Those of the tasks of which at least one prompt is verifiable, so that there is an accuracy."""
        return tuple(dict.fromkeys(prompt.task for prompt in self if prompt.verifiable))

    def take(self, count: int) -> PromptSet:
        """The first ``count`` prompts, shared evenly between the tasks."""
        queues = [[prompt for prompt in self if prompt.task == task] for task in self.tasks]
        rounds = itertools.chain.from_iterable(itertools.zip_longest(*queues))
        chosen = {prompt.key for prompt in itertools.islice((p for p in rounds if p is not None), count)}
        return dataclasses.replace(self, prompts=tuple(p for p in self if p.key in chosen))

    def only(self, keys: Iterable[str]) -> PromptSet:
        """The prompts whose key is among ``keys``, in the set's order."""
        wanted = set(keys)
        return dataclasses.replace(self, prompts=tuple(p for p in self if p.key in wanted))

    @classmethod
    def bundled(cls, count: int | None = None) -> PromptSet:
        """The hand-written held-out prompts that come with divmon: 16 in each of the paper's six categories.

        They are interleaved, so that the first ``count`` are balanced over the categories.
        """
        resource = importlib.resources.files("divmon.data").joinpath("prompts.jsonl")
        rows = [json.loads(line) for line in resource.read_text(encoding="utf-8").splitlines()]
        prompts = tuple(Prompt(id=row["id"], text=row["prompt"], category=row["category"]) for row in rows)
        return cls(prompts[:count], source="bundled")

    @classmethod
    def from_file(cls, path: str | Path) -> PromptSet:
        """Read a JSONL file: a string a line, or an object with ``prompt`` (string or chat) or ``messages``.

        Beside it an object may have ``id``, ``category``, ``task``, ``tools``, ``chat_template_kwargs``, and
        ``verifier`` with ``ground_truth``.

        Raises:
            InputError: For an unreadable file or line, which is named by its number.
        """
        path = Path(path)
        try:
            # Not splitlines(): a JSON string may hold other line separators as they are.
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"Cannot read the prompts of {str(path)!r} ({error}): expected a JSONL file; prompts themselves are "
                "given as a list, tasks by name (`divmon tasks` lists them)."
            ) from error
        prompts = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                prompts.append(prompt_of_value(json.loads(line), str(number)))
            except json.JSONDecodeError as error:
                raise InputError(
                    f"{path}, line {number}: expected a JSON string or object, got {line.strip()[:40]!r} ({error.msg})."
                ) from error
            except InputError as error:
                raise InputError(f"{path}, line {number}: {error}") from error
        return cls(tuple(prompts), source=path.name)

    @classmethod
    def of_tasks(
        cls,
        names: str | Sequence[str],
        *,
        per_task: int | None = None,
        seed: int = 42,
        folder: str | Path | None = None,
    ) -> PromptSet:
        """The prompts of the paper's tasks (`divmon.tasks`), those of each under its name.

        Args:
            names: ``"gsm8k"``, ``"gsm8k,ifeval"``, a list of names, or ``"all"``. A name with ``:sample`` behind it
                asks for the few items that divmon ships, which also stand in where there is no hub.
            per_task: Prompts of each task; default: the paper's number, mostly 500.
            seed: Chooses them; the default is the paper's.
            folder: A folder that holds the data sets under their names (``openai/gsm8k``), in place of the hub.

        Raises:
            InputError: For an unknown name, or a data set that is not to be had.
        """
        from divmon.tasks import load_tasks

        found = load_tasks(names, per_task=per_task, seed=seed, folder=folder)
        return cls(found.prompts, source=found.source)

    @classmethod
    def of(cls, prompts: PromptSet | str | Path | Sequence[Any]) -> PromptSet:
        """Turn what a user gives into a set: a set, names of tasks, a JSONL file, or a list of strings, chats or rows.

        A string is the name of a task, or several with commas between them (`of_tasks`), else a file's name; a file
        that is called like a task is given as a ``Path``, or as ``./gsm8k``.

        Raises:
            InputError: For anything else, for an empty list, and for a list of nothing but names of tasks.
        """
        from divmon.tasks import is_task, names_tasks

        if isinstance(prompts, PromptSet):
            return prompts
        if isinstance(prompts, str) and names_tasks(prompts):
            return cls.of_tasks(prompts)
        if isinstance(prompts, str | Path):
            return cls.from_file(prompts)
        if not isinstance(prompts, Iterable) or isinstance(prompts, Mapping | bytes):
            raise InputError(
                "prompts: expected a list of strings or chats, a JSONL file or a PromptSet, "
                f"got {type(prompts).__name__}."
            )
        values = list(prompts)
        if values and all(isinstance(value, str) and is_task(value) for value in values):
            raise InputError(
                f"prompts: a list holds prompts, these are names of tasks: write {','.join(values)!r} in one string."
            )
        return cls(tuple(prompt_of_value(value, str(index)) for index, value in enumerate(values)), source="list")
