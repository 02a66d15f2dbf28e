"""``Recipe``: one stage of post-training, as its YAML file says it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from divmon.checks import as_flag
from divmon.errors import InputError
from divmon.recipes.document import as_mapping, as_text, near_path, read_yaml, refuse_unknown
from divmon.recipes.sources import Source, sources_of
from divmon.recipes.validate import ORIGINS, TRAINERS, check_recipe, rewards_of

SUFFIX = ".yaml"


@dataclass(frozen=True)
class Recipe:
    """One stage. The fields are the keys of its YAML file; a section that is not there is None or empty.

    Attributes:
        name: The file's stem; the stage and its run folder are called so.
        path: The file, resolved.
        text: Its text, comments and all.
        description: One sentence.
        init_from: The recipe that it goes on from, as written (``parent_path`` resolves it).
        model: A hub id or a folder, relative to the recipe where it exists there.
        architecture: Keys of a model's config, for random weights.
        shipped: ``folder`` (relative to the recipe) and ``sha256`` of a trained copy, beside ``architecture``.
        model_args: Keyword arguments of ``from_pretrained``.
        tokenizer: A hub id or folder; None for the model's own.
        chat_template: A .jinja file, relative to the recipe.
        data: The sources, to be joined.
        shuffle: Shuffle the rows with the seed; else the sources, and the rows in each, are trained on in the order
            given (a curriculum).
        sft: Fields of ``SFTConfig``; at most one of ``sft``, ``dpo`` and ``grpo`` is not None.
        dpo: Fields of ``DPOConfig``.
        grpo: Fields of ``GRPOConfig``.
        lora: Fields of ``LoraConfig``.
        rewards: Names in ``divmon.rewards``, or one-key mappings of a name to its arguments.
        monitor: Arguments of ``DiversityCallback``.
        hardware: What the stage is meant for.
    """

    name: str
    path: Path
    text: str
    description: str = ""
    init_from: str | None = None
    model: str | None = None
    architecture: Mapping[str, Any] | None = None
    shipped: Mapping[str, str] | None = None
    model_args: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str | None = None
    chat_template: str | None = None
    data: tuple[Source, ...] = ()
    shuffle: bool = True
    sft: Mapping[str, Any] | None = None
    dpo: Mapping[str, Any] | None = None
    grpo: Mapping[str, Any] | None = None
    lora: Mapping[str, Any] | None = None
    rewards: tuple[Any, ...] = ()
    monitor: Mapping[str, Any] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of the recipe, which its relative paths start from."""
        return self.path.parent

    @property
    def label(self) -> str:
        """The name with that of its folder, for lists of recipes from several."""
        return f"{self.folder.name}/{self.name}"

    @property
    def trainer(self) -> str | None:
        """``sft``, ``dpo`` or ``grpo``; None for a stage that only measures."""
        return next((name for name in TRAINERS if getattr(self, name) is not None), None)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The fields of the trainer's config, as given."""
        return getattr(self, self.trainer) if self.trainer else {}

    @property
    def reward_names(self) -> tuple[str, ...]:
        """The names of ``rewards``, in order."""
        return tuple(next(iter(item)) if isinstance(item, Mapping) else str(item) for item in self.rewards)

    @property
    def parent_path(self) -> Path | None:
        """The recipe that ``init_from`` names, or None."""
        if self.init_from is None:
            return None
        # Not with_suffix: a dot may be part of a name.
        return (self.folder / self.init_from.removesuffix(SUFFIX)).resolve().parent / (
            Path(self.init_from.removesuffix(SUFFIX)).name + SUFFIX
        )

    def local(self, name: str) -> Path:
        """A file or folder that the recipe names, relative to itself."""
        return (self.folder / Path(name).expanduser()).resolve()

    def place(self, name: str) -> str:
        """``name`` as a path where there is such a folder beside the recipe, else as it is (a hub id)."""
        local = self.local(name)
        return str(local) if local.exists() else name


