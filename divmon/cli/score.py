"""``divmon score``: the metrics of completions that were generated elsewhere."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from divmon.cli.terminal import printable
from divmon.errors import InputError, said_as
from divmon.generations import GenerationRecord, Generations
from divmon.metrics import KNOWN

ASSUMED_VOCAB_SIZE = 100_000


def score(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES",
            help="Files or folders with one model's completions: JSON lines (a prompt a line), lm-eval's samples, "
            "lighteval's details, TRL's completion logs. Compressed or not; equal prompts are put together.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
    metrics: Annotated[
        str | None,
        typer.Option(help="Comma-separated: ead, sbert, nli, vendi (these by default), ast (of Python programs)."),
    ] = None,
    code: Annotated[
        bool,
        typer.Option(
            "--code", help="The completions are Python programs: ead, sbert, vendi and ast of their code, no nli."
        ),
    ] = False,
    form: Annotated[
        str | None,
        typer.Option("--format", help="Read FILES as jsonl, lm-eval, lighteval or trl; by default their fields tell."),
    ] = None,
    step: Annotated[
        str, typer.Option(help="Of completions logged in training: the optimizer step, 'last', or 'all' for a table.")
    ] = "last",
    preset: Annotated[
        str | None, typer.Option(help="Encoders: 'paper' (default), 'fast' or 'code' (default with --code).")
    ] = None,
    sentence_encoder: Annotated[str | None, typer.Option(help="A sentence-transformers model: name or path.")] = None,
    nli: Annotated[str | None, typer.Option(help="A sequence-classification model: name or path.")] = None,
    nli_pairs: Annotated[str, typer.Option(help="Aligned sentences a pair of completions: a number or 'all'.")] = "3",
    vocab_size: Annotated[
        int | None,
        typer.Option(
            help="Vocabulary size of the generating model, for EAD; default: as the ledger beside FILES says."
        ),
    ] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Its tokenizer (name or path), instead.")] = None,
    keep_think: Annotated[bool, typer.Option("--keep-think", help="Score <think> blocks too.")] = False,
    unclosed: Annotated[str, typer.Option(help="Completions without an answer: 'drop' or 'keep'.")] = "drop",
    device: Annotated[str | None, typer.Option(help="Where the encoders run.")] = None,
) -> None:
    """Compute EAD, SBERT, NLI and Vendi Score of the completions in FILES, and AST of programs."""
    from divmon.cli import score_known, score_output
    from divmon.scored import default_metrics, default_preset, load_scorer
    from divmon.scoring import ScoringSettings

    wanted = default_metrics(code) if metrics is None else _metrics(metrics)
    chosen = default_preset(code) if preset is None else _one_of(preset, "--preset", ("paper", "fast", "code"))
    pairs, ends = _pairs(nli_pairs), _one_of(unclosed, "--unclosed", ("drop", "keep"))
    only = _step(step)
    if vocab_size is not None and tokenizer is not None:
        raise InputError("--vocab-size and --tokenizer both say how large the vocabulary is: give one of them.")
    with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints is no part of the result
        found = Generations.find(files, form)
        steps = _steps(found, only)
        records = found.read(steps[0])  # before the encoders are loaded, which takes longer than to find a fault
        apart = metrics is None and not code  # else the user says what the completions are
        if apart:
            wanted = _meant(wanted, records)
        settings = ScoringSettings(
            metrics=wanted,
            vocab_size=_vocab_size(vocab_size, tokenizer, [file.path for file in found.files])
            if "ead" in wanted
            else None,
            nli_pairs=pairs,
            unclosed="keep" if ends == "keep" else "drop",
            keep_think=keep_think,
            code=code,
        )
        with _quiet(settings.metrics):
            scorer = load_scorer(settings, preset=chosen, sentence_encoder=sentence_encoder, nli=nli, device=device)
        results = []
        for place, each in enumerate(steps):
            records = records if place == 0 else found.read(each)
            outputs, opened = [record.outputs for record in records], [record.think_opened for record in records]
            correct = _correct(records)
            without = score_known.without(records) if apart else None
            scores = scorer.score(outputs, opened, without, correct=correct)
            results.append(score_output.result(records, scores, each, on_correct=correct is not None))
        document = score_output.document(results, found, settings, chosen, scores, every_step=only == "all")
    if as_json:
        json.dump(document, sys.stdout, allow_nan=False, indent=1)
        sys.stdout.write("\n")
    else:
        score_output.print_tables(document)


def _metrics(value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if not names or len(set(names)) < len(names) or not set(names) <= set(KNOWN):
        raise InputError(f"--metrics: expected some of {', '.join(KNOWN)}, each once, got {value!r}.")
    return names


def _meant(wanted: tuple[str, ...], records: Sequence[GenerationRecord]) -> tuple[str, ...]:
    """Those of the metrics that mean something on any of the tasks; said where that leaves some out on a task."""
    from divmon.cli.score_known import without

    names = {
        record.task: tuple(n for n in of if n in wanted) for record, of in zip(records, without(records), strict=True)
    }
    for task, left_out in names.items():
        if left_out:
            print(f"divmon: {printable(task)}: without {', '.join(left_out)}, as in an evaluation.", file=sys.stderr)
    return tuple(metric for metric in wanted if any(metric not in left_out for left_out in names.values()))


def _quiet(metrics: Sequence[str]) -> contextlib.AbstractContextManager[None]:
    """No bars of libraries while encoders are loaded; where there are none to load, the libraries are not either."""
    if not {"sbert", "vendi", "nli"} & set(metrics):
        return contextlib.nullcontext()
    from divmon.quiet import quiet_libraries

    return quiet_libraries()


def _one_of(value: str, option: str, allowed: tuple[str, ...]) -> Any:
    if value not in allowed:
        raise InputError(f"{option}: expected {' or '.join(allowed)}, got {value!r}.")
    return value


def _pairs(value: str) -> int | Literal["all"]:
    if value == "all":
        return "all"
    if not value.isdecimal() or len(value) > 9 or int(value) < 1:
        raise InputError(f"--nli-pairs: expected a number from 1 to 999999999 or 'all', got {value!r:.60}.")
    return int(value)


def _step(value: str) -> int | Literal["last", "all"]:
    if value == "last":
        return "last"
    if value == "all":
        return "all"
    if not value.isdecimal() or len(value) > 15:
        raise InputError(f"--step: expected a number, 'last' or 'all', got {value!r:.60}.")
    return int(value)


def _steps(found: Generations, wanted: int | Literal["last", "all"]) -> Sequence[int | None]:
    """The steps to score; None alone where the files know of none."""
    if isinstance(wanted, int):
        return [wanted]
    if wanted == "all" and not found.steps:
        raise InputError(f"--step all: {found.format.title} without steps, where there is one table only.")
    return found.steps if wanted == "all" else [found.steps[-1] if found.steps else None]


def _correct(records: Sequence[GenerationRecord]) -> list[tuple[bool, ...]] | None:
    """Which completions are right; None unless every record says so."""
    marks = [record.correct for record in records if record.correct is not None]
    return marks if len(marks) == len(records) else None


def _vocab_size(size: int | None, tokenizer: str | None, files: Sequence[Path]) -> int:
    if size is not None:
        if size < 2:
            raise InputError(f"--vocab-size: expected at least 2, got {size}.")
        return size
    if tokenizer is None:
        from divmon.cli.score_known import vocab_size_of

        if (known := vocab_size_of(files)) is not None:
            print(f"divmon: EAD takes the vocabulary of {known[0]:,} that {known[1]} names.", file=sys.stderr)
            return known[0]
        print(
            f"divmon: EAD assumes a vocabulary of {ASSUMED_VOCAB_SIZE:,}; give --vocab-size or --tokenizer.",
            file=sys.stderr,
        )
        return ASSUMED_VOCAB_SIZE
    from transformers import AutoTokenizer

    from divmon.encoders.hub import hub_reachable

    local = Path(tokenizer).exists() or not hub_reachable()
    with said_as(
        InputError,
        lambda why: f"--tokenizer: {tokenizer!r} cannot be loaded here ({why}); give its folder, or --vocab-size.",
    ):
        return AutoTokenizer.from_pretrained(tokenizer, local_files_only=local).vocab_size
