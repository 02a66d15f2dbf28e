"""Which of the sampled completions are right, on prompts that have a verifier."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from divmon.errors import DivmonError
from divmon.prompt import Prompt, content_digest
from divmon.prompts import PromptSet
from divmon.verifiers import verify
from divmon.visible import visible

if TYPE_CHECKING:
    from divmon.sampling.sampler import SampledPrompt

logger = logging.getLogger(__name__)

Verdicts = tuple[float, ...] | None
"""How right each completion of a prompt is, 0 (wrong) to 1 (right); None without a verifier that could be used."""

RIGHT = 1.0
"""The verdict from which on a completion counts as right."""


class Verification:
    """Verifies the completions of one prompt set; what it cannot verify it says once.

    Args:
        prompts: The prompts.
        code: What the verifier ``code`` is given (`divmon.verifiers.code.checker`), with ``execute_code=True``; by
            default no program is run, and prompts with that verifier count as without one.

    Attributes:
        labels: What verifies each prompt, as in ``Accuracy.verifiers``: one a prompt in the set's order.
        fault: Why prompts with a verifier were not verified the last time; empty where all were.
    """

    def __init__(self, prompts: PromptSet, code: Mapping[str, Any] | None = None) -> None:
        self.prompts = prompts
        self._options: dict[str, Mapping[str, Any]] = {} if code is None else {"code": code}
        self.labels = tuple(self._label(prompt) for prompt in prompts)
        self.fault = ""
        self._said = self._faulted = False
        self._ran: dict[tuple[str, str], float | DivmonError] = {}

    def verdicts(self, sampled: Sequence[SampledPrompt]) -> list[Verdicts]:
        """How right each completion is.

        Args:
            sampled: The prompts with their completions, (P,).

        Returns:
            (P,) tuples of K verdicts; None for a prompt without a verifier, or one that cannot be used.
        """
        self._say_what_is_left_out()
        self.fault = ""
        if any(self._runs_programs(each.rendered.prompt) for each in sampled):
            self._run_programs(sampled)
        try:
            return [self._verdicts(prompt) for prompt in sampled]
        finally:
            self._ran.clear()

    def _usable(self, prompt: Prompt) -> bool:
        return prompt.verifiable or prompt.verifier in self._options

    def _verdicts(self, sampled: SampledPrompt) -> Verdicts:
        prompt, opened = sampled.rendered.prompt, sampled.rendered.think_opened
        if not self._usable(prompt):
            return None
        try:
            return tuple(self._verdict(prompt, completion.text, opened) for completion in sampled.completions)
        except DivmonError as error:
            if not self.fault:
                self.fault = str(error)
            if not self._faulted:
                logger.warning(
                    "divmon: accuracy is not measured on prompt %s and its like. %s", visible(prompt.id), error
                )
            self._faulted = True
            return None

    def _verdict(self, prompt: Prompt, text: str, opened: bool) -> float:
        ran = self._ran.get((prompt.key, text))
        if isinstance(ran, DivmonError):
            raise ran
        if ran is not None:
            return ran
        options = self._options.get(prompt.verifier, {})
        return verify(prompt.verifier, text, prompt.ground_truth, opened_in_prompt=opened, **options)

    def _runs_programs(self, prompt: Prompt) -> bool:
        return prompt.verifier == "code" and self._usable(prompt)

    def _run_programs(self, sampled: Sequence[SampledPrompt]) -> None:
        """Run the programs of all prompts, several at a time; of completions that say the same one."""
        from divmon.sandbox.pool import finished

        def job(prompt: Prompt, text: str, opened: bool) -> float | DivmonError:
            try:
                return self._verdict(prompt, text, opened)
            except DivmonError as error:
                return error

        jobs = {
            (prompt.key, completion.text): partial(job, prompt, completion.text, each.rendered.think_opened)
            for each in sampled
            if self._runs_programs(prompt := each.rendered.prompt)
            for completion in each.completions
        }
        self._ran.update(finished(jobs))

    def _say_what_is_left_out(self) -> None:
        """Prompts whose verifier is not for measurements."""
        left = [prompt.verifier for prompt in self.prompts if prompt.verifier and not self._usable(prompt)]
        if left and not self._said:
            logger.warning(
                "divmon: accuracy is not measured on %d of %d prompts, whose verifier is %s: a measurement asks no "
                "judge, and runs programs only with execute_code=True (--execute-code). Everything else is "
                "measured on them.",
                len(left),
                len(self.prompts),
                " or ".join(sorted(set(left))),
            )
        self._said = True

    def _label(self, prompt: Prompt) -> str:
        return label_of(prompt.verifier, prompt.ground_truth) if self._usable(prompt) else ""


def label_of(verifier: str, ground_truth: Any) -> str:
    """A verifier and a digest of what is right: verdicts of one label mean the same."""
    return f"{verifier}:{content_digest(ground_truth)[:8]}"


def shares_of(verdicts: Sequence[Verdicts]) -> list[float]:
    """Mean verdict of each prompt, 0 to 1; NaN where there is none."""
    return [statistics.fmean(found) if found else math.nan for found in verdicts]
