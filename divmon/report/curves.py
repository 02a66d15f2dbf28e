"""The charts over steps: the metrics, accuracy, and whether the completions are sound."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

from divmon.measurement import Accuracy, Interval, Measurement, MetricSummary
from divmon.metrics import AXES, KNOWN, NAMES
from divmon.report import paper
from divmon.report.bounds import MOST_GAPS, MOST_OF_A_NAME, thinned
from divmon.report.chart import Chart, Event, Line, Unit, View, whole, written
from divmon.report.runs import COMPLETIONS, Grouping, NamedRun, compared, problem_between, without_steps
from divmon.report.text import cut
from divmon.side_by_side import summaries_of

Members = Sequence[tuple[int, NamedRun]]
"""Runs that share a chart, and their places in the report."""

FLOORS = {"vendi": 1.0}
_UNITS = {
    "ead": "share of distinct n-grams",
    "sbert": "1 − mean cosine",
    "nli": "1 − mean (P(e) − P(c))",
    "vendi": "modes in effect",
    "ast": "mean distance of syntax trees",
}

# What tells whether completions are sound: heading, explanation, unit, lowest value.
_SOUND: dict[str, tuple[str, str, Unit, float | None]] = {
    "base_logprob": (
        "Likelihood under the base",
        "nats a token; a fall is the best sign of rot",
        "number",
        None,
    ),
    "entropy": ("Entropy", "nats a token: the model's uncertainty where it wrote", "number", 0.0),
    "truncated": ("Cut off", "share of completions that reached the token limit", "percent", 0.0),
    "repeated": ("Repeats", "share of completions that repeat another word for word", "percent", 0.0),
    "unanswered": ("No answer", "share of completions that are empty or never leave their think block", "percent", 0.0),
    "mean_length": ("Length", "tokens a completion", "number", 0.0),
}
_SHARES = ("truncated", "repeated", "unanswered")


def metric_charts(runs: Sequence[NamedRun], metric: str, found: Grouping) -> list[Chart]:
    """A chart of ``metric`` for each group of runs that may share one, as retained fraction and as values."""
    charts = []
    for number, group in enumerate(found.groups):
        members = [(place, runs[place]) for place in group]
        alone = len(runs) == 1
        floor = FLOORS.get(metric, 0.0)
        views = {
            "kept": View(
                "percent",
                f"{NAMES[metric]} retained",
                0.0,
                tuple(_lines(members, metric, "kept", alone)),
                paper.kept_levels(metric),
            ),
            "values": View(
                "number",
                f"{NAMES[metric]}, {_UNITS.get(metric, 'mean')}",
                floor,
                tuple(_lines(members, metric, "values", alone)),
                paper.value_levels(metric),
            ),
        }
        if not any(compared(named) for _, named in members):
            del views["kept"]  # a baseline has values alone
        title = NAMES[metric] if len(found.groups) == 1 else f"{NAMES[metric]}: {_listed(members)}"
        names = _names(members, [name for name, _, _ in side_by_side(members, metric)])
        charts.append(Chart(f"{metric}-{number}", title, AXES[metric], views, _events(members), names))
    return charts


def accuracy_charts(runs: Sequence[NamedRun], found: Grouping) -> list[Chart]:
    """A chart of accuracy for each group of runs that were verified alike."""
    charts = []
    for number, group in enumerate(found.groups):
        members = [(place, runs[place]) for place in group]
        rows = _accuracies(members, alone=len(runs) == 1)
        lines = [
            _line(name, style, x, [(accuracy.mean, accuracy.interval) for accuracy in found], before)
            for name, style, x, found, before in rows
        ]
        names = _names(members, [name for name, *_ in rows])
        title = "Accuracy" if len(found.groups) == 1 else f"Accuracy: {_listed(members)}"
        view = View("percent", "accuracy", 0.0, tuple(lines))
        charts.append(
            Chart(
                f"accuracy-{number}",
                title,
                "share that is right, mean over prompts",
                {"values": view},
                _events(members),
                names,
            )
        )
    return charts


def soundness_charts(runs: Sequence[NamedRun], found: Grouping) -> list[Chart]:
    """Whether completions are sound: likelihood, entropy, shares, length; what was not measured is left out.

    One run has its shares in one chart, several have each in one of its own. A single measurement has none: its few
    numbers stand in a table (`soundness_rows`).
    """
    if len(runs) == 1 and without_steps(runs):
        return []
    alone = len(runs) == 1
    kinds = [("base_logprob",), ("entropy",), _SHARES, ("mean_length",)] if alone else [(name,) for name in _SOUND]
    charts = []
    for number, group in enumerate(found.groups):
        members = [(place, runs[place]) for place in group]
        for names in kinds:
            title, about, unit, floor = _SOUND[names[0]]
            if len(names) > 1:
                title, about = "Shares of completions", "cut off, repeated word for word, without an answer"
                lines = [_sound_line(runs[0], 4 + n, name, _SOUND[name][0].lower()) for n, name in enumerate(names)]
            else:
                lines = [_sound_line(named, 4 if alone else place, names[0]) for place, named in members]
            if len(found.groups) > 1:
                title = f"{title}: {_listed(members)}"
            if labels := _names(members, [named.name for _, named in members]):
                lines = [dataclasses.replace(line, x=(place,)) for place, line in enumerate(lines)]
            id_ = f"{names[0].replace('_', '-')}-{number}"
            view = View(unit, title.lower(), floor, tuple(lines))
            charts.append(Chart(id_, title, about, {"values": view}, _events(members), labels))
    return [chart for chart in charts if not chart.empty]


def soundness_rows(named: NamedRun) -> list[tuple[str, str, str, str]]:
    """Of a run with a single measurement: heading, explanation, value, and the baseline's where there is another."""
    if named.last is None or not without_steps([named]):
        return []
    baseline = named.run.baseline if compared(named) else None
    return [
        (
            title,
            about,
            written(_sound(named.last, name), unit),
            written(_sound(baseline, name), unit) if baseline else "",
        )
        for name, (title, about, unit, _) in _SOUND.items()
        if math.isfinite(_sound(named.last, name))
    ]


