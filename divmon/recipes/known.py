"""What is known of the hub's models and data sets without the hub: package data, each entry with its source."""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Any


@dataclass(frozen=True)
class KnownDataset:
    """A data set of the hub.

    Attributes:
        rows: How many it has.
        tokens: A row's mean length in Olmo's tokens: of the conversation (SFT), of both answers with the prompt (DPO)
            or of the prompt (RL).
        basis: Where ``tokens`` comes from.
        fixture: Rows of its schema, written for divmon, in order.
        file: The JSONL file of those rows.
    """

    rows: int
    tokens: int
    basis: str
    fixture: tuple[Mapping[str, Any], ...]
    file: Traversable


def known_architecture(model: str) -> Mapping[str, Any] | None:
    """The published config of a hub model, or None where it is not among those that divmon knows."""
    entry = _json("architectures.json").get(model)
    return None if entry is None else entry["config"]


@functools.cache
def known_dataset(name: str | None) -> KnownDataset | None:
    """A hub data set, or None where it is not among those that divmon knows, or no name of one."""
    entry = _json("dolci/datasets.json").get(name) if name else None
    if name is None or entry is None:
        return None
    file = _resource(f"dolci/{name.rpartition('/')[2]}.jsonl")
    rows = tuple(json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip())
    return KnownDataset(entry["rows"], entry["tokens"], entry["basis"], rows, file)


@functools.cache
def _json(name: str) -> dict[str, Any]:
    return json.loads(_resource(name).read_text(encoding="utf-8"))


def _resource(name: str) -> Traversable:
    return importlib.resources.files("divmon.data").joinpath(name)
