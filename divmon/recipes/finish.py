"""Rows of a source as a trainer reads them: mapped, renamed, without thinking, in one table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from divmon.errors import InputError
from divmon.prompt import is_chat
from divmon.recipes.sources import Source
from divmon.text import extract_answer

Row = Mapping[str, Any]


def rows_with(source: Source, rows: Iterable[Row], trainer: str) -> list[dict[str, Any]]:
    """Rows as a source's ``mapping``, ``columns``, ``constants``, ``chat`` and ``strip_thinking`` make them.

    Args:
        source: The source.
        rows: Rows of its schema.
        trainer: ``sft``, ``dpo`` or ``grpo``.

    Raises:
        InputError: If a row lacks a column that is to be renamed.
    """
    finish = finisher(source, trainer)
    return [made for row in rows if (made := finish(row)) is not None]


def finisher(source: Source, trainer: str) -> Callable[[Row], dict[str, Any] | None]:
    """What turns a source's row into one that the trainer reads, or into None where it is to be left out."""
    from divmon.recipes.mappings import mapping

    mapped = mapping(source.mapping) if source.mapping is not None else dict

    def finish(row: Row) -> dict[str, Any] | None:
        found = mapped(row)
        if found is None:
            return None
        made = dict(found)
        if source.columns:
            absent = [old for old in source.columns.values() if old not in made]
            if absent:
                raise InputError(f"columns: the rows have no {absent[0]!r}, but {', '.join(made)}")
            moved = {new: made[old] for new, old in source.columns.items()}
            made = {key: value for key, value in made.items() if key not in source.columns.values()} | moved
        made |= source.constants
        if source.chat and isinstance(made.get("prompt"), str):
            made["prompt"] = [{"role": "user", "content": made["prompt"]}]
        if trainer == "dpo":
            _pair(made)
        if source.strip_thinking:
            for key in ("messages", "completion", "chosen", "rejected"):
                if key in made:
                    made[key] = _without_thinking(made[key])
        return made

    return finish


def in_batches(finish: Callable[[Row], dict[str, Any] | None]) -> Callable[[Mapping[str, list[Any]]], Any]:
    """``finish`` for the columns of many rows, as ``Dataset.map`` gives them."""

    def finish_batch(batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        table = table_of([made for row in rows if (made := finish(row)) is not None])
        if not table:  # all rows left out: no columns at all would be taken for a table's schema
            return {name: [] for name in batch}
        return {name: [row[name] for row in table] for name in table[0]}

    return finish_batch


def _pair(row: dict[str, Any]) -> None:
    """Put a preference pair into a form that TRL takes: a prompt of the pair's own kind, or none.

    Published sets often have the prompt as a string beside conversations that begin with it.
    """
    prompt, chosen = row.get("prompt"), row.get("chosen")
    if not isinstance(prompt, str) or not is_chat(chosen):
        return
    if any(turn["role"] == "user" for turn in chosen):
        del row["prompt"]  # TRL takes what the two have in common
    else:
        row["prompt"] = [{"role": "user", "content": prompt}]


def _without_thinking(value: Any) -> Any:
    """A text, or the assistant turns of a conversation, without their think blocks; an open block is left alone."""
    if isinstance(value, str):
        stripped = extract_answer(value)
        return value if stripped is None else stripped
    if not is_chat(value):
        return value
    return [
        {**turn, "content": _without_thinking(turn["content"])}
        if turn["role"] == "assistant" and isinstance(turn.get("content"), str)
        else dict(turn)
        for turn in value
    ]


def table_of(rows: Sequence[Row], kept: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Rows that all have the same columns, in order of first appearance; what one lacks is None there."""
    names = dict.fromkeys(name for row in rows for name in row if kept is None or name in kept)
    blank: dict[str, Any] = {"chat_template_kwargs": {}}
    return [{name: row.get(name, blank.get(name)) for name in names} for row in rows]


def read_jsonl(path: Path, where: str) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file.

    Args:
        path: The file.
        where: Who names it, for the message.

    Raises:
        InputError: If it cannot be read, or a line is no object.
    """
    try:
        # Not splitlines(): a JSON string may hold other line separators as they are.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"{where}: cannot read {path} ({reason}): expected a JSONL file.") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path}, line {number}: not JSON ({error.msg}).") from error
            if not isinstance(row, dict):
                raise InputError(f"{path}, line {number}: expected an object with columns, got {line.strip()[:40]!r}.")
            yield row
