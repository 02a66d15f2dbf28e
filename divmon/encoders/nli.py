"""A transformers sequence-classification model as divmon's NLI classifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmon.encoders.folder import outside_zero3
from divmon.errors import InputError
from divmon.protocols import ModelIdentity

_CHUNK = 1024
# Models whose position numbers start behind the padding id, so that they take fewer tokens than positions.
_OFFSET_POSITIONS = ("roberta", "mpnet", "camembert", "longformer", "data2vec-text")


class TransformersNli:
    """P(entailment), P(neutral), P(contradiction) of sentence pairs, in fp32 whatever the run's precision is.

    Touches no random generator and no global setting. A pair's row depends on the other pairs of the call only
    by floating point, and not at all on their order.
    """

    def __init__(
        self, folder: Path, identity: ModelIdentity, device: str = "cpu", batch_tokens: int | None = None
    ) -> None:
        """Load the model.

        Args:
            folder: Local folder; no network is asked.
            identity: Which model it is.
            device: Torch device.
            batch_tokens: Bound on pairs x tokens, padding included, that go through the model together; default:
                1,024 on a CPU, where larger batches were measured to be slower, else 16,384.

        Raises:
            InputError: If the configuration does not say which label is which.
        """
        import torch
        from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        self._columns = label_columns(config.id2label, identity.name)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._max_tokens = _max_tokens(self._tokenizer.model_max_length, config)
        with outside_zero3():
            self._model = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True
            )
        self._model.to(device).eval().requires_grad_(False)
        self._identity = identity
        self._batch_tokens = batch_tokens

    @property
    def identity(self) -> ModelIdentity:
        """Which model this is."""
        return self._identity

    def to(self, device: str) -> TransformersNli:
        """Move the model to a torch device and return the classifier."""
        self._model.to(device)
        return self

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Classify (premise, hypothesis) pairs, each distinct one once, in batches of like length.

        Args:
            pairs: Any strings, empty ones too; a pair too long for the model loses the end of its longer text.

        Returns:
            Array (len(pairs), 3), columns entailment, neutral, contradiction; rows sum to 1.
        """
        import torch

        distinct = sorted(set(pairs))
        row = {pair: number for number, pair in enumerate(distinct)}
        table = np.empty((len(distinct), 3), dtype=np.float32)
        device = self._model.device
        budget = self._batch_tokens or (1024 if device.type == "cpu" else 16384)
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            for batch in _batches(self._lengths(distinct), budget):
                inputs = self._tokenizer(
                    [distinct[k][0] for k in batch],
                    [distinct[k][1] for k in batch],
                    padding=True,
                    truncation="longest_first",
                    max_length=self._max_tokens,
                    return_tensors="pt",
                ).to(device)
                answer = self._model(**inputs).logits.float().softmax(-1)
                table[batch] = answer[:, self._columns].cpu().numpy()
        return table[[row[pair] for pair in pairs]]

    def _lengths(self, pairs: Sequence[tuple[str, str]]) -> list[int]:
        """Tokens of each pair as the model sees it; each distinct text is tokenised once for it."""
        texts = sorted({text for pair in pairs for text in pair})
        count: dict[str, int] = {}
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            encoded = self._tokenizer(
                chunk,
                add_special_tokens=False,
                truncation=True,
                max_length=self._max_tokens,
                return_attention_mask=False,
            )
            count.update(zip(chunk, map(len, encoded["input_ids"]), strict=True))
        special = self._tokenizer.num_special_tokens_to_add(pair=True)
        return [min(count[a] + count[b] + special, self._max_tokens) for a, b in pairs]


def label_columns(id2label: Mapping[int, str], model: str) -> list[int]:
    """Where entailment, neutral and contradiction stand among a classifier's outputs.

    Args:
        id2label: The configuration's labels.
        model: The model's name, for the error.

    Raises:
        InputError: Unless there are exactly three labels that begin with entail, neutral and contradict.
    """
    labels = {int(number): str(label) for number, label in id2label.items()}
    columns = [
        [number for number, label in labels.items() if label.lower().startswith(prefix)]
        for prefix in ("entail", "neutral", "contradict")
    ]
    if len(labels) != 3 or any(len(found) != 1 for found in columns):
        raise InputError(
            f"{model} does not say which output is entailment, neutral and contradiction: its labels are "
            f"{[labels[number] for number in sorted(labels)]}. Name a three-way NLI classifier, or write its "
            'label order into "id2label" in the config.json of a local copy and give that folder.'
        )
    return [found[0] for found in columns]


def _max_tokens(tokenizer_limit: int, config: Any) -> int:
    """How many tokens the model takes: the tokenizer's word for it, or fewer where it has fewer positions."""
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:
        return min(tokenizer_limit, 512) if tokenizer_limit > 1_000_000 else tokenizer_limit
    if any(name in config.model_type for name in _OFFSET_POSITIONS):
        positions -= (config.pad_token_id or 0) + 1
    return min(tokenizer_limit, positions)


def _batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Numbers of the items, longest first, in batches of at most ``budget`` tokens with padding, or of one item."""
    batch: list[int] = []
    width = 0
    for number in sorted(range(len(lengths)), key=lambda k: (-lengths[k], k)):
        if batch and width * (len(batch) + 1) > budget:
            yield batch
            batch = []
        width = width if batch else lengths[number]
        batch.append(number)
    if batch:
        yield batch
