"""A model's folder: which files make it up, whether they are all there, their digests, and loading in peace."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, 64 hex digits (0.65 s for the 438 MB of all-mpnet-base-v2); once a process and file."""
    state = file.stat()
    return _sha256(str(file), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(file: str, size: int, mtime_ns: int) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights; none where one of them is missing."""
    modules = _modules(folder)
    root = folder / modules[0].get("path", "") if modules else folder
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (root / name).is_file():
            return [root / name]
        index = _json(root / f"{name}.index.json")
        if isinstance(index, dict):
            shards = [root / shard for shard in sorted(set(index.get("weight_map", {}).values()))]
            if shards and all(shard.is_file() for shard in shards):
                return shards
    return []


def weights_digest(folder: Path) -> str | None:
    """SHA-256 of the weights, None where they are several files."""
    files = weight_files(folder)
    return sha256_of(files[0]) if len(files) == 1 else None


def missing_parts(folder: Path, *, sentence: bool) -> list[str]:
    """What a complete model folder would hold besides, by the files that are there.

    Args:
        folder: The folder.
        sentence: It is a sentence encoder, so must say how tokens are pooled (``modules.json``).
    """
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not weight_files(folder):
        missing.append("weights")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        missing.append("tokenizer")
    if sentence and not (folder / "modules.json").is_file():
        missing.append("modules.json")
    for module in _modules(folder):
        path, kind = module.get("path", ""), str(module.get("type", ""))
        if path and not kind.endswith(".Normalize") and not (folder / path / "config.json").is_file():
            missing.append(f"{path}/config.json")
    return missing


def _modules(folder: Path) -> list[dict[str, Any]]:
    modules = _json(folder / "modules.json")
    return [module for module in modules if isinstance(module, dict)] if isinstance(modules, list) else []


def _json(file: Path) -> Any:
    """The file's content; None where it is not there or torn."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


@contextmanager
def outside_zero3() -> Iterator[None]:
    """Load a model whole on this process, though the training run shards models at loading (DeepSpeed ZeRO-3).

    transformers reads one process-wide setting for that; left in place, a rank that loads an encoder alone
    would wait for the others for ever.
    """
    from transformers.integrations import deepspeed

    if not deepspeed.is_deepspeed_zero3_enabled():
        yield
        return
    held = deepspeed._hf_deepspeed_config_weak_ref
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = held
