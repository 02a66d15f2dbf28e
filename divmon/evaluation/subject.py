"""What is evaluated: a model's name or folder, with an adapter or without, under the label its results go by."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from divmon.errors import InputError, ModelNotFoundError
from divmon.evaluation.models import Checkpoint, checkpoint_of
from divmon.prompt import content_digest

ADAPTER_CONFIG = "adapter_config.json"
_GENERAL = ("model", "adapter", "final", "merged")
"""Folders that say nothing of what is in them: their parent's name goes before."""


@dataclass(frozen=True)
class Subject:
    """A model to be evaluated.

    Attributes:
        label: The folder its results go to.
        model: Folder or hub name of the weights; of an adapter on the hub perhaps that adapter's own.
        adapter: Folder or hub name of a PEFT adapter on them.
        revision: Revision of what was named, on the hub.
        base: What stands in for the base that an adapter names.
        baseline: Label of the subject that it is compared with; empty where there is none.
        checkpoint: The published checkpoint that it is, where it is one.
    """

    label: str
    model: str
    adapter: str | None = None
    revision: str | None = None
    base: str | None = None
    baseline: str = ""
    checkpoint: Checkpoint | None = None

    @property
    def parameters(self) -> int | None:
        """How many parameters the model has, by its config; None where that is not at hand."""
        from divmon.shape import Shape

        if self.checkpoint is not None:
            return self.checkpoint.parameters
        try:
            return Shape.of(self._config).parameters
        except (ValueError, TypeError, InputError):
            return None

    @property
    def context(self) -> int | None:
        """The most tokens that the model's positions reach, by its config; None where that is not at hand."""
        config = self._config
        inner = config.get("text_config")
        found = (inner if isinstance(inner, Mapping) else config).get("max_position_embeddings")
        return found if isinstance(found, int) and found > 0 else None

    @cached_property
    def _config(self) -> Mapping[str, Any]:
        """The model's config, from its folder, the hub's cache or what divmon knows; empty where none is at hand."""
        from divmon.recipes.known import known_architecture

        if self.checkpoint is not None:
            return known_architecture(self.checkpoint.architecture) or {}
        try:
            file = Path(self.model) / "config.json"
            if not file.is_file() and (found := _cached_config(self.model, self.revision)):
                file = Path(found)
            config = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return known_architecture(self.model) or {}
        return config if isinstance(config, dict) else {}

    @classmethod
    def of_checkpoint(cls, checkpoint: Checkpoint) -> Subject:
        """A published checkpoint, compared with its lineage's base."""
        baseline = "" if checkpoint.label == checkpoint.base else checkpoint.base
        return cls(checkpoint.label, checkpoint.hub, baseline=baseline, checkpoint=checkpoint)

    @classmethod
    def of(
        cls,
        model: str,
        *,
        adapter: str | None = None,
        base: str | None = None,
        revision: str | None = None,
        name: str | None = None,
    ) -> Subject:
        """What a user names; nothing is loaded, and no network is asked.

        Args:
            model: A folder with a model, with a PEFT adapter (whose config names its base), or with a ``model/`` in it,
                as a recipe's stage leaves; else a name on the hub, of a model or an adapter.
            adapter: Folder or hub name of a PEFT adapter on ``model``.
            base: What stands in for the base that an adapter names.
            revision: Of ``model``, where that is on the hub.
            name: The label; default: the checkpoint's own, or made of what was named.

        Raises:
            ModelNotFoundError: If it is a folder with no model in it, or an adapter that tells no base.
            InputError: For a label that is no folder's name, or a base without an adapter.
        """
        folder = _model_folder(model)
        found = str(folder) if folder else model
        known = None if folder or adapter else checkpoint_of(model)
        label = name or (known.label if known else _label(adapter or found))
        if safe_name(label) != label:
            raise InputError(f"--name: expected a name that a folder can have, got {label!r}.")
        if folder is not None and (folder / ADAPTER_CONFIG).is_file():
            if adapter:
                raise InputError(
                    f"{folder} is an adapter itself: name the model under --adapter {adapter}, or its base."
                )
            config = _adapter_config(folder)
            return cls(label, base or _base_of(config, folder), found, None if base else config.get("revision"))
        if base is not None and (folder is not None or adapter is not None):
            raise InputError("--base stands in for the base that an adapter names: here the model is named already.")
        if adapter is not None:
            place = Path(adapter).expanduser()
            if place.is_dir() and not (place / ADAPTER_CONFIG).is_file():
                raise ModelNotFoundError(f"--adapter: {place} holds no adapter (no {ADAPTER_CONFIG}).")
            adapter = str(place) if place.is_dir() else adapter
        return cls(label, found, adapter, revision, base, checkpoint=known)


def safe_name(text: str) -> str:
    """``text`` as the name of a folder: itself where it is fit, else with a digest in place of what is not."""
    plain = re.sub(r"[^\w.+=-]", "_", text).lstrip(".")[:80]
    return plain if plain == text else f"{plain or 'unnamed'}-{content_digest(text)[:8]}"


def _cached_config(model: str, revision: str | None) -> str | None:
    """The file of a hub model's config in the local cache; asks no network."""
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(model, "config.json", cache_dir=constants.HF_HUB_CACHE, revision=revision)
    except HFValidationError:  # no name of the hub's
        return None
    return found if isinstance(found, str) else None


def _label(name: str) -> str:
    """The last part of a folder or hub name that says something."""
    path = Path(name).expanduser()
    parts = [part for part in (path.resolve().parts if path.is_dir() else name.split("/")) if part.strip("/")]
    while len(parts) > 1 and parts[-1] in _GENERAL:
        parts.pop()
    if len(parts) > 1 and re.fullmatch(r"checkpoint-\d+", parts[-1]):
        tail = parts.pop()
        while len(parts) > 1 and parts[-1] in (*_GENERAL, "checkpoints"):
            parts.pop()
        parts.append(f"{parts[-1]}-{tail}")
    return safe_name(parts[-1]) if parts else "model"


def _model_folder(model: str) -> Path | None:
    """The folder that holds the model of a name; None where the name is no folder's and may be the hub's."""
    path = Path(model).expanduser()
    if not path.is_dir():
        if path.is_file() or re.match(r"[.~/\\]", model) or model.count("/") > 1:
            raise ModelNotFoundError(f"There is no model at {path}: expected a folder, or a name on the hub.")
        return None
    for folder in (path, path / "model", path / "adapter"):
        if any((folder / name).is_file() for name in ("config.json", ADAPTER_CONFIG)):
            return folder
    inside = sorted(found.name for found in (*path.glob("checkpoint-*"), *path.glob("checkpoints/checkpoint-*")))
    hint = f" It has checkpoints: name one of {', '.join(inside)}." if inside else ""
    raise ModelNotFoundError(f"{path} holds no model (no config.json and no {ADAPTER_CONFIG}).{hint}")


def _adapter_config(folder: Path) -> dict[str, Any]:
    path = folder / ADAPTER_CONFIG
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(f"{path} cannot be read ({error}).") from error
    return found if isinstance(found, dict) else {}


def _base_of(config: dict[str, Any], folder: Path) -> str:
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ModelNotFoundError(f"The adapter {folder} does not say which model it is for: give --base.")
    return base
