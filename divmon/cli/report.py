"""``divmon report``: a run, a comparison or a lineage as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from divmon.cli.terminal import printable


def report(
    runs: Annotated[
        list[str],
        typer.Argument(help="Output folders of runs, each perhaps as NAME=FOLDER; several are compared."),
    ],
    output_dir: Annotated[
        Path | None,
        typer.Option(help="Where to; default: 'report' in the run's divmon folder, of several runs ./report."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading; default: the runs' names.")] = None,
) -> None:
    """Write report.html (one file, no network needed) and pictures of one run, or of several side by side."""
    from divmon.report import write_report

    written = write_report(runs, output_dir, title)
    print(f"{printable(str(written))}  the report ({written.stat().st_size / 1e6:.1f} MB); open it in a browser")
    for picture in sorted(written.parent.glob("*.png")):
        print(printable(str(picture)))
