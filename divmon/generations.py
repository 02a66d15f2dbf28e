"""Files of generations: JSON lines, each with a prompt's completions."""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divmon.errors import InputError

FIELDS = ("outputs", "generations", "responses", "completions", "samples")


@dataclass(frozen=True)
class GenerationRecord:
    """One prompt's completions.

    Attributes:
        input_id: The record's ``input_id`` or ``id``, else its line number.
        task: Its ``task``, or "".
        outputs: The completions, at least one.
    """

    input_id: str
    task: str
    outputs: tuple[str, ...]


def read_generations(path: str | Path) -> list[GenerationRecord]:
    """Read a JSONL file, gzip-compressed or not.

    Each line is an object with a list of completions under ``outputs``, ``generations``, ``responses``, ``completions``
    or ``samples`` (the first of these that is there and not null). A completion is a string, an object with ``text`` or
    ``content``, or a chat, whose assistant turns count. Other fields are ignored.

    Raises:
        InputError: For a file that cannot be read, holds no record, or has a broken line, which is named by number.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise InputError(f"Cannot read {path}: {reason}.") from error
    records = []
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            records.append(_record(json.loads(line.decode("utf-8"), parse_int=_integer), number))
        except UnicodeDecodeError as error:
            raise InputError(f"{path}, line {number}: not UTF-8 text ({error.reason}, byte {error.start}).") from error
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: not JSON ({error.msg}, column {error.colno}).") from error
        except RecursionError as error:
            raise InputError(f"{path}, line {number}: nested too deeply to be a record.") from error
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
    if not records:
        raise InputError(f"{path} holds no record: expected JSON lines with one of {', '.join(FIELDS)}.")
    return records


def _record(record: Any, number: int) -> GenerationRecord:
    if not isinstance(record, Mapping):
        raise InputError(f"expected an object, got {type(record).__name__}.")
    field = next((name for name in FIELDS if record.get(name) is not None), None)
    if field is None:
        have = ", ".join(f"{name!r:.40}" for name in list(record)[:8]) or "nothing"
        raise InputError(f"no completions: expected one of the fields {', '.join(FIELDS)}, got {have}.")
    outputs = record[field]
    if not isinstance(outputs, Sequence) or isinstance(outputs, str) or not outputs:
        raise InputError(f"field {field!r}: expected a list of completions, got {str(outputs)[:60]!r}.")
    input_id = record.get("input_id", record.get("id", number))
    texts = tuple(_text(output, f"{field}[{index}]") for index, output in enumerate(outputs))
    return GenerationRecord(_sound(str(input_id)), _sound(str(record.get("task") or "")), texts)


def _text(output: Any, where: str) -> str:
    if isinstance(output, str):
        return _sound(output)
    if isinstance(output, Mapping):
        for name in ("text", "content"):
            if isinstance(output.get(name), str):
                return _sound(output[name])
    if isinstance(output, Sequence) and output and all(isinstance(turn, Mapping) for turn in output):
        turns = [turn for turn in output if turn.get("role", "assistant") == "assistant"]
        return "\n".join(_text(turn, where) for turn in turns)
    raise InputError(f"{where}: expected text, got {str(output)[:60]!r}.")


def _sound(text: str) -> str:
    """``text`` without halves of surrogate pairs, which JSON can write but no tokenizer reads."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _integer(digits: str) -> int | float:
    """An integer of any length: Python refuses thousands of digits, but a field of no interest may hold them."""
    return int(digits) if len(digits) < 1000 else float(digits)
