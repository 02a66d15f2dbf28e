"""What is said of an evaluation before it begins and when it is done: limits, contexts, samples."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from divmon.evaluation.request import Request
    from divmon.measurement import Measurement


def limits_text(request: Request, samples: Collection[str]) -> str:
    """Of how many tokens a completion may be, and what bounds that.

    Args:
        request: What is asked for.
        samples: The tasks whose prompts are divmon's sample.
    """
    texts = []
    for limit, names in request.tasks_by_limit.items():
        named = [f"{name}, a sample" if name in samples else name for name in names]
        if len(names) > 1 and set(names) <= set(samples):
            named = [*names[:-1], f"{names[-1]}: samples"]
        texts.append(f"{limit:,} tokens ({', '.join(named)})")
    budget = request.options.max_think_tokens if request.options.thinking == "full" else 0
    more = f", and {budget:,} more for the chain of thought" if budget else ""
    return " ".join(filter(None, [f"Completions of at most {'; '.join(texts)}{more}.", context_text(request)]))


def context_text(request: Request) -> str:
    """Which models' context is no longer than the limits, so that it bounds completions; empty where none is known."""
    budget = request.options.max_think_tokens if request.options.thinking == "full" else 0
    most = max(map(request.limit, request.counts)) + budget
    found: dict[int, list[str]] = {}
    for subject in request.subjects:
        if (context := subject.context) is not None and context <= most:
            found.setdefault(context, []).append(subject.label)
    if not found:
        return ""
    texts = [f"{context:,} tokens ({', '.join(labels)})" for context, labels in found.items()]
    return f"The model's context bounds a completion, prompt included: {'; '.join(texts)}."


def samples_text(samples: Collection[str]) -> str:
    """That the prompts of tasks are divmon's own; empty where none are."""
    if not samples:
        return ""
    return (
        f"The prompts of {', '.join(samples)} are a sample written for divmon, to try things with: their values are "
        "not the benchmark's."
    )


def missing_texts(measurement: Measurement) -> list[str]:
    """What was asked for and not measured, and why, a sentence for each reason."""
    from divmon.metrics import NAMES

    missing: dict[str, str] = dict(measurement.provenance.get("missing") or {})
    return [
        f"{' and '.join(NAMES.get(name, name) for name in missing if missing[name] == why)} not measured: {why}"
        for why in dict.fromkeys(missing.values())
    ]
