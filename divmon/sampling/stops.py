"""Stop sequences: where a completion of a model without a chat template ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria

from divmon.text import has_unclosed_think

Decode = Callable[[list[int]], str]

_EVERY = 8  # steps between two looks: what is written in between is cut off again, and looking costs
_CLOSE = "</think>"


def stop_position(text: str, stop: Sequence[str], think_opened: bool = False) -> int | None:
    """Where the first of the stop sequences begins in what a model wrote; None where there is none.

    They are not looked for within reasoning: only behind the last think block, and not at all in an open one.
    """
    if not stop or has_unclosed_think(text, opened_in_prompt=think_opened):
        return None
    start = text.rfind(_CLOSE) + len(_CLOSE) if _CLOSE in text else 0
    return min((place for word in stop if (place := text.find(word, start)) >= 0), default=None)


def tokens_to_stop(token_ids: list[int], decode: Decode, stop: Sequence[str], think_opened: bool = False) -> int:
    """How many tokens it takes until a stop sequence is complete, given that one is."""
    low, high = 1, len(token_ids)
    while low < high:
        middle = (low + high) // 2
        if stop_position(decode(token_ids[:middle]), stop, think_opened) is None:
            low = middle + 1
        else:
            high = middle
    return low


class StopSequences(StoppingCriteria):
    """Ends the rows that have written a stop sequence, soon after; where exactly they end is said afterwards.

    Args:
        stop: For each row its stop sequences, and whether its prompt opened a think block.
        prompt_width: Width of the padded prompt.
        decode: Turns tokens into text.
    """

    def __init__(self, stop: Sequence[tuple[Sequence[str], bool]], prompt_width: int, decode: Decode) -> None:
        self.stop = stop
        self.prompt_width = prompt_width
        self.decode = decode
        # A token is at least a byte of text; some more for special ones, which are none.
        longest = max((len(word.encode()) for words, _ in stop for word in words), default=0)
        self.window = longest + 2 * _EVERY
        self._ended = [False] * len(stop)

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Any:
        """(rows,) bool: whether a row has ended."""
        written = input_ids.shape[1] - self.prompt_width
        if written % _EVERY == 0:
            tails = input_ids[:, -min(written, self.window) :].tolist()
            for row, (words, opened) in enumerate(self.stop):
                if self._ended[row] or not words:
                    continue
                tail = self.decode(tails[row])
                if any(word in tail for word in words):
                    whole = self.decode(input_ids[row, self.prompt_width :].tolist())
                    self._ended[row] = stop_position(whole, words, opened) is not None
        return torch.tensor(self._ended, device=input_ids.device)
