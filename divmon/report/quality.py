"""How much of a loss is only wrong answers going away: the parts of it by run and task, and over the steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from divmon import stats
from divmon.metrics import NAMES
from divmon.quality import paper
from divmon.quality.decomposition import METRICS, Decomposition, Estimate, decompose, decomposition_problem
from divmon.reading import counted
from divmon.report.bounds import MOST_GROUPS, MOST_OF_A_NAME, thinned
from divmon.report.chart import Chart, Line, Unit, View, interval, whole, written
from divmon.report.curves import points
from divmon.report.runs import NamedRun, grouped, without_steps
from divmon.report.summary import Cell
from divmon.report.text import cut

ALL = "all tasks"
_MOST_POINTS = 60  # a decomposition a point, each with its bootstrap
# Part -> what its line is called, its style, and what its chart is about.
_PARTS = {
    "total": ("loss", 6, "what is lost against the baseline over all answers"),
    "genuine": ("among right answers too", 1, "genuine: what right answers lost"),
    "quality_control": ("wrong answers", 2, "quality control: what wrong answers no longer add"),
}


@dataclass(frozen=True)
class Row:
    """A loss of SBERT as it stands in the table.

    Attributes:
        run: The run's name.
        task: The task's.
        counted: How many prompts it is over.
        cells: Loss, genuine part, the rest, and the share of the genuine part.
        paper: What the paper found on this task, in words; empty where it has none.
        reading: What it says.
    """

    run: str
    task: str
    counted: str
    cells: tuple[Cell, ...]
    paper: str
    reading: str


@dataclass(frozen=True)
class Quality:
    """The section of the page.

    Attributes:
        rows: A row a run and task.
        details: Columns and rows of the numbers behind it, of SBERT and of Vendi.
        charts: The parts over the steps.
        notes: What is left out, and why, in words.
    """

    rows: tuple[Row, ...]
    details: tuple[tuple[str, ...], ...]
    charts: tuple[Chart, ...]
    notes: tuple[str, ...]


def quality_of(runs: Sequence[NamedRun]) -> Quality | None:
    """The section; None where no run has right answers to compare with its baseline's."""
    found: dict[str, dict[str, Decomposition]] = {}
    notes = []
    for named in runs:
        last, baseline = named.last, named.run.baseline
        if last is None or baseline is None or last is baseline or last.accuracy is None:
            continue
        made = {metric: loss for metric in METRICS if (loss := decompose(last, baseline, metric)) is not None}
        if "sbert" in made:
            found[named.name] = made
        else:
            notes.append(f"{named.name}: no parts of a loss: {cut(decomposition_problem(last, baseline) or '')}.")
    if not found:
        return None
    rows = [_row(run, task, loss) for run, made in found.items() for task, loss in _by_task(made["sbert"])]
    if len(rows) > MOST_GROUPS:
        notes.append(f"{MOST_GROUPS} of {len(rows)} rows are here; divmon decompose has all.")
    details = [line for run, made in found.items() for line in _details(run, made)]
    return Quality(
        rows=tuple(rows[:MOST_GROUPS]),
        details=tuple(details[: 2 * MOST_GROUPS]),
        charts=() if without_steps(runs) else _charts([named for named in runs if named.name in found]),
        notes=tuple(notes),
    )


def _charts(runs: Sequence[NamedRun]) -> tuple[Chart, ...]:
    return tuple(chart for chart in loss_charts(runs) if not chart.empty)


def loss_charts(runs: Sequence[NamedRun]) -> Iterator[Chart]:
    """The parts of SBERT's loss over the steps: of one run in one chart, of several each part in one of its own."""
    several = len(runs) > 1
    losses = {named.name: list(_over_steps(named)) for named in runs}
    if not several:
        lines = [_line(losses[runs[0].name], part, label, style) for part, (label, style, _) in _PARTS.items()]
        about = "SBERT's loss against the baseline, and its two parts; prompts with two right answers in both"
        yield Chart("loss-0", "The loss over the steps", about, {"values": _view(lines)})
        return
    places = {named.name: place for place, named in enumerate(runs)}
    groups = [
        [alike[place].name for place in group]
        for alike in ([runs[place] for place in group] for group in grouped(runs, "sbert").groups)
        for group in grouped(alike, "accuracy").groups
    ]
    for part, (label, _, about) in _PARTS.items():
        for number, group in enumerate(groups):
            title = label.capitalize() + (f": {', '.join(group)}" if len(groups) > 1 else "")
            lines = [_line(losses[name], part, name, places[name]) for name in group]
            yield Chart(f"loss-{part.replace('_', '-')}-{number}", title, about, {"values": _view(lines)})


