"""A model of a recipe's architecture small enough to train a step in seconds, and a tokenizer for it.

The architecture is the published one with fewer and narrower layers: the same blocks, norms, head ratio, kinds of
attention and scaling of positions. The weights are random.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from divmon.recipes.configs import model_config

HEADS = 4
HEAD_WIDTH = 16
LAYERS = 4
"""Enough for each kind of layer of Olmo 3, where every fourth sees the whole sequence."""
WINDOW = 64
POSITIONS = 4096

END = "<|endoftext|>"
PAD = "<|pad|>"
MARKS = ("<|im_start|>", "<|im_end|>")


def standin_tokenizer() -> Any:
    """A tokenizer of bytes with the special tokens of OLMo 2's and Olmo 3's, made without a file.

    It has no chat template.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={char: number for number, char in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True) for token in (END, PAD, *MARKS)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END, bos_token=None, pad_token=PAD)


def shrunken_config(config: Mapping[str, Any], tokenizer: Any) -> Any:
    """A transformers config of the same architecture, shrunken in width and depth.

    Args:
        config: The published config, as ``config.json`` has it.
        tokenizer: Whose vocabulary and special tokens the model gets.

    Raises:
        InputError: For a model type that transformers does not know, or a config that it refuses.
    """
    left = ("model_type", "architectures", "dtype", "torch_dtype")
    small = {key: value for key, value in config.items() if key not in left}
    heads = min(HEADS, int(small["num_attention_heads"]))
    grouped = int(small["num_attention_heads"]) // int(small.get("num_key_value_heads") or small["num_attention_heads"])
    width = heads * HEAD_WIDTH
    layers = min(LAYERS, int(small["num_hidden_layers"]))
    ratio = int(small["intermediate_size"]) / int(small["hidden_size"])
    small |= {
        "hidden_size": width,
        "intermediate_size": max(8, round(width * ratio)),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // grouped),
        "max_position_embeddings": POSITIONS,
        "vocab_size": len(tokenizer),
        **{f"{name}_token_id": getattr(tokenizer, f"{name}_token_id", None) for name in ("pad", "bos", "eos")},
    }
    if small.get("layer_types"):
        small["layer_types"] = _kinds(list(small["layer_types"]), layers)
    if small.get("sliding_window"):
        small["sliding_window"] = min(WINDOW, int(small["sliding_window"]))
    if small.get("head_dim"):
        small["head_dim"] = HEAD_WIDTH
    scaling = small.get("rope_scaling")
    if isinstance(scaling, Mapping) and "original_max_position_embeddings" in scaling:
        original = round(POSITIONS / float(scaling.get("factor", 1.0)))
        small["rope_scaling"] = {**scaling, "original_max_position_embeddings": original}
    return model_config(config.get("model_type"), small, "the shrunken config")


def _kinds(kinds: list[str], count: int) -> list[str]:
    """``count`` kinds of layers with every kind that there is, in order, the most frequent filling up."""
    distinct = list(dict.fromkeys(kinds))[:count]
    filling = max(distinct, key=kinds.count)
    return [filling] * (count - len(distinct)) + distinct


def shrunken_model(config: Any, seed: int = 0) -> Any:
    """A causal language model of ``config`` with random weights, in fp32.

    Args:
        config: A config of ``shrunken_config``.
        seed: Seed of the weights; the global generators are left as they were.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
