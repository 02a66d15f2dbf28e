"""How many completions an accelerator has room for, so that sampling need not find out by running out of memory."""

from __future__ import annotations

from typing import Any

import torch

from divmon.errors import InputError
from divmon.sampling.guard import text_config_of
from divmon.shape import Shape

SHARE = 0.85
"""Of the free memory that keys and values may take; the prefill and the layers' own work take some too."""
LIKELY = 4096
"""Tokens of a completion that there must be room for, where its limit is no less: most are far shorter.

A batch with one that is longer, and no room for that, is cut in half.
"""
LOGITS = 8
"""Copies of the logits, in fp32, that drawing a token holds at one time."""


def rows_that_fit(model: Any, width: int) -> int | None:
    """Rows of ``width`` tokens whose keys and values fit beside what is there; at least 1.

    Args:
        model: A causal language model, where it is to generate.
        width: Tokens of a row, prompt and completion.

    Returns:
        None where it cannot be told: on a CPU, over several devices, for a config that does not say its sizes.
    """
    free = _free_bytes(model.get_input_embeddings().weight.device)
    if free is None or len(set(getattr(model, "hf_device_map", {}).values())) > 1:
        return None
    config = text_config_of(model)
    try:
        shape = Shape.of({} if config is None else config.to_dict())
    except (InputError, TypeError, ValueError):  # no sizes, or none that are numbers
        return None
    return max(1, int(SHARE * free / bytes_of_a_row(shape, width, _bytes_of_a_value(model))))


def bytes_of_a_row(shape: Shape, width: int, value: int) -> float:
    """Bytes that generating a row takes: keys and values of ``width`` tokens, and the logits of one.

    Args:
        shape: The model's sizes.
        width: Tokens.
        value: Bytes of a key's or value's element.
    """
    return shape.cache(width) * value / 2 + 4.0 * LOGITS * shape.vocabulary


def _free_bytes(device: torch.device) -> int | None:
    """Free memory of a GPU, with what torch holds and does not use."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _bytes_of_a_value(model: Any) -> int:
    kind = model.get_input_embeddings().weight.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else model.dtype
    return dtype.itemsize
