"""Encoders that need no weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest

from divmon.protocols import FloatArray, ModelIdentity


class FakeEncoder:
    """Embeds a text as a unit vector that its words decide."""

    identity = ModelIdentity("fake/encoder", "0" * 64, "shipped")

    def to(self, device: str) -> FakeEncoder:
        return self

    def encode(self, texts: Sequence[str]) -> FloatArray:
        rows = np.full((len(texts), 16), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                rows[row, hashlib.md5(word.encode()).digest()[0] % 16] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class FakeNli:
    """Says entailment for equal sentences and contradiction else."""

    identity = ModelIdentity("fake/nli", "1" * 64, "shipped")

    def to(self, device: str) -> FakeNli:
        return self

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> FloatArray:
        rows = [(0.8, 0.1, 0.1) if left == right else (0.1, 0.3, 0.6) for left, right in pairs]
        return np.array(rows, dtype=np.float32).reshape(-1, 3)


def use_fakes(patch: pytest.MonkeyPatch) -> None:
    """Encoders without weights in the place of the real ones; in a test the fixture ``fake_encoders`` does it."""
    from divmon import encoders

    patch.setitem(vars(encoders), "load_sentence_encoder", lambda *_, **__: FakeEncoder())
    patch.setitem(vars(encoders), "load_nli", lambda *_, **__: FakeNli())
