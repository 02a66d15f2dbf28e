"""Which completions say nearly what another says: within a prompt, and beside the baseline's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from divmon.protocols import FloatArray, SentenceEncoder
from divmon.text import extract_answer

if TYPE_CHECKING:
    from divmon.encoders.remembering import RememberingEncoder
    from divmon.sampling.sampler import SampledPrompt

NEAR = 0.95


@dataclass(frozen=True)
class Nearness:
    """The neighbours of one prompt's completions; all NaN or None where a completion has no answer.

    Attributes:
        distances: (K,) 1 - the highest cosine with an answer that the baseline gave to the prompt: 0 where the baseline
            said the same, about 1 where it said nothing like it; NaN without a baseline's answers or an encoder.
        repeats: (K,) the first earlier completion that says the same but for case and white space, or whose embedding
            has a cosine of at least ``NEAR`` with this one's; None where there is none.
    """

    distances: tuple[float, ...]
    repeats: tuple[int | None, ...]


def nearness(
    answers: Sequence[str | None], baseline: Sequence[str | None] = (), encoder: SentenceEncoder | None = None
) -> Nearness:
    """Compare the answers to one prompt with each other and with the baseline's.

    Args:
        answers: (K,) the answers, None where there is none.
        baseline: The baseline's answers to the same prompt, likewise.
        encoder: What embeds them; without one only equal words count.
    """
    places = [place for place, answer in enumerate(answers) if answer is not None]
    texts = [answer for answer in answers if answer is not None]
    before = [answer for answer in baseline if answer is not None]
    words = [" ".join(text.split()).casefold() for text in texts]
    same = np.array([[a == b for b in words] for a in words], dtype=bool).reshape(len(texts), len(texts))
    distances, repeats = [math.nan] * len(answers), [None] * len(answers)
    if encoder is not None and texts:
        now = encoder.encode(texts)
        same |= now @ now.T >= NEAR
        if before:
            nearest: FloatArray = (now @ encoder.encode(before).T).max(axis=1)
            for place, cosine in zip(places, nearest, strict=True):
                distances[place] = max(0.0, 1.0 - float(cosine))
    for row, place in enumerate(places):
        earlier = np.flatnonzero(same[row, :row])
        repeats[place] = places[earlier[0]] if len(earlier) else None
    return Nearness(tuple(distances), tuple(repeats))


def neighbours(
    sampled: Sequence[SampledPrompt], baseline_rows: Sequence[Mapping[str, Any]], encoder: RememberingEncoder | None
) -> tuple[Nearness, ...]:
    """The neighbours of each prompt's completions; what the metrics had embedded is not embedded again.

    Args:
        sampled: The prompts with their completions, (P,).
        baseline_rows: The baseline's completions as the ledger holds them; they may be of more or fewer prompts.
        encoder: What embeds them, or None.
    """
    before = {row["key"]: answers_of(row) for row in baseline_rows}
    now = [
        [extract_answer(made.text, opened_in_prompt=prompt.rendered.think_opened) for made in prompt.completions]
        for prompt in sampled
    ]
    then = [before.get(prompt.rendered.prompt.key, ()) for prompt in sampled]
    if encoder is not None:
        texts = {text for groups in (now, then) for group in groups for text in group if text is not None}
        encoder.encode(sorted(texts))  # what is new to it in one call
        encoder.keep(texts)
    return tuple(nearness(*pair, encoder) for pair in zip(now, then, strict=True))


def answers_of(row: Mapping[str, Any], most: int | None = None) -> tuple[str | None, ...]:
    """The answers of a row's first ``most`` completions (`divmon.recording.completion_rows`); None for none."""
    opened = bool(row.get("think_opened"))
    return tuple(extract_answer(text, opened_in_prompt=opened) for text in row["outputs"][:most])
