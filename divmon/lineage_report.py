"""A lineage's attribution as JSON, CSV, Markdown and a picture."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from divmon.lineage import AVERAGE, STAGES, UNNAMED, Attribution, Part
from divmon.measurement import SCHEMA, to_plain
from divmon.reading import NAMES
from divmon.stats import FEWEST_PROMPTS

TITLES = {"think": "Think", "instruct": "Instruct", "rl_zero": "RL-Zero", UNNAMED: ""}
"""Lineage -> its name in headings; one that nobody named has none."""

_FEW = "†"


def as_json(attribution: Attribution, paper: Attribution | None = None) -> dict[str, Any]:
    """A document whose ``attribution.<metric>.<lineage>.<task or average>.<part>`` are percent of base.

    ``intervals`` has the same shape with [low, high] (null where there is none), and ``paper`` the paper's percentages
    of the same lineages, where it has them.
    """
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "lineage",
        "unit": "percent of base",
        "attribution": _mapped(attribution, lambda part: part.percent),
        "intervals": _mapped(attribution, lambda part: part.interval),
    }
    if paper is not None:
        document["paper"] = _mapped(_same_lineages(paper, attribution), lambda part: part.percent)
    return to_plain(document)


def rows(attribution: Attribution, paper: Attribution | None = None) -> Iterator[dict[str, Any]]:
    """One row a metric, lineage, task and part: ``percent``, ``low``, ``high``, ``prompts`` and the ``paper``'s percent
    (of the same task where the paper has it, else of its average).
    """
    for metric, lineages in attribution.items():
        for lineage, tasks in lineages.items():
            published = (paper or {}).get(metric, {}).get(lineage, {})
            for task, parts in tasks.items():
                beside = published.get(task, published.get(AVERAGE, {}))
                for name, part in parts.items():
                    yield {
                        "metric": metric,
                        "lineage": lineage,
                        "task": task,
                        "part": name,
                        "percent": part.percent,
                        "low": part.interval[0],
                        "high": part.interval[1],
                        "prompts": part.prompts,
                        "paper": beside[name].percent if name in beside else math.nan,
                    }


def as_csv(attribution: Attribution, paper: Attribution | None = None) -> str:
    """``rows`` as CSV with a header; an empty cell is a value that there is not."""
    text = io.StringIO()
    columns = ["metric", "lineage", "task", "part", "percent", "low", "high", "prompts", "paper"]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows(attribution, paper):
        writer.writerow({k: "" if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()})
    return text.getvalue()


def as_markdown(attribution: Attribution, paper: Attribution | None = None) -> str:
    """A table a metric: a row a task, the parts of each lineage side by side, the paper's average below."""
    few = False
    blocks = ["Percent of the base model's diversity: what each stage took (-) or added (+), and what is left."]
    for metric, lineages in attribution.items():
        columns = [(lineage, name) for lineage, tasks in lineages.items() for name in tasks[AVERAGE]]
        tasks = list(next(iter(lineages.values())))
        if len(tasks) == 2:
            tasks = [AVERAGE]  # one task is its own average
        lines = [
            f"### {NAMES[metric]}",
            "",
            "| task | "
            + " | ".join(f"{TITLES.get(lineage, lineage)} {name}".strip() for lineage, name in columns)
            + " |",
            "|---|" + "---:|" * len(columns),
        ]
        for task in tasks:
            parts = [lineages[lineage][task][name] for lineage, name in columns]
            few = few or any(part.few for part in parts)
            cells = [_cell(part, name) for part, (_, name) in zip(parts, columns, strict=True)]
            lines.append(f"| {_escaped(task)} | " + " | ".join(cells) + " |")
        published = (paper or {}).get(metric, {})
        if any(lineage in published for lineage, _ in columns):
            theirs = [published.get(lineage, {}).get(AVERAGE, {}).get(name) for lineage, name in columns]
            cells = [
                "-" if part is None else _cell(part, name) for part, (_, name) in zip(theirs, columns, strict=True)
            ]
            lines.append("| *the paper's average (Olmo 3 7B)* | " + " | ".join(cells) + " |")
        blocks.append("\n".join(lines))
    if few:
        blocks.append(f"{_FEW} Fewer than {FEWEST_PROMPTS} prompts: too few to tell.")
    return "\n\n".join(blocks) + "\n"


