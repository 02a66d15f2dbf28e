"""``divmon lineage``: at which stage diversity went."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from divmon.cli.terminal import printable
from divmon.errors import InputError


def lineage(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Run folders named after their stage (think-sft), NAME=FOLDER, or one CSV table of values."
        ),
    ] = None,
    paper: Annotated[bool, typer.Option("--paper", help="Use the paper's published tables.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of Markdown.")] = False,
    output_dir: Annotated[
        Path | None, typer.Option(help="Also write lineage.md, lineage.csv, lineage.json and lineage.png there.")
    ] = None,
) -> None:
    """Attribute the change of diversity to SFT, DPO and RL, in percent of the base model."""
    from divmon import lineage as attribution_of
    from divmon import lineage_report as report
    from divmon import lineage_table

    if paper == bool(runs):
        raise InputError("Name either the run folders of a lineage or --paper.")
    published = attribution_of.paper_attribution()
    if paper:
        found, beside = published, None
    else:
        given = runs or []
        tables = [run for run in given if run.endswith(lineage_table.SUFFIX)]
        if tables and len(given) > 1:
            raise InputError(f"Name either run folders or one table, not {tables[0]} and others.")
        if tables:
            read = lineage_table.checkpoints_of_table(tables[0])
        else:
            records = attribution_of.records_of_runs(given)
            read = attribution_of.checkpoints_of_records(records)
            for text in attribution_of.stand_ins(records):
                print(f"divmon: {printable(text)}", file=sys.stderr)
        found, beside = attribution_of.attribute(*read), published
    document = json.dumps(report.as_json(found, beside), indent=1, allow_nan=False)
    if output_dir is not None:
        try:
            output_dir.mkdir(parents=True, exist_ok=True)
            (output_dir / "lineage.md").write_text(report.as_markdown(found, beside), encoding="utf-8")
            (output_dir / "lineage.csv").write_text(report.as_csv(found, beside), encoding="utf-8")
            (output_dir / "lineage.json").write_text(document + "\n", encoding="utf-8")
            report.plot(found, output_dir / "lineage.png", beside)
        except OSError as error:
            raise InputError(f"--output-dir: cannot write to {output_dir} ({error.strerror}).") from error
    sys.stdout.write(document + "\n" if as_json else report.as_markdown(found, beside))
