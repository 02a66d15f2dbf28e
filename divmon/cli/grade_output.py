"""What ``divmon grade`` prints: tables of the grades of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divmon.cli.terminal import console, printable

if TYPE_CHECKING:
    from rich.table import Table

Row = tuple[str, str, Mapping[str, Any]]


def print_tables(documents: Sequence[tuple[Path, Mapping[str, Any]]]) -> None:
    """Print the grades of runs: those by verifiers, by instructions and by a judge, a table each.

    Args:
        documents: Where each was written, and what (`divmon.quality.grades.Grades.to_json`).
    """
    out = console()
    rows: list[Row] = [
        (_run(document), task, grades) for _, document in documents for task, grades in document["tasks"].items()
    ]
    verified = [row for row in rows if row[2]["prompts"]]
    followed = [row for row in rows if "strict" in row[2]]
    judged = [row for row in rows if "checklist" in row[2]]
    if verified:
        means = [
            (_run(document), "mean of the tasks", document["over_tasks"])
            for _, document in documents
            if document["over_tasks"]
        ]
        out.print(_verified(verified, means))
    if followed:
        out.print()
        out.print(_followed(followed))
    if judged:
        out.print()
        out.print(_judged(judged))
        for line in dict.fromkeys(_by(document) for _, document in documents if _was_asked(document)):
            out.print(line, soft_wrap=True)
    if not (verified or judged):
        out.print("Nothing could be graded.")
    for path, _ in documents:
        out.print(f"Written: {printable(str(path))}", soft_wrap=True)


def _run(document: Mapping[str, Any]) -> str:
    return f"{printable(document['run'])} {document['step']}"


def _verified(rows: Sequence[Row], means: Sequence[Row]) -> Table:
    ks = sorted({int(k) for _, _, grades in rows for k in grades["pass_at"]} - {1})
    order = {run: place for place, run in enumerate(dict.fromkeys(run for run, _, _ in rows))}
    table = _table(rows, "prompts", "K", "accuracy@1", "majority", *(f"pass@{k}" for k in ks))
    for run, task, grades in sorted([*rows, *means], key=lambda row: order[row[0]]):
        share = f"{grades['prompts']} of {grades['all_prompts']}"
        table.add_row(
            *_names(rows, run, task),
            str(grades["prompts"]) if grades["prompts"] == grades["all_prompts"] else share,
            str(grades["k"] or ""),
            _with_interval(grades, "accuracy_at_1"),
            _percent(grades["majority_at_k"]),
            *(_percent(grades["pass_at"].get(str(k))) for k in ks),
        )
    return table


def _followed(rows: Sequence[Row]) -> Table:
    table = _table(rows, "prompts strict", "prompts loose", "instructions strict", "instructions loose")
    for run, task, grades in rows:
        strict, loose = grades["strict"], grades["loose"]
        cells = [_percent(each[name]) for name in ("prompt", "instruction") for each in (strict, loose)]
        table.add_row(*_names(rows, run, task), *cells)
    return table


def _judged(rows: Sequence[Row]) -> Table:
    table = _table(rows, "wins", "both orders agree", "longer won", "checklist")
    for run, task, grades in rows:
        facts = grades.get("win_rate_facts", {})
        table.add_row(
            *_names(rows, run, task),
            _with_interval(grades, "win_rate"),
            _percent(facts.get("consistent")),
            _percent(facts.get("longer")),
            _with_interval(grades, "checklist"),
        )
    return table


def _table(rows: Sequence[Row], *columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    names = ("run, step", "task") if _several(rows) else ("task",)
    for name in names:
        table.add_column(name, overflow="fold")
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _several(rows: Sequence[Row]) -> bool:
    return len({run for run, _, _ in rows}) > 1


def _names(rows: Sequence[Row], run: str, task: str) -> tuple[str, ...]:
    return (run, printable(task)) if _several(rows) else (printable(task),)


def _by(document: Mapping[str, Any]) -> str:
    against, judge = document["against"], document["judge"]
    if not against:
        return f"Judged by {printable(str(judge.get('model')))}."
    return (
        f"Judged by {printable(str(judge.get('model')))}, each pair in both orders; wins are against "
        f"{printable(against['name'])}, step {against['step']}: 50% is even."
    )


def _was_asked(document: Mapping[str, Any]) -> bool:
    """Whether a judge said anything."""
    grades = document["tasks"].values()
    return bool(document["judge"]) and any(
        of.get(name) is not None for of in grades for name in ("win_rate", "checklist")
    )


def _with_interval(grades: Mapping[str, Any], name: str) -> str:
    low, high = grades.get(f"{name}_interval") or (None, None)
    mean = _percent(grades.get(name))
    return mean if low is None or high is None else f"{mean} ({100 * low:.0f} to {100 * high:.0f})"


def _percent(value: float | None) -> str:
    from divmon.reading import format_percent

    return format_percent(value)
