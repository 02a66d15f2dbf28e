"""Whether files hold the same again: of weights, told without reading all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from divmon.errors import InputError

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


def path_fingerprint(path: Path, *, leave: Sequence[str] = (), whole: bool = False) -> str:
    """The fingerprint of a file, or of all files of a folder and those below it.

    Args:
        path: The file or folder.
        leave: Patterns of names that do not count.
        whole: As for `fingerprint`.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        if not path.is_dir():
            return fingerprint([path], whole=whole)
        files = sorted(file for file in path.rglob("*") if file.is_file())
        files = [file for file in files if not any(file.match(pattern) for pattern in leave)]
        return fingerprint(files, path, whole=whole)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error


def fingerprint(files: Sequence[Path], folder: Path | None = None, *, whole: bool = False) -> str:
    """32 hex digits of files: names, sizes, and of large ones 64 blocks of 64 KiB spread over each.

    Training changes all weights, so the blocks tell two models apart.

    Args:
        files: The files, in order.
        folder: Files are named as they are in it; else by their names alone.
        whole: Read all of each file, as of data, where one row may change.

    Raises:
        OSError: If one cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        size = file.stat().st_size
        name = file.relative_to(folder).as_posix() if folder else file.name
        digest.update(f"{name}\x00{size}\x00".encode())
        with file.open("rb") as stream:
            if whole or size <= _BLOCKS * _BLOCK:
                while block := stream.read(1 << 20):
                    digest.update(block)
                continue
            for number in range(_BLOCKS):
                stream.seek(number * (size - _BLOCK) // (_BLOCKS - 1))
                digest.update(stream.read(_BLOCK))
    return digest.hexdigest()
