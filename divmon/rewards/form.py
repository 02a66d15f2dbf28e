"""``format_think`` and ``length``: the form of a completion, whatever it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from divmon.checks import as_count, as_flag
from divmon.errors import InputError
from divmon.rewards.common import CLOSE, OPEN, completion_text, opens_think, parsed_reasoning
from divmon.text import extract_answer, has_unclosed_think


class FormatThink:
    """1 for one think block that is closed and then an answer that is not blank; else 0.

    Args:
        think_opened: As for ``verifiable``.
    """

    __name__ = "format_think"

    def __init__(self, think_opened: bool = False) -> None:
        self.think_opened = as_flag(think_opened, "format_think: think_opened")

    def __call__(self, *, prompts: Sequence[Any], completions: Sequence[Any], **_: Any) -> list[float | None]:
        """Score a batch."""
        return [self._score(*pair) for pair in zip(prompts, completions, strict=True)]

    def _score(self, prompt: Any, completion: Any) -> float:
        text = completion_text(completion)
        if opens_think(prompt, self.think_opened) and not parsed_reasoning(completion):
            text = OPEN + text
        once = text.lstrip().startswith(OPEN) and text.count(OPEN) == text.count(CLOSE) == 1
        return float(once and not has_unclosed_think(text) and extract_answer(text) is not None)


class Length:
    """A penalty on completions near the limit, as in DAPO (arXiv 2503.14476, equation 13).

    0 up to ``max_length - margin`` tokens, from there linearly to -1 at ``max_length``, and -1 beyond.

    Args:
        max_length: Tokens.
        margin: Tokens.
    """

    __name__ = "length"

    def __init__(self, max_length: int, margin: int) -> None:
        self.max_length = as_count(max_length, "length: max_length")
        self.margin = as_count(margin, "length: margin")
        if margin > max_length:
            raise InputError(f"length: margin ({margin}) is more than max_length ({max_length}).")

    def __call__(self, *, completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float | None]:
        """Score a batch."""
        free = self.max_length - self.margin
        return [-min(max((len(ids) - free) / self.margin, 0.0), 1.0) for ids in completion_ids]
