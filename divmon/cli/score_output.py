"""What ``divmon score`` prints: a document, and its tables."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from divmon.cli.terminal import console, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from divmon.generations import GenerationRecord, Generations
    from divmon.protocols import FloatArray
    from divmon.scoring import Scores, ScoringSettings


def result(
    records: Sequence[GenerationRecord], scores: Scores, step: int | None, *, on_correct: bool
) -> dict[str, Any]:
    """The scores of one set of completions.

    Args:
        records: The prompts.
        scores: Their scores.
        step: The optimizer step that the completions are of, where that is known.
        on_correct: AST is that of the completions that are marked as correct.
    """
    from divmon import stats

    tasks = [record.task for record in records]
    several = len(set(tasks)) > 1

    def by_task(values: FloatArray) -> list[FloatArray]:
        """The values of each task that has any: as in an evaluation the mean is that of the tasks' means."""
        parts = [values[[place for place, of in enumerate(tasks) if of == task]] for task in dict.fromkeys(tasks)]
        return [part for part in parts if not all(map(math.isnan, part))] or parts[:1]

    return {
        "step": step,
        "metrics": {
            name: {
                "mean": stats.mean([stats.mean(part) for part in by_task(values)]),
                "interval": stats.interval_over_tasks(by_task(values)),
                **(
                    {"tasks": {of: stats.mean(values[[t == of for t in tasks]]) for of in dict.fromkeys(tasks)}}
                    if several
                    else {}
                ),
                "per_prompt": [float(value) for value in values],
                "across": scores.across[name],
            }
            for name, values in scores.per_prompt.items()
        },
        "validity": dataclasses.asdict(scores.validity),
        "ast_on_correct": on_correct and "ast" in scores.per_prompt,
        "prompts": [{"input_id": record.input_id, "task": record.task} for record in records],
    }


def document(
    results: Sequence[dict[str, Any]],
    found: Generations,
    settings: ScoringSettings,
    preset: str,
    scores: Scores,
    *,
    every_step: bool,
) -> dict[str, Any]:
    """The whole as strict JSON: the result itself, or with ``every_step`` the results under ``steps``."""
    from divmon.measurement import SCHEMA, to_plain
    from divmon.provenance import package_versions

    return cast(
        dict[str, Any],
        to_plain(
            {
                "schema": SCHEMA,
                "kind": "score",
                **({"steps": results} if every_step else results[0]),
                "provenance": {
                    "files": [file.path.name for file in found.files],
                    "passed_over": found.passed_over,
                    "format": found.format.name,
                    "settings": dataclasses.asdict(settings) | {"preset": preset},
                    "sentence_encoder": scores.sentence_encoder,
                    "nli": scores.nli,
                    "packages": package_versions(),
                },
            }
        ),
    )


def print_tables(document: Mapping[str, Any]) -> None:
    """A document of `document` as a person reads it."""
    out, steps = console(), document.get("steps")
    out.print(_by_step(steps) if steps is not None else _by_metric(document))
    last = document if steps is None else steps[-1]
    _print_tools(out, list(last["metrics"]), document["provenance"])
    if steps is None:
        _print_validity(out, document)
    _print_files(out, document)


def _by_metric(result: Mapping[str, Any]) -> Table:
    from rich.table import Table

    from divmon.reading import AXES, NAMES, format_number

    table = Table(header_style="bold", pad_edge=False)
    several = any("tasks" in summary for summary in result["metrics"].values())
    for column in (
        "metric",
        "axis",
        "mean over tasks" if several else "mean over prompts",
        "95% interval",
        "across prompts",
    ):
        table.add_column(column, justify="left" if column in ("metric", "axis") else "right")
    for name, summary in result["metrics"].items():
        low, high = summary["interval"]
        table.add_row(
            NAMES[name],
            AXES[name],
            format_number(summary["mean"]),
            "-" if low is None else f"{format_number(low)} to {format_number(high)}",
            format_number(summary["across"]),
        )
    return table


def _by_step(results: Sequence[Mapping[str, Any]]) -> Table:
    """Means over prompts, which may be other ones at each step."""
    from rich.table import Table

    from divmon.reading import NAMES, format_number, format_percent

    table = Table(header_style="bold", pad_edge=False)
    metrics = list(results[0]["metrics"])
    for column in ("step", "prompts", "completions", *(NAMES[name] for name in metrics), "repeats"):
        table.add_column(column, justify="right")
    for result in results:
        validity = result["validity"]
        table.add_row(
            str(result["step"]),
            str(len(result["prompts"])),
            str(validity["completions"]),
            *(format_number(result["metrics"][name]["mean"]) for name in metrics),
            format_percent(validity["repeated"]),
        )
    return table


def _print_tools(out: Console, metrics: Sequence[str], provenance: Mapping[str, Any]) -> None:
    """What the metrics were computed with."""
    from divmon.reading import NAMES

    tools = {
        "ead": f"a vocabulary of {provenance['settings']['vocab_size']}",
        "sbert": _named(provenance["sentence_encoder"]),
        "vendi": _named(provenance["sentence_encoder"]),
        "nli": _named(provenance["nli"]),
    }
    for tool in dict.fromkeys(tools[name] for name in metrics if name in tools):
        users = " and ".join(NAMES[name] for name in metrics if tools.get(name) == tool)
        out.print(f"{users}: with {printable(tool)}", soft_wrap=True)


def _print_validity(out: Console, result: Mapping[str, Any]) -> None:
    from divmon.reading import counted

    validity, prompts = result["validity"], len(result["prompts"])
    out.print(
        f"{counted(prompts)}, {validity['completions']} completions: {validity['empty']} empty, "
        f"{validity['unclosed']} with an open think block, {validity['repeated'] or 0:.1%} exact repeats; "
        f"{validity['unmeasured_prompts']} prompts with fewer than two answers.",
    )
    if validity["unparsed"] is not None:
        on = "the completions that are marked correct" if result["ast_on_correct"] else "all completions"
        out.print(f"AST: of {on}; answers without a program that parses: {validity['unparsed']}.")
    if validity["unmeasured_prompts"] == prompts:
        out.print("No prompt has two answers, so there is no diversity to measure: sample several a prompt.")


def _print_files(out: Console, document: Mapping[str, Any]) -> None:
    from divmon.formats import FORMATS

    provenance, step = document["provenance"], document.get("step")
    count, others = len(provenance["files"]), provenance["passed_over"]
    if count > 1 or others or provenance["format"] != "jsonl":
        read = f"Read {count} file{'s'[: count > 1]}, {FORMATS[provenance['format']].title}"
        read += "" if step is None else f", step {step}"
        out.print(f"{read}{f'; others passed over: {others}' if others else ''}.")


def _named(identity: Mapping[str, Any] | None) -> str:
    if identity is None:
        return "-"
    stands = f" (in place of {identity['fallback_for']})" if identity["fallback_for"] else ""
    return f"{identity['name']}{stands}"
