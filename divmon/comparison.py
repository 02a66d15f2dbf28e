"""Whether two measurements may be compared: numbers of different prompts, protocols or encoders never are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from divmon.measurement import Measurement, to_plain


def comparison_problem(now: Measurement, baseline: Measurement, metric: str) -> str | None:
    """Why ``metric`` (or ``accuracy``) cannot be compared between two measurements, in words; None where it can.

    Numbers of different prompts, sampling protocols, scoring conventions or encoders are never compared. The baseline
    may have more prompts: a run whose training data hold some of them leaves those out.
    """
    unknown = len(set(now.prompts.keys) - set(baseline.prompts.keys))
    if unknown:
        return (
            f"different prompts ({unknown} of {len(now.prompts.keys)} of {now.prompts.source} are not among the "
            f"baseline's of {baseline.prompts.source}; give both runs the same prompts=)"
        )
    for part in ("sampling", "scoring", *_METRIC_PARTS.get(metric, ())):
        before, after = _as_read(baseline.protocol.get(part)), _as_read(now.protocol.get(part))
        if part in ("sentence_encoder", "nli"):
            before, after = _weights(before), _weights(after)
        if part == "sampling":
            before, after = (sampling_of(found, now.prompts.tasks) for found in (before, after))
        if before != after:
            before, after = _differing(before, after)
            return f"different {part.replace('_', ' ')} ({before} at the baseline, {after} now)"
    return None


def comparison_problems(now: Measurement, baseline: Measurement) -> list[str]:
    """What cannot be compared between two measurements, a sentence for each reason; empty where everything can."""
    problems = {metric: comparison_problem(now, baseline, metric) for metric in now.metrics}
    return [
        ", ".join(metric for metric, found in problems.items() if found == problem)
        + f" cannot be compared with the baseline: {problem}. Their retained fractions stay empty."
        for problem in dict.fromkeys(found for found in problems.values() if found)
    ]


def sampling_of(sampling: Any, tasks: Iterable[str]) -> Any:
    """A record's sampling as it was on some tasks, so that one of more tasks compares with one of fewer.

    Where tasks have limits of their own, the record's ``max_new_tokens`` is the largest of them all.
    """
    if not isinstance(sampling, dict) or "max_new_tokens" not in sampling:
        return sampling
    known, most = sampling.get("limits") or {}, sampling["max_new_tokens"]
    limits = {task: known.get(task, most) for task in tasks}
    rest = {name: value for name, value in sampling.items() if name not in ("limits", "max_new_tokens")}
    different = len(set(limits.values())) > 1
    return rest | ({"limits": limits} if different else {"max_new_tokens": next(iter(limits.values()), most)})


def baseline_values(now: Measurement, baseline: Measurement, metric: str) -> dict[str, float]:
    """The baseline's value of each of its prompts, by the prompt's key; empty where the two must not be compared."""
    found = baseline.metrics.get(metric)
    if found is None or not found.per_prompt or comparison_problem(now, baseline, metric):
        return {}
    return dict(zip(baseline.prompts.keys, found.per_prompt, strict=True))


def baseline_shares(now: Measurement, baseline: Measurement, verifiers: Sequence[str]) -> dict[str, float]:
    """The baseline's share of right completions, by the prompt's key, of prompts that were verified alike.

    Shares of different verifiers, or of different ground truths, are never compared.

    Args:
        now: What it is compared with.
        baseline: The baseline.
        verifiers: What verifies each prompt of ``now``, as in ``Accuracy.verifiers``.
    """
    found = baseline.accuracy
    if found is None or comparison_problem(now, baseline, "accuracy"):
        return {}
    then = dict(zip(baseline.prompts.keys, zip(found.per_prompt, found.verifiers, strict=True), strict=True))
    pairs = zip(now.prompts.keys, verifiers, strict=True)
    return {key: then[key][0] for key, verifier in pairs if verifier and then[key][1] == verifier}


_METRIC_PARTS = {
    "ead": ("vocab_size",),
    "sbert": ("sentence_encoder",),
    "vendi": ("sentence_encoder",),
    "nli": ("nli", "nli_sentences"),
}


def _as_read(value: Any) -> Any:
    """``value`` as it comes back from a file, so that one in memory equals its own record."""
    return json.loads(json.dumps(to_plain(value), default=str))


def _weights(identity: Any) -> Any:
    """What decides whether a model is the same: the digest of its weights, else its name."""
    return identity.get("digest") or identity.get("name") if isinstance(identity, dict) else identity


def _differing(before: Any, after: Any) -> tuple[Any, Any]:
    """Two records without the entries in which they agree."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return before, after
    names = [name for name in before | after if before.get(name) != after.get(name)]
    return {name: before.get(name) for name in names}, {name: after.get(name) for name in names}
