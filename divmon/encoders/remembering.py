"""An encoder that embeds a text once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np

from divmon.protocols import FloatArray, ModelIdentity, SentenceEncoder


class RememberingEncoder:
    """Keeps what it embedded, so that the metrics, the near-duplicates and the comparison with the baseline share it.

    Args:
        encoder: What embeds.
    """

    def __init__(self, encoder: SentenceEncoder) -> None:
        self._encoder = encoder
        self._known: dict[str, FloatArray] = {}

    @property
    def identity(self) -> ModelIdentity:
        """Which model this is."""
        return self._encoder.identity

    def to(self, device: str) -> Self:
        """Move the model to a torch device."""
        self._encoder.to(device)
        return self

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Embed ``texts``: an array (len(texts), dimension), each row of Euclidean length 1."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, np.asarray(self._encoder.encode(new)), strict=True))
        return np.stack([self._known[text] for text in texts]) if texts else np.empty((0, 0))

    def keep(self, texts: Iterable[str]) -> None:
        """Forget all but ``texts``."""
        wanted = set(texts)
        self._known = {text: row for text, row in self._known.items() if text in wanted}
