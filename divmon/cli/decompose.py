"""``divmon decompose``: how much of a loss of diversity is there among right answers too."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from divmon.cli.terminal import printable
from divmon.errors import InputError

if TYPE_CHECKING:
    from divmon.measurement import Measurement
    from divmon.quality.decomposition import Decomposition, Estimate
    from divmon.report.runs import NamedRun


def decompose(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Output folders of runs on prompts with a verifier, each perhaps as NAME=FOLDER."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Count from the last measurement of this run; default: each run's own baseline."),
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Use the paper's published tables.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of Markdown.")] = False,
) -> None:
    """Split what diversity lost: narrower right answers, or only wrong answers going away?"""
    from divmon.quality import paper as published

    if paper == bool(runs):
        raise InputError("Name either the folders of runs on prompts with a verifier or --paper.")
    if paper and baseline:
        raise InputError("--baseline goes with runs, not with --paper.")
    if paper:
        sys.stdout.write(_document(published.as_json()) if as_json else published.as_markdown())
        return
    from divmon.report.runs import read_runs

    before = read_runs([baseline])[0].last if baseline else None
    if baseline and before is None:
        raise InputError(f"--baseline: {baseline} has a ledger without a measurement.")
    found = [_of_run(named, before) for named in read_runs(runs or [])]
    if as_json:
        sys.stdout.write(_document({"runs": [_plain(*of_run) for of_run in found]}))
    else:
        sys.stdout.write("\n".join(line for of_run in found for line in _markdown(*of_run)))


_Found = dict[str, "Decomposition"]


def _of_run(named: NamedRun, before: Measurement | None) -> tuple[str, Measurement, Measurement, _Found]:
    """Name, last measurement, baseline, and the decomposition by each metric that has one."""
    from divmon.quality.decomposition import METRICS, decomposition_problem
    from divmon.quality.decomposition import decompose as decomposed

    before, now = before or named.run.baseline, named.last
    if before is None or now is None:
        raise InputError(f"{named.name} has a ledger without a measurement.")
    if (before.run_id, before.step) == (now.run_id, now.step):
        raise InputError(
            f"{named.name} is its own baseline, so nothing can be lost: name a run that counts from it, or give "
            "another run as --baseline."
        )
    found = {metric: made for metric in METRICS if (made := decomposed(now, before, metric)) is not None}
    if not found:
        raise InputError(f"{named.name}: the loss cannot be decomposed: {decomposition_problem(now, before)}.")
    return named.name, now, before, found


def _plain(name: str, now: Measurement, before: Measurement, found: _Found) -> dict[str, Any]:
    return {
        "name": name,
        "run_id": now.run_id,
        "step": now.step,
        "baseline": {"run_id": before.run_id, "step": before.step, "kind": before.kind},
        "decomposition": {metric: _parts(made) for metric, made in found.items()},
    }


def _parts(made: Decomposition) -> dict[str, Any]:
    from divmon.measurement import to_plain

    parts = to_plain(made) | {"reading": made.reading}
    return parts | {"tasks": {task: _parts(of_task) for task, of_task in made.tasks.items()}}


def _markdown(name: str, now: Measurement, before: Measurement, found: _Found) -> Iterator[str]:
    from divmon.metrics import NAMES

    where = f"step {before.step}" if before.run_id == now.run_id else f"run {before.run_id}, step {before.step}"
    yield f"## {_text(name)}, step {now.step}, against {_text(where)}"
    yield ""
    for metric, made in found.items():
        rows = {"all": made} if len(made.tasks) > 1 else {}
        rows |= made.tasks or {now.prompts.tasks[0]: made}
        yield f"{NAMES[metric]}, over prompts with two right answers in both; 95% intervals, a loss is positive."
        yield ""
        yield "| task | prompts | accuracy | all answers | right answers | loss | genuine | quality control | share |"
        yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
        for task, of_task in rows.items():
            cells = [
                f"{of_task.prompts} of {of_task.of}",
                _change(of_task.accuracy, percent=True),
                _change(of_task.d_all),
                _change(of_task.d_correct),
                *map(_estimate, (of_task.total, of_task.genuine, of_task.quality_control)),
                _estimate(of_task.share, percent=True),
            ]
            yield f"| {_text(task)} | " + " | ".join(cells) + " |"
        yield ""
        for task, of_task in rows.items():
            yield f"- **{_text(task)}**: {of_task.reading}"
        yield ""
        yield (
            f"Over all {made.of} verified prompts, two right answers or not, the loss is {_estimate(made.whole)}."
            + (" Over tasks: the mean of the tasks that have such prompts." if len(made.tasks) > 1 else "")
        )
        yield ""


def _estimate(of: Estimate, percent: bool = False) -> str:
    low, high = of.interval
    if math.isnan(of.value):
        return "-"
    interval = "" if math.isnan(low) else f" [{_number(low, percent)}, {_number(high, percent)}]"
    return _number(of.value, percent) + interval


def _change(pair: tuple[float, float], percent: bool = False) -> str:
    return "-" if math.isnan(pair[0]) else " → ".join(_number(value, percent) for value in pair)


def _number(value: float, percent: bool) -> str:
    return f"{100 * value:.0f}%" if percent else f"{value:.3f}"


def _text(name: str) -> str:
    """A name that others gave, as text in Markdown."""
    return printable(name).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") or "-"


def _document(value: Any) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"
