"""How many sequences a stage works on at once, on as many GPUs as its recipe is meant for."""

from __future__ import annotations

from dataclasses import dataclass

from divmon.checks import as_count
from divmon.recipes.recipe import Recipe


@dataclass(frozen=True)
class Batches:
    """Numbers of sequences (rows, pairs, completions), on all GPUs together.

    Attributes:
        gpus: GPUs that train; 1 where the recipe's ``hardware`` says nothing.
        each: Sequences of a forward pass on one GPU.
        accumulation: Forward passes of an optimiser step.
        generated: Completions that GRPO generates at once.
        iterations: How often GRPO trains on each.
    """

    gpus: int
    each: int
    accumulation: int
    generated: int
    iterations: int

    @classmethod
    def of(cls, recipe: Recipe) -> Batches:
        """Those of a recipe; what it does not say is as in TRL.

        Raises:
            InputError: If a number is none, or less than 1.
        """

        def count(name: str, default: int) -> int:
            value = recipe.settings.get(name)
            return default if value is None else as_count(value, f"{recipe.path}, {recipe.trainer}, {name}")

        gpus = as_count(recipe.hardware.get("gpus", 1), f"{recipe.path}, hardware, gpus")
        each, accumulation = count("per_device_train_batch_size", 8), count("gradient_accumulation_steps", 1)
        lasting = count("steps_per_generation", accumulation)
        generated = count("generation_batch_size", each * gpus * lasting)
        return cls(gpus, each, accumulation, generated, count("num_iterations", 1))

    @property
    def forward(self) -> int:
        """Sequences of a forward pass."""
        return self.each * self.gpus

    @property
    def step(self) -> int:
        """Sequences of an optimiser step."""
        return self.forward * self.accumulation

    @property
    def steps_per_generation(self) -> int:
        """Optimiser steps that the completions generated at once last for."""
        return max(1, self.generated * self.iterations // self.step)
