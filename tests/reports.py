"""Ledgers for the report's tests, made through the real classes: quickly, and with whatever texts a test wants."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from divmon.alerts import alerts
from divmon.ledger import Ledger
from divmon.measurement import Measurement, PromptRecord, to_plain
from divmon.metrics import METRICS
from divmon.quality.grades import FILE
from divmon.recording import header
from divmon.report import write_report
from divmon.summary import accuracy_of, summarise
from tests.records import VALIDITY, measurement, scores

# What a model may write that must not act: markup, handlers, ends of elements, escapes, overrides, halves.
HOSTILE = [
    "<script>window.hacked = 1; document.title = 'hacked'</script>",
    "<img src=x onerror=\"window.hacked = 1\"><svg onload='window.hacked = 1'>",
    "</script><script>window.hacked = 1</script><!-- <script> <![CDATA[",
    "{{ 7 * 7 }} ${window.hacked = 1} javascript:alert(1) </style></textarea></title><body onload=alert(1)>",
    "\x1b[31mred\x1b]0;title\x07 \x00null \x7f \u202egnp.exe \u2066isolate \u200bzero\ufeff \ud83d half \udc00 \u2028",
    "a\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301\u0301 " + "\U000e0041\U000e0042",
    "\"'><iframe src='https://example.invalid/'></iframe><link rel=stylesheet href=https://example.invalid/a.css>",
    "M" * 1_000_000,
]


def make_run(
    folder: Path,
    *,
    prompts: int = 8,
    steps: Sequence[int] = (0, 10, 20),
    samples: int = 4,
    kept: float = 0.4,
    say: Callable[[int, int, int], str] | None = None,
    tasks: Sequence[str] = ("chat", "maths"),
    categories: Sequence[str] = ("open", "closed"),
    verified: bool = True,
    right: bool = True,
    baseline: Measurement | None = None,
    failed: int | None = None,
    completions: bool = True,
    old: bool = False,
    verifier: str = "math",
    asked: Callable[[int], str] = "Question {}?".format,
    run_id: str = "r1",
    **changes: Any,
) -> Measurement:
    """Record a run that keeps about ``kept`` of its diversity; the first prompts lose most.

    Args:
        folder: The run's output folder.
        prompts: How many prompts.
        steps: Where it measures.
        samples: K.
        kept: The share left at the end.
        say: The completion of (step, prompt, sample).
        tasks: Tasks, in turn.
        categories: Categories, in turn.
        verified: Whether prompts of the last task have a verifier.
        right: Whether the diversity of right answers was measured; they are less different than all, and lose less.
        baseline: Another run's, to count from.
        failed: A step at which the measurement failed.
        completions: Whether they are kept.
        old: As divmon wrote rows before it knew of keys and neighbours.
        verifier: What verifies them.
        asked: The text of a prompt.
        run_id: Its id.
        changes: Fields of every measurement that are otherwise.

    Returns:
        The baseline.
    """
    ledger = Ledger(folder / "divmon")
    ledger.append(header(run_id) | {"kind": "run", "step": steps[0] if steps else 0, "options": {"samples": samples}})
    if baseline is not None:
        ledger.append(baseline.to_json() | {"kind": "baseline"})
    names = tuple(f"p{number}" for number in range(prompts))
    places = PromptRecord(
        digest="d" * 64,
        source="questions.jsonl",
        ids=names,
        keys=tuple(f"key-{name}" for name in names),
        categories=tuple(categories[number % len(categories)] for number in range(prompts)),
        tasks=tuple(tasks[number % len(tasks)] for number in range(prompts)),
    )
    say = say or (lambda step, prompt, sample: f"Answer {sample if step == steps[0] else 0} to {prompt} at {step}.")
    first, history, before = baseline, [], []
    for step in steps:
        if step == failed:
            ledger.append(header(run_id) | {"kind": "gap", "step": step, "error": "OutOfMemoryError: no <b>memory</b>"})
            continue
        done = (steps.index(step) / max(1, len(steps) - 1)) if len(steps) > 1 else 0.0
        lost = (1 - kept) * done * np.linspace(1.4, 0.6, prompts)
        start = np.linspace(0.6, 0.3, prompts)
        values = {name: list(start * (1 - lost)) for name in METRICS}
        values["vendi"] = list(1 + 6 * start * (1 - lost))
        made = measurement(
            run_id=run_id,
            step=step,
            metrics={},
            baseline={},
            prompts=places,
            validity=dataclasses.replace(VALIDITY, completions=prompts * samples, repeated=0.5 * done),
            **changes,
        )
        if verified:
            labels = [
                f"{verifier}:{number:08x}" if places.tasks[number] == tasks[-1] else "" for number in range(prompts)
            ]
            shares = [0.5 + 0.2 * done + 0.01 * number if label else math.nan for number, label in enumerate(labels)]
            known = np.array([bool(label) for label in labels])
            among_right = {
                "sbert": np.where(known, 0.8 * start * (1 - 0.6 * lost), math.nan),
                "vendi": np.where(known, 1 + 3 * start * (1 - 0.6 * lost), math.nan),
            }
            found = accuracy_of(made, shares, labels, first, 0, among_right if right else None)
            made = dataclasses.replace(made, accuracy=found)
        made = summarise(made, scores(**values), METRICS, first, 0)
        first = first or made
        rows = [_row(places, number, step, samples, say, asked(number)) for number in range(prompts)]
        if completions:
            new = ("key", "think_opened", "near_duplicate_of", "baseline_distance")
            stripped = [{name: value for name, value in row.items() if name not in new} for row in rows]
            ledger.write_completions(ledger.completions_path(step), stripped if old else rows)
        ledger.append(made.to_json())
        history.append(made)
        before = before or rows
        for alert in alerts(history, first, 0.7, rows, before):
            line = to_plain(alert) | {"title": alert.title}
            ledger.append(header(run_id) | {"kind": "alert", "step": alert.step, "alert": line})
    return first or measurement()


def grade_run(folder: Path, run_id: str = "r1", **tasks: Any) -> Path:
    """Grades beside a run's ledger: of each task accuracy@1, majority@16 and D_c, or whatever else is given."""
    names = ("accuracy_at_1", "majority_at_k", "d_correct")
    entries = {
        task: dict(zip(names, of, strict=True)) | {"k": 16} if isinstance(of, tuple) else of
        for task, of in tasks.items()
    }
    path = folder / "divmon" / FILE
    path.write_text(json.dumps({"run_id": run_id, "tasks": entries}))
    return path


