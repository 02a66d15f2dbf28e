"""Whether completions are language at all."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from divmon.measurement import Validity
from divmon.sampling.sampler import SampledPrompt
from divmon.scoring import TextValidity


def validity_of(prompts: Sequence[SampledPrompt], texts: TextValidity) -> Validity:
    """The validity of a measurement.

    Args:
        prompts: The prompts with their completions, (P,).
        texts: What scoring counted of their texts.

    Returns:
        Shares from 0 to 1, lengths in tokens, entropy and log-probabilities in nats a token; NaN where not measured.
    """
    completions = [completion for prompt in prompts for completion in prompt.completions]
    count = len(completions)
    judged = [completion for completion in completions if not math.isnan(completion.base_logprob)]
    base = _token_mean(judged, "base_logprob")
    return Validity(
        completions=count,
        empty=texts.empty / count,
        unclosed=texts.unclosed / count,
        truncated=sum(completion.truncated for completion in completions) / count,
        repeated=texts.repeated,
        mean_length=statistics.fmean(len(completion.token_ids) for completion in completions),
        entropy=_token_mean(completions, "entropy"),
        logprob=_token_mean(completions, "logprob"),
        base_logprob=base,
        base_gap=_token_mean(judged, "logprob") - base if judged else math.nan,
        unmeasured=texts.unmeasured_prompts,
    )


def _token_mean(completions: Sequence[Any], name: str) -> float:
    """Mean over all tokens of a per-completion mean; NaN without any."""
    tokens = [(getattr(completion, name), len(completion.token_ids)) for completion in completions]
    count = sum(length for _, length in tokens)
    return sum(value * length for value, length in tokens if length) / count if count else math.nan
