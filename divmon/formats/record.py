"""What every form of file comes down to: the completions of a prompt, as text."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from divmon.errors import InputError

if TYPE_CHECKING:
    from divmon.formats.file import File


@dataclass(frozen=True)
class GenerationRecord:
    """One prompt's completions.

    Attributes:
        input_id: What the file calls the prompt, else its number.
        task: Its task, or "".
        outputs: The completions, at least one.
        prompt: The prompt as the file has it (of a chat the JSON), or "".
        think_opened: The prompt ended inside a think block.
        correct: For each completion whether it is right; None where the file does not say.
        step: The optimizer step that the completions are of; None where the file knows of none.
        run: The run that they are of; "" where the file does not say.
    """

    input_id: str
    task: str
    outputs: tuple[str, ...]
    prompt: str = ""
    think_opened: bool = False
    correct: tuple[bool, ...] | None = None
    step: int | None = None
    run: str = ""


@dataclass(frozen=True)
class Format:
    """A form of file.

    Attributes:
        name: What ``--format`` calls it.
        title: What it is, in a few words.
        expected: What such a file holds, for an error.
        parquet: It is a parquet file, not JSON lines.
        fits: Whether a file is one, by its first record, or of parquet by the types of its columns.
        records: Reads a file. Raises `NoTextError` for one that rightly holds no completion, InputError for others
            that it cannot read.
        steps: The steps that a file has completions of; None where files of this form know of none.
        whole: A record has all completions of its prompt, so equal prompts are not put together.
    """

    name: str
    title: str
    expected: str
    parquet: bool
    fits: Callable[[Mapping[str, Any]], bool]
    records: Callable[[File], Iterator[GenerationRecord]]
    steps: Callable[[File], Collection[int]] | None = None
    whole: bool = False


class NoTextError(InputError):
    """A file of a known form that holds no completion, since its task is scored by likelihood."""


def grouped(records: Iterable[GenerationRecord]) -> list[GenerationRecord]:
    """Put together the completions of equal prompts of a task, in order of appearance, and number what has no id."""
    groups: dict[tuple[str, str], GenerationRecord] = {}
    outputs: dict[tuple[str, str], list[str]] = {}
    for record in records:
        key = (record.task, record.prompt)
        groups.setdefault(key, record)
        outputs.setdefault(key, []).extend(record.outputs)
    merged = [dataclasses.replace(record, outputs=tuple(outputs[key])) for key, record in groups.items()]
    return [
        record if record.input_id else dataclasses.replace(record, input_id=str(number))
        for number, record in enumerate(merged, 1)
    ]


def text_of(output: Any, where: str) -> str:
    """A completion as text: a string, an object with ``text`` or ``content``, or a chat, whose assistant turns count.

    Raises:
        InputError: For anything else.
    """
    if isinstance(output, str):
        return sound(output)
    if isinstance(output, Mapping):
        for name in ("text", "content"):
            if isinstance(output.get(name), str):
                return sound(output[name])
        content = output.get("content")
        if isinstance(content, Sequence):
            parts = [part for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
            return "".join(sound(part["text"]) for part in parts)
        if content is None and "content" in output and output.get("role"):
            return ""  # a turn that only calls a tool
    if isinstance(output, Sequence) and output and all(isinstance(turn, Mapping) for turn in output):
        turns = [turn for turn in output if turn.get("role", "assistant") == "assistant"]
        return "\n".join(text_of(turn, where) for turn in turns)
    raise InputError(f"{where}: expected text, got {str(output)[:60]!r}.")


def prompt_of(prompt: Any) -> str:
    """A prompt as text; what is none (a chat) as its JSON, without the empty fields that parquet adds."""
    return sound(prompt) if isinstance(prompt, str) else json.dumps(_filled(prompt), default=str)


def opens_think(prompt: str) -> bool:
    """Whether a prompt, as the model got it, ends inside a think block."""
    return prompt.rstrip().endswith("<think>")


def _filled(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(item) for name, item in value.items() if item is not None}
    return [_filled(item) for item in value] if isinstance(value, list) else value


def sound(text: str) -> str:
    """``text`` without halves of surrogate pairs, which JSON can write but no tokenizer reads."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)
