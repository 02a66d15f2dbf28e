"""``divmon models``: the published checkpoints that ``divmon eval --lineage`` walks."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from divmon.cli.columns import aligned


def models(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False) -> None:
    """List the checkpoints of Olmo 3 and OLMo 2 1B by lineage and stage."""
    rows = rows_of_models()
    if as_json:
        json.dump(rows, sys.stdout, indent=1)
        sys.stdout.write("\n")
        return
    names = ("label", "lineage", "stage", "from", "parameters", "thinks", "hub")
    cells = [
        (
            row["label"],
            row["lineage"],
            row["stage"],
            row["from"] or "-",
            f"{row['parameters'] / 1e9:.1f} B",
            "yes" if row["thinks"] else "-",
            row["hub"],
        )
        for row in rows
    ]
    print(aligned([names, *cells], right=(4,)))
    print(
        "`divmon eval --lineage olmo3-think` evaluates a lineage and its base; `--lineage olmo3` is the thirteen of "
        "Olmo 3."
    )


def rows_of_models() -> list[dict[str, Any]]:
    """What ``divmon models --json`` prints."""
    from divmon.evaluation.models import CHECKPOINTS

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
        for checkpoint in CHECKPOINTS
    ]
