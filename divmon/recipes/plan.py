"""The order of stages, what each of them is made of (its hash), and what of it is already there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from divmon.errors import InputError
from divmon.fingerprint import path_fingerprint
from divmon.measurement import to_plain
from divmon.prompt import content_digest
from divmon.recipes.data import StageData
from divmon.recipes.recipe import Recipe, lineage
from divmon.recipes.revisions import model_key, resolved_revisions
from divmon.recipes.state import EARLIER, read_state
from divmon.recipes.validate import prompts_file

HASHED = 1
"""Part of every hash: raised when what a recipe means changes."""
# Say nothing of the weights or the measurement.
_UNHASHED = ("name", "path", "text", "description", "hardware", "shipped")
# A tokenizer's folder may hold a model too (the shipped one, say), which is not what it is named for.
_NOT_TOKENIZERS = ("*.safetensors", "*.bin", "*.pt", "config.json", "generation_config.json", "*.index.json", "*.md")

Status = Literal["absent", "complete", "interrupted", "changed"]


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        recipe: Its recipe.
        parent: The stage that it goes on from.
        folder: Its run folder.
        trains: Whether it trains here (a recipe may train, and yet its shipped copy be taken).
        named: Whether it was asked for; else it is here because another goes on from it.
    """

    recipe: Recipe
    parent: Stage | None
    folder: Path
    trains: bool
    named: bool

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    @property
    def chain(self) -> tuple[Stage, ...]:
        """The stages from the root to this one."""
        return (*(self.parent.chain if self.parent else ()), self)

    @property
    def root(self) -> Stage:
        """The stage that all of this began with."""
        return self.chain[0]

    @property
    def measures_itself(self) -> bool:
        """Whether the model it ends with is measured by itself: not trained here, or trained from random weights.

        Other stages are measured while they train, against the root.
        """
        return not self.trains or self.recipe.architecture is not None


def order(recipes: Sequence[Recipe], output_dir: Path, *, from_scratch: bool = False) -> list[Stage]:
    """The stages of ``recipes`` and those they go on from, parents first.

    Args:
        recipes: The recipes to run.
        output_dir: Where the run folders go.
        from_scratch: Train what has a shipped copy.

    Raises:
        InputError: If a parent is missing, recipes go round in a circle, or two have one name.
    """
    stages: dict[Path, Stage] = {}
    given = {recipe.path: recipe for recipe in recipes}
    for recipe in recipes:
        parent: Stage | None = None
        for member in reversed(lineage(recipe, given)):
            if member.path not in stages:
                if from_scratch and member.shipped and member.trainer is None:
                    raise InputError(f"{member.path}: --from-scratch, but it says not how to train it (sft).")
                trains = member.trainer is not None and (member.shipped is None or from_scratch)
                folder = output_dir / member.name
                stages[member.path] = Stage(member, parent, folder, trains, member.path in given)
            parent = stages[member.path]
    names: dict[str, Path] = {}
    for path, stage in stages.items():
        other = names.setdefault(stage.name, path)
        if other != path:
            raise InputError(
                f"Two recipes are called {stage.name!r} and would share a run folder ({other}, {path}): run them with "
                "different --output-dir, or rename one."
            )
    if EARLIER in names:
        raise InputError(f"{names[EARLIER]}: a recipe must not be called {EARLIER!r}, where old runs are moved to.")
    return list(stages.values())


