"""Rewards by what each row says is right: what they share, and ``verifiable``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from divmon.checks import as_flag
from divmon.errors import InputError
from divmon.rewards.common import completion_text, opens_think, warn_left_out
from divmon.verifiers import OUTSIDE, verify


class _Row(NamedTuple):
    prompt: Any
    completion: Any
    verifier: str | None
    ground_truth: Any


class ByVerifier(ABC):
    """A score for each row whose verifier `concerns` it, 0 to 1; None for the others.

    Each score goes to the trainer's log as ``accuracy/<verifier>``. A ground truth that its verifier does not
    understand gives None too, with a warning for each reason, so that one odd row does not end a training;
    `divmon.verifiers.check_ground_truth` finds such rows beforehand. What is amiss with the machine does end it.

    Args:
        think_opened: As for ``verifiable``.
        options: What the verifiers take beside (`divmon.verifiers.verify`).
    """

    __name__: str

    def __init__(self, think_opened: bool, options: dict[str, Any]) -> None:
        self.think_opened = as_flag(think_opened, f"{self.__name__}: think_opened")
        self.options = options
        self._reasons: set[str] = set()

    @abstractmethod
    def concerns(self, verifier: str) -> bool:
        """Whether rows with this verifier (not empty) are this reward's."""

    def scored(self, rows: Sequence[_Row]) -> Iterable[float | InputError]:
        """The score of each row, in order, or what is amiss with its ground truth."""
        return map(self.score, rows)

    def score(self, row: _Row) -> float | InputError:
        """The score of one row, or what is amiss with its ground truth."""
        text, opened = completion_text(row.completion), opens_think(row.prompt, self.think_opened)
        try:
            return verify(row.verifier or "", text, row.ground_truth, opened_in_prompt=opened, **self.options)
        except InputError as error:
            return error

    def __call__(
        self,
        *,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        verifier: Sequence[str | None] | None = None,
        ground_truth: Sequence[Any] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """Score a batch; see the class.

        Raises:
            InputError: If the data have no column ``verifier`` or ``ground_truth``.
            DivmonError: If what a verifier needs of this machine is not to be had (math-verify, a sandbox).
        """
        if verifier is None or ground_truth is None:
            raise InputError(
                f"The reward {self.__name__!r} needs the columns 'verifier' and 'ground_truth', which the training "
                f"data lack ({'verifier' if verifier is None else 'ground_truth'} is missing)."
            )
        rows = [_Row(*row) for row in zip(prompts, completions, verifier, ground_truth, strict=True)]
        ours = [place for place, row in enumerate(rows) if row.verifier and self.concerns(row.verifier)]
        scores: list[float | None] = [None] * len(rows)
        for place, score in zip(ours, self.scored([rows[place] for place in ours]), strict=True):
            if isinstance(score, InputError):
                warn_left_out(self.__name__, score, self._reasons)
                continue
            scores[place] = score
            if log_metric is not None:
                # A value a completion: TRL averages them, over processes too.
                log_metric(f"accuracy/{rows[place].verifier}", score)
        return scores


class Verifiable(ByVerifier):
    """The score of each row's verifier; see `ByVerifier`.

    Rows whose verifier runs programs or asks a model (``code``, ``judge``) are left to the rewards of that name.

    Args:
        think_opened: The chat template opens the think block, so that completions begin inside it. A prompt that is a
            text and ends with ``<think>`` is understood by itself.
    """

    __name__ = "verifiable"

    def __init__(self, think_opened: bool = False) -> None:
        super().__init__(think_opened, {})

    def concerns(self, verifier: str) -> bool:
        """All but those that reach beyond this process."""
        return verifier not in OUTSIDE
