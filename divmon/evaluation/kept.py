"""The file of a unit: a first line that says how it is sampled, then a row for each prompt, added as it is done."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divmon.errors import InputError
from divmon.evaluation.units import Unit, task_folder
from divmon.ledger import json_line, mend_last_line, read_line

if TYPE_CHECKING:
    from divmon.prompt import Prompt
    from divmon.sampling.sampler import SampledPrompt

SCHEMA = 1
COLUMNS = ("outputs", "tokens", "truncated", "entropy", "logprob", "base_logprob")
"""Of a row: one value for each of the prompt's completions."""


@dataclass(frozen=True)
class Kept:
    """What a unit's file holds.

    Attributes:
        path: The file.
        header: Its first line: ``protocol``, ``model`` and ``vocab_size``.
        rows: Prompt key -> row.
        batches: What was sampled together: number of prompts, seconds, layout.
    """

    path: Path
    header: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, Any]]
    batches: tuple[Mapping[str, Any], ...]


def read(path: Path) -> Kept | None:
    """Read a unit's file, which another process may be writing to; None where nothing is in it yet.

    Raises:
        InputError: For a broken line that is not the last, named by its number.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return None
    header: Mapping[str, Any] | None = None
    rows: dict[str, Mapping[str, Any]] = {}
    batches = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = read_line(line)
            _check(record, header)
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):  # no newline behind it: torn, or not yet whole
                break
            raise InputError(
                f"{path}, line {number}: not a row of a unit ({error}); mend or remove the file."
            ) from error
        if header is None:
            header = record
        elif record["kind"] == "prompt":
            rows.setdefault(record["key"], record)
        else:
            batches.append(record)
    return None if header is None else Kept(path, header, rows, tuple(batches))


def _check(record: Mapping[str, Any], header: Mapping[str, Any] | None) -> None:
    if record["schema"] > SCHEMA:
        raise ValueError(f"schema {record['schema']}, this divmon reads up to {SCHEMA}: upgrade divmon")
    if header is None:
        if record["kind"] != "unit" or not {"protocol", "model", "vocab_size"} <= set(record):
            raise ValueError("expected the line that begins a unit")
    elif record["kind"] == "prompt":
        count = header["protocol"]["sampling"]["samples"]
        if not isinstance(record["key"], str) or any(len(record[column]) != count for column in COLUMNS):
            raise ValueError(f"expected {count} completions")
        if not all(isinstance(text, str) for text in record["outputs"]):
            raise ValueError("expected completions as texts")


def of_task(folder: Path, task: str) -> list[Kept]:
    """All files of a task in a model's folder, whatever slices they were sampled in."""
    paths = sorted(task_folder(folder, task).glob("*.jsonl"))
    return [found for path in paths if (found := read(path)) is not None]


def refuse_other(kept: Kept, protocol: Mapping[str, Any], unit: Unit | None = None) -> None:
    """Refuse rows that were sampled otherwise than they would be now.

    Args:
        kept: The rows that are there.
        protocol: How they would be sampled; parts that it lacks are not compared.
        unit: Whose prompts ``protocol`` names; another file's prompts are others.

    Raises:
        InputError: With everything that differs.
    """
    found = kept.header["protocol"]
    parts = [part for part in protocol if part != "prompts" or (unit is not None and kept.path.name == _name(unit))]
    differing = [text for part in parts for text in differences(found.get(part), protocol[part], part)]
    if differing:
        raise InputError(
            f"{kept.path} was sampled otherwise: {'; '.join(differing)}. Give the same options, or another "
            "--output-dir, or move that file away."
        )


def _name(unit: Unit) -> str:
    return unit.path(Path()).name


def differences(there: Any, now: Any, where: str) -> Iterator[str]:
    """``temperature 0.6 there, 1.0 now``: a text for each value in which two records differ."""
    if isinstance(there, Mapping) and isinstance(now, Mapping):
        for name in dict(there) | dict(now):
            yield from differences(there.get(name), now.get(name), name)
    elif there != now:
        yield f"{where} {_short(there)} there, {_short(now)} now"


def _short(value: Any) -> str:
    return "none" if value is None else f"{value:.90}" if isinstance(value, str) else f"{value!r:.90}"


def row_of(sampled: SampledPrompt) -> dict[str, Any]:
    """The row of a prompt: everything that a measurement needs of its completions."""
    rendered, made = sampled.rendered, sampled.completions
    return {
        "kind": "prompt",
        "key": rendered.prompt.key,
        "id": rendered.prompt.id,
        "rendered": rendered.text,
        "prompt_tokens": len(rendered.token_ids),
        "think_opened": rendered.think_opened,
        "outputs": [completion.text for completion in made],
        "tokens": [len(completion.token_ids) for completion in made],
        "truncated": [completion.truncated for completion in made],
        "entropy": [completion.entropy for completion in made],
        "logprob": [completion.logprob for completion in made],
        "base_logprob": [completion.base_logprob for completion in made],
    }


def sampled_of(row: Mapping[str, Any], prompt: Prompt) -> SampledPrompt:
    """The other way round. Which tokens they were was not kept, only how many: their ids are -1."""
    from divmon.sampling.generate import Completion
    from divmon.sampling.render import RenderedPrompt
    from divmon.sampling.sampler import SampledPrompt

    rendered = RenderedPrompt(prompt, (-1,) * row["prompt_tokens"], row["rendered"], row["think_opened"])
    made = [
        Completion(text, (-1,) * tokens, truncated, *(math.nan if value is None else value for value in values))
        for text, tokens, truncated, *values in zip(*(row[column] for column in COLUMNS), strict=True)
    ]
    return SampledPrompt(rendered, tuple(made))


class Writer:
    """Adds rows to a unit's file, each flushed to the disk; `opened` makes one."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def add(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Add lines; they are on the disk when this returns."""
        for record in records:
            line = json_line({"schema": SCHEMA} | dict(record))
            self._file.write(line.encode("utf-8", "backslashreplace"))
            self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def opened(path: Path, header: Mapping[str, Any]) -> Iterator[Writer]:
    """A unit's file, kept for this process as long as it is open; what a killed one left of a line is cut off.

    Args:
        path: The file.
        header: Its first line, where it has none.

    Raises:
        InputError: If another process is sampling the unit.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        _lock(file, path)
        mend_last_line(file)
        writer = Writer(file)
        if file.seek(0, os.SEEK_END) == 0:
            writer.add([{"kind": "unit"} | dict(header)])
        yield writer


def _lock(file: Any, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"Another command is sampling {path}: wait for it, or give another --slice or --output-dir."
        ) from error
    except OSError:  # a file system without locks
        pass