@dataclass
class Plan:
    """The stages of a run with their hashes.

    Args:
        stages: In order.
        seed: The run's seed.
        smoke: Whether it is a smoke run.
    """

    stages: Sequence[Stage]
    seed: int
    smoke: bool = False
    _revisions: dict[str, dict[str, str]] = field(default_factory=dict)
    _data: dict[str, StageData] = field(default_factory=dict)
    _hashes: dict[str, str] = field(default_factory=dict)

    def revisions(self, stage: Stage) -> dict[str, str]:
        """Which commits of the hub the stage reads: those that an earlier run of it used."""
        if stage.name not in self._revisions:
            self._revisions[stage.name] = resolved_revisions(stage.recipe, read_state(stage.folder).get("revisions"))
        return self._revisions[stage.name]

    def data(self, stage: Stage) -> StageData:
        """The stage's data, of those commits."""
        if stage.name not in self._data:
            revisions = self.revisions(stage)
            self._data[stage.name] = StageData(stage.recipe, self.seed, smoke=self.smoke, revisions=revisions)
        return self._data[stage.name]

    def content_hash(self, stage: Stage) -> str:
        """32 hex digits of all that decides what the stage becomes: its recipe, seed, data, files and parent.

        Raises:
            InputError: If the data or a file cannot be read.
        """
        if stage.name not in self._hashes:
            recipe = stage.recipe
            content = {item.name: getattr(recipe, item.name) for item in dataclasses.fields(recipe)}
            content = {key: value for key, value in content.items() if key not in _UNHASHED}
            if not stage.trains:  # a copy is taken, or nothing trained: how it would be trained says nothing
                content |= dict.fromkeys(("data", "shuffle", "sft", "dpo", "grpo", "lora"))
            parts = {
                "version": HASHED,
                "recipe": content,
                "seed": self.seed,
                "smoke": self.smoke,
                "files": files_digest(stage),
                "model": self.revisions(stage).get(model_key(recipe) or ""),
                "data": self.data(stage).digest() if stage.trains else None,
                "parent": self.content_hash(stage.parent) if stage.parent else None,
            }
            self._hashes[stage.name] = content_digest(to_plain(parts))
        return self._hashes[stage.name]

    def status(self, stage: Stage) -> Status:
        """What is there of the stage: nothing, all, a part, or the outcome of another recipe.

        Raises:
            InputError: If its run folder holds something else.
        """
        state = read_state(stage.folder)
        if not state:
            if stage.folder.exists() and any(not file.name.endswith(".partial") for file in stage.folder.iterdir()):
                raise InputError(
                    f"{stage.folder} holds files that are no run of a recipe: give another --output-dir, or move them."
                )
            return "absent"
        if state.get("hash") != self.content_hash(stage):
            return "changed"
        return "complete" if state.get("status") == "complete" else "interrupted"

    def what_changed(self, stage: Stage) -> str:
        """Why a stage whose status is ``changed`` is not what would be made now, in words."""
        state = read_state(stage.folder)
        if state.get("seed") != self.seed:
            return f"it was run with --seed {state.get('seed')}, now it is {self.seed}"
        if bool(state.get("smoke")) != self.smoke:
            return "it was a smoke run" if state.get("smoke") else "this is a smoke run"
        if stage.recipe.shipped and (state.get("data") is not None) != stage.trains:
            return "the shipped copy is taken" if not stage.trains else "it is trained from scratch"
        if stage.parent and state.get("parent_hash") != self.content_hash(stage.parent):
            return f"what it goes on from ({stage.parent.name}) changed"
        if stage.trains and state.get("data") != self.data(stage).digest():
            return "its data changed"
        return "its recipe or a file that it names changed"


def files_digest(stage: Stage) -> dict[str, str]:
    """Digests of the files beside a recipe that it names."""
    recipe, found = stage.recipe, {}
    if recipe.chat_template:
        found["chat_template"] = path_fingerprint(recipe.local(recipe.chat_template))
    if (prompts := prompts_file(recipe)) is not None:
        found["prompts"] = path_fingerprint(prompts)
    if recipe.model and recipe.local(recipe.model).is_dir():
        found["model"] = path_fingerprint(recipe.local(recipe.model))
    if recipe.tokenizer and recipe.local(recipe.tokenizer).is_dir():
        found["tokenizer"] = path_fingerprint(recipe.local(recipe.tokenizer), leave=_NOT_TOKENIZERS)
    if recipe.shipped and not stage.trains:
        found["shipped"] = recipe.shipped["sha256"].lower()
    return found
