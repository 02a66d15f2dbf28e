"""What the checks of a recipe share: its chain, the model it starts from, a tokenizer, rows; all without the hub."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.resources
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from divmon.errors import InputError
from divmon.recipes.known import known_architecture, known_dataset
from divmon.recipes.models import chat_template, load_tokenizer, weights_given
from divmon.recipes.recipe import Recipe, lineage
from divmon.recipes.sources import Source, with_rows

GENERIC_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' }}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
    "{% else %}{{ message['content'] }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
"""Stands in for the template of a tokenizer of the hub."""


class Subject:
    """A recipe and what the checks share of it; each part is made when it is first asked for.

    Args:
        recipe: The recipe.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.name = recipe.label

    @cached_property
    def chain(self) -> list[Recipe]:
        """The recipe, what it goes on from, and so on to the root."""
        return lineage(self.recipe)

    @cached_property
    def architecture(self) -> Mapping[str, Any]:
        """The config of the model that the stage starts from."""
        root = self.chain[-1]
        if root.architecture is not None:
            given = dict(root.architecture)
            return given if "vocab_size" in given else given | {"vocab_size": len(self.tokenizer)}
        assert root.model is not None
        folder = root.local(root.model)
        if folder.exists():
            from transformers import AutoConfig

            return AutoConfig.from_pretrained(str(folder)).to_dict()
        known = known_architecture(root.model)
        if known is None:
            raise InputError(
                f"{root.path}, model: the architecture of {root.model} is not among those that divmon knows, and the "
                "hub is not asked here: name a folder, or one of the models of divmon/data/architectures.json."
            )
        return known

    @cached_property
    def template(self) -> tuple[str, str]:
        """The chat template in force, and where it comes from."""
        for recipe in self.chain:
            if recipe.chat_template:
                return chat_template(recipe), Path(recipe.chat_template).name
            if recipe.tokenizer:
                break
        own = getattr(self._plain_tokenizer, "chat_template", None)
        if own:
            return own, "the tokenizer's own"
        return GENERIC_TEMPLATE, "a generic one: the real one comes with the hub's tokenizer"

    @cached_property
    def tokenizer_from(self) -> Recipe | None:
        """The recipe of the chain that has the tokenizer, where that is here; None where it comes from the hub."""
        for recipe in self.chain:
            name = recipe.tokenizer or recipe.model
            if name is not None:
                return recipe if recipe.local(name).is_dir() else None
        return None

    @cached_property
    def _plain_tokenizer(self) -> Any:
        if self.tokenizer_from is not None:
            return load_tokenizer(self.tokenizer_from, weights_given(self.tokenizer_from))
        from divmon.recipes.shrink import standin_tokenizer

        return standin_tokenizer()

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer where it is here, else a stand-in; with the template."""
        tokenizer = self._plain_tokenizer
        tokenizer.chat_template = self.template[0]
        return tokenizer

    @cached_property
    def dataset(self) -> Any:
        """Rows as the trainer reads them, through the code that a run uses."""
        from divmon.recipes.data import StageData

        with contextlib.ExitStack() as stack:
            sources = tuple(_local_source(source, stack) for source in self.recipe.data)
            return StageData(dataclasses.replace(self.recipe, data=sources), 0, smoke=True).build()


def _local_source(source: Source, stack: contextlib.ExitStack) -> Source:
    """A source of the hub with its fixture's file instead; others as they are."""
    if source.dataset is None:
        return source
    known = known_dataset(source.dataset)
    if known is None:
        raise InputError(
            f"{source.label}: no rows of its schema come with divmon, and the hub is not asked here, so its mapping "
            "cannot be checked."
        )
    return with_rows(source, stack.enter_context(importlib.resources.as_file(known.file)))
