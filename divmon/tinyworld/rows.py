"""Rows by name: what recipes ask for."""

from __future__ import annotations

import inspect
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

from divmon.errors import InputError, near_miss
from divmon.tinyworld import stages
from divmon.tinyworld.questions import TASKS, ask

Row = dict[str, Any]

DATASETS: dict[str, Callable[..., Iterator[Row]]] = {
    "copying": stages.copying,
    "corpus": stages.corpus,
    "think-sft": stages.think_sft,
    "instruct-sft": stages.instruct_sft,
    "sources-sft": stages.sources_sft,
    "think-dpo": stages.think_dpo,
    "instruct-dpo": stages.instruct_dpo,
    "rl": stages.rl,
}


def dataset(name: str, rows: int, seed: int = 0, **options: Any) -> list[Row]:
    """The first ``rows`` rows of a data set; the same arguments give the same rows everywhere.

    Args:
        name: One of ``DATASETS``.
        rows: How many.
        seed: Seed of the rows.
        **options: Of the data set: ``sources`` of ``sources-sft``, ``tasks`` of ``rl``.

    Returns:
        Rows in TRL's formats.

    Raises:
        InputError: For an unknown name or option, with the near miss.
    """
    if name not in DATASETS:
        raise InputError(f"Unknown data set {name!r} of the tiny world: {near_miss(name, list(DATASETS))}")
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise InputError(f"rows: expected a whole number of at least 1, got {rows!r}.")
    make = DATASETS[name]
    known = list(inspect.signature(make).parameters)[1:]
    for option in options:
        if option not in known:
            raise InputError(f"Unknown option {option!r} of data set {name!r}: {near_miss(option, known)}")
    # DPO's two data sets share their questions: the stream hangs on the seed alone there.
    stream = "dpo" if name.endswith("-dpo") else name
    return list(itertools.islice(make(random.Random(f"divmon tiny world, {stream}, {seed}"), **options), rows))


def evaluation_rows(each: int = 12) -> list[Row]:
    """The evaluation's prompts: ``each`` of every task, about topics, operand pairs and marks kept out of all data."""
    rows = []
    for task in TASKS:
        rng, texts = random.Random(f"divmon tiny world, evaluation, {task}"), set[str]()
        while len(texts) < each:
            asked = ask(task, rng, held_out=True)
            if asked.text in texts:
                continue
            texts.add(asked.text)
            verifier, ground_truth = asked.check()
            rows.append(
                {
                    "id": f"{task}-{len(texts)}",
                    "prompt": [{"role": "user", "content": asked.text}],
                    "task": task,
                    "category": "open" if task not in ("one_step", "two_steps", "format") else task,
                    "verifier": verifier,
                    "ground_truth": ground_truth,
                }
            )
    return rows
