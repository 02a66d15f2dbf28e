"""``divmon models``: the published checkpoints that ``divmon eval --lineage`` walks."""

from __future__ import annotations

import itertools
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from divmon.cli.columns import aligned
from divmon.errors import InputError, near_miss

if TYPE_CHECKING:
    from divmon.evaluation.models import Checkpoint


def models(
    names: Annotated[
        list[str] | None, typer.Argument(help="List these alone: lineages, labels or names on the hub.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the checkpoints of Olmo 3 and OLMo 2 1B by lineage and stage."""
    chosen = _chosen(names or [])
    if as_json:
        json.dump(rows_of_models(chosen), sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    heading, *lines = aligned(
        [("label", "stage", "from", "parameters", "thinks", "hub"), *map(_cells, chosen)], right=(3,)
    ).split("\n")
    print(f"  {heading}")
    for lineage, group in itertools.groupby(zip(chosen, lines, strict=True), lambda pair: pair[0].lineage):
        print(lineage)
        print("\n".join(f"  {line}" for _, line in group))
    if len(chosen) == 1:
        print(f"`divmon eval {chosen[0].hub}` evaluates it.")
        return
    print("`divmon eval --lineage olmo3-think` evaluates a lineage and its base; `--lineage olmo3` is the")
    print("thirteen of Olmo 3. `divmon models olmo3-think` lists a lineage.")


def rows_of_models(chosen: list[Checkpoint]) -> list[dict[str, Any]]:
    """What ``divmon models --json`` prints."""
    return [
        {
            "label": checkpoint.label,
            "lineage": checkpoint.lineage,
            "stage": checkpoint.stage,
            "from": checkpoint.parent,
            "parameters": checkpoint.parameters,
            "thinks": checkpoint.thinks,
            "hub": checkpoint.hub,
        }
        for checkpoint in chosen
    ]


def _chosen(names: list[str]) -> list[Checkpoint]:
    """The checkpoints of names, in the table's order; of a lineage with its base."""
    from divmon.evaluation.models import CHECKPOINTS, FAMILIES, LINEAGES, checkpoint_of, checkpoints_of

    labels = {checkpoint.label: checkpoint for checkpoint in CHECKPOINTS}
    lineages = dict.fromkeys([*LINEAGES, *FAMILIES, "all"])
    found: list[Checkpoint] = []
    for name in (part.strip() for text in names for part in text.split(",")):
        one = labels.get(name.lower()) or checkpoint_of(name)
        if one is not None:
            found.append(one)
        elif name.lower() in lineages:
            found += checkpoints_of(name)
        else:
            known = [checkpoint.hub for checkpoint in CHECKPOINTS] if "/" in name else [*lineages, *labels]
            raise InputError(f"Unknown model or lineage {name!r:.80}: {near_miss(name, known)}")
    return [checkpoint for checkpoint in CHECKPOINTS if checkpoint in found or not names]


def _cells(checkpoint: Checkpoint) -> tuple[str, ...]:
    return (
        checkpoint.label,
        checkpoint.stage,
        checkpoint.parent or "-",
        f"{checkpoint.parameters / 1e9:.1f} B",
        "yes" if checkpoint.thinks else "-",
        checkpoint.hub,
    )
