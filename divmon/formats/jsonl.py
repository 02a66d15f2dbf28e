"""JSON lines with the completions of one prompt each: divmon's own records, and what is much like them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from divmon.errors import InputError
from divmon.formats.file import File
from divmon.formats.record import Format, GenerationRecord, prompt_of, sound, text_of

FIELDS = ("outputs", "generations", "responses", "completions", "samples")


def records(file: File) -> Iterator[GenerationRecord]:
    """A record a line, with its completions under one of `FIELDS`: the first of these that is there and not null.

    Further fields that count: ``input_id`` or ``id``, ``task``, ``prompt``, ``correct`` (a list of true and false, one
    for each completion), and in divmon's own records ``think_opened``, ``step`` and ``run_id``.
    """
    for number, record in file.lines():
        with file.line(number):
            yield _record(record, number)


def steps(file: File) -> Collection[int]:
    """The step of divmon's own records, which have one a file; none of others."""
    for _, record in file.lines():
        step = _own(record, "step")
        return [step] if isinstance(step, int) else []
    return []


def _record(record: Mapping[str, Any], number: int) -> GenerationRecord:
    field = next((name for name in FIELDS if record.get(name) is not None), None)
    if field is None:
        have = ", ".join(f"{name!r:.40}" for name in list(record)[:8]) or "nothing"
        raise InputError(f"no completions: expected one of the fields {', '.join(FIELDS)}, got {have}.")
    outputs = record[field]
    if not isinstance(outputs, Sequence) or isinstance(outputs, str) or not outputs:
        raise InputError(f"field {field!r}: expected a list of completions, got {str(outputs)[:60]!r}.")
    input_id = record.get("input_id", record.get("id", number))
    step = _own(record, "step")
    return GenerationRecord(
        input_id=sound(str(input_id)),
        task=sound(str(record.get("task") or "")),
        outputs=tuple(text_of(output, f"{field}[{index}]") for index, output in enumerate(outputs)),
        prompt=prompt_of(record["prompt"]) if record.get("prompt") else "",
        think_opened=bool(_own(record, "think_opened")),
        correct=_correct(record.get("correct"), len(outputs)),
        step=step if isinstance(step, int) else None,
        run=str(_own(record, "run_id") or ""),
    )


def _own(record: Mapping[str, Any], name: str) -> Any:
    """A field of divmon's own records; others may mean something else by such a name."""
    return record.get(name) if {"run_id", "think_opened", "step"} <= set(record) else None


def _correct(given: Any, count: int) -> tuple[bool, ...] | None:
    sound_list = isinstance(given, list) and len(given) == count and all(isinstance(item, bool) for item in given)
    return tuple(given) if sound_list else None


FORMAT = Format(
    name="jsonl",
    title="JSON lines",
    expected=f"JSON lines with one of {', '.join(FIELDS)}",
    parquet=False,
    fits=lambda record: any(isinstance(record.get(name), list) for name in FIELDS),
    records=records,
    steps=steps,
    whole=True,
)
