"""``divmon grade``: how good the completions of recorded runs are."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from divmon.cli.terminal import printable
from divmon.errors import InputError

if TYPE_CHECKING:
    from divmon.judge import Judge
    from divmon.loaded import Run
    from divmon.quality.programs import Programs, Progress

_OPENAI = "https://api.openai.com/v1"


def grade(
    runs: Annotated[list[Path], typer.Argument(help="Output folders of runs or evaluations.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
    step: Annotated[int | None, typer.Option(help="The measurement to grade; default: the last.")] = None,
    prompts: Annotated[
        str | None,
        typer.Option(help="Prompts with what is right, where the run's are no tasks: a JSONL file, or names of tasks."),
    ] = None,
    execute_code: Annotated[
        bool,
        typer.Option(
            "--execute-code",
            help="Run the programs that the model wrote against their tests, in a sandbox without network, other files "
            "or other processes, under limits of time and memory. Without this no program is run.",
        ),
    ] = False,
    allow_weaker_sandbox: Annotated[
        bool,
        typer.Option(
            "--allow-weaker-sandbox",
            help="With --execute-code: where the kernel gives no namespaces, run them in a sandbox with less.",
        ),
    ] = False,
    workers: Annotated[int, typer.Option(help="Programs at one time; 0: half the processors, at most 8.")] = 0,
    judge_model: Annotated[
        str | None, typer.Option(help="The language model that judges where no verifier does, by its server's name.")
    ] = None,
    judge_url: Annotated[
        str, typer.Option(help="Its server, up to /v1: any with OpenAI's chat API. Answers and prompts are sent there.")
    ] = _OPENAI,
    judge_key_env: Annotated[
        str,
        typer.Option(help="Environment variable that holds the server's key; default: OPENAI_API_KEY for OpenAI's."),
    ] = "",
    judge_samples: Annotated[int, typer.Option(help="Completions of a prompt that are judged, the first ones.")] = 1,
    against: Annotated[
        Path | None, typer.Option(help="Run whose last completions the judge compares with; default: the baseline.")
    ] = None,
) -> None:
    """Grade completions: accuracy@1, majority vote and pass@k, or a judge's win rate and checklist score."""
    from divmon.cli import grade_output
    from divmon.loaded import load
    from divmon.prompts import PromptSet
    from divmon.quality.grading import grade as graded

    if allow_weaker_sandbox and not execute_code:
        raise InputError("--allow-weaker-sandbox is about programs that are run: it goes with --execute-code.")
    for option, value, least in (("--workers", workers, 0), ("--judge-samples", judge_samples, 1)):
        if value < least:
            raise InputError(f"{option}: expected at least {least}, got {value}.")
    judge = _judge(judge_model, judge_url, judge_key_env)
    loaded, other = [load(run) for run in runs], load(against) if against is not None else None
    chosen = PromptSet.of(prompts) if prompts is not None else None
    documents = []
    with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints is no part of the result
        for run in loaded:
            programs = _programs(run, workers, allow_weaker_sandbox) if execute_code else None
            with _progress() as progress:
                grades = graded(
                    run,
                    step=step,
                    prompts=chosen,
                    programs=programs,
                    judge=judge,
                    judge_samples=judge_samples,
                    against=other,
                    progress=progress,
                )
            path = grades.write(run.ledger.folder)
            documents.append((path, grades.to_json()))
    if as_json:
        only = [document for _, document in documents]
        json.dump(only[0] if len(only) == 1 else {"runs": only}, sys.stdout, allow_nan=False, indent=1)
        sys.stdout.write("\n")
    else:
        grade_output.print_tables(documents)
    for note in dict.fromkeys(note for _, document in documents for note in document["notes"]):
        print(f"divmon: {printable(note)}", file=sys.stderr)
    if judge is not None and not judge.counts.total():
        print(f"divmon: --judge-model {printable(judge_model or '')}: no task here needs a judge.", file=sys.stderr)
    _say_unjudged(judge)


def _judge(model: str | None, url: str, key_env: str) -> Judge | None:
    from divmon.judge import Judge, OpenAIChat

    if key_env and key_env not in os.environ:  # perhaps the key itself, which is not to be repeated
        raise InputError("--judge-key-env: expected the name of an environment variable that holds the key.")
    if model is None:
        if url != _OPENAI or key_env:
            raise InputError("--judge-url and --judge-key-env go with --judge-model, the name that the server knows.")
        return None
    return Judge(OpenAIChat(model, url, api_key_env=key_env))


def _programs(run: Run, workers: int, allow_weaker: bool) -> Programs:
    from divmon.quality.programs import FILE, Programs
    from divmon.sandbox import SandboxError

    try:
        return Programs(run.ledger.folder / FILE, workers=workers, allow_weaker=allow_weaker)
    except SandboxError as error:
        hint = "" if allow_weaker else " On the command line that is --allow-weaker-sandbox."
        raise SandboxError(f"{error}{hint}") from None


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """A bar for the programs on standard error, where that is a terminal and there are any."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = TextColumn("programs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("programs", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _say_unjudged(judge: Judge | None) -> None:
    """A judge that could not be asked is an error, after all that could be graded is written."""
    from divmon.judge import JudgeError

    if judge is not None and judge.counts["failed"]:
        raise JudgeError(
            f"{judge.counts['failed']} of {judge.counts.total()} questions to the judge got no reply, for the reasons "
            "above; the rest is graded and kept. The same command asks them again, and only them."
        )
