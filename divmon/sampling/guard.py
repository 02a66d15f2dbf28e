"""Leave training alone: whatever sampling touches is put back, whatever happens."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import GenerationConfig


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Put the global random states of Python, NumPy, torch and every CUDA device back on the way out."""
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    torch_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    mps_state = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)
        if mps_state is not None:
            torch.mps.set_rng_state(mps_state)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put every module into eval mode without gradients; each module's own flag comes back.

    Modules in eval mode bypass gradient checkpointing and dropout, so neither needs to be switched. What requires a
    gradient is put back too: PEFT sets it when an adapter is switched off and on.
    """
    flags = [(module, module.training) for module in model.modules()]
    trainable = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, flag in flags:
            module.training = flag
        for parameter, flag in trainable:
            if parameter.requires_grad != flag:
                parameter.requires_grad_(flag)


def base_model_of(model: Any) -> Any:
    """The transformers model inside a PEFT model, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def text_config_of(model: Any) -> Any:
    """The config of the language model, which a multimodal config holds inside; None for a model without one."""
    config = getattr(base_model_of(model), "config", None)
    return config if config is None or not hasattr(config, "get_text_config") else config.get_text_config(decoder=True)


def end_token_ids(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends a completion: the generation config's, the model config's and the tokenizer's."""
    base = base_model_of(model)
    sources = (getattr(base, "generation_config", None), text_config_of(model), tokenizer)
    found: set[int] = set()
    for source in sources:
        value = getattr(source, "eos_token_id", None)
        found.update(value if isinstance(value, list | tuple) else [value] if value is not None else [])
    return sorted(found)


@contextmanager
def neutral_generation_config(model: Any, config: GenerationConfig) -> Iterator[None]:
    """Lend the model ``config`` as its own generation settings.

    ``generate`` fills every unset field of the config that it is passed with the checkpoint's own (a repetition
    penalty, say), so the checkpoint's has to be out of the way.
    """
    holders = list({id(m): m for m in (model, base_model_of(model))}.values())
    saved = [
        (module, module.__dict__["generation_config"]) for module in holders if "generation_config" in vars(module)
    ]
    try:
        for module, _ in saved:
            module.generation_config = config
        yield
    finally:
        for module, original in saved:
            module.generation_config = original


@contextmanager
def attention_without_plans() -> Iterator[None]:
    """Keep attention off cuDNN, which plans anew for every length, and so for every token.

    On an H100 (torch 2.11, 1B parameters, 32 rows) that was 148 of 214 ms which three decode steps took, while the
    kernels ran for 1.8 ms. torch takes the other kernels as it would without cuDNN.
    """
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Everything above that does not depend on the sampling settings, in one."""
    with ExitStack() as stack:
        stack.enter_context(preserved_rng())
        stack.enter_context(evaluation_mode(model))
        stack.enter_context(attention_without_plans())
        yield
