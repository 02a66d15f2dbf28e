"""Recorded runs whose completions are given, not sampled: what a model might have written."""

from __future__ import annotations

from pathlib import Path

from divmon.facts import ModelFacts
from divmon.monitor import Monitor
from divmon.options import MonitorOptions
from divmon.prompts import PromptSet
from divmon.recording import record_outcome
from divmon.sampling.generate import Completion
from divmon.sampling.render import RenderedPrompt
from divmon.sampling.sampler import Layout, SampledPrompt, Samples

LAYOUT = Layout(1, 1, 4, 0, True, "float32", None, "cpu")


def sampled(prompts: PromptSet, outputs: list[list[str]], *, think_opened: bool = False) -> Samples:
    """The completions of a prompt set, as a sampler would give them."""
    given = [
        SampledPrompt(
            RenderedPrompt(prompt, (1,), prompt.plain_text, think_opened),
            tuple(Completion(text, (1, 2), False, 1.0, -1.0) for text in texts),
        )
        for prompt, texts in zip(prompts, outputs, strict=True)
    ]
    return Samples(tuple(given), LAYOUT, 1.0)


def record(folder: Path, prompts: PromptSet, *outputs: list[list[str]], run_id: str = "r1", **options) -> Path:
    """A run with a measurement for each of the outputs, at steps 0, 10, 20 ...; the fixture ``fake_encoders`` first."""
    think_opened = options.pop("think_opened", False)
    chosen = MonitorOptions(
        metrics=("sbert", "vendi"), num_prompts=len(prompts), samples=max(2, len(outputs[0][0])), **options
    )
    monitor, baseline, rows = Monitor(prompts, chosen), None, ()
    for number, texts in enumerate(outputs):
        outcome = monitor.score(
            sampled(prompts, texts, think_opened=think_opened),
            ModelFacts(100, {"class": "None"}),
            run_id=run_id,
            step=10 * number,
            baseline=baseline,
            baseline_rows=rows,
        )
        record_outcome(outcome, folder, chosen, baseline)
        baseline = baseline or outcome.measurement
    return folder
