"""The prompts behind a run's completions: what is right, which a ledger does not hold."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from divmon.errors import InputError
from divmon.prompt import Prompt
from divmon.prompts import PromptSet
from divmon.tasks import TASKS, Task
from divmon.tasks.rows import rows_of

logger = logging.getLogger(__name__)


def prompts_behind(rows: Sequence[Mapping[str, Any]], given: PromptSet | None = None) -> dict[str, Prompt]:
    """Find the prompts that completions belong to, by their key.

    A key is a digest of what the model was asked, so that what is found is what was asked, whatever it is called.
    Looked through are the prompts that are given, then, of tasks that a verifier or a checklist stands behind, the
    sample that divmon ships and the data set (`divmon.tasks`), as far as it is to be had here.

    Args:
        rows: Completions, a prompt a row, with ``key`` and ``task`` (`divmon.recording.completion_rows`).
        given: Prompts with what is right.

    Returns:
        Key -> prompt; a key that was not found is not there.
    """
    wanted = {row["key"]: row["task"] for row in rows}
    found = {prompt.key: prompt for prompt in given or () if prompt.key in wanted}
    for name in dict.fromkeys(wanted.values()):
        if name in TASKS and (TASKS[name].verifier or TASKS[name].checklist):
            missing = {key for key, its in wanted.items() if its == name} - found.keys()
            for prompt in _prompts_of(TASKS[name], missing):
                found[prompt.key] = prompt
    return found


def _prompts_of(task: Task, keys: set[str]) -> Iterator[Prompt]:
    """Those of a task's prompts that have one of the keys."""
    keys = set(keys)
    for sample in (True, False):
        if not keys:
            return
        try:
            source = rows_of(task, sample=sample)
        except InputError as error:
            logger.warning("divmon: %s", error)
            continue
        if source.sample is not sample:  # without a hub the data set is the sample again
            return
        odd: list[InputError] = []
        for place, row in enumerate(source.rows):
            try:
                prompt = task.prompt(row, place)
            except InputError as error:  # one odd row is not worth the verdicts on all others
                odd.append(error)
                continue
            if prompt.key in keys:
                keys.discard(prompt.key)
                yield prompt
        if odd:
            logger.warning("divmon: %d rows of %s cannot be read, the first: %s", len(odd), source.origin, odd[0])
