"""``divmon score``: the metrics of a file of generations."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from divmon.cli.terminal import console, printable
from divmon.errors import InputError
from divmon.generations import GenerationRecord, read_generations
from divmon.metrics import METRICS

ASSUMED_VOCAB_SIZE = 100_000


def score(
    file: Annotated[Path, typer.Argument(help="JSON lines, one prompt a line (may be gzip-compressed).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
    metrics: Annotated[str, typer.Option(help="Comma-separated: ead, sbert, nli, vendi.")] = ",".join(METRICS),
    preset: Annotated[str, typer.Option(help="Encoders: 'paper' or 'fast'.")] = "paper",
    sentence_encoder: Annotated[str | None, typer.Option(help="A sentence-transformers model: name or path.")] = None,
    nli: Annotated[str | None, typer.Option(help="A sequence-classification model: name or path.")] = None,
    nli_pairs: Annotated[str, typer.Option(help="Aligned sentences a pair of completions: a number or 'all'.")] = "3",
    vocab_size: Annotated[int | None, typer.Option(help="Vocabulary size of the generating model, for EAD.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="Its tokenizer (name or path), instead.")] = None,
    keep_think: Annotated[bool, typer.Option("--keep-think", help="Score <think> blocks too.")] = False,
    unclosed: Annotated[str, typer.Option(help="Completions without an answer: 'drop' or 'keep'.")] = "drop",
    device: Annotated[str | None, typer.Option(help="Where the encoders run.")] = None,
) -> None:
    """Compute EAD, SBERT, NLI and Vendi Score of the completions in FILE."""
    wanted = _metrics(metrics)
    options: dict[str, Any] = {
        "metrics": wanted,
        "preset": _one_of(preset, "--preset", ("paper", "fast")),
        "sentence_encoder": sentence_encoder,
        "nli": nli,
        "nli_pairs": _pairs(nli_pairs),
        "unclosed": _one_of(unclosed, "--unclosed", ("drop", "keep")),
        "keep_think": keep_think,
        "device": device,
    }
    if vocab_size is not None and tokenizer is not None:
        raise InputError("--vocab-size and --tokenizer both say how large the vocabulary is: give one of them.")
    with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints is no part of the result
        records = read_generations(file)
        options["vocab_size"] = _vocab_size(vocab_size, tokenizer) if "ead" in wanted else None
        document = _document(records, options, file)
    if as_json:
        json.dump(document, sys.stdout, allow_nan=False, indent=1)
        sys.stdout.write("\n")
    else:
        _print_table(document)


def _metrics(value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    if not names or len(set(names)) < len(names) or not set(names) <= set(METRICS):
        raise InputError(f"--metrics: expected some of {', '.join(METRICS)}, each once, got {value!r}.")
    return names


def _one_of(value: str, option: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise InputError(f"{option}: expected {' or '.join(allowed)}, got {value!r}.")
    return value


def _pairs(value: str) -> int | Literal["all"]:
    if value == "all":
        return "all"
    if not value.isdecimal() or len(value) > 9 or int(value) < 1:
        raise InputError(f"--nli-pairs: expected a number from 1 to 999999999 or 'all', got {value!r:.60}.")
    return int(value)


def _vocab_size(size: int | None, tokenizer: str | None) -> int:
    if size is not None:
        if size < 2:
            raise InputError(f"--vocab-size: expected at least 2, got {size}.")
        return size
    if tokenizer is None:
        print(
            f"divmon: EAD assumes a vocabulary of {ASSUMED_VOCAB_SIZE:,}; give --vocab-size or --tokenizer.",
            file=sys.stderr,
        )
        return ASSUMED_VOCAB_SIZE
    from transformers import AutoTokenizer

    from divmon.encoders.hub import hub_reachable

    local = Path(tokenizer).exists() or not hub_reachable()
    try:
        return AutoTokenizer.from_pretrained(tokenizer, local_files_only=local).vocab_size
    except Exception as error:  # a broken tokenizer fails in many ways
        raise InputError(
            f"--tokenizer: {tokenizer!r} cannot be loaded here; give its folder, or --vocab-size."
        ) from error


def _document(records: list[GenerationRecord], options: dict[str, Any], file: Path) -> dict[str, Any]:
    from divmon import stats
    from divmon.measurement import SCHEMA, to_plain
    from divmon.provenance import package_versions
    from divmon.scored import score as score_texts

    scores = score_texts([record.outputs for record in records], **options)
    summaries = {
        name: {
            "mean": stats.mean(values),
            "interval": stats.bootstrap_interval(values),
            "per_prompt": [float(value) for value in values],
            "across": scores.across[name],
        }
        for name, values in scores.per_prompt.items()
    }
    settings = {name: value for name, value in options.items() if name not in ("sentence_encoder", "nli", "device")}
    return cast(
        dict[str, Any],
        to_plain(
            {
                "schema": SCHEMA,
                "kind": "score",
                "metrics": summaries,
                "validity": dataclasses.asdict(scores.validity),
                "prompts": [{"input_id": record.input_id, "task": record.task} for record in records],
                "provenance": {
                    "file": file.name,
                    "settings": settings,
                    "sentence_encoder": scores.sentence_encoder,
                    "nli": scores.nli,
                    "packages": package_versions(),
                },
            }
        ),
    )


def _print_table(document: dict[str, Any]) -> None:
    from rich.table import Table

    from divmon.reading import AXES, NAMES, format_number

    table = Table(header_style="bold", pad_edge=False)
    for column in ("metric", "axis", "mean over prompts", "95% interval", "across prompts"):
        table.add_column(column, justify="left" if column in ("metric", "axis") else "right")
    for name, summary in document["metrics"].items():
        low, high = summary["interval"]
        table.add_row(
            NAMES[name],
            AXES[name],
            format_number(summary["mean"]),
            "-" if low is None else f"{format_number(low)} to {format_number(high)}",
            format_number(summary["across"]),
        )
    out = console()
    out.print(table)
    provenance = document["provenance"]
    tools = {
        "ead": f"a vocabulary of {provenance['settings']['vocab_size']}",
        "sbert": _named(provenance["sentence_encoder"]),
        "vendi": _named(provenance["sentence_encoder"]),
        "nli": _named(provenance["nli"]),
    }
    for tool in dict.fromkeys(tools[name] for name in document["metrics"]):
        users = " and ".join(NAMES[name] for name in document["metrics"] if tools[name] == tool)
        out.print(f"{users}: with {printable(tool)}", soft_wrap=True)
    validity = document["validity"]
    out.print(
        f"{len(document['prompts'])} prompts, {validity['completions']} completions: {validity['empty']} empty, "
        f"{validity['unclosed']} with an open think block, {validity['repeated'] or 0:.1%} exact repeats; "
        f"{validity['unmeasured_prompts']} prompts with fewer than two answers.",
    )


def _named(identity: dict[str, Any] | None) -> str:
    if identity is None:
        return "-"
    stands = f" (in place of {identity['fallback_for']})" if identity["fallback_for"] else ""
    return f"{identity['name']}{stands}"
