"""The samples of EleutherAI's lm-evaluation-harness: ``samples_<task>_<date>.jsonl``, written with --log_samples.

Read as lm_eval/evaluator.py and loggers/evaluation_tracker.py write them: one record a document and filter, with
``arguments`` (``{"gen_args_0": {"arg_0": prompt, "arg_1": settings}}``; in older ones a list of lists) and ``resps``,
for each request the list of its repeats. What is scored is ``resps``: ``filtered_resps`` are the answers that a filter
took out of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from divmon.errors import InputError
from divmon.formats.file import File
from divmon.formats.record import Format, GenerationRecord, NoTextError, opens_think, prompt_of, sound

_NAME = re.compile(r"samples_(?P<task>.+?)(_\d{4}-\d\d-\d\dT[\d.-]+)?\.jsonl(\.gz)?")


def records(file: File) -> Iterator[GenerationRecord]:
    """A record for each request of a document; every filter repeats the same ones, so the first filter's count."""
    name = _NAME.fullmatch(file.path.name)
    task = sound(name["task"]) if name else ""
    first = None
    for number, record in file.lines():
        first = first or record
        if record.get("filter") != first.get("filter"):
            continue
        with file.line(number):
            yield from _requests(record, task)


def _requests(record: Mapping[str, Any], task: str) -> Iterator[GenerationRecord]:
    resps = record.get("resps")
    if not isinstance(resps, list) or not resps or not all(isinstance(repeats, list) for repeats in resps):
        raise InputError(f"resps: expected a list of completions for each request, got {str(resps)[:60]!r}.")
    arguments = _arguments(record.get("arguments"))
    if len(arguments) != len(resps):
        raise InputError(f"expected as many arguments as resps, got {len(arguments)} and {len(resps)}.")
    for place, (given, repeats) in enumerate(zip(arguments, resps, strict=True)):
        # A request to write has settings beside its prompt; one for a likelihood has a continuation, or nothing.
        if len(given) < 2 or isinstance(given[1], str) or not all(isinstance(text, str) for text in repeats):
            raise NoTextError("no completions: the task is scored by likelihood, its resps are numbers.")
        prompt = prompt_of(given[0])
        document = sound(str(record.get("doc_id", "")))
        if repeats:
            yield GenerationRecord(
                input_id=document if len(resps) == 1 else f"{document}.{place}",
                task=task,
                outputs=tuple(map(sound, repeats)),
                prompt=prompt,
                think_opened=opens_think(prompt),
            )


def _arguments(given: Any) -> list[list[Any]]:
    """The arguments of each request, in both forms."""
    if isinstance(given, Mapping):
        given = [list(each.values()) if isinstance(each, Mapping) else each for each in given.values()]
    if not isinstance(given, list) or not all(isinstance(each, list) and each for each in given):
        raise InputError(f"arguments: expected the prompt and the settings of each request, got {str(given)[:60]!r}.")
    return given


FORMAT = Format(
    name="lm-eval",
    title="lm-eval samples",
    expected="JSON lines with arguments and resps",
    parquet=False,
    fits=lambda record: {"arguments", "resps"} <= set(record),
    records=records,
)
