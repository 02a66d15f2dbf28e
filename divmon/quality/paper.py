"""The decomposition that the paper published (arXiv 2604.16027, Table 14), and what a majority vote gained there."""

from __future__ import annotations

import functools
import importlib.resources
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from divmon.measurement import NO_INTERVAL, Interval, to_plain

BASE = "Base"
TASKS = {
    "ifeval": "IFEval",
    "math_algebra": "MATH-Algebra",
    "math_geometry": "MATH-Geometry",
    "gsm8k": "GSM8K",
    "mbpp": "MBPP",
    "humaneval": "HumanEval",
    "cruxeval": "CRUXEval",
}
"""The tasks of Table 14 and their titles, those with most genuine narrowing first; CRUXEval, which is not one of the
paper's six verifiable tasks, last."""

_ROUNDING = 0.001
"""A difference of two numbers of three decimals is known to within this."""


@dataclass(frozen=True)
class PublishedLoss:
    """What a model of the paper lost on a task against the base; of means, so without intervals.

    Attributes:
        model: As the paper names it.
        task: One of `TASKS`.
        total: ``D_a(base) - D_a(model)``, by SBERT.
        genuine: ``D_c(base) - D_c(model)``; NaN where no prompt had two right answers.
        share: ``genuine / total``, not clipped; NaN for a total of zero.
        rounding: Between which values the share may lie by the rounding of the table alone; (NaN, NaN) where the total
            may as well be zero, so that the share says nothing.
        d_all: D_a of the base and of the model.
        d_correct: D_c likewise; each is over the prompts with two right answers under that model.
        accuracy: Accuracy likewise, 0 to 1.
    """

    model: str
    task: str
    total: float
    genuine: float
    share: float
    rounding: Interval
    d_all: tuple[float, float]
    d_correct: tuple[float, float]
    accuracy: tuple[float, float]

    @property
    def quality_control(self) -> float:
        """``total - genuine``."""
        return self.total - self.genuine


@dataclass(frozen=True)
class Vote:
    """What a majority vote gains for one model on one task.

    Attributes:
        model: Whose completions vote.
        task: The task.
        d_correct: Diversity of the right answers, D_c by SBERT.
        gain: majority@K - accuracy@1, -1 to 1.
        k: How many vote.
    """

    model: str
    task: str
    d_correct: float
    gain: float
    k: int = 16


@functools.cache
def tables() -> Mapping[str, Any]:
    """The paper's published tables."""
    resource = importlib.resources.files("divmon.data").joinpath("olmo3_paper_tables.json")
    return json.loads(resource.read_text(encoding="utf-8"))


@functools.cache
def losses() -> Mapping[str, Mapping[str, PublishedLoss]]:
    """Model -> task -> its loss, for every model but the base."""
    rows = tables()["quality_filtered"]
    return {
        model: {task: _loss(model, task, rows[BASE], row) for task in TASKS}
        for model, row in rows.items()
        if model != BASE
    }


@functools.cache
def votes() -> tuple[Vote, ...]:
    """The points of Figure 8: every model (the base too) and task with a majority vote and a D_c in the tables."""
    found = []
    for model, quality in tables()["reasoning_quality_percent"].items():
        for task in TASKS:
            d_correct = tables()["quality_filtered"][model][f"{task}.d_correct"]
            majority, single = quality.get(f"{task}.majority_at_16"), quality.get(f"{task}.accuracy_at_1")
            if None not in (d_correct, majority, single):
                found.append(Vote(model, task, d_correct, (majority - single) / 100))
    return tuple(found)


def correlation(points: tuple[Vote, ...]) -> float:
    """Pearson's correlation of D_c and gain; NaN for fewer than three points, or without spread."""
    x, y = np.array([(point.d_correct, point.gain) for point in points]).reshape(-1, 2).T
    return float(np.corrcoef(x, y)[0, 1]) if len(points) > 2 and x.std() > 0 and y.std() > 0 else math.nan


