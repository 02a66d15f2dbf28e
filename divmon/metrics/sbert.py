"""SBERT, semantic diversity: one less the mean cosine between the completions' embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from divmon.errors import InputError
from divmon.protocols import FloatArray

_UNIT_TOLERANCE = 1e-3


def cosine_gram(rows: FloatArray) -> NDArray[np.float64]:
    """Cosines between all pairs of unit rows, in float64.

    Rows are checked, then scaled to length 1 in float64, which takes away the rounding of float32 and
    bfloat16
    encoders: equal rows have cosine 1 to 1e-15.

    Args:
        rows: Array (K, D) of unit rows; an array without elements stands for K = 0.

    Returns:
        Array (K, K), symmetric, values in [-1, 1], ones on the diagonal.

    Raises:
        InputError: If ``rows`` is not two-dimensional, not finite, or a row's length is off 1 by over 1e-3.
    """
    rows = np.asarray(rows, dtype=np.float64)
    if rows.size == 0:
        return np.ones((0, 0))
    if rows.ndim != 2:
        raise InputError(f"Expected the embeddings of a prompt as an array (K, D), got shape {rows.shape}.")
    if not np.isfinite(rows).all():
        raise InputError(
            "The embeddings of a prompt hold NaN or infinity: the encoder failed on a text (half precision?)."
        )
    lengths = np.linalg.norm(rows, axis=1)
    worst = lengths[np.argmax(np.abs(lengths - 1))]
    if abs(worst - 1) > _UNIT_TOLERANCE:
        raise InputError(
            f"Expected embeddings of unit length, got a row of length {worst:.6g}: normalise them "
            "(normalize_embeddings=True in sentence-transformers)."
        )
    rows = rows / lengths[:, None]
    gram = np.clip(rows @ rows.T, -1.0, 1.0)
    np.fill_diagonal(gram, 1.0)
    return gram


def sbert(embeddings: Sequence[FloatArray]) -> NDArray[np.float64]:
    """Mean cosine distance between the completions of each prompt.

    ``1 - mean over pairs i < j of cos(e_i, e_j)``. Range 0 to K / (K - 1), so 2 for two completions; no unit;
    higher is more diverse. 0: all completions mean the same (identical texts give 0 to 1e-15). Unrelated
    texts give about 0.9 to 1; above 1 needs vectors that point away from each other, which texts rarely have.

    Args:
        embeddings: For each of P prompts an array (K, D) with a unit row for each completion.

    Returns:
        Array (P,); NaN where a prompt has fewer than two completions.

    Raises:
        InputError: If an array is not (K, D), not finite, or has rows whose length is off 1 by over 1e-3.

    Source:
        arXiv 2604.16027 (encoder all-mpnet-base-v2), after Kirk et al. 2024.
    """
    return np.array([_sbert_one(cosine_gram(rows)) for rows in embeddings], dtype=np.float64)


def _sbert_one(gram: NDArray[np.float64]) -> float:
    if len(gram) < 2:
        return float("nan")
    return float(1.0 - gram[np.triu_indices(len(gram), 1)].mean())
