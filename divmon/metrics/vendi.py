"""Vendi score, semantic modes: the effective number of different completions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from divmon.metrics.sbert import cosine_gram
from divmon.protocols import FloatArray


def vendi(embeddings: Sequence[FloatArray]) -> NDArray[np.float64]:
    """Effective number of different completions of each prompt.

    ``exp(-sum w log w)`` over the eigenvalues w of G / K, with G the cosine Gram matrix in float64; computed
    by the vendi-score package. Range 1 to K (rounding beyond it is cut off), in completions, higher is more
    diverse.
    1: all embeddings are the same; K: all are orthogonal. The value grows with K, so compare only equal K.

    Args:
        embeddings: For each of P prompts an array (K, D) with a unit row for each completion.

    Returns:
        Array (P,); NaN where a prompt has fewer than two completions.

    Raises:
        InputError: If an array is not (K, D), not finite, or has rows whose length is off 1 by over 1e-3.

    Source:
        Friedman and Dieng 2023, "The Vendi Score", q = 1; kernel as in arXiv 2604.16027.
    """
    from vendi_score import vendi as package  # takes over a second to import: only where it is used

    values = np.full(len(embeddings), np.nan)
    with warnings.catch_warnings():
        # score_K looks at scipy.sparse.csr, a deprecated name.
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*csr_matrix")
        for index, rows in enumerate(embeddings):
            gram = cosine_gram(rows)
            if len(gram) >= 2:
                values[index] = np.clip(package.score_K(gram), 1.0, len(gram))
    return values