def load_recipe(path: str | Path) -> Recipe:
    """Read and check one recipe. The fields of TRL's and PEFT's configs are checked where those are imported.

    Args:
        path: Its YAML file.

    Raises:
        InputError: For a file that is no recipe; an unknown key is named with its section and the nearest known one.
    """
    path = Path(path).resolve()
    text, content = read_yaml(path)
    names = [item.name for item in dataclasses.fields(Recipe) if item.name not in ("name", "path", "text")]
    refuse_unknown(content, names, str(path))
    fields: dict[str, Any] = {}
    for key in ("description", *ORIGINS[:2], "tokenizer", "chat_template"):
        if key in content:
            fields[key] = as_text(content[key], f"{path}, {key}")
    for key in ("architecture", "shipped", "model_args", *TRAINERS, "lora", "monitor", "hardware"):
        if key in content:
            fields[key] = as_mapping(content[key], f"{path}, {key}")
    if "shuffle" in content:
        fields["shuffle"] = as_flag(content["shuffle"], f"{path}, shuffle")
    fields["data"] = sources_of(content.get("data"), path)
    fields["rewards"] = rewards_of(content.get("rewards"), path)
    recipe = Recipe(name=path.stem, path=path, text=text, **fields)
    check_recipe(recipe)
    return recipe


def load_recipes(paths: Iterable[str | Path], *, below: bool = False) -> list[Recipe]:
    """Read the recipes of files and folders, each once.

    Args:
        paths: YAML files, and folders of them.
        below: A folder means all ``*.yaml`` under it, its own first; else its own, not those of its subfolders.

    Raises:
        InputError: As ``load_recipe``, and for a path that does not exist or a folder without a recipe.
    """
    files: dict[Path, None] = {}
    for given in paths:
        path = Path(given)
        if path.is_dir():
            files |= dict.fromkeys(file.resolve() for file in _recipes_in(path, below))
        elif path.exists():
            files[path.resolve()] = None
        else:
            raise InputError(f"No recipe at {given}: expected a {SUFFIX} file or a folder with some.{near_path(path)}")
    return [load_recipe(file) for file in files]


def load_parent(recipe: Recipe) -> Recipe | None:
    """The recipe that ``recipe`` goes on from, or None.

    Raises:
        InputError: If ``init_from`` names none, with the nearest that there is; and as ``load_recipe``.
    """
    path = recipe.parent_path
    if path is None:
        return None
    if not path.is_file():
        raise InputError(
            f"{recipe.path}, init_from: there is no {path}: expected a recipe's name in the same folder, or a relative "
            f"path to it.{near_path(path)}"
        )
    return load_recipe(path)


def lineage(recipe: Recipe, given: Mapping[Path, Recipe] | None = None) -> list[Recipe]:
    """``recipe``, the one that it goes on from, and so on to the root.

    Args:
        recipe: The recipe.
        given: Recipes that are loaded already, by path.

    Raises:
        InputError: As ``load_parent``, and if they go round in a circle.
    """
    members = [recipe]
    while True:
        path = members[-1].parent_path
        parent = (given or {}).get(path) if path else None
        if parent is None:
            parent = load_parent(members[-1])
        if parent is None:
            return members
        paths = [member.path for member in members]
        if parent.path in paths:
            names = " -> ".join(path.stem for path in [*paths[paths.index(parent.path) :], parent.path])
            raise InputError(f"{recipe.path}, init_from: recipes go round in a circle: {names}.")
        members.append(parent)


def _recipes_in(folder: Path, below: bool) -> list[Path]:
    found = list(folder.rglob(f"*{SUFFIX}") if below else folder.glob(f"*{SUFFIX}"))
    if not found:
        others = sorted({str(path.parent) for path in folder.rglob(f"*{SUFFIX}")})
        hint = f" Its subfolders have some: name {', '.join(others)}." if others else ""
        raise InputError(f"No recipe (*{SUFFIX}) in the folder {folder}.{hint}")
    return sorted(found, key=lambda path: (path.parent, path.stem))
