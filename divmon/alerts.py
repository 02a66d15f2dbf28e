"""When a person must be told: diversity collapsed while the completions are sound, or rose because they are not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from divmon.measurement import UNMEASURED, Measurement
from divmon.metrics import NAMES
from divmon.nearness import answers_of

MOST_WITHOUT_ANSWER = 0.2
_MORE_CUT_OFF = 0.3
_LESS_LIKELY = 1.0  # nats a token
_MORE_UNCERTAIN = 1.5  # times the baseline's entropy

_COLLAPSE_ADVICE = (
    "Read some completions. Where the loss is not wanted: a lower learning rate, fewer steps or an earlier checkpoint; "
    "data from more sources; in DPO a larger beta; in RL a higher temperature, clip-higher, and a reward that does not "
    "pay for one form."
)
_ROT_ADVICE = (
    "Read some completions: gibberish has the highest diversity of all. Where they are unsound, go back to the last "
    "sound checkpoint and lower the learning rate; look for a broken chat template, a missing end token, wrong labels."
)


@dataclass(frozen=True)
class Example:
    """One completion of a prompt before and now.

    Attributes:
        prompt: The prompt as text.
        before: An answer of the baseline's; empty where its completions are not at hand.
        now: The answer to the same prompt with the same random numbers now.
    """

    prompt: str
    before: str
    now: str


@dataclass(frozen=True)
class Alert:
    """Something that a person who looks at the loss must be told.

    Attributes:
        kind: ``collapse``: the upper bound of a retained fraction fell below the threshold while the completions are
            sound. ``rot``: the completions became unsound while diversity rose, or was lost.
        step: When it was noticed.
        metrics: The metrics that crossed at this step, each with its ``retained`` and the 95% ``interval`` of it.
        threshold: What an upper bound falls below in a collapse.
        why: What is unsound about the completions; empty for a collapse.
        examples: Two completions before and now, of the prompts that changed most.
        advice: What to try.
    """

    kind: Literal["collapse", "rot"]
    step: int
    metrics: Mapping[str, Kept]
    threshold: float
    why: str
    examples: tuple[Example, ...]
    advice: str

    @property
    def title(self) -> str:
        """One line, for a subject."""
        kept = ", ".join(f"{NAMES[name]} {found}" for name, found in self.metrics.items())
        if self.kind == "collapse":
            return f"Diversity collapse at step {self.step}: {kept} retained, below {100 * self.threshold:.0f}%"
        return f"Completions may rot at step {self.step}: {self.why}; {kept} retained"


@dataclass(frozen=True)
class Kept:
    """A fraction retained with its 95% interval."""

    retained: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        low, high = (100 * bound for bound in self.interval)
        return f"{100 * self.retained:.0f}% [{low:.0f}, {high:.0f}]"


def unsoundness(now: Measurement, baseline: Measurement) -> str | None:
    """What is wrong with the completions now, set against the baseline's, in words; None where they seem sound."""
    before, after = baseline.validity, now.validity
    if after.base_logprob < before.base_logprob - _LESS_LIKELY:
        return (
            f"the base model finds the completions unlikely ({after.base_logprob:.1f} nats a token, "
            f"{before.base_logprob:.1f} before)"
        )
    if after.entropy > _MORE_UNCERTAIN * before.entropy:
        return f"the model's uncertainty rose too ({after.entropy:.1f} nats a token, {before.entropy:.1f} before)"
    if after.truncated > before.truncated + _MORE_CUT_OFF:
        return f"{100 * after.truncated:.0f}% of the completions are cut off ({100 * before.truncated:.0f}% before)"
    without = after.empty + after.unclosed
    if without > MOST_WITHOUT_ANSWER and without > before.empty + before.unclosed + 0.1:
        return f"{100 * without:.0f}% of the completions have no answer"
    accuracy = now.accuracy
    if accuracy is not None and accuracy.change_interval[1] < -0.1:
        return f"accuracy fell by {-100 * accuracy.change:.0f} points"
    return None


def risen(measurement: Measurement) -> list[str]:
    """The metrics whose whole interval of the retained fraction is above 1."""
    return [name for name, summary in measurement.metrics.items() if summary.retained_interval[0] > 1]


