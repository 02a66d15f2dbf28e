"""EAD, lexical diversity: distinct n-grams against the number expected of uniformly drawn ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from divmon.errors import InputError
from divmon.text import ngram_tokens


def ead(groups: Sequence[Sequence[str]], vocab_size: int, max_n: int = 5) -> NDArray[np.float64]:
    """Expectation-adjusted distinct n-grams of each prompt's completions.

    For n = 1..max_n, with U distinct among the T whitespace n-grams of all completions of the prompt (none
    crosses from one completion into the next) and V = ``vocab_size``::

        EAD_n = U / (V * (1 - ((V - 1) / V) ** T)), at most 1;   EAD = mean of EAD_n over n

    Range 0 to 1, no unit, higher is more diverse. Near 1: hardly an n-gram occurs twice, within or across
    completions. K identical completions without repeats inside give about 1 / K. Where T = 0 (all completions
    have fewer than n words, or are empty) EAD_n is 0, so very short completions lower the value.

    Args:
        groups: For each of P prompts its completions, think blocks already taken off.
        vocab_size: V, the number of entries of the tokenizer (the paper: its ``vocab_size``), at least 2.
        max_n: Longest n-gram, at least 1.

    Returns:
        Array (P,); NaN where a prompt has fewer than two completions.

    Raises:
        InputError: If ``vocab_size`` or ``max_n`` is too small.

    Source:
        Liu et al. 2022, "Rethinking and Refining the Distinct Metric"; tokens and mean over n as in the
        public code of arXiv 2604.16027.
    """
    if vocab_size < 2:
        raise InputError(f"EAD needs a vocab_size of at least 2, got {vocab_size}: pass the tokenizer's.")
    if max_n < 1:
        raise InputError(f"EAD needs max_n of at least 1, got {max_n}.")
    return np.array([_ead_one(group, vocab_size, max_n) for group in groups], dtype=np.float64)


def _ead_one(completions: Sequence[str], vocab_size: int, max_n: int) -> float:
    if len(completions) < 2:
        return math.nan
    documents = [ngram_tokens(completion) for completion in completions]
    log_miss = math.log1p(-1 / vocab_size)
    total = 0.0
    for n in range(1, max_n + 1):
        distinct: set[tuple[str, ...]] = set()
        count = 0
        for tokens in documents:
            distinct.update(zip(*(tokens[k:] for k in range(n)), strict=False))
            count += max(0, len(tokens) - n + 1)
        if count:
            expected = -vocab_size * math.expm1(count * log_miss)
            total += min(1.0, len(distinct) / expected)
    return total / max_n
