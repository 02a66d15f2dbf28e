"""How many of the sampled completions are right, on prompts that have a verifier."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Sequence

from divmon.errors import DivmonError
from divmon.prompt import Prompt, content_digest
from divmon.prompts import PromptSet
from divmon.sampling.sampler import SampledPrompt
from divmon.verifiers import verify

logger = logging.getLogger(__name__)


class Verification:
    """Verifies the completions of one prompt set; what it cannot verify it says once.

    Args:
        prompts: The prompts.

    Attributes:
        labels: What verifies each prompt, as in ``Accuracy.verifiers``: one a prompt in the set's order.
        fault: Why prompts with a verifier were not verified; empty where all were.
    """

    def __init__(self, prompts: PromptSet) -> None:
        self.prompts = prompts
        self.labels = tuple(_label(prompt) for prompt in prompts)
        self.fault = ""
        self._said = False

    def shares(self, sampled: Sequence[SampledPrompt]) -> list[float]:
        """Share of each prompt's completions that verify, 0 to 1; NaN without a verifier, or one that cannot be used.

        Args:
            sampled: The prompts with their completions, (P,).
        """
        self._say_what_is_left_out()
        return [self._share(prompt) for prompt in sampled]

    def _share(self, sampled: SampledPrompt) -> float:
        prompt, opened = sampled.rendered.prompt, sampled.rendered.think_opened
        if not prompt.verifiable:
            return math.nan
        try:
            return statistics.fmean(
                verify(prompt.verifier, completion.text, prompt.ground_truth, opened_in_prompt=opened)
                for completion in sampled.completions
            )
        except DivmonError as error:
            if not self.fault:
                self.fault = str(error)
                logger.warning("divmon: accuracy is not measured on prompt %s and its like. %s", prompt.id, error)
            return math.nan

    def _say_what_is_left_out(self) -> None:
        """Prompts whose verifier is not for measurements."""
        left = [prompt.verifier for prompt in self.prompts if prompt.verifier and not prompt.verifiable]
        if left and not self._said:
            logger.warning(
                "divmon: accuracy is not measured on %d of %d prompts, whose verifier is %s: a measurement runs no "
                "programs and asks no judge. Everything else is measured on them.",
                len(left),
                len(self.prompts),
                " or ".join(sorted(set(left))),
            )
        self._said = True


def _label(prompt: Prompt) -> str:
    return f"{prompt.verifier}:{content_digest(prompt.ground_truth)[:8]}" if prompt.verifiable else ""