def alerts(
    history: Sequence[Measurement],
    baseline: Measurement | None,
    threshold: float,
    rows: Sequence[Mapping[str, Any]] = (),
    baseline_rows: Sequence[Mapping[str, Any]] = (),
) -> list[Alert]:
    """What the last measurement of a run warns of for the first time since it was well.

    A run that begins below the threshold (its baseline is another run's) crossed nothing, so that is no alert. A metric
    that recovers and falls again is one more; completions that are sound now and unsound then, while diversity stays
    where it is, are told of once each.

    Args:
        history: The run's measurements by step, the new one last.
        baseline: What they are compared with.
        threshold: The fraction retained whose crossing is a collapse.
        rows: The completions of the last measurement, for the examples.
        baseline_rows: The baseline's.
    """
    if baseline is None or len(history) < 2:
        return []
    found: list[Alert] = []
    kinds: tuple[Literal["collapse", "rot"], ...] = ("collapse", "rot")
    for kind in kinds:
        if crossed := _crossed(history, baseline, threshold, kind):
            now = history[-1]
            found.append(
                Alert(
                    kind=kind,
                    step=now.step,
                    metrics={
                        name: Kept(now.metrics[name].retained, now.metrics[name].retained_interval) for name in crossed
                    },
                    threshold=threshold,
                    why="" if kind == "collapse" else unsoundness(now, baseline) or "",
                    examples=_examples(now, baseline, crossed[0], rows, baseline_rows),
                    advice=_COLLAPSE_ADVICE if kind == "collapse" else _ROT_ADVICE,
                )
            )
    return found


_State = Literal["well", "collapse", "rot", "rise", "unknown"]


def _crossed(history: Sequence[Measurement], baseline: Measurement, threshold: float, kind: _State) -> list[str]:
    """The metrics of which ``kind`` holds in the last measurement and has not held since they were last well."""
    *earlier, now = history
    crossed = []
    for metric in now.metrics:
        if _state(now, baseline, metric, threshold) != kind:
            continue
        past = [_state(each, baseline, metric, threshold) for each in reversed(earlier)]
        known = [state for state in past if state != "unknown"]
        since = known[: known.index("well")] if "well" in known else known
        if kind not in since and ("well" in known or not known):
            crossed.append(metric)
    return crossed


def _state(now: Measurement, baseline: Measurement, metric: str, threshold: float) -> _State:
    """How a metric stands: fallen below the threshold or risen above the baseline, and with what completions."""
    low, high = now.metrics.get(metric, UNMEASURED).retained_interval
    if math.isnan(low) or math.isnan(high):
        return "unknown"
    if high >= threshold and low <= 1:
        return "well"
    if unsoundness(now, baseline) is not None:
        return "rot"
    return "collapse" if high < threshold else "rise"


def _examples(
    now: Measurement,
    baseline: Measurement,
    metric: str,
    rows: Sequence[Mapping[str, Any]],
    baseline_rows: Sequence[Mapping[str, Any]],
    count: int = 2,
) -> tuple[Example, ...]:
    """Answers to the prompts whose value changed most, sample 0 at both times (it has the same random numbers)."""
    values = now.metrics[metric].per_prompt
    summary = baseline.metrics.get(metric)
    before = dict(zip(baseline.prompts.keys, summary.per_prompt, strict=True)) if summary else {}
    changes = {key: abs(value - before.get(key, math.nan)) for key, value in zip(now.prompts.keys, values, strict=True)}
    by_key, earlier = {row["key"]: row for row in rows}, {row["key"]: row for row in baseline_rows}
    known = (key for key, change in changes.items() if key in by_key and not math.isnan(change))
    ranked = sorted(known, key=lambda key: -changes[key])
    return tuple(
        Example(
            prompt=by_key[key]["prompt"],
            before=_first_answer(earlier.get(key)),
            now=_first_answer(by_key[key]),
        )
        for key in ranked[:count]
    )


def _first_answer(row: Mapping[str, Any] | None) -> str:
    return "" if row is None else (answers_of(row)[0] or "")
