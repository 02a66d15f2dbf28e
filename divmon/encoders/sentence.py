"""A sentence-transformers model as divmon's sentence encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from divmon.encoders.folder import outside_zero3
from divmon.errors import InputError
from divmon.protocols import ModelIdentity


class SentenceTransformerEncoder:
    """Unit vectors of a sentence-transformers model, in fp32 whatever the training run's precision is.

    Touches no random generator and no global setting. A text's vector depends on the other texts of the call
    only by floating point (about 1e-7), and not at all on their order.
    """

    def __init__(
        self, folder: Path, identity: ModelIdentity, device: str = "cpu", batch_size: int | None = None
    ) -> None:
        """Load the model.

        Args:
            folder: Local folder; no network is asked.
            identity: Which model it is.
            device: Torch device.
            batch_size: Texts that go through the model together; default: 16 on a CPU, where larger batches were
                measured to be no faster, else 64.
        """
        import torch
        from sentence_transformers import SentenceTransformer

        with outside_zero3():
            self._model = SentenceTransformer(
                str(folder), device=device, local_files_only=True, model_kwargs={"dtype": torch.float32}
            )
        self._model.eval().requires_grad_(False)
        self._identity = identity
        self._batch_size = batch_size

    @property
    def identity(self) -> ModelIdentity:
        """Which model this is."""
        return self._identity

    def to(self, device: str) -> SentenceTransformerEncoder:
        """Move the model to a torch device and return the encoder."""
        self._model.to(device)
        return self

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, each distinct one once, in batches of like length.

        Args:
            texts: Any strings, empty ones too; cut to the model's own maximum.

        Returns:
            Array (len(texts), dimension), rows of Euclidean length 1.

        Raises:
            InputError: If ``texts`` is one string.
        """
        if isinstance(texts, str):
            raise InputError("Expected a list of texts to embed, got one string: put it in a list.")
        import torch

        if not texts:
            return np.zeros((0, self._model.get_embedding_dimension() or 0), dtype=np.float32)
        distinct = sorted(set(texts), key=lambda text: (-len(text), text))
        row = {text: number for number, text in enumerate(distinct)}
        device = self._model.device.type
        size = self._batch_size or (16 if device == "cpu" else 64)
        with torch.autocast(device, enabled=False):
            table = self._model.encode(distinct, batch_size=size, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(table, dtype=np.float32)[[row[text] for text in texts]]
