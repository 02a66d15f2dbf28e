"""The completions as one W&B table that grows by increments: what was logged is never logged again.

Its size is bounded whatever the run's length. An increment has at most ``PROMPTS_FOLLOWED + PROMPTS_MOVED`` prompts
with ``SAMPLES`` completions each: 32 rows of at most ``ROW_CHARACTERS`` characters. The first ``ALL_OF`` measurements
have one each, then every second, from twice as many on every fourth, and so on; the last measurement and those that
warn have one in any case. That is 74 increments and 2,368 rows for 200 measurements. No run gets more than
``INCREMENTS``, which is as many as W&B shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from divmon.nearness import answers_of
from divmon.sinks.base import View
from divmon.sinks.wandb_text import cell

PROMPTS_FOLLOWED = 6
PROMPTS_MOVED = 2
SAMPLES = 4
PROMPT_CHARACTERS = 300
COMPLETION_CHARACTERS = 600
NAME_CHARACTERS = 80
ROW_CHARACTERS = PROMPT_CHARACTERS + COMPLETION_CHARACTERS + 3 * NAME_CHARACTERS + 100
ALL_OF = 32
INCREMENTS = 100

COLUMNS: dict[str, type] = {
    "step": int,
    "task": str,
    "category": str,
    "prompt_id": str,
    "prompt": str,
    "chosen": str,  # why this prompt: "followed" (in every increment) or "moved most" (from the baseline, now)
    "index": int,
    "completion": str,
    "baseline_distance": float,
    "near_duplicate": bool,
    "near_duplicate_of": int,
}


class CompletionsTable:
    """The table of one W&B run.

    Args:
        run: The W&B run.
    """

    # A second trainer that logs into the same run goes on with its table: a second one would hide the first.
    _open: ClassVar[CompletionsTable | None] = None

    def __init__(self, run: Any) -> None:
        import wandb  # here: other backends show the same rows

        self.run = run
        self.increments = 0
        self._table = wandb.Table(columns=list(COLUMNS), dtype=list(COLUMNS.values()), log_mode="INCREMENTAL")

    @classmethod
    def of(cls, run: Any) -> CompletionsTable:
        """The table of ``run``."""
        if cls._open is None or cls._open.run is not run:
            cls._open = cls(run)
        return cls._open

    def increment(self, view: View) -> Any:
        """The table with the rows of a measurement added, to be logged; None where it adds none.

        Args:
            view: The measurement.
        """
        last = _is_last(self.run, view)
        wanted = not self.increments or last or view.alerts or is_due(len(view.history) - 1)
        if not wanted or self.increments >= INCREMENTS - (not last):  # one is kept for the last measurement
            return None
        rows = list(table_rows(view.rows, view.measurement.step))
        for row in rows:
            self._table.add_data(*row.values())
        self.increments += bool(rows)
        return self._table if rows else None


def is_due(place: int) -> bool:
    """Whether the measurement at ``place`` in a run (from 0) is in the table: ever fewer, the longer the run."""
    stride = 1
    while place >= ALL_OF * stride:
        stride *= 2
    return place % stride == 0


def table_rows(rows: Sequence[Mapping[str, Any]], step: int) -> Iterator[dict[str, Any]]:
    """The table's rows for one measurement.

    Args:
        rows: Its completions, a prompt a row (`divmon.recording.completion_rows`).
        step: Its step.

    Yields:
        A mapping with the names of ``COLUMNS`` for each completion shown; None where there is no value.
    """
    followed = followed_prompts(rows)
    moved = moved_prompts([row for row in rows if row not in followed])
    for chosen, prompts in (("followed", followed), ("moved most", moved)):
        for row in prompts:
            answers = answers_of(row)
            distances = row.get("baseline_distance") or ()
            repeats = row.get("near_duplicate_of") or ()
            for index, text in enumerate(row["outputs"][:SAMPLES]):
                answer, repeated = answers[index], repeats[index] if repeats else None
                yield {
                    "step": step,
                    "task": cell(str(row["task"]), NAME_CHARACTERS),
                    "category": cell(str(row["category"]), NAME_CHARACTERS),
                    "prompt_id": cell(str(row["input_id"]), NAME_CHARACTERS),
                    "prompt": cell(row["prompt"], PROMPT_CHARACTERS),
                    "chosen": chosen,
                    "index": index,
                    "completion": cell(f"[no answer] {text}" if answer is None else answer, COMPLETION_CHARACTERS),
                    "baseline_distance": distances[index] if distances else None,
                    "near_duplicate": repeated is not None,
                    "near_duplicate_of": repeated,
                }


def followed_prompts(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The prompts that every increment shows: the first of each task and category in turn, then the second, ..."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["category"]), []).append(row)
    turns = range(max(map(len, groups.values()), default=0))
    ranked = [group[turn] for turn in turns for group in groups.values() if turn < len(group)]
    return ranked[:PROMPTS_FOLLOWED]


def moved_prompts(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The prompts whose completions are now furthest from the baseline's, the furthest first."""
    distance: dict[int, float] = {}
    for place, row in enumerate(rows):
        known = [value for value in row.get("baseline_distance") or () if value is not None]
        if known and (mean := math.fsum(known) / len(known)) > 0:
            distance[place] = mean
    return [rows[place] for place in sorted(distance, key=lambda place: -distance[place])[:PROMPTS_MOVED]]


def _is_last(run: Any, view: View) -> bool:
    """Whether training ends here, as far as the training arguments that transformers put into the run's config tell."""
    steps, epochs = run.config.get("max_steps"), run.config.get("num_train_epochs")
    if isinstance(steps, int) and steps > 0:
        return view.measurement.step >= steps
    return isinstance(epochs, int | float) and view.measurement.epoch >= epochs > 0
