"""Where a stage's weights and tokenizer are, before it runs and after."""

from __future__ import annotations

from typing import Any

from divmon.recipes.models import MODEL, Weights, load_tokenizer, shipped_folder, weights_given, with_chat_template
from divmon.recipes.plan import Stage
from divmon.recipes.state import read_state


def starts_with(stage: Stage) -> Weights | None:
    """The weights that a stage starts from, of a hub model the commit that its run began with; None for random ones."""
    if stage.parent:
        return ends_with(stage.parent)
    return weights_given(stage.recipe, read_state(stage.folder).get("revisions"))


def ends_with(stage: Stage) -> Weights:
    """The weights of a finished stage: trained, shipped, or, where it only measures, those that it starts from."""
    if stage.trains:
        return Weights(str(stage.folder / MODEL))
    if stage.recipe.shipped:
        return Weights(str(shipped_folder(stage.recipe)))
    weights = starts_with(stage)
    assert weights is not None
    return weights


def first_tokenizer(stage: Stage) -> Any:
    """The tokenizer that a stage starts with: the recipe's, else its parent's, else that of its weights."""
    if stage.parent is not None and stage.recipe.tokenizer is None:
        return with_chat_template(stage.recipe, last_tokenizer(stage.parent))
    return load_tokenizer(stage.recipe, starts_with(stage) if stage.trains else ends_with(stage))


def last_tokenizer(stage: Stage) -> Any:
    """The tokenizer that a finished stage has: where it trains, as its trainer left it."""
    if not stage.trains:
        return first_tokenizer(stage)
    from transformers import AutoTokenizer

    options = {key: value for key, value in stage.recipe.model_args.items() if key == "trust_remote_code"}
    return AutoTokenizer.from_pretrained(stage.folder / MODEL, **options)