_Step = tuple[int, Decomposition]


def _over_steps(named: NamedRun) -> Iterator[_Step]:
    baseline = named.run.baseline
    chosen = points(named, "sbert")
    for place in thinned(len(chosen), _MOST_POINTS) if baseline else ():
        loss = decompose(chosen[place], baseline) if baseline else None
        if loss is not None:
            yield chosen[place].step, loss


def _line(losses: Sequence[_Step], part: str, name: str, style: int) -> Line:
    estimates: list[Estimate] = [getattr(loss, part) for _, loss in losses]
    return Line(
        name,
        style,
        tuple(step for step, _ in losses),
        tuple(estimate.value for estimate in estimates),
        whole([estimate.interval[0] for estimate in estimates]),
        whole([estimate.interval[1] for estimate in estimates]),
        0.0,
    )


def _view(lines: Sequence[Line]) -> View:
    return View("number", "loss of SBERT", None, tuple(lines))


def _by_task(loss: Decomposition) -> Iterator[tuple[str, Decomposition]]:
    if len(loss.tasks) > 1:
        yield ALL, loss
    yield from loss.tasks.items() if loss.tasks else [("", loss)]


def _row(run: str, task: str, loss: Decomposition) -> Row:
    before, now = (written(share, "percent") for share in loss.accuracy)
    told = loss.prompts >= stats.FEWEST_PROMPTS
    right = f", {before} → {now} right" if loss.prompts else ""
    return Row(
        run=run,
        task=cut(task, MOST_OF_A_NAME),
        counted=f"{loss.prompts} of {counted(loss.of)}{right}",
        cells=(
            _cell(loss.total, "number", told),
            _cell(loss.genuine, "number", told),
            _cell(loss.quality_control, "number", False),
            _cell(loss.share, "percent", False),
        ),
        paper=_published(task),
        reading=loss.reading,
    )


def _cell(estimate: Estimate, unit: Unit, coloured: bool) -> Cell:
    low, high = estimate.interval
    state = "unknown" if math.isnan(low) or not coloured else "lost" if low > 0 else "rose" if high < 0 else "same"
    return Cell(written(estimate.value, unit), interval(low, high, unit) if math.isfinite(low) else "", state)


def _published(task: str) -> str:
    """The shares of the paper's Think and Instruct models, which it took otherwise (`divmon.quality.decomposition`)."""
    found = [paper.losses()[model].get(task) for model in ("Think", "Instruct")]
    shares = [f"{written(loss.share, 'percent')} for {loss.model}" for loss in found if loss]
    return f"The paper (Olmo 3 7B): {', '.join(shares)}." if shares else ""


DETAILS = ("run", "task", "metric", "all answers", "right answers", "loss", "genuine", "quality control", "share")


def _details(run: str, made: Mapping[str, Decomposition]) -> Iterator[tuple[str, ...]]:
    """The lines of `DETAILS`, and the loss over all verified prompts beside the loss over those that are compared."""
    for metric, whole_loss in made.items():
        for task, loss in _by_task(whole_loss):
            yield (
                run,
                cut(task, MOST_OF_A_NAME) or "–",
                NAMES[metric],
                " → ".join(written(value, "number") for value in loss.d_all),
                " → ".join(written(value, "number") for value in loss.d_correct),
                f"{_told(loss.total, 'number')}; over all {loss.of} verified {_told(loss.whole, 'number')}",
                _told(loss.genuine, "number"),
                _told(loss.quality_control, "number"),
                _told(loss.share, "percent"),
            )


def _told(estimate: Estimate, unit: Unit) -> str:
    low, high = estimate.interval
    bounds = f" [{interval(low, high, unit)}]" if math.isfinite(low) else ""
    return written(estimate.value, unit) + bounds
