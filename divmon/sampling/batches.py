"""Packing: prompts x samples into batches of bounded size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Batch:
    """Rows that are generated together; a row is (index of the prompt, index of the sample).

    The rows of one prompt stand together, so that its prefill is computed once.
    """

    rows: tuple[tuple[int, int], ...]

    @property
    def prompts(self) -> tuple[int, ...]:
        """The distinct prompts in order."""
        return tuple(dict.fromkeys(prompt for prompt, _ in self.rows))

    def halves(self) -> tuple[Batch, Batch]:
        """The batch in two, for a retry with less memory."""
        middle = len(self.rows) // 2
        return Batch(self.rows[:middle]), Batch(self.rows[middle:])


def pack(prompt_lengths: Sequence[int], samples: int, new_tokens: int, batch_tokens: int) -> list[Batch]:
    """Pack every (prompt, sample) into batches, longest prompts first so that a lack of memory shows at once.

    Args:
        prompt_lengths: Tokens of each prompt.
        samples: Completions a prompt.
        new_tokens: The most tokens a completion may have.
        batch_tokens: Bound on rows x (longest prompt + new tokens); a batch has at least one row whatever the bound.
    """
    order = sorted(range(len(prompt_lengths)), key=lambda index: (-prompt_lengths[index], index))
    batches: list[Batch] = []
    rows: list[tuple[int, int]] = []
    width = 0
    for index in order:
        for sample in range(samples):
            width = width or prompt_lengths[index] + new_tokens
            if rows and (len(rows) + 1) * width > batch_tokens:
                batches.append(Batch(tuple(rows)))
                rows, width = [], prompt_lengths[index] + new_tokens
            rows.append((index, sample))
    if rows:
        batches.append(Batch(tuple(rows)))
    return batches
