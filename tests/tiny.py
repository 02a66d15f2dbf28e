"""Small models, a small tokenizer and small data sets: fakes, not downloads."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, Olmo3Config, Olmo3ForCausalLM, PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}<eos>{% endgeneration %}{% else %}{{ message['content'] }}\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<pad>", "<eos>", "<|user|>", "<|assistant|>", "<|system|>"]
_TEXT = [
    "tell me about the sea and the sky and the wind over the hills",
    "write a short story of a cat who finds a map in the old house",
    "what is two plus three? it is five. what is seven minus one? it is six.",
]


@cache
def _trained() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    return tokenizer.to_str()


def tiny_tokenizer(chat: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 320 tokens with think tags, and a chat template unless told otherwise."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained()),
        pad_token="<pad>",
        eos_token="<eos>",
        additional_special_tokens=SPECIAL[2:],
    )
    tokenizer.add_tokens(["<think>", "</think>"])
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "attention_dropout": 0.1,
}
OLMO3_LAYERS: dict[str, Any] = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8}


def _settings(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return SIZES | {
        "vocab_size": 324,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }


def tiny_llama(seed: int = 0) -> LlamaForCausalLM:
    """A random Llama of 30 thousand parameters, with attention dropout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**_settings(tiny_tokenizer()))).eval()


def tiny_olmo3(seed: int = 0) -> Olmo3ForCausalLM:
    """A random Olmo 3 with one sliding-window and one full-attention layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Olmo3ForCausalLM(Olmo3Config(**_settings(tiny_tokenizer()), **OLMO3_LAYERS)).eval()


QUESTIONS = [f"tell me about the {thing}" for thing in ("sea", "sky", "wind", "hills", "cat", "map", "house", "story")]
HELD_OUT = [f"what of the {thing}?" for thing in ("sea", "sky", "wind", "hills", "cat")]


def sft_dataset(rows: int = 16) -> Dataset:
    """Chats: one question, one answer."""
    return Dataset.from_list(
        [
            {
                "messages": [
                    {"role": "user", "content": QUESTIONS[i % 8]},
                    {"role": "assistant", "content": f"it is {'very ' * (i % 3)}old"},
                ]
            }
            for i in range(rows)
        ]
    )


def held_out_chats() -> Dataset:
    """Chats that are not in ``sft_dataset``."""
    return Dataset.from_list(
        [
            {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "it is five"}]}
            for text in HELD_OUT
        ]
    )


def dpo_dataset(questions: list[str] | None = None) -> Dataset:
    """Preference pairs in conversational form."""
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": text}],
                "chosen": [{"role": "assistant", "content": "it is old"}],
                "rejected": [{"role": "assistant", "content": "what is the wind"}],
            }
            for text in questions or QUESTIONS
        ]
    )


def grpo_dataset(questions: list[str] | None = None) -> Dataset:
    """Prompts in conversational form."""
    return Dataset.from_list([{"prompt": [{"role": "user", "content": text}]} for text in questions or QUESTIONS])


def length_reward(completions: list[Any], **_: Any) -> list[float]:
    """A reward with spread: shorter is better."""
    return [-float(len(completion[0]["content"])) for completion in completions]
