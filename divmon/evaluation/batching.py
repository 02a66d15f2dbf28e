"""Which prompts of a unit are sampled together, and how long their completions may get."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from divmon.evaluation.load import Loaded
    from divmon.sampling.render import RenderedPrompt
    from divmon.sampling.sampler import Samples

logger = logging.getLogger(__name__)


MOST_ROWS = 256
"""Rows of a batch at the most: with short limits, ``batch_tokens`` alone would allow thousands."""


def batches(
    prompts: Sequence[RenderedPrompt], limits: Sequence[int], samples: int, batch_tokens: int
) -> list[list[int]]:
    """Places of prompts that are sampled together: of equal limit, longest first, as many as fill one batch.

    Args:
        prompts: The prompts.
        limits: The most tokens that a completion of each may have.
        samples: Completions a prompt.
        batch_tokens: Bound on rows x (prompt + limit); at least one prompt is taken whatever the bound.
    """
    order = sorted(range(len(prompts)), key=lambda place: (-limits[place], -len(prompts[place].token_ids), place))
    found: list[list[int]] = []
    for place in order:
        if found:
            first = found[-1][0]
            rows, width = (len(found[-1]) + 1) * samples, len(prompts[first].token_ids) + limits[first]
            if limits[place] == limits[first] and rows <= most_rows(width, batch_tokens):
                found[-1].append(place)
                continue
        found.append([place])
    return found


def most_rows(width: int, batch_tokens: int) -> int:
    """Rows of a batch whose longest prompt and limit are ``width`` tokens together."""
    return max(1, min(MOST_ROWS, batch_tokens // max(1, width)))


def room(prompt: RenderedPrompt, limit: int, context: int | None) -> int:
    """The most tokens that a completion of a prompt may have: the limit, or what the model's context leaves.

    That is rounded down to sixteenths of the context, where it is more than one: prompts of one limit share batches.
    """
    if context is None or (left := context - len(prompt.token_ids)) >= limit:
        return limit
    step = max(1, context // 16)
    return max(0, left - left % step if left >= step else left)


def without_room(prompts: Sequence[RenderedPrompt], samples: int, unit: str, loaded: Loaded) -> Samples:
    """Prompts that fill the model's context: nothing can be written, and that is what is kept."""
    from divmon.sampling.generate import Completion
    from divmon.sampling.sampler import Layout, SampledPrompt, Samples

    logger.warning(
        "divmon: %s: %d prompts are as long as the model's context (%s tokens) or longer: they get no completions.",
        unit,
        len(prompts),
        loaded.context,
    )
    nothing = Completion("", (), True, math.nan, math.nan)
    parameter = next(loaded.model.parameters())
    layout = Layout(1, 0, 0, 0, False, str(parameter.dtype).removeprefix("torch."), None, parameter.device.type)
    return Samples(tuple(SampledPrompt(prompt, (nothing,) * samples) for prompt in prompts), layout, 0.0)
