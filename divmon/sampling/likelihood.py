"""Likelihood of completions under another model: here the base under a PEFT adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from divmon.sampling.generate import left_pad, position_ids_of
from divmon.sampling.guard import base_model_of

_LOGITS_BUDGET = 1 << 26


def mean_logprobs(
    model: Any, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], pad_id: int
) -> list[float]:
    """Mean natural-log probability per token of each completion after its prompt, at temperature 1.

    Args:
        model: A causal language model in eval mode; called without gradients.
        prompts: Token ids of the prompts, none empty.
        completions: Token ids of the completions, none empty, one a prompt.
        pad_id: Any token id, for padding.

    Returns:
        One float a completion, at most 0.
    """
    device = model.get_input_embeddings().weight.device
    vocabulary = model.get_input_embeddings().weight.shape[0]
    # Where the model cannot leave logits out, all of them come and the last are taken.
    keeps = base_model_of(model)._supports_logits_to_keep()
    order = sorted(range(len(prompts)), key=lambda row: len(completions[row]), reverse=True)
    values = [0.0] * len(prompts)
    start = 0
    while start < len(order):
        longest = len(completions[order[start]])
        rows = order[start : start + max(1, _LOGITS_BUDGET // ((longest + 1) * vocabulary))]
        start += len(rows)
        ids, mask = left_pad([[*prompts[row], *completions[row]] for row in rows], pad_id, device)
        with torch.no_grad():
            output = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=position_ids_of(mask),
                use_cache=False,
                **({"logits_to_keep": longest + 1} if keeps else {}),
            )
        logits = output.logits[:, -longest - 1 : -1].float()
        targets = ids[:, -longest:]
        logprobs = logits.gather(2, targets[..., None]).squeeze(2) - logits.logsumexp(dim=2)
        for place, row in enumerate(rows):
            values[row] = logprobs[place, longest - len(completions[row]) :].mean().item()
    return values
