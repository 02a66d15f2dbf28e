"""What a stage trains on: how many rows, tokens and steps, and how long its sequences are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from divmon.recipes.batches import Batches
from divmon.recipes.known import known_dataset
from divmon.recipes.recipe import Recipe

MEAN_COMPLETION = 0.5
"""Mean length of a completion, as a part of the longest that is allowed."""

# TRL's defaults, in tokens.
_MAX_LENGTH = 1024
_MAX_COMPLETION = 512


@dataclass(frozen=True)
class Workload:
    """The amounts of a stage, as far as they can be known without its data; what its recipe does not say is as in TRL.

    Attributes:
        recipe: The stage, with or without training.
    """

    recipe: Recipe

    @cached_property
    def batches(self) -> Batches:
        """Sequences that it works on at once."""
        return Batches.of(self.recipe)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The fields of the trainer's config, as given."""
        return self.recipe.settings

    @property
    def completion(self) -> int:
        """Tokens of a completion of GRPO, at most."""
        return int(self.settings.get("max_completion_length") or _MAX_COMPLETION)

    @cached_property
    def length(self) -> int:
        """Tokens of a sequence in training, at most: in GRPO of a prompt of mean length with its completion."""
        if self.recipe.trainer != "grpo":
            return int(self.settings.get("max_length") or _MAX_LENGTH)
        prompts = (known_dataset(source.dataset) for source in self.recipe.data)
        return self.completion + max((known.tokens for known in prompts if known), default=0)

    @property
    def mean_length(self) -> float:
        """Tokens of a sequence in training, on average; outside GRPO it is taken to be as long as it may."""
        if self.recipe.trainer != "grpo":
            return float(self.length)
        return self.length - self.completion + MEAN_COMPLETION * self.completion

    @cached_property
    def rows(self) -> list[tuple[int, int]] | None:
        """Of each source the rows and the mean tokens of one; None where a source is not known."""
        found = []
        for source in self.recipe.data:
            known = known_dataset(source.dataset)
            if known is None:
                return None
            found.append((min(source.rows or known.rows, known.rows), known.tokens))
        return found

    @property
    def steps(self) -> int | None:
        """Optimiser steps; None where unknown, and for a stage that does not train."""
        trainer = self.recipe.trainer
        if trainer is not None and self._limit > 0:
            return self._limit
        if trainer is None or self.rows is None:
            return None
        count = float(sum(number for number, _ in self.rows))
        if trainer == "grpo":
            count *= int(self.settings.get("num_generations", 8))
        elif trainer == "sft" and self.settings.get("packing"):
            count = sum(number * min(size, self.length) for number, size in self.rows) / self.length
        return round(self._epochs * count / self.batches.step)

    @property
    def tokens(self) -> float | None:
        """Tokens that are trained on, over all epochs, in GRPO those of prompts and completions; None where unknown."""
        trainer = self.recipe.trainer
        if trainer is None or self.rows is None or self.steps is None:
            return None
        if trainer == "grpo":
            return self.steps * self.batches.step * self.mean_length
        most = self.length * (2 if trainer == "dpo" else 1)
        whole = self._epochs * sum(count * min(tokens, most) for count, tokens in self.rows)
        return whole if self._limit < 0 else min(whole, self._limit * self.batches.step * float(most))

    @property
    def _epochs(self) -> float:
        return float(self.settings.get("num_train_epochs", 3.0))

    @property
    def _limit(self) -> int:
        """``max_steps``; negative for none."""
        return int(self.settings.get("max_steps", -1))
