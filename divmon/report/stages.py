"""Runs that form a lineage: the stages' parts, by `divmon.lineage` and `divmon.lineage_report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divmon import lineage, lineage_report
from divmon.errors import InputError
from divmon.lineage import Attribution
from divmon.metrics import NAMES
from divmon.reading import too_few
from divmon.report.chart import written
from divmon.report.runs import NamedRun
from divmon.stats import FEWEST_PROMPTS


@dataclass(frozen=True)
class Stages:
    """A lineage's stages.

    Attributes:
        attribution: The runs' own.
        paper: The paper's of the same lineages.
        runs: Names of the runs that are in it.
    """

    attribution: Attribution
    paper: Attribution
    runs: tuple[str, ...]

    def picture(self, path: Path) -> Path:
        """Draw it as `divmon lineage` does."""
        return lineage_report.plot(self.attribution, path, self.paper)

    def charts(self) -> list[dict[str, Any]]:
        """A plot a metric: from 100% at the base stage by stage, the paper's beside it."""
        return [
            {
                "id": f"stages-{metric}",
                "title": NAMES[metric],
                "lines": [
                    _line(_title(name), number, tasks, (self.paper.get(metric) or {}).get(name))
                    for number, (name, tasks) in enumerate(lineages.items())
                ],
            }
            for metric, lineages in self.attribution.items()
        ]

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """A table a metric: heading, columns, and a row a lineage and task."""
        found: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        for row in lineage_report.rows(self.attribution, self.paper):
            found.setdefault(row["metric"], {}).setdefault((row["lineage"], row["task"]), {})[row["part"]] = row
        parts = [*lineage.STAGES, "retained"]
        return [
            (
                NAMES[metric],
                ["lineage", "task", *parts, "the paper"],
                [
                    [_title(name), task or "–", *(_cell(row.get(part)) for part in parts), _beside(row)]
                    for (name, task), row in rows.items()
                    if task == lineage.AVERAGE or len(self.attribution[metric][name]) > 2
                ],
            )
            for metric, rows in found.items()
        ]


def stages_of(runs: Sequence[NamedRun]) -> tuple[Stages | None, str]:
    """The lineage that the runs form, and why there is none; both empty where no two runs are named after a stage."""
    labelled = [named for named in runs if named.last is not None and _tells_a_stage(named.name)]
    if len(labelled) < 2:
        return None, ""
    try:
        found = lineage.attribute(*lineage.checkpoints_of_records([(n.name, n.run.record) for n in labelled]))
    except InputError as error:
        return None, str(error)
    return Stages(found, lineage.paper_attribution(), tuple(named.name for named in labelled)), ""


def in_order(runs: Sequence[NamedRun]) -> list[NamedRun]:
    """``runs`` lineage by lineage and stage by stage; those that tell no stage come first."""
    told = [lineage.stage_of(named.name) if _tells_a_stage(named.name) else ("", "") for named in runs]
    lineages = ["", *dict.fromkeys(name for name, _ in told)]
    order = ["", *lineage.STAGES]
    return [
        named
        for _, named in sorted(
            zip(told, runs, strict=True), key=lambda pair: (lineages.index(pair[0][0]), order.index(pair[0][1]))
        )
    ]


def _tells_a_stage(name: str) -> bool:
    try:
        lineage.stage_of(name)
    except InputError:
        return False
    return True


def _line(title: str, style: int, tasks: Any, published: Any) -> dict[str, Any]:
    places, heights = lineage_report.curve(tasks[lineage.AVERAGE])
    made = {
        "name": title,
        "style": style,
        "x": places,
        "y": heights,
        "interval": tasks[lineage.AVERAGE]["retained"].interval,
        "paper": None,
    }
    if published is not None:
        made["paper"] = dict(zip(("x", "y"), lineage_report.curve(published[lineage.AVERAGE]), strict=True))
    return made


def _cell(row: Any) -> str:
    if row is None:
        return "–"
    sign = "" if row["part"] == "retained" else "+"
    low, high = row["low"], row["high"]
    if low == low and row["prompts"] < FEWEST_PROMPTS:
        return f"{row['percent']:{sign}.0f} ({too_few(row['prompts'])})"
    if low != low:
        return f"{row['percent']:{sign}.0f}" if row["percent"] == row["percent"] else "–"
    return f"{row['percent']:{sign}.0f} [{low:{sign}.0f}, {high:{sign}.0f}]"


def _beside(row: Any) -> str:
    kept = row.get("retained")
    return "–" if kept is None else written(kept["paper"] / 100, "percent")


def _title(name: str) -> str:
    return lineage_report.TITLES.get(name, name) or "the runs"
