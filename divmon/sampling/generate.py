"""Completions of one batch: shared prefill, coupled decoding, entropy and likelihood on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, LogitsProcessorList, StoppingCriteriaList
from transformers.cache_utils import DynamicLayer

from divmon.errors import InputError
from divmon.sampling.batches import Batch
from divmon.sampling.cache import make_room
from divmon.sampling.coupled import CoupledSampler
from divmon.sampling.guard import base_model_of, end_token_ids, neutral_generation_config, text_config_of
from divmon.sampling.noise import stream_key
from divmon.sampling.render import RenderedPrompt
from divmon.sampling.settings import SamplingSettings
from divmon.sampling.stops import StopSequences, stop_position, tokens_to_stop

_THINK_TOKENS = ("<think>", "</think>")


@dataclass(frozen=True)
class Completion:
    """One sampled completion.

    Attributes:
        text: As decoded, think block included, other special tokens left out; up to a stop sequence.
        token_ids: The sampled tokens, the end token (or the stop sequence) included.
        truncated: Whether the limit came before an end token or a stop sequence.
        entropy: Mean over its tokens of the entropy of the model's next-token distribution at temperature 1, nats.
        logprob: Mean over its tokens of the natural-log probability at temperature 1.
        base_logprob: The same under the base model (PEFT with the adapter off); NaN where not measured.
    """

    text: str
    token_ids: tuple[int, ...]
    truncated: bool
    entropy: float
    logprob: float
    base_logprob: float = math.nan


def left_pad(sequences: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, (rows, longest) int64 each, padded on the left."""
    width = max(len(sequence) for sequence in sequences)
    ids = torch.full((len(sequences), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(sequences), width), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, width - len(sequence) :] = torch.tensor(sequence, dtype=torch.long)
        mask[row, width - len(sequence) :] = 1
    return ids.to(device), mask.to(device)


def position_ids_of(mask: Tensor) -> Tensor:
    """Positions that count from the first real token of each row, as ``generate`` counts them."""
    return (mask.cumsum(dim=-1) - 1).clamp_(min=0)


