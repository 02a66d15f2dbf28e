"""From a measurement to the ledger."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from divmon.ledger import FOLDER, Ledger
from divmon.measurement import SCHEMA, Measurement, to_plain
from divmon.monitor import Outcome
from divmon.options import MonitorOptions


def new_run_id() -> str:
    """A run's name: when it began (UTC), and six random hex digits (not from a seeded generator)."""
    return f"{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"


def header(run_id: str) -> dict[str, Any]:
    """What every line of a ledger begins with."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"schema": SCHEMA, "run_id": run_id, "time": now}


def record(measurement: Measurement, rows: Iterable[Mapping[str, Any]], ledger: Ledger) -> None:
    """Write a measurement and its completions; the completions first, so that a recorded measurement has them."""
    label = "step" if measurement.kind == "measurement" else measurement.kind
    ledger.write_completions(ledger.completions_path(measurement.step, label), rows)
    ledger.append(measurement.to_json())


def record_outcome(
    outcome: Outcome,
    output_dir: Path,
    options: MonitorOptions,
    baseline: Measurement | None = None,
    baseline_rows: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Write a measurement that belongs to no trainer, after the start of its run where that is not there yet.

    A baseline of another run is copied in with its completions, so that the ledger says by itself what ``retained``
    compares with, and a report can show the two side by side.
    """
    ledger, run_id = Ledger(output_dir / FOLDER), outcome.measurement.run_id
    newest = ledger.read()
    if newest is None or newest.run_id != run_id:
        ledger.move_aside()
        ledger.append(header(run_id) | {"kind": "run", "step": outcome.measurement.step, "options": to_plain(options)})
        if baseline is not None and (baseline.run_id != run_id or baseline.kind == "baseline"):
            if rows := list(baseline_rows):
                ledger.write_completions(ledger.completions_path(baseline.step, "baseline"), rows)
            ledger.append(baseline.to_json() | {"kind": "baseline"})
    record(outcome.measurement, completion_rows(outcome), ledger)


def completion_rows(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """The completions of a measurement, a prompt a row, with the field names that the paper's code reads.

    ``key`` names the prompt across runs; ``verdicts`` say how right each completion is (0 to 1; null without a
    verifier), ``baseline_distance`` and ``near_duplicate_of`` are those of `Nearness`.
    """
    assert outcome.samples is not None
    measurement = outcome.measurement
    for place, sampled in enumerate(outcome.samples.prompts):
        prompt = sampled.rendered.prompt
        near = outcome.nearness[place] if outcome.nearness else None
        verdicts = outcome.verdicts[place] if outcome.verdicts else None
        yield to_plain(
            {
                "task": prompt.task,
                "input_id": prompt.id,
                "key": prompt.key,
                "prompt": prompt.plain_text or sampled.rendered.text,
                "outputs": [completion.text for completion in sampled.completions],
                "category": prompt.category,
                "rendered_prompt": sampled.rendered.text,
                "think_opened": sampled.rendered.think_opened,
                "tokens": [len(completion.token_ids) for completion in sampled.completions],
                "truncated": [completion.truncated for completion in sampled.completions],
                "entropy": [completion.entropy for completion in sampled.completions],
                "logprob": [completion.logprob for completion in sampled.completions],
                "verdicts": verdicts,
                "baseline_distance": near and near.distances,
                "near_duplicate_of": near and near.repeats,
                "step": measurement.step,
                "run_id": measurement.run_id,
            }
        )
