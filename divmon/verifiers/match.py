"""``match``: the answer is the reference, word for word.

Case, white space (before punctuation too: "now ." is "now."), quotation marks around the whole and closing ``.``, ``!``
and ``?`` do not count. The ground truth is one reference or a list of them, of which any will do.
"""

from __future__ import annotations

import re
from typing import Any

from divmon.verifiers.truth import Check, Reading, alternatives

_BEFORE_PUNCTUATION = re.compile(r" (?=[.,;:!?])")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "`": "`"}


def checker(ground_truth: Any) -> Check:
    """The check against one or several references.

    Raises:
        InputError: If the ground truth is not a text, a number or a list of them.
    """
    wanted = {normalise(text) for text in alternatives("match", ground_truth)}
    return lambda answer: float(normalise(answer) in wanted)


def reading(_: Any) -> Reading[str]:
    """An answer is the whole text, as it is compared."""
    return Reading(lambda answer: normalise(answer) or None, str)


def normalise(text: str) -> str:
    """``text`` as it is compared."""
    text = _BEFORE_PUNCTUATION.sub("", " ".join(text.casefold().split())).rstrip(".!? ")
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip().rstrip(".!? ")
    return text