class BatchGenerator:
    """Generates batches of completions with one model. It changes nothing of the model or the tokenizer.

    Args:
        model: A causal language model (transformers or PEFT), in eval mode.
        tokenizer: Its tokenizer.
        settings: The sampling protocol.
        share_prefill: Whether the K samples of a prompt share one prefill, where the model's cache allows it.
        synced: The model is sharded: every process goes on until the slowest of a batch has finished, and none does a
            prefill of its own.

    Raises:
        InputError: For an encoder-decoder model.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        settings: SamplingSettings,
        share_prefill: bool = True,
        synced: bool = False,
    ) -> None:
        if base_model_of(model).config.is_encoder_decoder:
            raise InputError("Expected a causal language model, got an encoder-decoder: divmon does not sample those.")
        self.model = model
        self.tokenizer = tokenizer
        self.settings = settings
        self.end_ids = end_token_ids(model, tokenizer)
        pad_id = getattr(tokenizer, "pad_token_id", None)
        self.pad_id: int = pad_id if pad_id is not None else (self.end_ids[0] if self.end_ids else 0)
        self.device = model.get_input_embeddings().weight.device
        prompt_learning = getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False)
        self.synced = synced
        self.share_prefill = share_prefill and not synced and not prompt_learning and self._has_plain_cache()
        # What decode() should leave out; a think tag stays even where a tokenizer calls it special.
        think_ids = {tokenizer.convert_tokens_to_ids(token) for token in _THINK_TOKENS} - {tokenizer.unk_token_id}
        self._hidden_ids = set(tokenizer.all_special_ids) - think_ids | set(self.end_ids)

    def _has_plain_cache(self) -> bool:
        base = base_model_of(self.model)
        return not getattr(base, "_is_stateful", False) and base._supports_default_dynamic_cache()

    def run(
        self, batch: Batch, prompts: Sequence[RenderedPrompt], on_token: Callable[[int], None] | None = None
    ) -> list[Completion]:
        """Generate every row of ``batch``; the completions come in its order.

        Args:
            batch: The rows.
            prompts: What their indices point into.
            on_token: Called with the number of tokens drawn so far a row, after each.
        """
        indices = batch.prompts
        ids, mask = left_pad([prompts[index].token_ids for index in indices], self.pad_id, self.device)
        place = {index: position for position, index in enumerate(indices)}
        expand = torch.tensor([place[index] for index, _ in batch.rows], device=self.device)
        cache = self._prefill(ids, mask, expand) if self.share_prefill and ids.shape[1] > 1 else None
        keys = [stream_key(self.settings.seed, prompts[index].prompt.key, sample) for index, sample in batch.rows]
        sampler = CoupledSampler(
            torch.tensor(keys, device=self.device),
            ids.shape[1],
            self.settings.temperature,
            self.settings.top_p,
            on_token,
        )
        config = GenerationConfig(
            max_new_tokens=self.settings.token_limit,
            do_sample=False,
            eos_token_id=self.end_ids or None,
            pad_token_id=self.pad_id,
            disable_compile=True,
        )
        stop = [(prompts[index].stop, prompts[index].think_opened) for index, _ in batch.rows]
        criteria = [StopSequences(stop, ids.shape[1], self._decode)] if any(words for words, _ in stop) else []
        with neutral_generation_config(self.model, config):
            output = self.model.generate(
                input_ids=ids[expand],
                attention_mask=mask[expand],
                generation_config=config,
                logits_processor=LogitsProcessorList([sampler]),
                stopping_criteria=StoppingCriteriaList(criteria),
                synced_gpus=self.synced,
                **({} if cache is None else {"past_key_values": cache}),
            )
        return self._completions(output[:, ids.shape[1] :], sampler, stop)

    def _prefill(self, ids: Tensor, mask: Tensor, expand: Tensor) -> DynamicCache | None:
        """Keys and values of all prompt tokens but the last, computed once a prompt and repeated for its rows."""
        cache = DynamicCache(config=text_config_of(self.model))
        inputs: dict[str, Any] = {"input_ids": ids[:, :-1], "attention_mask": mask[:, :-1]}
        if base_model_of(self.model)._supports_logits_to_keep():
            inputs["logits_to_keep"] = 1
        self.model(**inputs, position_ids=position_ids_of(mask[:, :-1]), past_key_values=cache, use_cache=True)
        if not all(isinstance(layer, DynamicLayer) for layer in cache.layers):
            self.share_prefill = False
            return None
        make_room(cache, expand, ids.shape[1] + self.settings.token_limit)
        return cache

    def _completions(
        self, tokens: Tensor, sampler: CoupledSampler, stop: Sequence[tuple[Sequence[str], bool]]
    ) -> list[Completion]:
        ends = torch.isin(tokens, torch.tensor(self.end_ids, device=tokens.device, dtype=tokens.dtype))
        finished = ends.any(dim=1)
        lengths = torch.where(finished, ends.int().argmax(dim=1) + 1, tokens.shape[1])
        rows = [row[:length] for row, length in zip(tokens.tolist(), lengths.tolist(), strict=True)]
        ended = [self._ended(row, *words) for row, words in zip(rows, stop, strict=True)]
        lengths = torch.tensor([length for _, length, _ in ended], device=tokens.device)
        steps = torch.arange(tokens.shape[1], device=tokens.device)
        real = (steps[None, :] < lengths[:, None]).float()
        width = tokens.shape[1]
        entropy = (sampler.entropies()[:, :width] * real).sum(dim=1) / lengths
        logprob = (sampler.logprobs()[:, :width] * real).sum(dim=1) / lengths
        columns = zip(ended, rows, finished.tolist(), entropy.tolist(), logprob.tolist(), strict=True)
        return [
            Completion(text, tuple(row[:length]), not (done or stopped), row_entropy, row_logprob)
            for (text, length, stopped), row, done, row_entropy, row_logprob in columns
        ]

    def _ended(self, token_ids: list[int], stop: Sequence[str], think_opened: bool) -> tuple[str, int, bool]:
        """A completion's text up to a stop sequence, its tokens with it, and whether there is one."""
        text = self._decode(token_ids)
        place = stop_position(text, stop, think_opened)
        if place is None:
            return text, len(token_ids), False
        return text[:place], tokens_to_stop(token_ids, self._decode, stop, think_opened), True

    def _decode(self, token_ids: list[int]) -> str:
        kept = [token for token in token_ids if token not in self._hidden_ids]
        return self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