def points(named: NamedRun, metric: str) -> list[Measurement]:
    """The measurements of a run's curve: those that may stand beside the last, at most its ``most_points``."""
    if named.last is None:
        return []
    alike = [m for m in named.run.measurements if problem_between(m, named.last, metric) is None]
    alarms = {alert["step"] for alert in named.run.alerts}
    keep = [place for place, measurement in enumerate(alike) if measurement.step in alarms]
    if metric in KNOWN:
        kept = [m.metrics[metric].retained if metric in m.metrics else math.nan for m in alike]
        measured = [place for place, value in enumerate(kept) if not math.isnan(value)]
        keep = sorted(measured, key=lambda place: kept[place])[:1] + keep
    return [alike[place] for place in thinned(len(alike), named.most_points, keep)]


def apart_within(named: NamedRun, metric: str) -> tuple[int, str] | None:
    """How many measurements of a run cannot stand beside its last, and why the first of them cannot; None for none."""
    if named.last is None:
        return None
    problems = [problem for m in named.run.measurements if (problem := problem_between(m, named.last, metric))]
    return (len(problems), problems[0]) if problems else None


Row = tuple[str, int, MetricSummary]


def side_by_side(members: Members, metric: str) -> list[Row]:
    """Name, number and summary of what stands side by side where there are no steps: the runs, or one run's tasks."""
    last = [(place, named, named.last) for place, named in members if named.last is not None]
    if len(last) == 1 and len(last[0][1].run.measurements) == 1:
        place, _, measurement = last[0]
        return [(cut(name, MOST_OF_A_NAME), place, found) for name, found in summaries_of(measurement, metric).items()]
    return [(named.name, place, made.metrics[metric]) for place, named, made in last if metric in made.metrics]


_VIEWS: dict[str, Callable[[MetricSummary], tuple[float, Interval]]] = {
    "kept": lambda summary: (summary.retained, summary.retained_interval),
    "values": lambda summary: (summary.mean, summary.interval),
}


