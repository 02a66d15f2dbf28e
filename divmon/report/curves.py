"""The charts over steps: the metrics, accuracy, and whether the completions are sound."""

from __future__ import annotations

import math
from collections.abc import Sequence

from divmon.measurement import Measurement
from divmon.metrics import AXES, KNOWN, NAMES
from divmon.report import paper
from divmon.report.bounds import MOST_GAPS, thinned
from divmon.report.chart import Chart, Event, Line, Unit, View, whole
from divmon.report.runs import COMPLETIONS, Grouping, NamedRun, problem_between

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
        styles = {place: KNOWN.index(metric) if len(runs) == 1 else place for place in group}
        floor = FLOORS.get(metric, 0.0)
        views = {
            "kept": View(
                "percent",
                f"{NAMES[metric]} retained",
                0.0,
                tuple(_kept_line(named, styles[place], metric) for place, named in members),
                paper.kept_levels(metric),
            ),
            "values": View(
                "number",
                f"{NAMES[metric]}, {_UNITS.get(metric, 'mean')}",
                floor,
                tuple(_value_line(named, styles[place], metric) for place, named in members),
                paper.value_levels(metric),
            ),
        }
        title = NAMES[metric] if len(found.groups) == 1 else f"{NAMES[metric]}: {_listed(members)}"
        charts.append(Chart(f"{metric}-{number}", title, AXES[metric], views, _events(members)))
    return charts


def accuracy_charts(runs: Sequence[NamedRun], found: Grouping) -> list[Chart]:
    """A chart of accuracy for each group of runs that were verified alike."""
    charts = []
    for number, group in enumerate(found.groups):
        members = [(place, runs[place]) for place in group]
        lines = []
        for place, named in members:
            chosen = [m for m in points(named, "accuracy") if m.accuracy]
            before = named.run.baseline.accuracy if named.run.baseline else None
            lines.append(
                Line(
                    named.name,
                    4 if len(runs) == 1 else place,
                    tuple(m.step for m in chosen),
                    tuple(m.accuracy.mean for m in chosen if m.accuracy),
                    whole([m.accuracy.interval[0] for m in chosen if m.accuracy]),
                    whole([m.accuracy.interval[1] for m in chosen if m.accuracy]),
                    before.mean if before else math.nan,
                )
            )
        title = "Accuracy" if len(found.groups) == 1 else f"Accuracy: {_listed(members)}"
        view = View("percent", "accuracy", 0.0, tuple(lines))
        charts.append(
            Chart(
                f"accuracy-{number}",
                title,
                "share that is right, mean over prompts",
                {"values": view},
                _events(members),
            )
        )
    return charts


def soundness_charts(runs: Sequence[NamedRun], found: Grouping) -> list[Chart]:
    """Whether completions are sound: likelihood, entropy, shares, length; what was not measured is left out.

    One run has its shares in one chart, several have each in one of its own.
    """
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
            view = View(unit, title.lower(), floor, tuple(lines))
            charts.append(
                Chart(f"{names[0].replace('_', '-')}-{number}", title, about, {"values": view}, _events(members))
            )
    return [chart for chart in charts if not chart.empty]


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


def _kept_line(named: NamedRun, style: int, metric: str) -> Line:
    chosen = [measurement for measurement in points(named, metric) if metric in measurement.metrics]
    found = [measurement.metrics[metric] for measurement in chosen]
    return Line(
        named.name,
        style,
        tuple(measurement.step for measurement in chosen),
        tuple(summary.retained for summary in found),
        whole([summary.retained_interval[0] for summary in found]),
        whole([summary.retained_interval[1] for summary in found]),
        1.0,
    )


def _value_line(named: NamedRun, style: int, metric: str) -> Line:
    chosen = [measurement for measurement in points(named, metric) if metric in measurement.metrics]
    found = [measurement.metrics[metric] for measurement in chosen]
    baseline = named.run.baseline
    known = baseline is not None and metric in baseline.metrics and named.last is not None
    comparable = known and baseline and named.last and problem_between(named.last, baseline, metric) is None
    return Line(
        named.name,
        style,
        tuple(measurement.step for measurement in chosen),
        tuple(summary.mean for summary in found),
        whole([summary.interval[0] for summary in found]),
        whole([summary.interval[1] for summary in found]),
        baseline.metrics[metric].mean if comparable and baseline else math.nan,
    )


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


def _events(members: Sequence[tuple[int, NamedRun]]) -> tuple[Event, ...]:
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


def _listed(members: Sequence[tuple[int, NamedRun]]) -> str:
    return ", ".join(named.name for _, named in members)
