"""A sentence-transformers model as divmon's sentence encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from divmon.encoders.folder import outside_zero3
from divmon.errors import InputError
from divmon.protocols import ModelIdentity

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


_PLAIN_MODEL_TOKENS = 512


class SentenceTransformerEncoder:
    """Unit vectors of a sentence-transformers model, in fp32 whatever the training run's precision is.

    A plain encoder (microsoft/unixcoder-base), which does not say how it pools, gives the mean of its last layer over
    the tokens of a text, special ones included and padding not, of at most 512 tokens: as the public code of arXiv
    2604.16027 does, so without UniXcoder's ``<encoder-only>`` mark.

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
        with outside_zero3():
            self._model = _load(folder, device)
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


def _load(folder: Path, device: str) -> SentenceTransformer:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    precision = {"dtype": torch.float32}
    if (folder / "modules.json").is_file():
        return SentenceTransformer(str(folder), device=device, local_files_only=True, model_kwargs=precision)
    local = {"local_files_only": True}
    plain = Transformer(str(folder), model_kwargs=precision | local, processor_kwargs=local, config_kwargs=local)
    plain.max_seq_length = min(plain.max_seq_length or _PLAIN_MODEL_TOKENS, _PLAIN_MODEL_TOKENS, _positions(plain))
    return SentenceTransformer(modules=[plain, Pooling(plain.get_embedding_dimension(), "mean")], device=device)


def _positions(transformer: Any) -> int:
    """How many tokens a model has positions for; RoBERTa's count from behind the padding token."""
    table = getattr(getattr(transformer.auto_model, "embeddings", None), "position_embeddings", None)
    if table is None:
        return _PLAIN_MODEL_TOKENS
    return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
