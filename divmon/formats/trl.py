"""TRL's completion logs: ``completions/completions_<step>.parquet``, written with log_completions=True.

Read as trl/trainer/grpo_trainer.py (RLOO and distillation likewise) writes them: ``step``, ``prompt``, ``completion``,
a column for each reward and ``advantage``; prompts and completions are texts or lists of messages. A file holds the
newest generation batch at the time of a log, so with several optimizer steps a batch neighbouring files repeat each
other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from divmon.errors import InputError
from divmon.formats.file import File
from divmon.formats.record import Format, GenerationRecord, prompt_of, text_of

_COLUMNS = ("step", "prompt", "completion")


def records(file: File) -> Iterator[GenerationRecord]:
    """A record a completion."""
    _check(file)
    for number, row in enumerate(file.rows(_COLUMNS), 1):
        where = f"{file.path}, row {number}"
        step = row["step"]
        if not isinstance(step, int):
            raise InputError(f"{where}: expected a whole number as step, got {step!r:.60}.")
        text = text_of(row["completion"], f"{where}: completion")
        yield GenerationRecord("", "", (text,), prompt=prompt_of(row["prompt"]), step=step)


def steps(file: File) -> Collection[int]:
    """The steps that a file has rows of."""
    _check(file)
    return {row["step"] for row in file.rows(["step"]) if isinstance(row["step"], int)}


def _check(file: File) -> None:
    missing = [name for name in _COLUMNS if name not in file.columns()]
    if missing:
        raise InputError(f"{file.path}: expected the columns {', '.join(_COLUMNS)}, got no {' and no '.join(missing)}.")


FORMAT = Format(
    name="trl",
    title="TRL completion logs",
    expected=f"parquet with {', '.join(_COLUMNS)}",
    parquet=True,
    fits=lambda columns: set(_COLUMNS) <= set(columns),
    records=records,
    steps=steps,
)
