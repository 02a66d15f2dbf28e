"""The runs of a report: read, named, and sorted by what can be compared with what."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from divmon.comparison import comparison_problem
from divmon.errors import InputError
from divmon.loaded import Run, load
from divmon.measurement import Measurement
from divmon.metrics import KNOWN, NAMES
from divmon.report.bounds import MOST_OF_A_NAME, MOST_POINTS, MOST_RUNS, most_points
from divmon.report.text import cut

COMPLETIONS = "completions"
"""What is compared where the completions themselves are, whatever scores them."""


@dataclass(frozen=True)
class NamedRun:
    """A run under the name that the page gives it, different from every other's.

    Attributes:
        name: Its name.
        run: The run.
        most_points: How many of its measurements a curve may show.
    """

    name: str
    run: Run
    most_points: int = MOST_POINTS

    @property
    def last(self) -> Measurement | None:
        """The last measurement."""
        return self.run.measurements[-1] if self.run.measurements else None


@dataclass(frozen=True)
class Grouping:
    """Which runs may share a plot.

    Attributes:
        groups: Places of runs; within a group every pair can be compared.
        refusals: Why the groups are apart, a sentence each.
    """

    groups: tuple[tuple[int, ...], ...]
    refusals: tuple[str, ...]


def read_runs(paths: Sequence[str | Path]) -> list[NamedRun]:
    """Read runs.

    Args:
        paths: Folders or ledgers, each perhaps as ``NAME=FOLDER``.

    Raises:
        InputError: For none or more than `MOST_RUNS`, one that is named twice, and as `divmon.loaded.load`.
    """
    if not paths:
        raise InputError("No run: name the output folder of at least one.")
    if len(paths) > MOST_RUNS:
        raise InputError(f"A report shows at most {MOST_RUNS} runs, got {len(paths)}: compare fewer at a time.")
    given = [_name_and_path(str(path)) for path in paths]
    runs = [load(path) for _, path in given]
    places = [run.ledger.path.resolve() for run in runs]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise InputError(f"{paths[number]} is named twice.")
    for run in runs:
        _check(run)
    names = [cut(name or run.name, MOST_OF_A_NAME) for (name, _), run in zip(given, runs, strict=True)]
    return [
        NamedRun(name, run, most_points(len(runs))) for name, run in zip(_told_apart(names, runs), runs, strict=True)
    ]


def metrics_of(runs: Sequence[NamedRun]) -> list[str]:
    """The metrics that any of the runs asked for, in the order in which they are reported."""
    found = {metric for named in runs for measurement in named.run.measurements for metric in measurement.metrics}
    return [metric for metric in KNOWN if metric in found]


def without_steps(runs: Sequence[NamedRun]) -> bool:
    """Whether no run has more than one measurement, so that nothing goes over steps: evaluations."""
    return all(len(named.run.measurements) < 2 for named in runs)


def compared(named: NamedRun) -> bool:
    """Whether any measurement of a run has another one to count from: else it is a baseline, with values alone."""
    return any(measurement.baseline for measurement in named.run.measurements)


def grouped(runs: Sequence[NamedRun], metric: str) -> Grouping:
    """Sort runs by whether ``metric``, ``accuracy`` or `COMPLETIONS` can be compared at their last measurement.

    A run in which it was not measured is in no group.
    """
    groups: list[list[int]] = []
    refusals: list[str] = []
    for place, named in enumerate(runs):
        if named.last is None or not _measured(named.last, metric):
            continue
        problems = [problem_between(named.last, _last(runs[group[0]]), metric) for group in groups]
        if None in problems:
            groups[problems.index(None)].append(place)
            continue
        if groups:
            what = NAMES.get(metric, metric.capitalize())
            refusals.append(
                f"{what}: {named.name} set against {runs[groups[0][0]].name} as the baseline: {problems[0]}."
            )
        groups.append([place])
    return Grouping(tuple(map(tuple, groups)), tuple(refusals))


def problem_between(one: Measurement, other: Measurement, metric: str) -> str | None:
    """Why ``metric``, ``accuracy`` or `COMPLETIONS` of two measurements may not share a plot; None where it may."""
    if one.prompts.keys != other.prompts.keys or one.protocol != other.protocol:
        depends = "ead" if metric == COMPLETIONS else metric  # tokens of different vocabularies do not compare
        if problem := comparison_problem(one, other, depends) or comparison_problem(other, one, depends):
            return problem
    if metric == "accuracy" and one.accuracy and other.accuracy and _verifiers(one) != _verifiers(other):
        return "different verifiers or ground truth"
    return None


def same_baseline(runs: Sequence[NamedRun]) -> bool:
    """Whether all runs count from the same base: the same values of the same prompts."""
    baselines = [named.run.baseline for named in runs]
    if None in baselines or not baselines:
        return False
    values = [_values(baseline) for baseline in baselines if baseline is not None]
    return all(value == values[0] for value in values)


def _check(run: Run) -> None:
    """Refuse records whose parts do not fit together, which nothing could be drawn from."""
    for line in (*run.alerts, *run.gaps, *({"step": measurement.step} for measurement in run.measurements)):
        if not isinstance(line["step"], int):
            raise InputError(f"{run.ledger.path}: expected whole numbers as steps, got {line['step']!r:.60}.")
    for measurement in (*run.measurements, *([run.baseline] if run.baseline else [])):
        prompts, metrics = measurement.prompts, measurement.metrics.values()
        lengths = {len(prompts.ids), len(prompts.keys), len(prompts.tasks), len(prompts.categories)}
        lengths |= {len(summary.per_prompt) for summary in metrics if summary.per_prompt}
        records = (measurement.protocol, measurement.provenance, measurement.baseline)
        fault = "does not hold a value for each prompt" if len(lengths) > 1 else ""
        if not all(isinstance(record, Mapping) for record in records):
            fault = "has no protocol, provenance or baseline that could be read"
        if unknown := set(measurement.metrics) - set(KNOWN):
            fault = f"has metrics that this divmon does not know ({', '.join(sorted(unknown))}): upgrade divmon"
        if fault:
            raise InputError(f"{run.ledger.path}: the measurement at step {measurement.step} {fault}.")


def _values(measurement: Measurement) -> dict[str, dict[str, str]]:
    keys = measurement.prompts.keys
    return {
        name: {key: repr(value) for key, value in zip(keys, summary.per_prompt, strict=False)}
        for name, summary in measurement.metrics.items()
    }


def _verifiers(measurement: Measurement) -> dict[str, str]:
    accuracy = measurement.accuracy
    pairs = zip(measurement.prompts.keys, accuracy.verifiers if accuracy else (), strict=False)
    return {key: verifier for key, verifier in pairs if verifier}


def _measured(measurement: Measurement, metric: str) -> bool:
    if metric == COMPLETIONS:
        return True
    summary = measurement.accuracy if metric == "accuracy" else measurement.metrics.get(metric)
    return summary is not None and not math.isnan(summary.mean)


def _last(named: NamedRun) -> Measurement:
    assert named.last is not None
    return named.last


def _name_and_path(given: str) -> tuple[str, str]:
    if Path(given).exists():
        return "", given
    name, _, path = given.rpartition("=")
    return name, path


def _told_apart(names: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """``names``, with the folder above put before those that are alike, then a number behind."""
    above = [
        f"{_output_dir(run).parent.name}/{name}" if names.count(name) > 1 else name
        for name, run in zip(names, runs, strict=True)
    ]
    made: list[str] = []
    for name in above:
        numbered = (f"{name} ({number})" for number in itertools.count(2))
        made.append(next(n for n in itertools.chain([name], numbered) if n not in made))
    return made


def _output_dir(run: Run) -> Path:
    folder = run.ledger.folder.resolve()
    return folder.parent if folder.name == "divmon" else folder
