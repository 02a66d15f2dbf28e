"""Which commit of each hub data set, and of a hub model, a stage reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from divmon.recipes.recipe import Recipe
from divmon.recipes.sources import Source

_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolved_revisions(recipe: Recipe, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Which commit of each hub repository a stage reads: pinned by the recipe, else the one its run folder began with.

    Else it is the newest. What changes on the hub so changes no run that is there: resuming reads what was read
    before, and what is complete stays so. A ``revision:`` in the recipe says otherwise.

    Args:
        recipe: The recipe.
        known: What an earlier call returned for the run folder.

    Returns:
        By ``revision_key`` and ``model_key``; without those whose commit nobody knows (without a hub).
    """
    before: Mapping[str, str] = known or {}
    found: dict[str, str | None] = {}
    for source in recipe.data:
        if source.dataset and not recipe.local(source.dataset).exists():
            key = revision_key(source)
            found[key] = before.get(key) or _newest("dataset", source.dataset, source.revision)
    if recipe.model and (model := model_key(recipe)):
        found[model] = before.get(model) or _newest("model", recipe.model, recipe.model_args.get("revision"))
    return {key: commit for key, commit in found.items() if commit}


def model_key(recipe: Recipe) -> str | None:
    """The hub model that a recipe starts from, with the branch or tag that is asked for; None for a folder."""
    if recipe.model is None or recipe.local(recipe.model).exists():
        return None
    revision = recipe.model_args.get("revision")
    return f"model {recipe.model}@{revision}" if revision else f"model {recipe.model}"


def revision_key(source: Source) -> str:
    """A hub data set with the branch or tag that is asked for."""
    return f"{source.dataset}@{source.revision}" if source.revision else str(source.dataset)


def _newest(kind: Literal["dataset", "model"], name: str, revision: str | None) -> str | None:
    from divmon.encoders.hub import hub_reachable

    if revision and _COMMIT.fullmatch(revision):
        return revision
    if not hub_reachable():
        return None
    from httpx import HTTPError
    from huggingface_hub import HfApi

    try:
        return HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=20).sha
    except (HTTPError, OSError, ValueError):  # nothing there, or no net after all: loading it will say what is wrong
        return None
