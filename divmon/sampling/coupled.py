"""The coupled sampler: nucleus sampling whose randomness belongs to each token, not to a generator."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import LogitsProcessor

from divmon.sampling.noise import exponential_noise

_CANDIDATES = 256


class CoupledSampler(LogitsProcessor):
    """Draws each next token from the nucleus and leaves it as the only finite score.

    Put into ``model.generate(..., do_sample=False)``: the argmax then takes the token that was drawn here. The draw is
    exact (temperature first, then the smallest set of tokens whose probability reaches ``top_p``, as transformers'
    warpers do) and depends only on the row's key, the position and the logits.

    It also records, at temperature 1 and over the whole vocabulary, the entropy of each distribution and the
    log-probability of each drawn token.

    Args:
        keys: (rows,) int64, one ``stream_key`` a row of the batch.
        prompt_width: Width of the padded prompt, so that positions count from the first new token.
        temperature: Above 0.
        top_p: In (0, 1].
    """

    def __init__(self, keys: Tensor, prompt_width: int, temperature: float, top_p: float) -> None:
        self.keys = keys
        self.prompt_width = prompt_width
        self.temperature = temperature
        self.top_p = top_p
        self._entropies: list[Tensor] = []
        self._logprobs: list[Tensor] = []

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Replace ``scores`` (rows, vocabulary) in place: 0 for the drawn token, minus infinity elsewhere."""
        position = input_ids.shape[1] - self.prompt_width
        if scores.dtype is not torch.float32:
            scores = scores.float()
        values, tokens = scores.topk(min(_CANDIDATES, scores.shape[1]), dim=1)
        shifted = scores.sub_(values[:, :1])
        exponentials = shifted.exp()
        total = exponentials.sum(dim=1)
        expected = torch.linalg.vecdot(exponentials, shifted) / total
        log_total = total.log()
        torch.mul(shifted, 1.0 / self.temperature, out=exponentials)
        tempered_total = exponentials.exp_().sum(dim=1, keepdim=True)

        values = values - values[:, :1]
        kept, probabilities = self._nucleus(values, tempered_total)
        drawn = self._draw(position, tokens, probabilities, kept, self.keys)
        # The nucleus may be wider than the candidates: those rows, and only those, are sorted in full.
        wide = ~(probabilities.sum(dim=1) >= self.top_p)
        if tokens.shape[1] < scores.shape[1] and bool(wide.any()):
            rows = wide.nonzero().squeeze(1)
            all_values, all_tokens = shifted[rows].sort(dim=1, descending=True, stable=True)
            kept, probabilities = self._nucleus(all_values, tempered_total[rows])
            drawn[rows] = self._draw(position, all_tokens, probabilities, kept, self.keys[rows])

        self._entropies.append(log_total - expected)
        self._logprobs.append(shifted.gather(1, drawn[:, None]).squeeze(1) - log_total)
        return scores.fill_(-torch.inf).scatter_(1, drawn[:, None], 0.0)

    def _nucleus(self, values: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """Which of the descending ``values`` (maximum 0) lie in the nucleus, and their probabilities."""
        probabilities = (values / self.temperature).exp_() / total
        before = probabilities.cumsum(dim=1) - probabilities
        kept = before < self.top_p
        kept[:, 0] = True
        return kept, probabilities

    def _draw(self, position: int, tokens: Tensor, probabilities: Tensor, kept: Tensor, keys: Tensor) -> Tensor:
        noise = exponential_noise(keys, position, tokens)
        race = torch.where(kept, probabilities / noise, -1.0)
        return tokens.gather(1, race.argmax(dim=1, keepdim=True)).squeeze(1)

    def entropies(self) -> Tensor:
        """(rows, steps) float32 entropy in nats of each next-token distribution."""
        return torch.stack(self._entropies, dim=1)

    def logprobs(self) -> Tensor:
        """(rows, steps) float32 natural-log probability of each drawn token."""
        return torch.stack(self._logprobs, dim=1)
