"""The completions that the page carries: before and after, of the prompts that lost most and some of every category."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from divmon.errors import InputError
from divmon.measurement import Measurement
from divmon.nearness import answers_of, nearness
from divmon.report import bounds
from divmon.report.changes import Changes, PromptLine
from divmon.report.runs import NamedRun, same_baseline
from divmon.report.text import cut, embedded


@dataclass(frozen=True)
class Column:
    """Whose completions stand in one column.

    Attributes:
        title: Heading.
        place: The column of the map that it goes with; None for the baseline.
        rows: Prompt key -> row.
    """

    title: str
    place: int | None
    rows: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Said:
    """What was said.

    Attributes:
        columns: Headings, the baseline's first where it is there.
        places: The column of the map that each goes with; None for the baseline.
        prompts: Prompt key -> its text, cut.
        completions: Prompt key -> a list a column of completions as the page reads them (`_completion`).
        notes: What is missing, what the bounds left out, in words.
    """

    columns: tuple[str, ...]
    places: tuple[int | None, ...]
    prompts: Mapping[str, str]
    completions: Mapping[str, list[list[dict[str, Any]]]]
    notes: tuple[str, ...]


def said(runs: Sequence[NamedRun], changes: Changes) -> Said:
    """Read the completions of the baseline and of the last measurements, and choose what the page carries.

    Args:
        runs: The runs of which some are columns of ``changes``.
        changes: The map, for the order of the prompts.
    """
    columns, notes = _columns(runs, changes)
    prompts = _prompt_texts(columns, changes.prompts)
    there = [line for line in changes.prompts if any(line.key in column.rows for column in columns)]
    chosen = _chosen(there)
    completions: dict[str, list[list[dict[str, Any]]]] = {}
    room = bounds.MOST_COMPLETION_BYTES
    for line in chosen:
        made = [_completions(column.rows.get(line.key)) for column in columns]
        room -= len(embedded(made).encode())
        if room < 0:
            break
        completions[line.key] = made
    if len(completions) < len(there):
        notes.append(
            f"Completions of {len(completions)} of {len(there):,} prompts are here: those that lost most, and some of "
            "every category; the ledger has all."
        )
    if _any_longer(columns, completions):
        notes.append(
            f"A completion is cut at {bounds.MOST_CHARACTERS:,} characters, and a prompt has at most "
            f"{bounds.MOST_COMPLETIONS} in a column; the ledger has them whole."
        )
    if any("near_duplicate_of" not in row for column in columns for row in column.rows.values()):
        notes.append("Some completions were recorded without their neighbours: there, only equal words count as alike.")
    return Said(
        columns=tuple(column.title for column in columns),
        places=tuple(column.place for column in columns),
        prompts=prompts,
        completions=completions,
        notes=tuple(notes),
    )


def _columns(runs: Sequence[NamedRun], changes: Changes) -> tuple[list[Column], list[str]]:
    shown = [named for named in runs if not changes.over_runs or named.name in changes.columns]
    columns: list[Column] = []
    notes: list[str] = []
    first = shown[0]
    baseline, last = first.run.baseline, first.last
    if baseline is not None and (baseline is not last) and same_baseline(shown):
        elsewhere = baseline.kind == "baseline" or baseline.run_id != first.run.run_id
        title = "Baseline, another model" if elsewhere else f"Baseline, step {baseline.step:,}"
        columns.append(Column(title, None, _rows(first, baseline, title, notes)))
    for place, named in enumerate(shown):
        if named.last is not None:
            title = f"Step {named.last.step:,}" if len(shown) == 1 else f"{named.name}, step {named.last.step:,}"
            where = place if changes.over_runs else len(changes.columns) - 1
            columns.append(Column(title, where, _rows(named, named.last, title, notes)))
    return [column for column in columns if column.rows], notes


def _rows(named: NamedRun, measurement: Measurement, title: str, notes: list[str]) -> dict[str, Mapping[str, Any]]:
    """Prompt key -> row; what cannot be read is a note, not an error: the numbers are there all the same."""
    try:
        rows = named.run.ledger.completions(measurement, named.run.run_id)
    except InputError as error:
        notes.append(f"{title}: the completions cannot be read ({error}).")
        return {}
    if not rows:
        notes.append(f"{title}: no completions were kept.")
    prompts = measurement.prompts
    by_id = dict(zip(zip(prompts.tasks, prompts.ids, strict=False), prompts.keys, strict=False))
    found: dict[str, Mapping[str, Any]] = {}
    broken = 0
    for row in rows:
        outputs = row.get("outputs") if isinstance(row, dict) else None
        if not isinstance(outputs, list) or not all(isinstance(text, str) for text in outputs):
            broken += 1
            continue
        key = row.get("key") or by_id.get((str(row.get("task")), str(row.get("input_id"))))
        found[str(key)] = row
    if broken:
        notes.append(f"{title}: {broken} rows of the completions cannot be read.")
    return found


def _prompt_texts(columns: Sequence[Column], lines: Sequence[PromptLine]) -> dict[str, str]:
    texts: dict[str, str] = {}
    room = bounds.MOST_PROMPT_BYTES
    for line in lines:
        row = next((column.rows[line.key] for column in columns if line.key in column.rows), {})
        most = bounds.MOST_OF_A_PROMPT if room > 0 else bounds.FEWEST_OF_A_PROMPT
        texts[line.key] = cut(str(row.get("prompt") or ""), most)
        room -= len(embedded(texts[line.key]).encode())
    return texts


def _chosen(lines: Sequence[PromptLine]) -> list[PromptLine]:
    """Those that lost most, and the first few of every task and category; worst first."""
    seen: Counter[tuple[str, str]] = Counter()
    of_each: list[PromptLine] = []
    others: list[PromptLine] = []
    for line in lines:
        place = (line.task, line.category)
        (of_each if seen[place] < bounds.MOST_OF_A_CATEGORY else others).append(line)
        seen[place] += 1
    kept = {line.key for line in (of_each + others)[: bounds.MOST_PROMPTS_WITH_COMPLETIONS]}
    return [line for line in lines if line.key in kept]


def _completions(row: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    if row is None:
        return []
    answers = answers_of(row)
    near = row.get("near_duplicate_of")
    if not isinstance(near, list) or len(near) != len(answers):
        near = nearness(answers).repeats
    distances = row.get("baseline_distance")
    cut_off = row.get("truncated")
    return [
        _completion(text, answer, near[place], _at(distances, place), _at(cut_off, place))
        for place, (text, answer) in enumerate(zip(row["outputs"], answers, strict=True))
    ][: bounds.MOST_COMPLETIONS]


def _completion(text: str, answer: str | None, near: Any, distance: Any, cut_off: Any) -> dict[str, Any]:
    """One completion as the page reads it.

    ``t`` is the answer or, where there is none (``x``), the whole text; ``r`` the reasoning before it; ``n`` the place
    of the earlier one that says nearly the same; ``d`` the distance to the nearest of the baseline's; ``c`` that it was
    cut off at the token limit. What does not apply is left out.
    """
    made: dict[str, Any] = {"t": cut(text if answer is None else answer, bounds.MOST_CHARACTERS)}
    if answer is None:
        made["x"] = 1
    elif "</think>" in text and answer != text:
        made["r"] = cut(text.rpartition("</think>")[0].replace("<think>", "").strip(), bounds.MOST_OF_A_LINE)
    if isinstance(near, int) and not isinstance(near, bool):
        made["n"] = near
    if isinstance(distance, int | float):
        made["d"] = round(float(distance), 3)
    if cut_off:
        made["c"] = 1
    return {name: value for name, value in made.items() if value not in ("",) or name == "t"}


def _at(values: Any, place: int) -> Any:
    return values[place] if isinstance(values, list) and place < len(values) else None


def _any_longer(columns: Sequence[Column], completions: Mapping[str, Any]) -> bool:
    outputs = [column.rows[key]["outputs"] for column in columns for key in completions if key in column.rows]
    return any(
        len(texts) > bounds.MOST_COMPLETIONS or any(len(text) > bounds.MOST_CHARACTERS for text in texts)
        for texts in outputs
    )