def as_json() -> dict[str, Any]:
    """Both as plain values: ``shares.<model>.<task>`` and ``majority_vote``, a list of points."""
    shares = {
        model: {
            task: {name: value for name, value in to_plain(loss).items() if name not in ("model", "task")}
            | {"quality_control": to_plain(loss.quality_control)}
            for task, loss in of_tasks.items()
        }
        for model, of_tasks in losses().items()
    }
    votes_of = [to_plain(vote) for vote in votes()]
    return {"source": tables()["source"], "metric": "sbert", "shares": shares, "majority_vote": votes_of}


def as_markdown() -> str:
    """Three tables: the genuine shares of every model and task, their parts, and the gains of a majority vote."""
    titles = list(TASKS.values())
    shares = [[model, *(_share(loss) for loss in of_tasks.values())] for model, of_tasks in losses().items()]
    parts = [
        [
            model,
            TASKS[task],
            *(f"{100 * value:.0f}%" for value in loss.accuracy),
            *(_number(value) for value in (*loss.d_all, *loss.d_correct, loss.total, loss.genuine)),
            _number(loss.quality_control),
            _share(loss),
        ]
        for model, of_tasks in losses().items()
        for task, loss in of_tasks.items()
    ]
    voting = list(dict.fromkeys(vote.task for vote in votes()))
    by_model: dict[str, dict[str, Vote]] = {}
    for vote in votes():
        by_model.setdefault(vote.model, {})[vote.task] = vote
    gains = [
        [model, *(cell for task in voting for cell in (_number(found[task].d_correct), _points(found[task].gain)))]
        for model, found in by_model.items()
    ]
    heads = ["model", "task", "accuracy, base", "now", "D_a, base", "now", "D_c, base", "now"]
    return "\n".join(
        [
            "Genuine share of SBERT's loss against the base, by Table 14 of arXiv 2604.16027: (D_c(base) - D_c) /",
            "(D_a(base) - D_a). Above 1 and below 0 the parts have different signs. ?: the loss is within the",
            "table's rounding of zero, so that its share says nothing. -: no prompt with two right answers.",
            "",
            *_table(["model", *titles], shares),
            "",
            "The parts, in units of SBERT (1 - mean cosine); a loss is positive.",
            "",
            *_table([*heads, "loss", "genuine", "quality control", "share"], parts),
            "",
            "What a majority vote of 16 gains over one answer, in points of accuracy, beside D_c (Figure 8;",
            f"correlation over the {len(votes())} points {correlation(votes()):.2f}).",
            "",
            *_table(["model", *(f"{TASKS[task]} {what}" for task in voting for what in ("D_c", "gain"))], gains),
            "",
        ]
    )


def _loss(model: str, task: str, base: Mapping[str, Any], row: Mapping[str, Any]) -> PublishedLoss:
    def pair(name: str, scale: float = 1.0) -> tuple[float, float]:
        then, now = (math.nan if of[f"{task}.{name}"] is None else of[f"{task}.{name}"] / scale for of in (base, row))
        return then, now

    d_all, d_correct = pair("d_all"), pair("d_correct")
    total, genuine = round(d_all[0] - d_all[1], 6), round(d_correct[0] - d_correct[1], 6)
    return PublishedLoss(
        model=model,
        task=task,
        total=total,
        genuine=genuine,
        share=genuine / total if total else math.nan,
        rounding=_rounding(total, genuine),
        d_all=d_all,
        d_correct=d_correct,
        accuracy=pair("accuracy", 100),
    )


def _rounding(total: float, genuine: float) -> Interval:
    """Between which values ``genuine / total`` may lie if each is known to within the table's rounding."""
    if abs(total) <= _ROUNDING or math.isnan(genuine):
        return NO_INTERVAL
    corners = [
        (genuine + one) / (total + other) for one in (-_ROUNDING, _ROUNDING) for other in (-_ROUNDING, _ROUNDING)
    ]
    return min(corners), max(corners)


def _share(loss: PublishedLoss) -> str:
    if math.isnan(loss.share):
        return "-"
    return f"{loss.share:.2f}{'?' * math.isnan(loss.rounding[0])}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _table(heads: list[str], rows: list[list[str]]) -> list[str]:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
