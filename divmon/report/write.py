"""Read runs, write their report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from divmon.errors import InputError

FILE = "report.html"


def write_report(
    paths: str | Path | Sequence[str | Path], output_dir: str | Path | None = None, title: str | None = None
) -> Path:
    """Write one run's report, or a comparison of several, as one HTML file with pictures beside it.

    The file holds all it needs and asks no network. What others wrote (completions, prompts, names) is shown as text,
    cut at the bounds of `divmon.report.bounds`, and cannot act. Runs that are named after the stages of a lineage
    (``think-sft``) and count from the same base get the stages' parts too.

    Args:
        paths: Run folders or ledgers, each perhaps as ``NAME=FOLDER``.
        output_dir: Where to; default: ``report`` in the ledger's folder, of several runs ``report`` in the current one.
        title: Heading; default: the runs' names.

    Returns:
        The path of ``report.html``.

    Raises:
        InputError: For a folder without a ledger, a broken ledger, too many runs, or a place that cannot be written.
    """
    from divmon.report.changes import changes_of
    from divmon.report.page import page
    from divmon.report.pictures import draw_pictures
    from divmon.report.runs import COMPLETIONS, grouped, metrics_of, read_runs
    from divmon.report.stages import in_order, stages_of

    runs = read_runs([paths] if isinstance(paths, str | Path) else list(paths))
    default = runs[0].run.ledger.folder / "report" if len(runs) == 1 else Path("report")
    folder = Path(output_dir) if output_dir is not None else default
    stages, no_stages = stages_of(runs) if len(runs) > 1 else (None, "")
    if stages:
        runs = in_order(runs)
    what = f": {runs[0].name}" if len(runs) == 1 else ", stage by stage" if stages else ": a comparison"
    heading = title or f"Output diversity{what}"
    changes = changes_of(runs, metrics_of(runs), grouped(runs, COMPLETIONS))
    text = page(runs, heading, stages, no_stages, changes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draw_pictures(runs, folder, heading, stages, changes)
        partial = folder / f"{FILE}.partial"
        partial.write_bytes(text.encode())
        os.replace(partial, folder / FILE)
    except OSError as error:
        raise InputError(f"The report cannot be written to {folder} ({error.strerror or error}).") from error
    return folder / FILE
