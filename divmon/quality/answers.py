"""Which completions of a prompt give the same final answer: what a majority vote counts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from divmon.text import extract_answer
from divmon.verifiers import reading
from divmon.verifiers.truth import Reading

SECONDS = 10.0
"""Time for the comparisons of one prompt that need math-verify; beyond it answers of different form count as different.
"""


def answer_groups(
    verifier: str,
    completions: Sequence[str],
    ground_truth: Any,
    *,
    opened_in_prompt: bool = False,
    seconds: float = SECONDS,
) -> tuple[int | None, ...] | None:
    r"""Number the distinct final answers of a prompt's completions.

    A final answer is read as the verifier reads it:

    - ``math``: the number or formula that counts (`divmon.verifiers.math`). Equal texts are equal at once, "0.5" and
      ``\frac{1}{2}`` as numbers, and only formulas that differ in form go to math-verify, in its own process;
    - ``literal``: the Python value;
    - ``match`` and ``reference``: the whole text, without case and punctuation. TruthfulQA's free answers rarely agree
      in it, so that a vote there says little (the paper's own falls below accuracy@1).

    Equality of what is written in different ways is not always transitive (12% is 12 and is 0.12), so the answers are
    compared with the commonest ones first, and each joins the first that it equals.

    Args:
        verifier: The prompt's verifier.
        completions: (K,) what the model wrote.
        ground_truth: What is right, in the verifier's form. It says what kind of value is asked for (a number, a
            formula, a text); the grouping does not look at which answers are right.
        opened_in_prompt: The prompt ended inside a think block.
        seconds: Bound on the comparisons by math-verify, all together; one of them may exceed it by its own bound of
            some 2 s.

    Returns:
        (K,) the number of each one's group, from 0 in order of first appearance; None for a completion without an
        answer. None as a whole where answers are no values: programs, and texts under constraints.

    Raises:
        InputError: For a ground truth that is not of the verifier's form.
        MathVerifyError: If math-verify is needed and cannot be run here.
    """
    found = reading(verifier, ground_truth)
    if found is None:
        return None
    answers = [extract_answer(text, opened_in_prompt=opened_in_prompt) for text in completions]
    values = [None if answer is None else found.read(answer) for answer in answers]
    keys = [None if value is None else found.key(value) for value in values]
    merged = _merged(
        found, dict(zip(keys, values, strict=True)), Counter(key for key in keys if key is not None), seconds
    )
    numbers: dict[Hashable, int] = {}
    return tuple(None if key is None else numbers.setdefault(merged[key], len(numbers)) for key in keys)


def _merged(
    found: Reading[Any], values: dict[Hashable, Any], counts: Counter[Hashable], seconds: float
) -> dict[Hashable, Hashable]:
    """For each key the one that stands for all equal answers."""
    if found.same is None:
        return {key: key for key in counts}
    same = _bounded(found.same, seconds)
    standing: dict[Hashable, Hashable] = {}
    leaders: list[Hashable] = []
    for key, _ in counts.most_common():  # of equal counts the first that appeared
        leader = next((each for each in leaders if same(values[each], values[key])), key)
        if leader is key:
            leaders.append(key)
        standing[key] = leader
    return standing


def _bounded(same: Callable[[Any, Any], bool], seconds: float) -> Callable[[Any, Any], bool]:
    deadline = time.monotonic() + seconds
    return lambda left, right: time.monotonic() < deadline and same(left, right)
