"""Whether a folder holds the same model again, told without reading all of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

_BLOCKS, _BLOCK = 64, 1 << 16
_BESIDE = (
    "config.json",
    "adapter_config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "chat_template.jinja",
)


def beside(folder: Path) -> list[Path]:
    """Files beside the weights that decide what a model writes."""
    return [folder / name for name in _BESIDE if (folder / name).is_file()]


def fingerprint(files: Sequence[Path]) -> str:
    """32 hex digits of files: sizes, and 64 blocks of 64 KiB spread over each, which training changes in weights."""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}\x00{size}\x00".encode())
        with file.open("rb") as stream:
            if size <= _BLOCKS * _BLOCK:
                digest.update(stream.read())
                continue
            for number in range(_BLOCKS):
                stream.seek(number * (size - _BLOCK) // (_BLOCKS - 1))
                digest.update(stream.read(_BLOCK))
    return digest.hexdigest()
