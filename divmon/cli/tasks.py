"""``divmon tasks``: the paper's tasks, and what each one's prompts look like."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from divmon.cli.terminal import console, printable

if TYPE_CHECKING:
    from divmon.tasks import Task


def tasks(
    names: Annotated[list[str] | None, typer.Argument(help="Say more of these, with a prompt of each.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the paper's fifteen tasks, for prompts="gsm8k" or prompts="gsm8k,ifeval"."""
    from divmon.tasks import TASKS, asked_for

    chosen = [asked.task for asked in asked_for(names)] if names else list(TASKS.values())
    if as_json:
        json.dump([_as_dict(task) for task in chosen], sys.stdout, indent=1)
        sys.stdout.write("\n")
    elif names:
        _explain(chosen)
    else:
        _list(chosen)


def _as_dict(task: Task) -> dict[str, Any]:
    from divmon.metrics import KNOWN

    left_out = ("ground_truth", "checklist", "arrange", "keep", "without", "bare")
    known = {field.name: getattr(task, field.name) for field in dataclasses.fields(task)}
    metrics = [name for name in KNOWN if name not in task.without]
    return {name: value for name, value in known.items() if name not in left_out} | {"metrics": metrics}


def _list(chosen: list[Task]) -> None:
    from rich.table import Table

    from divmon.metrics import METRICS

    out = console()
    table = Table.grid(padding=(0, 2))
    columns = ("task", "category", "prompts", "verifier", "not measured")
    for name in columns:
        table.add_column(justify="right" if name == "prompts" else "left", overflow="fold")
    table.add_row(*columns)
    for task in chosen:
        verifier = task.verifier + (" (opt in)" if task.verifier == "code" else "")
        without = ", ".join(name for name in METRICS if name in task.without)
        table.add_row(task.name, task.category.replace("_", " "), str(task.count), verifier or "-", without or "-")
    out.print(table)
    out.print('DiversityCallback(prompts="gsm8k,ifeval") samples them; `divmon tasks gsm8k` says more of one.')
    out.print(
        '"gsm8k:sample" is a dozen items written for divmon in place of the data set, to try things without the hub.'
    )


def _explain(chosen: list[Task]) -> None:
    from divmon.tasks import load_tasks

    out = console()
    for task in chosen:
        part = f"{task.config}, {task.split}" if task.config else task.split
        stop = ", ".join(map(repr, task.stop))
        lines = [
            f"{task.title} ({task.name}), {task.category}",
            f"  data set: {task.dataset} ({part}), {task.count} prompts, columns {', '.join(task.fields)}",
            f"  completion: at most {task.max_new_tokens:,} tokens in the paper"
            + (f"; without a chat template it stops before {stop}" if stop else ""),
            f"  verifier: {task.verifier or 'none'}"
            + (f"; not measured: {', '.join(task.without)}" if task.without else ""),
        ]
        if task.notes:
            lines.append(f"  {task.notes}")
        for line in lines:
            out.print(printable(line) if not line.startswith("  ") else f"  {printable(line)}", soft_wrap=True)
        prompt = load_tasks(f"{task.name}:sample", per_task=1).prompts[0]
        out.print("  a prompt, of the sample that divmon ships:")
        for line in (prompt.text or "").split("\n"):
            out.print(f"    {line}", soft_wrap=True)
        out.print()
