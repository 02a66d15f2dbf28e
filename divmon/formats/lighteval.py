"""The details of Hugging Face's lighteval: ``details_<task>_<date>.parquet``, written with --save-details.

In the three forms that its logging/info_loggers.py has had: since 0.11 the structures ``doc``, ``model_response`` and
``metric``; before that flat columns, among them ``full_prompt``, ``example`` and ``predictions``; and before February
2025 the same with everything turned into Python's text of it.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from divmon.errors import InputError
from divmon.formats.file import File
from divmon.formats.record import Format, GenerationRecord, NoTextError, opens_think, prompt_of, sound

_NAME = re.compile(r"details_(?P<task>.+?)(_\d{4}-\d\d-\d\dT[\d.-]+)?\.parquet")
_EXPECTED = "parquet with doc and model_response, or with full_prompt and predictions"
_LIKELIHOOD = "no completions: the task is scored by likelihood."


def records(file: File) -> Iterator[GenerationRecord]:
    """A record a document."""
    name = _NAME.fullmatch(file.path.name)
    task = sound(name["task"]) if name else ""
    columns = file.columns()
    if not _fits(columns):
        raise InputError(f"{file.path}: expected {_EXPECTED}, got {', '.join(columns) or 'no columns':.200}.")
    read = _structures if "model_response" in columns else _flat
    found = False
    for record in read(file, columns, task):
        found = True
        yield record
    if not found:
        raise NoTextError(f"{file.path}: {_LIKELIHOOD}")


def _structures(file: File, columns: Mapping[str, Any], task: str) -> Iterator[GenerationRecord]:
    wanted = ["doc.query", "doc.id", "doc.task_name", "model_response.text"]
    if re.search(r"\binput: (large_)?string", str(columns["model_response"])):  # and not a chat
        wanted.append("model_response.input")
    for number, row in enumerate(file.rows(wanted), 1):
        doc, response, where = row.get("doc"), row.get("model_response"), f"{file.path}, row {number}"
        if not isinstance(doc, Mapping) or not isinstance(response, Mapping) or "query" not in doc:
            raise InputError(f"{where}: expected the structures doc, with query, and model_response.")
        texts = _texts(response.get("text"), f"{where}: model_response.text")
        if texts:
            yield GenerationRecord(
                input_id=sound(str(doc.get("id") or "")),
                task=sound(str(doc.get("task_name") or task)),
                outputs=texts,
                prompt=prompt_of(doc["query"]),
                think_opened=opens_think(str(response.get("input") or "")),
            )


def _flat(file: File, columns: Mapping[str, Any], task: str) -> Iterator[GenerationRecord]:
    prompt_column = "full_prompt" if "full_prompt" in columns else "example"
    for number, row in enumerate(file.rows([prompt_column, "predictions"]), 1):
        where = f"{file.path}, row {number}: predictions"
        predictions = row.get("predictions")
        texts = _texts(_literal(predictions) if isinstance(predictions, str) else predictions, where)
        if texts:
            prompt = prompt_of(row.get(prompt_column) or "")
            yield GenerationRecord("", task, texts, prompt, think_opened=opens_think(prompt))


def _literal(text: str) -> Any:
    """What stands in a text of Python's; the text itself where that is none. Nothing is run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def _texts(given: Any, where: str) -> tuple[str, ...]:
    """The completions of a document; none where there are numbers in their place, or nothing."""
    if given is None or (isinstance(given, list) and not any(isinstance(item, str) for item in given)):
        return ()
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        raise InputError(f"{where}: expected a list of completions, got {str(given)[:60]!r}.")
    return tuple(map(sound, given))


def _fits(columns: Mapping[str, Any]) -> bool:
    older = "predictions" in columns and not {"full_prompt", "example"}.isdisjoint(columns)
    return {"doc", "model_response"} <= set(columns) or older


FORMAT = Format(
    name="lighteval",
    title="lighteval details",
    expected=_EXPECTED,
    parquet=True,
    fits=_fits,
    records=records,
)
