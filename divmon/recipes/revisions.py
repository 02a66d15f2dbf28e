"""Which commit of each hub data set a stage reads."""

from __future__ import annotations

import re
from collections.abc import Mapping

from divmon.recipes.recipe import Recipe
from divmon.recipes.sources import Source

_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolved_revisions(recipe: Recipe, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """Which commit of each hub data set a stage reads: pinned by the recipe, else the one its run folder began with.

    Else it is the newest. A data set that changes on the hub so changes no run that is there: resuming reads what was
    read before, and what is complete stays so. A ``revision:`` in the recipe says otherwise.

    Args:
        recipe: The recipe.
        known: What an earlier call returned for the run folder.

    Returns:
        By ``revision_key``; without those whose commit nobody knows (without a hub).
    """
    found = {}
    for source in recipe.data:
        if source.dataset:
            key = revision_key(source)
            found[key] = (known or {}).get(key) or _newest(source)
    return {key: commit for key, commit in found.items() if commit}


def revision_key(source: Source) -> str:
    """A hub data set with the branch or tag that is asked for."""
    return f"{source.dataset}@{source.revision}" if source.revision else str(source.dataset)


def _newest(source: Source) -> str | None:
    from divmon.encoders.hub import hub_reachable

    if source.revision and _COMMIT.fullmatch(source.revision):
        return source.revision
    if not hub_reachable():
        return None
    from httpx import HTTPError
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(str(source.dataset), revision=source.revision, timeout=20).sha
    except (HTTPError, OSError, ValueError):  # no such set, or no net after all: loading it will say what is wrong
        return None