def _lines(members: Members, metric: str, view: str, alone: bool) -> Iterator[Line]:
    """The curves of one view; of runs without steps a point each, at the place of its name."""
    read = _VIEWS[view]
    if without_steps([named for _, named in members]):
        baselines = {place: _reference(named, metric, view) for place, named in members}
        for place, (name, run, summary) in enumerate(side_by_side(members, metric)):
            if view == "values" or compared(dict(members)[run]):
                style = KNOWN.index(metric) if alone else run
                # Each task has a baseline's value of its own; what is retained has one line for all.
                baseline = baselines[run] if view == "kept" or not alone else math.nan
                yield _line(name, style, [place], [read(summary)], baseline)
        return
    for place, named in members:
        chosen = [measurement for measurement in points(named, metric) if metric in measurement.metrics]
        found = [read(measurement.metrics[metric]) for measurement in chosen]
        style = KNOWN.index(metric) if alone else place
        yield _line(named.name, style, [made.step for made in chosen], found, _reference(named, metric, view))


def _line(
    name: str, style: int, x: Sequence[int], found: Sequence[tuple[float, Interval]], baseline: float = math.nan
) -> Line:
    bounds = [interval for _, interval in found]
    return Line(
        name,
        style,
        tuple(x),
        tuple(value for value, _ in found),
        whole([low for low, _ in bounds]),
        whole([high for _, high in bounds]),
        baseline,
    )


def _reference(named: NamedRun, metric: str, view: str) -> float:
    """The dashed line: what the baseline has; NaN where it cannot be compared, or is all that there is."""
    baseline = named.run.baseline
    if view == "kept":
        return 1.0
    if baseline is None or metric not in baseline.metrics or named.last is None or not compared(named):
        return math.nan
    return baseline.metrics[metric].mean if problem_between(named.last, baseline, metric) is None else math.nan


def _sound_line(named: NamedRun, style: int, name: str, label: str = "") -> Line:
    chosen = points(named, COMPLETIONS)
    baseline = named.run.baseline if not label else None  # several dashed lines in one chart would say little
    return Line(
        label or named.name,
        style,
        tuple(measurement.step for measurement in chosen),
        tuple(_sound(measurement, name) for measurement in chosen),
        baseline=_sound(baseline, name) if baseline else math.nan,
    )


def _sound(measurement: Measurement, name: str) -> float:
    validity = measurement.validity
    return validity.empty + validity.unclosed if name == "unanswered" else float(getattr(validity, name))


def _events(members: Members) -> tuple[Event, ...]:
    events = []
    for _, named in members:
        prefix = f"{named.name}: " if len(members) > 1 else ""
        events += [
            Event(int(alert["step"]), str(alert.get("kind")), f"{prefix}{alert.get('title') or 'an alert'}")
            for alert in named.run.alerts
        ]
        events += [
            Event(int(gap["step"]), "gap", f"{prefix}step {gap['step']}: the measurement failed")
            for gap in named.run.gaps[:MOST_GAPS]
        ]
    return tuple(events)


def _names(members: Members, names: Sequence[str]) -> tuple[str, ...]:
    """What stands below the points of a chart without steps; nothing for one with steps."""
    return tuple(names) if without_steps([named for _, named in members]) else ()


_Accuracies = tuple[str, int, list[int], list[Accuracy], float]


def _accuracies(members: Members, *, alone: bool) -> list[_Accuracies]:
    """Name, style, places, accuracies and the baseline's mean of each curve; of one measurement, of each task."""
    if alone and without_steps([members[0][1]]):
        last = members[0][1].last
        found = last.accuracy if last else None
        if found is None:
            return []
        tasks = {"all tasks": found, **found.tasks} if len(found.tasks) > 1 else {"all verified prompts": found}
        return [
            (cut(name, MOST_OF_A_NAME), 4, [place], [of], math.nan) for place, (name, of) in enumerate(tasks.items())
        ]
    apart = without_steps([named for _, named in members])
    rows: list[_Accuracies] = []
    for number, (place, named) in enumerate(members):
        chosen = [(m.step, m.accuracy) for m in points(named, "accuracy") if m.accuracy]
        before = named.run.baseline.accuracy if named.run.baseline and compared(named) else None
        x = [number] * len(chosen) if apart else [step for step, _ in chosen]
        mean = before.mean if before else math.nan
        rows.append((named.name, 4 if alone else place, x, [found for _, found in chosen], mean))
    return rows


def _listed(members: Members) -> str:
    return ", ".join(named.name for _, named in members)