def _row(
    prompts: PromptRecord,
    number: int,
    step: int,
    samples: int,
    say: Callable[[int, int, int], str],
    question: str,
) -> dict[str, Any]:
    outputs = [say(step, number, sample) for sample in range(samples)]
    repeats = [next((p for p in range(place) if outputs[p] == text), None) for place, text in enumerate(outputs)]
    return {
        "task": prompts.tasks[number],
        "input_id": prompts.ids[number],
        "prompt": question,
        "outputs": outputs,
        "category": prompts.categories[number],
        "truncated": [sample == 1 for sample in range(samples)],
        "key": prompts.keys[number],
        "think_opened": False,
        "near_duplicate_of": repeats,
        "baseline_distance": [0.25] * samples,
    }


def hostile_report(folder: Path) -> Path:
    """The report of a run in which every text is one of `HOSTILE`: its name, tasks, categories, prompts, answers."""
    texts = [text[:2000] for text in HOSTILE]
    run = folder / "<img src=x onerror=alert(1)>"
    make_run(
        run,
        say=lambda step, prompt, sample: HOSTILE[(prompt + sample) % len(HOSTILE)],
        asked=lambda number: HOSTILE[number % len(HOSTILE)],
        categories=texts,
        tasks=texts[::-1],
    )
    return write_report(run, title=HOSTILE[2])
