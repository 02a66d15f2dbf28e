r"""Memory and hours of a stage, estimated from the model's config and token counts.

Symbols, here, in ``memory.py`` and in ``hours.py``: N parameters, h hidden size, f size of the MLP, L layers, V
vocabulary, q and k the widths of all query and all key heads, T tokens that a GPU trains on at once.

Parameters (Llama-like blocks with norms after the sublayers, on queries and on keys, as OLMo 2 and 3 have):
    N = (1 or 2 where the head is not tied) V h + L (2 h q + 2 h k + 3 h f + q + k + 2 h) + h

Operations a token, forward: 2 (N - V h) + 4 q L v, where v is the mean number of tokens that attention sees: half a
sequence, at most the window in a layer that slides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from divmon.recipes.hours import hour_parts
from divmon.recipes.memory import memory_parts, peak_gb
from divmon.recipes.recipe import Recipe
from divmon.recipes.workload import Workload
from divmon.shape import Shape


@dataclass(frozen=True)
class Estimate:
    """What a stage is estimated to need.

    Attributes:
        parameters: Of the model.
        trained: Of those and the adapters, how many are trained.
        memory: Part -> GB of a GPU.
        hours: Part -> hours of the whole stage; empty where a token count or ``hardware`` is missing.
        tokens: Tokens that are trained on, over all epochs; None where unknown.
        steps: Optimiser steps; None where unknown.
    """

    parameters: int
    trained: int
    memory: Mapping[str, float]
    hours: Mapping[str, float]
    tokens: float | None
    steps: int | None

    @property
    def memory_gb(self) -> float:
        """GB of a GPU at the peak."""
        return peak_gb(self.memory)

    @property
    def total_hours(self) -> float | None:
        """Hours of the whole stage, or None."""
        return sum(self.hours.values()) if self.hours else None


def estimate(recipe: Recipe, config: Mapping[str, Any]) -> Estimate:
    """Estimate a stage.

    Args:
        recipe: The stage, with or without training.
        config: The config of the model it starts from (keys as in ``config.json``).

    Returns:
        The estimate, for the recipe's ``hardware``; for one GPU where that says nothing.

    Raises:
        InputError: If a size is missing in the config.
    """
    shape, workload = Shape.of(config), Workload(recipe)
    lora = recipe.lora
    adapters = 0 if lora is None else shape.adapters(int(lora.get("r", 8)), lora.get("target_modules"))
    return Estimate(
        parameters=shape.parameters,
        trained=0 if recipe.trainer is None else shape.parameters if lora is None else adapters,
        memory=memory_parts(workload, shape, adapters),
        hours=hour_parts(workload, shape),
        tokens=workload.tokens,
        steps=workload.steps,
    )
