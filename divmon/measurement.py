"""The measurement record: what one look at a model found, and how it was made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from divmon.errors import InputError

SCHEMA = 1

Interval = tuple[float, float]
NO_INTERVAL: Interval = (math.nan, math.nan)


@dataclass(frozen=True)
class MetricSummary:
    """One metric over the prompts.

    Attributes:
        mean: Mean over the prompts that could be measured (over tasks: mean of the tasks' means).
        interval: 95% bootstrap interval of the mean over prompts.
        retained: Mean now / mean at the baseline, over the prompts measured at both.
        retained_interval: Its paired 95% bootstrap interval.
        change_p: Two-sided p-value of the paired change against the baseline.
        across: The metric over the first answer of every prompt.
        per_prompt: One value a prompt in the prompt set's order, NaN where it could not be measured.
    """

    mean: float
    interval: Interval = NO_INTERVAL
    retained: float = math.nan
    retained_interval: Interval = NO_INTERVAL
    change_p: float = math.nan
    across: float = math.nan
    per_prompt: tuple[float, ...] = ()


UNMEASURED = MetricSummary(mean=math.nan)


@dataclass(frozen=True)
class Accuracy:
    """How many completions are right, over the prompts that have a verifier.

    Attributes:
        mean: Share of a prompt's completions that verify, 0 to 1: mean over prompts (over tasks: mean of the tasks').
        interval: 95% bootstrap interval of the mean over prompts.
        change: Mean now - mean at the baseline, -1 to 1, over the prompts verified at both; a difference, not a
            fraction retained, since a baseline may well be 0.
        change_interval: Its paired 95% bootstrap interval.
        change_p: Two-sided p-value of the paired change against the baseline.
        per_prompt: One share a prompt in the prompt set's order, NaN where there is no verifier.
        verifiers: What verified each prompt, its name and a digest of the ground truth (``math:0f3a9c21``), empty where
            there is none; shares of different ones are never compared.
        right: Diversity of the completions that are right: metric (``sbert``, ``vendi``) -> one value a prompt, NaN
            where fewer than two are right.
        tasks: The same for each task that has a verifier, where the prompts have several tasks.
    """

    mean: float
    interval: Interval = NO_INTERVAL
    change: float = math.nan
    change_interval: Interval = NO_INTERVAL
    change_p: float = math.nan
    per_prompt: tuple[float, ...] = ()
    verifiers: tuple[str, ...] = ()
    right: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    tasks: Mapping[str, Accuracy] = field(default_factory=dict)


@dataclass(frozen=True)
class Validity:
    """Whether the completions are language at all: diversity is highest for gibberish.

    Attributes:
        completions: How many were sampled.
        empty: Share with no text left after the think block.
        unclosed: Share whose think block never closed, so that there is no answer.
        truncated: Share cut off at the token limit.
        repeated: Share whose text is exactly that of an earlier completion of the same prompt.
        mean_length: Mean length in tokens.
        entropy: Mean token entropy in nats, under the model that wrote them, at temperature 1.
        logprob: Mean token log-probability in nats, likewise.
        base_logprob: Mean token log-probability of some of them under the base model (PEFT with the adapter off).
        base_gap: How much more likely the model finds those same completions than the base does, nats a token: 0 for
            an untrained adapter; it grows as the model leaves what the base would say.
        unmeasured: Prompts with fewer than two answers.
    """

    completions: int
    empty: float
    unclosed: float
    truncated: float
    repeated: float
    mean_length: float
    entropy: float
    logprob: float
    base_logprob: float
    base_gap: float
    unmeasured: int


@dataclass(frozen=True)
class PromptRecord:
    """The prompts of a measurement, in the order of ``per_prompt``."""

    digest: str
    source: str
    ids: tuple[str, ...]
    keys: tuple[str, ...]
    categories: tuple[str, ...]
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Measurement:
    """One measurement of one model.

    Attributes:
        run_id: The training run it belongs to.
        step: Optimizer steps done.
        epoch: Epochs done.
        time: When it ended, ISO 8601 in UTC.
        metrics: A summary for each metric.
        tasks: The same for each task, where there are several.
        accuracy: How many completions are right; None where no prompt has a verifier.
        validity: Whether the completions are sound.
        prompts: Which prompts.
        baseline: What ``retained`` compares with: ``run_id``, ``step`` and ``source``; empty for the baseline itself.
        seconds: Time spent ``sampling`` and ``scoring``.
        protocol: Whatever must agree for two measurements to be comparable: sampling, scoring, encoders.
        provenance: Versions, git state, layout, model, device.
        kind: ``measurement``; ``baseline`` for one that was made of another model.
    """

    run_id: str
    step: int
    epoch: float
    time: str
    metrics: Mapping[str, MetricSummary]
    tasks: Mapping[str, Mapping[str, MetricSummary]]
    accuracy: Accuracy | None
    validity: Validity
    prompts: PromptRecord
    baseline: Mapping[str, Any]
    seconds: Mapping[str, float]
    protocol: Mapping[str, Any]
    provenance: Mapping[str, Any]
    kind: str = "measurement"

    def to_json(self) -> dict[str, Any]:
        """A dictionary that ``json.dumps`` takes as strict JSON: NaN is null, tuples are lists."""
        return {"schema": SCHEMA, **to_plain(self)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Measurement:
        """Read what ``to_json`` wrote.

        Raises:
            InputError: For a record of a newer schema or one that lacks a field.
        """
        try:
            if record["schema"] > SCHEMA:
                raise InputError(
                    f"Measurement of schema {record['schema']}, this divmon reads up to {SCHEMA}: upgrade divmon."
                )
            fields = {known.name: record[known.name] for known in dataclasses.fields(cls)}
            if not isinstance(fields["step"], int):
                raise TypeError(f"expected a whole number as step, got {fields['step']!r:.60}")
            fields["metrics"] = {name: _summary(value) for name, value in record["metrics"].items()}
            fields["tasks"] = {
                task: {name: _summary(value) for name, value in metrics.items()}
                for task, metrics in record["tasks"].items()
            }
            fields["accuracy"] = None if record["accuracy"] is None else _accuracy(record["accuracy"])
            fields["validity"] = Validity(**{name: _number(value) for name, value in record["validity"].items()})
            prompts = record["prompts"]
            lists = {name: tuple(prompts[name]) for name in ("ids", "keys", "categories", "tasks")}
            fields["prompts"] = PromptRecord(digest=prompts["digest"], source=prompts["source"], **lists)
        except InputError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"Not a divmon measurement ({type(error).__name__}: {error}).") from error
        return cls(**fields)


def to_plain(value: Any) -> Any:
    """Dataclasses to dictionaries, tuples to lists, NumPy's scalars to Python's, NaN and infinities to None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {known.name: to_plain(getattr(value, known.name)) for known in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _number(value: Any) -> Any:
    return math.nan if value is None else value


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def _summary(record: Mapping[str, Any]) -> MetricSummary:
    return MetricSummary(
        mean=_float(record["mean"]),
        interval=_interval(record["interval"]),
        retained=_float(record["retained"]),
        retained_interval=_interval(record["retained_interval"]),
        change_p=_float(record["change_p"]),
        across=_float(record["across"]),
        per_prompt=tuple(_float(value) for value in record["per_prompt"]),
    )


def _accuracy(record: Mapping[str, Any]) -> Accuracy:
    return Accuracy(
        mean=_float(record["mean"]),
        interval=_interval(record["interval"]),
        change=_float(record["change"]),
        change_interval=_interval(record["change_interval"]),
        change_p=_float(record["change_p"]),
        per_prompt=tuple(_float(value) for value in record["per_prompt"]),
        verifiers=tuple(record["verifiers"]),
        right={name: tuple(_float(value) for value in values) for name, values in record["right"].items()},
        tasks={task: _accuracy(part) for task, part in record["tasks"].items()},
    )


def _interval(pair: Any) -> Interval:
    low, high = pair
    return _float(low), _float(high)
