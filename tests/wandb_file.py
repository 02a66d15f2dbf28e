"""Reads a run's offline W&B file: wandb has no Python reader for it, only the format (a LevelDB-style log)."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

_BLOCK = 32768


def records(path: Path) -> list[Any]:
    """The protobuf records of a .wandb file, all of them: W&B may still be writing when ``finish`` has returned."""
    deadline = time.monotonic() + 30
    while True:
        found = list(_records(path.read_bytes()))
        if any(record.HasField("exit") for record in found) or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _records(data: bytes) -> Iterator[Any]:
    position, parts = 7, b""  # after the file's own header
    while position + 7 <= len(data):
        if _BLOCK - position % _BLOCK < 7:
            position += _BLOCK - position % _BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        if position + 7 + length > len(data):
            return  # not yet written to its end
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def file_of(folder: Path) -> Path:
    """The file of the one run under ``folder``."""
    (path,) = folder.glob("**/run-*.wandb")
    return path


def history(folder: Path) -> list[dict[str, Any]]:
    """The logged rows of the one run under ``folder``."""
    rows = []
    for record in records(file_of(folder)):
        if record.HasField("history"):
            items = record.history.item
            rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return rows


def defined(folder: Path) -> dict[str, tuple[str, bool]]:
    """The keys that the run defined by name: their x axis, and whether they get no panel by themselves."""
    metrics = [record.metric for record in records(file_of(folder)) if record.HasField("metric")]
    return {metric.name: (metric.step_metric, metric.options.hidden) for metric in metrics if metric.name}


def alerts(folder: Path) -> list[Any]:
    """The alerts: ``title``, ``text``, ``level``."""
    return [record.alert for record in records(file_of(folder)) if record.HasField("alert")]


def config(folder: Path) -> dict[str, Any]:
    """The run's config as it is in the end."""
    values: dict[str, Any] = {}
    for record in records(file_of(folder)):
        for items in (record.run.config.update, record.config.update):
            values |= {item.key: json.loads(item.value_json) for item in items if item.key}
    return values


def summary(folder: Path) -> dict[str, Any]:
    """The run's summary as it is in the end."""
    values: dict[str, Any] = {}
    for record in records(file_of(folder)):
        for item in record.summary.update:
            values[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    return values


def increments(folder: Path, key: str) -> list[list[dict[str, Any]]]:
    """The rows of each increment of a table, out of the files that the history names."""
    files = file_of(folder).parent / "files"
    found = []
    for row in history(folder):
        if f"{key}/path" in row:
            table = json.loads((files / row[f"{key}/path"]).read_text(encoding="utf-8"))
            found.append([dict(zip(table["columns"], values, strict=True)) for values in table["data"]])
    return found


def refused(folder: Path) -> list[str]:
    """What W&B ignored because its step was too low."""
    log = file_of(folder).parent / "logs" / "debug-internal.log"
    return [line for line in log.read_text(encoding="utf-8").splitlines() if "ignoring partial history" in line]
