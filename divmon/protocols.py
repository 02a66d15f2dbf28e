"""What a sentence encoder and an NLI classifier must offer; the metrics know nothing else of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

Origin = Literal["hub", "cache", "package", "path", "shipped"]


@dataclass(frozen=True)
class ModelIdentity:
    """Which model computed a value; two values are comparable only where the identities' keys agree.

    Attributes:
        name: Full name (``sentence-transformers/all-mpnet-base-v2``) or the path it was loaded from.
        digest: SHA-256 of the weights file, 64 hex digits; None where there are several files.
        origin: Where it was found: the hub, the hub's local cache, a package of the index, a path, or
            shipped inside divmon.
        fallback_for: Name of the model it stands in for, or None where it is the one that was asked for.
    """

    name: str
    digest: str | None
    origin: Origin
    fallback_for: str | None = None

    @property
    def key(self) -> str:
        """What decides comparability: the weights' digest, else the name."""
        return self.digest or self.name


class SentenceEncoder(Protocol):
    """Turns texts into unit vectors."""

    @property
    def identity(self) -> ModelIdentity:
        """Which model this is."""

    def to(self, device: str) -> Self:
        """Move the model to a torch device."""

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Embed ``texts``: an array (len(texts), dimension), each row of Euclidean length 1."""


class NliClassifier(Protocol):
    """Judges whether a premise entails or contradicts a hypothesis."""

    @property
    def identity(self) -> ModelIdentity:
        """Which model this is."""

    def to(self, device: str) -> Self:
        """Move the model to a torch device."""

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        """Classify (premise, hypothesis) pairs: an array (len(pairs), 3).

        The columns are P(entailment), P(neutral), P(contradiction) whatever the model's own order; rows sum to 1.
        """
