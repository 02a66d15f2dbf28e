"""What a run says while it runs, whoever shows it: the command line does, with a bar or in plain lines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from divmon.measurement import Measurement
from divmon.reading import NAMES, format_number, format_percent


class Reporter(Protocol):
    """Shows a run."""

    def begin(self, name: str, number: int, count: int, text: str) -> None:
        """Stage ``name``, the ``number``th of ``count``, begins; ``text`` says what it does."""

    def step(self, done: int, total: int, values: Mapping[str, float]) -> None:
        """So many steps of the stage are done; ``values`` (``loss``, ``reward``) are the newest."""

    def activity(self, text: str) -> None:
        """What is being done besides training steps."""

    def end(self, name: str, text: str) -> None:
        """The stage is over; ``text`` sums it up."""

    def note(self, text: str) -> None:
        """A line for the reader."""


class Silent:
    """Shows nothing: for processes but the first, and for callers that look at the results."""

    def begin(self, name: str, number: int, count: int, text: str) -> None:
        """Nothing."""

    def step(self, done: int, total: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def activity(self, text: str) -> None:
        """Nothing."""

    def end(self, name: str, text: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class StageProgress(TrainerCallback):
    """Passes a trainer's steps, loss and reward on to a reporter.

    Args:
        reporter: Who shows them.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._values: dict[str, float] = {}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """One more step."""
        self._reporter.step(state.global_step, state.max_steps, self._values)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Newer values."""
        for name in ("loss", "reward"):
            value = (logs or {}).get(name)
            if isinstance(value, int | float) and math.isfinite(value):
                self._values[name] = float(value)
        self._reporter.step(state.global_step, state.max_steps, self._values)


def summary(measurement: Measurement) -> str:
    """A measurement in one line: each metric and what is left of it, accuracy where there is one, and validity."""
    parts = []
    for name, value in measurement.metrics.items():
        kept = "" if math.isnan(value.retained) or not measurement.baseline else f" ({format_percent(value.retained)})"
        parts.append(f"{NAMES[name]} {format_number(value.mean)}{kept}")
    if measurement.accuracy is not None:
        parts.append(f"accuracy {format_percent(measurement.accuracy.mean)}")
    validity = measurement.validity
    invalid = [
        f"{format_percent(share)} {word}"
        for share, word in (
            (validity.empty, "empty"),
            (validity.unclosed, "unclosed"),
            (validity.truncated, "cut off"),
            (validity.repeated, "repeats"),
        )
        if share >= 0.005
    ]
    parts.append(f"{format_number(validity.mean_length, 0)} tokens")
    return ", ".join(parts) + (f"; {', '.join(invalid)}" if invalid else "; all sound")


def duration(seconds: float) -> str:
    """Seconds in words: ``8 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
