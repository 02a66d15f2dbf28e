"""NLI, logical diversity: how little the completions entail, and how much they contradict, each other."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from divmon.errors import InputError
from divmon.protocols import NliClassifier
from divmon.text import split_sentences


def nli(
    groups: Sequence[Sequence[str]],
    classifier: NliClassifier,
    pairs: int | Literal["all"] = 3,
    seed: int = 0,
) -> NDArray[np.float64]:
    """One less the mean agreement of position-aligned sentences, for each prompt.

    For each pair of completions i < j the first sentence meets the first, the second the second, as far as
    the shorter completion goes. A sentence pair (a, b) scores the mean over both directions of P(entail) -
    P(contradict), identical sentences included. The value is 1 - the mean over all scored sentence pairs of
    the prompt, so a pair of long completions weighs more.

    Range 0 to 2, no unit, higher is more diverse. 0: every sentence entails its partner; 1: neutral on
    balance; above 1: net contradiction. Not meaningful on code.

    Sampled positions depend on ``seed``, i, j and the number of aligned sentences only, so every measurement
    of a run takes the same ones. All prompts go through the classifier in one call, each distinct ordered
    pair once; apart from the distinct pairs' tuples, memory is about 100 bytes a scored sentence pair (500
    prompts of 16 completions at 3 positions: 180,000).

    Args:
        groups: For each of P prompts its completions, think blocks already taken off.
        classifier: Gives the probabilities; called once, or never where there is nothing to score.
        pairs: Sentence positions scored for a pair of completions: at most this many, drawn without
            replacement, or ``"all"``.
        seed: Chooses the positions; not negative.

    Returns:
        Array (P,); NaN where a prompt has fewer than two completions or no two with a sentence each.

    Raises:
        InputError: If ``pairs`` or ``seed`` is out of range, or the classifier's answer has another shape
            than (number of pairs, 3) or is not finite.

    Source:
        Stasaski and Hearst 2022, "Semantic Diversity in Dialogue with Natural Language Inference"; alignment,
        pooling and classifier (roberta-large-mnli) as in arXiv 2604.16027.
    """
    if pairs != "all" and (isinstance(pairs, str) or pairs < 1):
        raise InputError(f"NLI needs pairs of at least 1 or 'all', got {pairs!r}.")
    if seed < 0:
        raise InputError(f"NLI needs a seed that is not negative, got {seed}.")
    limit = None if pairs == "all" else pairs

    number: dict[str, int] = {}  # sentence -> its number, in order of appearance
    left, right = array("q"), array("q")  # the scored sentence pairs of all prompts, by number
    counts = np.zeros(len(groups), dtype=np.int64)
    for prompt, group in enumerate(groups):
        before = len(left)
        documents = [[number.setdefault(s, len(number)) for s in split_sentences(text)] for text in group]
        for (i, first), (j, second) in combinations(enumerate(documents), 2):
            positions = _positions(seed, i, j, min(len(first), len(second)), limit)
            left.extend([first[k] for k in positions])
            right.extend([second[k] for k in positions])
        counts[prompt] = len(left) - before

    values = np.full(len(groups), np.nan)
    if len(left):
        agreement = _agreement(np.array(left), np.array(right), list(number), classifier)
        owner = np.repeat(np.arange(len(groups)), counts)
        scored = counts > 0
        sums = np.bincount(owner, weights=agreement, minlength=len(groups))
        values[scored] = 1.0 - sums[scored] / counts[scored]
    return values


def _positions(seed: int, i: int, j: int, aligned: int, limit: int | None) -> Iterable[int]:
    """Which of the ``aligned`` sentence positions of completions i and j are scored, ascending."""
    if limit is None or aligned <= limit:
        return range(aligned)
    return _drawn_positions(seed, i, j, aligned, limit)


@lru_cache(maxsize=16384)  # all prompts of a measurement ask for the same ones
def _drawn_positions(seed: int, i: int, j: int, aligned: int, limit: int) -> tuple[int, ...]:
    drawn = np.random.default_rng((seed, i, j, aligned)).choice(aligned, size=limit, replace=False)
    return tuple(sorted(drawn.tolist()))


def _agreement(
    left: NDArray[np.int64], right: NDArray[np.int64], sentences: list[str], classifier: NliClassifier
) -> NDArray[np.float64]:
    """Mean over both directions of P(entail) - P(contradict), for each pair of sentence numbers."""
    size = len(sentences)
    codes = np.concatenate([left * size + right, right * size + left])
    distinct, inverse = np.unique(codes, return_inverse=True)
    asked = [(sentences[code // size], sentences[code % size]) for code in distinct.tolist()]
    answer = np.asarray(classifier.probabilities(asked), dtype=np.float64)
    if answer.shape != (len(asked), 3):
        raise InputError(
            f"Expected NLI probabilities of shape {(len(asked), 3)}, got {answer.shape}: the classifier must "
            "give P(entailment), P(neutral), P(contradiction) for each pair."
        )
    if not np.isfinite(answer).all():
        raise InputError("The NLI classifier gave NaN or infinity: it failed on a pair (half precision?).")
    score = (answer[:, 0] - answer[:, 2])[inverse]
    return (score[: len(left)] + score[len(left) :]) / 2
