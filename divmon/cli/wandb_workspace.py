"""``divmon wandb-workspace``: a saved view of a W&B project."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Annotated

import typer


def wandb_workspace(
    entity: Annotated[str, typer.Option(help="The user or team that the project belongs to.")],
    project: Annotated[str, typer.Option(help="The project, one in which divmon has logged or will.")],
    name: Annotated[str, typer.Option(help="What the view is called.")] = "divmon",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be sent as JSON; no server is asked.")
    ] = False,
) -> None:
    """Save a view with panels for the metrics with intervals, retained fractions, validity and completions."""
    from divmon.workspace import save, specification, workspace

    view = workspace(entity, project, name)
    if dry_run:
        json.dump(specification(view), sys.stdout, indent=1, allow_nan=False)
        sys.stdout.write("\n")
        return
    with contextlib.redirect_stdout(sys.stderr):  # whatever the library prints is no part of the answer
        address = save(view)
    print(address)
