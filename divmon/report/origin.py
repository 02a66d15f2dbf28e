"""Where the numbers come from: versions, git, encoders, protocol, machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from divmon.measurement import Measurement
from divmon.report.bounds import MOST_ROWS
from divmon.report.runs import NamedRun
from divmon.report.text import cut, without_folders

_Rows = list[tuple[str, str]]


def origin_of(named: NamedRun) -> list[tuple[str, _Rows]]:
    """Tables of names and values under headings; what differs between the first and the last measurement shows both."""
    run = named.run
    rows: list[tuple[str, _Rows]] = [
        (
            "Run",
            [
                ("run", run.run_id),
                ("measurements", f"{len(run.measurements):,}"),
                ("counts from", _counts_from(named)),
                *([("from", run.measurements[0].time), ("to", run.measurements[-1].time)] if run.measurements else []),
            ],
        )
    ]
    if run.measurements:
        first, last = run.measurements[0], run.measurements[-1]
        rows += [
            ("Prompts", [("source", without_folders(last.prompts.source)), ("digest", last.prompts.digest)]),
            ("Model", _both(first, last, "model")),
            ("Encoders", _encoders(last)),
            ("Protocol", _protocol(last)),
            ("Machine layout", _both(first, last, "layout")),
            ("Versions", [*_both(first, last, "packages"), *_git(first, last)]),
        ]
        missing = last.provenance.get("missing")
        if isinstance(missing, Mapping) and missing:
            rows.append(("Not measured", _flat(missing)))
    if isinstance(run.options, Mapping) and run.options:
        rows.append(("Settings of the monitor", _flat(run.options)))
    return [
        (title, [(cut(str(name)), cut(str(value))) for name, value in pairs[:MOST_ROWS]])
        for title, pairs in rows
        if pairs
    ]


def _counts_from(named: NamedRun) -> str:
    baseline = named.run.baseline
    if baseline is None:
        return "nothing: there is no baseline"
    if baseline.kind == "baseline" or baseline.run_id != named.run.run_id:
        return f"another run or model: {baseline.run_id}, step {baseline.step:,}"
    return f"its own step {baseline.step:,}"


def _encoders(measurement: Measurement) -> _Rows:
    rows = []
    for part in ("sentence_encoder", "nli"):
        identity = measurement.protocol.get(part)
        if not isinstance(identity, Mapping):
            rows.append((part.replace("_", " "), "none"))
            continue
        name = without_folders(str(identity.get("name")))
        stands = identity.get("fallback_for")
        words = f"{name} (in place of {stands})" if stands else name
        rows.append((part.replace("_", " "), words))
        rows.append(
            (f"{part.replace('_', ' ')} SHA-256", str(identity.get("digest") or "several files: none recorded"))
        )
    return rows


def _protocol(measurement: Measurement) -> _Rows:
    parts = {name: value for name, value in measurement.protocol.items() if name not in ("sentence_encoder", "nli")}
    return _flat(parts)


def _git(first: Measurement, last: Measurement) -> _Rows:
    states = [_git_words(measurement.provenance.get("git")) for measurement in (first, last)]
    return [("git", _changed(*states))]


def _git_words(state: Any) -> str:
    if not isinstance(state, Mapping):
        return "no checkout"
    dirty = {True: " with changes that were not committed", None: ", state unknown"}.get(state.get("dirty"), "")
    return f"{state.get('commit')}{dirty}"


def _both(first: Measurement, last: Measurement, part: str) -> _Rows:
    before, after = (dict(_flat(measurement.provenance.get(part) or {})) for measurement in (first, last))
    return [(name, _changed(before.get(name, "–"), after.get(name, "–"))) for name in before | after]


def _changed(before: str, after: str) -> str:
    return after if before == after else f"{before} at first, {after} at last"


def _flat(value: Any, prefix: str = "") -> _Rows:
    """Nested mappings as rows; local paths without their folders."""
    if isinstance(value, Mapping):
        return [
            row for name, item in value.items() for row in _flat(item, f"{prefix} · {name}" if prefix else str(name))
        ]
    if isinstance(value, list | tuple):
        return [(prefix, ", ".join(map(str, value)) or "none")]
    if value is None or isinstance(value, bool):
        return [(prefix, {None: "none", True: "yes", False: "no"}[value])]
    return [(prefix, without_folders(str(value)))]
