"""Reads a run's offline W&B file: wandb has no Python reader for it, only the format (a LevelDB-style log)."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

_BLOCK = 32768


def records(path: Path) -> Iterator[Any]:
    """The protobuf records of a .wandb file."""
    data = path.read_bytes()
    position, parts = 7, b""  # after the file's own header
    while position + 7 <= len(data):
        if _BLOCK - position % _BLOCK < 7:
            position += _BLOCK - position % _BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def history(folder: Path) -> list[dict[str, Any]]:
    """The logged rows of the one run under ``folder``."""
    (path,) = folder.glob("**/run-*.wandb")
    rows = []
    for record in records(path):
        if record.HasField("history"):
            items = record.history.item
            rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return rows