def plot(
    attribution: Attribution,
    path: str | Path,
    paper: Attribution | None = None,
    repeats: Sequence[Attribution] = (),
) -> Path:
    """Draw each lineage's averages: from 100% at the base down (or up) stage by stage, the paper's as open circles.

    Args:
        attribution: What is drawn.
        path: The PNG.
        paper: The paper's attribution.
        repeats: The same lineages with other seeds, as thin lines.

    Returns:
        ``path``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    metrics = list(attribution)
    figure = Figure(figsize=(3.4 * len(metrics), 3.9), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=False).ravel()
    for metric, panel in zip(metrics, panels, strict=True):
        for number, (lineage, tasks) in enumerate(attribution[metric].items()):
            colour = f"C{number}"
            for repeat in repeats:
                panel.plot(*curve(repeat[metric][lineage][AVERAGE]), color=colour, linewidth=0.7, alpha=0.5)
            _draw(panel, tasks[AVERAGE], colour, TITLES.get(lineage, lineage) or None, filled=True)
            published = (paper or {}).get(metric, {}).get(lineage, {}).get(AVERAGE)
            if published is not None:
                _draw(panel, published, colour, None, filled=False)
        panel.axhline(100, color="0.6", linewidth=0.8, linestyle="--")
        panel.set_title(NAMES[metric], fontsize=11, loc="left")
        panel.set_xticks(range(4), ["base", "SFT", "DPO", "RL"], fontsize=9)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("percent of base", fontsize=9)
    if panels[0].get_legend_handles_labels()[0]:
        panels[0].legend(frameon=False, fontsize=8)
    notes = ["open circles: the paper, Olmo 3 7B"] * (paper is not None) + ["thin: each seed"] * bool(repeats)
    if notes:
        figure.supxlabel("; ".join(notes), x=0.99, ha="right", fontsize=7)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _draw(panel: Any, parts: dict[str, Part], colour: str, label: str | None, filled: bool) -> None:
    places, heights = curve(parts)
    style = {"marker": "o", "markersize": 5, "linewidth": 1.8 if filled else 0.8}
    if not filled:
        style |= {"markerfacecolor": "white", "linestyle": ":"}
    panel.plot(places, heights, color=colour, label=label, **style)
    low, high = parts["retained"].interval
    if filled and math.isfinite(low):
        panel.vlines(places[-1], low, high, color=colour, linewidth=1.2)


def curve(parts: dict[str, Part]) -> tuple[list[int], list[float]]:
    """Places on the axis of stages, and the percent of base there."""
    places, heights = [0], [100.0]
    for place, stage in enumerate(STAGES, 1):
        if stage in parts:
            places.append(place)
            heights.append(heights[-1] + parts[stage].percent)
    if len(places) == 1:  # RL-Zero
        places.append(3)
        heights.append(parts["retained"].percent)
    return places, heights


def _mapped(attribution: Attribution, value: Any) -> dict[str, Any]:
    return {
        metric: {
            lineage: {task: {name: value(part) for name, part in parts.items()} for task, parts in tasks.items()}
            for lineage, tasks in lineages.items()
        }
        for metric, lineages in attribution.items()
    }


def _same_lineages(paper: Attribution, attribution: Attribution) -> Attribution:
    return {
        metric: {lineage: paper[metric][lineage] for lineage in lineages if lineage in paper.get(metric, {})}
        for metric, lineages in attribution.items()
    }


def _cell(part: Part, name: str) -> str:
    if math.isnan(part.percent):
        return "-"
    sign = "" if name == "retained" else "+"
    if part.few:
        return f"{part.percent:{sign}.0f} {_FEW}"
    low, high = part.interval
    interval = "" if math.isnan(low) else f" [{low:{sign}.0f}, {high:{sign}.0f}]"
    return f"{part.percent:{sign}.0f}{interval}"


def _escaped(text: str) -> str:
    """A task's name inside a Markdown table."""
    return "".join(char if char.isprintable() else " " for char in text).replace("|", "\\|").replace("<", "&lt;")
