"""The coupled sampler: nucleus sampling whose randomness belongs to each token, not to a generator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import LogitsProcessor

from divmon.sampling.noise import exponential_noise

_TIERS = (64, 1024)
_LOWEST = -1e4


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
        on_token: Called with the number of tokens drawn so far a row, after each.
    """

    def __init__(
        self,
        keys: Tensor,
        prompt_width: int,
        temperature: float,
        top_p: float,
        on_token: Callable[[int], None] | None = None,
    ) -> None:
        self.on_token = on_token
        self.keys = keys
        self.prompt_width = prompt_width
        self.temperature = temperature
        self.top_p = top_p
        self._entropies: list[Tensor] = []
        self._logprobs: list[Tensor] = []
        self._work: Tensor | None = None

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Replace ``scores`` (rows, vocabulary) in place: 0 for the drawn token, minus infinity elsewhere."""
        # The trainer's mixed precision is for the model; probabilities are always computed in fp32.
        with torch.autocast(scores.device.type, enabled=False):
            chosen = self._choose(input_ids, scores)
        if self.on_token is not None:
            self.on_token(len(self._entropies))
        return chosen

    def _choose(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        position = input_ids.shape[1] - self.prompt_width
        if scores.dtype is not torch.float32:
            scores = scores.float()
        best = scores.topk(min(_TIERS[0], scores.shape[1]), dim=1)
        # Masked tokens may be at minus infinity, which times their probability of 0 would be NaN.
        shifted = scores.sub_(best.values[:, :1]).clamp_(min=_LOWEST)
        if self._work is None or self._work.shape != shifted.shape:
            self._work = torch.empty_like(shifted)
        work = torch.exp(shifted, out=self._work)
        total = work.sum(dim=1)
        expected = torch.linalg.vecdot(work, shifted) / total
        log_total = total.log()
        tempered_total = torch.mul(shifted, 1.0 / self.temperature, out=work).exp_().sum(dim=1, keepdim=True)

        drawn, inside = self._draw(position, best.values - best.values[:, :1], best.indices, tempered_total, self.keys)
        # A nucleus may be wider than the candidates: those rows, and only those, are looked at again with more.
        for size in (*_TIERS[1:], scores.shape[1]):
            rows = (~inside).nonzero().squeeze(1)
            if not rows.numel() or best.values.shape[1] == scores.shape[1]:
                break
            wider = shifted[rows].topk(min(size, scores.shape[1]), dim=1)
            again = self._draw(position, wider.values, wider.indices, tempered_total[rows], self.keys[rows])
            drawn[rows], inside[rows] = again

        self._entropies.append(log_total - expected)
        self._logprobs.append(shifted.gather(1, drawn[:, None]).squeeze(1) - log_total)
        return scores.fill_(-torch.inf).scatter_(1, drawn[:, None], 0.0)

    def _draw(
        self, position: int, values: Tensor, tokens: Tensor, total: Tensor, keys: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Draw a token a row from the nucleus among candidates.

        Args:
            position: Of the token in its completion.
            values: (rows, candidates) shifted logits, descending, the first 0.
            tokens: Their ids.
            total: (rows, 1) sum over the whole vocabulary of the exponentials of logits / temperature.
            keys: (rows,) stream keys.

        Returns:
            The drawn ids, and whether the whole nucleus lay among the candidates; elsewhere the draw is void.
        """
        probabilities = (values / self.temperature).exp_() / total
        reached = probabilities.cumsum(dim=1)
        kept = reached - probabilities < self.top_p
        kept[:, 0] = True
        noise = exponential_noise(keys, position, tokens)
        place = torch.where(kept, probabilities / noise, -1.0).argmax(dim=1, keepdim=True)
        return tokens.gather(1, place).squeeze(1), reached[:, -1] >= self.top_p

    def entropies(self) -> Tensor:
        """(rows, steps) float32 entropy in nats of each next-token distribution."""
        return torch.stack(self._entropies, dim=1)

    def logprobs(self) -> Tensor:
        """(rows, steps) float32 natural-log probability of each drawn token."""
        return torch.stack(self._logprobs, dim=1)
