"""``divmon eval``: sample and score checkpoints that are not in training."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from divmon.cli.flags import command_given, errors_name_flags
from divmon.cli.terminal import printable
from divmon.errors import DivmonError, InputError
from divmon.evaluation.request import BATCH_TOKENS

if TYPE_CHECKING:
    from divmon.evaluation.request import Request
    from divmon.evaluation.subject import Subject


_NOT_FOR_ALL = {"slice_", "unit", "sample_only", "score_only", "plan", "as_json", "tokens_per_second", "gpu_price"}
"""Options of a part of the work, or of its plan: left out where a command for the rest is shown."""


def evaluate(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            help="A model's or PEFT adapter's folder or name on the hub, or a stage's folder of a recipe run."
        ),
    ] = None,
    lineage: Annotated[
        str | None,
        typer.Option(
            help="Instead: olmo3-think, olmo3-instruct, olmo3-rl-zero, olmo2-1b (several with commas), olmo3, all."
        ),
    ] = None,
    adapter: Annotated[str | None, typer.Option(help="A PEFT adapter on MODEL: folder or name on the hub.")] = None,
    base: Annotated[str | None, typer.Option(help="In place of the base that an adapter names.")] = None,
    revision: Annotated[str | None, typer.Option(help="Of MODEL on the hub: a branch, tag or commit.")] = None,
    name: Annotated[str | None, typer.Option(help="What the results are called; default: by what MODEL is.")] = None,
    tasks: Annotated[
        str,
        typer.Option(
            help="Tasks with commas between them, or all (`divmon tasks` lists them); gsm8k:sample, or all:sample, are "
            "a dozen items written for divmon, to try things without the hub."
        ),
    ] = "",
    prompts_file: Annotated[
        Path | None,
        typer.Option("--prompts", help="A JSONL file of prompts; without --tasks and this, the bundled ones."),
    ] = None,
    per_task: Annotated[int | None, typer.Option("--num-prompts", help="At most so many of each task.")] = None,
    samples: Annotated[int, typer.Option(help="Completions a prompt.")] = 16,
    temperature: Annotated[float, typer.Option()] = 0.6,
    top_p: Annotated[float, typer.Option()] = 0.95,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            help="Upper bound of the tasks' own limits of a completion, mostly 32,768 tokens (2,048 without a task)."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the sampling noise and the intervals.")] = 0,
    no_think: Annotated[
        bool, typer.Option("--no-think", help="Suppress the chain of thought: prefill an empty think block.")
    ] = False,
    max_think_tokens: Annotated[
        int | None,
        typer.Option("--think-tokens", help="A budget of its own for the chain of thought, on top of the limit."),
    ] = None,
    chat_template: Annotated[
        Path | None, typer.Option(help="A file with a chat template in place of the tokenizer's own.")
    ] = None,
    system_prompt: Annotated[str | None, typer.Option(help="A system turn before every prompt without one.")] = None,
    metrics: Annotated[
        str, typer.Option(help="Comma-separated; also ast, of the tasks that ask for programs.")
    ] = "ead,sbert,nli,vendi",
    preset: Annotated[str, typer.Option(help="Encoders: paper, fast or code.")] = "paper",
    sentence_encoder: Annotated[str | None, typer.Option(help="A sentence-transformers model: name or path.")] = None,
    nli: Annotated[str | None, typer.Option(help="A sequence-classification model: name or path.")] = None,
    nli_pairs: Annotated[str, typer.Option(help="Aligned sentences a pair of completions: a number or 'all'.")] = "3",
    execute_code: Annotated[
        bool,
        typer.Option("--execute-code", help="Run programs that the model wrote, in a sandbox, to verify code tasks."),
    ] = False,
    allow_weaker_sandbox: Annotated[
        bool, typer.Option("--allow-weaker-sandbox", help="Even where this machine gives no namespaces.")
    ] = False,
    output_dir: Annotated[Path, typer.Option(help="A folder for each model goes there.")] = Path("evals"),
    baseline: Annotated[
        Path | None, typer.Option(help="Folder of the evaluation, or run, that MODEL is compared with.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="auto (as stored), bfloat16, float16 or float32.")] = "auto",
    device: Annotated[str | None, typer.Option(help="A torch device; default: the accelerator, if any.")] = None,
    batch_tokens: Annotated[
        int, typer.Option(help="Bound on rows x (prompt + limit) of a batch; halved where memory is short.")
    ] = BATCH_TOKENS,
    unit_prompts: Annotated[int, typer.Option(help="Prompts of a unit.")] = 100,
    slice_: Annotated[
        str | None, typer.Option("--slice", metavar="I/N", help="Sample the I-th of N parts only.")
    ] = None,
    unit: Annotated[list[str] | None, typer.Option(help="Sample this unit of the plan only (again for more).")] = None,
    sample_only: Annotated[bool, typer.Option("--sample-only", help="Leave the scoring out.")] = False,
    score_only: Annotated[
        bool, typer.Option("--score-only", help="Score what was sampled; no model is loaded.")
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be done and what it costs; do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The plan as one JSON document.")] = False,
    tokens_per_second: Annotated[
        float, typer.Option(help="For the plan: tokens a second on your GPU, for a model of 7 B.")
    ] = 1000.0,
    gpu_price: Annotated[float | None, typer.Option(help="For the plan: price of a GPU hour.")] = None,
) -> None:
    """Sample and score a checkpoint, an adapter or a lineage. The same command again goes on where it was stopped."""
    from divmon.evaluation.request import Request
    from divmon.evaluation.units import parse_slice
    from divmon.options import MonitorOptions

    _refuse_both(("--slice", slice_), ("--unit", unit), ("--score-only", score_only), ("--sample-only", sample_only))
    _refuse_both(("--no-think", no_think), ("--think-tokens", max_think_tokens is not None))
    if allow_weaker_sandbox and not execute_code:
        raise InputError("--allow-weaker-sandbox is of use with --execute-code only.")
    if as_json and not plan:
        raise InputError("--json goes with --plan; results are in the ledger (`divmon report`, `divmon.load`).")
    thinking: Literal["full", "suppress"] | None = (
        "suppress" if no_think else "full" if max_think_tokens is not None else None
    )
    with errors_name_flags(context):
        options = MonitorOptions.of(
            {
                "samples": samples,
                "temperature": temperature,
                "top_p": top_p,
                "seed": seed,
                "thinking": thinking,
                "batch_tokens": batch_tokens,
                "metrics": metrics,
                "preset": preset,
                "sentence_encoder": sentence_encoder,
                "nli": nli,
                "nli_pairs": int(nli_pairs) if nli_pairs.isdecimal() and len(nli_pairs) < 10 else nli_pairs,
                "chat_template": None if chat_template is None else _text_of(chat_template),
                "system_prompt": system_prompt,
                "execute_code": execute_code,
                "allow_weaker_sandbox": allow_weaker_sandbox,
            }
            | ({} if max_think_tokens is None else {"max_think_tokens": max_think_tokens})
        )
        request = Request(
            subjects=_subjects(model, lineage, baseline, adapter=adapter, base=base, revision=revision, name=name),
            output_dir=output_dir,
            options=options,
            tasks=tasks,
            prompts_file=prompts_file,
            per_task=per_task,
            max_new_tokens=max_new_tokens,
            dtype=dtype,
            unit_prompts=unit_prompts,
            baseline=baseline,
        )
    chosen = None if unit is None else [request.unit(text) for text in unit]
    if slice_ is not None:
        chosen = request.slice(*parse_slice(slice_))
    command = command_given(context, _NOT_FOR_ALL)
    if plan:
        _plan(request, tokens_per_second, gpu_price, as_json, command)
        return
    _run(request, chosen, "score" if score_only else "sample" if sample_only else "all", device, command)


def _run(request: Request, units: Any, part: Any, device: str | None, command: str) -> None:
    from divmon.cli.eval_progress import reporter
    from divmon.evaluation.run import evaluate
    from divmon.quiet import quiet_libraries

    first = os.environ.get("RANK", "0") == "0"
    with reporter() as shown, quiet_libraries():
        try:
            results = evaluate(request, units=units, part=part, device=device, reporter=shown)
        except KeyboardInterrupt:
            if first:
                shown.note("Interrupted. What was sampled is kept: the same command goes on from here.")
            raise
        except DivmonError:
            if first:
                raise
            raise typer.Exit(2) from None  # the first process says it
        if first:
            if units is not None or part == "sample":
                once = "Once all parts are" if units is not None else "To score it"
                shown.note(f"Sampled. {once}: {command} --score-only")
                return
            _say_what_next(shown, results)


def _say_what_next(shown: Any, results: list[Any]) -> None:
    from divmon.lineage import stage_of

    folders = [result.folder for result in results]
    shown.note(f"Report: divmon report {shlex.join(map(str, folders))}")
    named = []
    for result in results:
        with contextlib.suppress(InputError):
            stage_of(result.folder.name)
            named += [result.folder] if result.measurement.baseline else []
    if named:
        shown.note(f"At which stage diversity went: divmon lineage {shlex.join(map(str, named))}")


def _plan(request: Request, tokens_per_second: float, gpu_price: float | None, as_json: bool, command: str) -> None:
    from divmon.cli.eval_plan import document, print_plan
    from divmon.evaluation.baseline import check_baseline
    from divmon.evaluation.cost import Assumptions

    if not tokens_per_second > 0:
        raise InputError(f"--tokens-per-second: expected a number above 0, got {tokens_per_second:g}.")
    check_baseline(request)
    assumed = Assumptions(tokens_per_second=tokens_per_second, gpu_price=gpu_price)
    if as_json:
        json.dump(document(request, assumed), sys.stdout, indent=1, allow_nan=False)
        sys.stdout.write("\n")
    else:
        print_plan(request, assumed, command)


def _subjects(
    model: str | None, lineage: str | None, baseline: Path | None, **parts: str | None
) -> tuple[Subject, ...]:
    from divmon.evaluation.models import checkpoints_of
    from divmon.evaluation.subject import Subject

    if (model is None) == (lineage is None):
        raise InputError("Name either a model or a --lineage (`divmon models` lists them).")
    if lineage is None:
        assert model is not None
        return (Subject.of(model, **parts),)
    if given := [name for name, value in parts.items() if value is not None]:
        raise InputError(f"--{given[0]} is for a single model, not for a --lineage.")
    if baseline is not None:
        raise InputError("--baseline is for a single model: a --lineage is compared with its own base.")
    return tuple(map(Subject.of_checkpoint, checkpoints_of(lineage)))


def _refuse_both(*options: tuple[str, Any]) -> None:
    given = [name for name, value in options if value]
    if len(given) > 1:
        raise InputError(f"{given[0]} and {given[1]} exclude each other.")


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--chat-template: cannot read {printable(str(path))} ({error}).") from error
