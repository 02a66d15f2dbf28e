"""Whether the parts of a recipe go together, as far as that can be told without the libraries that run it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divmon.checks import as_count
from divmon.errors import InputError
from divmon.options import MonitorOptions
from divmon.recipes.document import as_mapping, as_text, near_path, refuse_unknown
from divmon.tasks import names_tasks

if TYPE_CHECKING:
    from divmon.recipes.recipe import Recipe

TRAINERS = ("sft", "dpo", "grpo")
ORIGINS = ("init_from", "model", "architecture")
HARDWARE = ("gpus", "generation_gpus", "gpu_memory_gb", "tflops", "bandwidth_tb_s", "cpus", "memory_gb")
MODEL_ARGS = (
    "attn_implementation",
    "device_map",
    "dtype",
    "experts_implementation",
    "max_memory",
    "revision",
    "subfolder",
    "trust_remote_code",
    "use_kernels",
    "use_safetensors",
    "variant",
)
"""Keyword arguments of ``from_pretrained`` that a recipe may give; it takes any other key as one for the config."""

_CALLBACK = ("prompts", "every_n_steps", "strict")
# What the runner sets itself, and what to do instead of giving it.
_RUNNERS = {
    "output_dir": "give --output-dir",
    "seed": "give --seed",
    "data_seed": "it is --seed",
    "disable_tqdm": "the runner shows the progress itself",
    "resume_from_checkpoint": "an interrupted stage is resumed by itself",
    "model_init_kwargs": "give model_args:",
    "trust_remote_code": "give model_args: {trust_remote_code: true}",
    "chat_template_path": "give chat_template:, a .jinja file",
    "reward_weights": "give rewards: [{name: {weight: 0.5}}]",
    "push_to_hub": "nothing is uploaded: upload the stage's model folder yourself",
}
_MONITORS = {
    "baseline": "it is the root of the stage's init_from chain",
    "output_dir": "records go to the stage's run folder",
    "trainer": "the runner makes it",
}


def check_recipe(recipe: Recipe) -> None:
    """Check a recipe by its own words.

    Raises:
        InputError: For what cannot be.
    """
    _check_origin(recipe)
    _check_training(recipe)
    _check_monitor(recipe)
    refuse_unknown(recipe.model_args, MODEL_ARGS, f"{recipe.path}, model_args")
    refuse_unknown(recipe.hardware, HARDWARE, f"{recipe.path}, hardware")
    for key, value in recipe.hardware.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise InputError(f"{recipe.path}, hardware, {key}: expected a number above 0, got {value!r:.80}.")


def rewards_of(value: Any, path: Path) -> tuple[Any, ...]:
    """A recipe's ``rewards``: names, or mappings of one name to its arguments.

    Raises:
        InputError: For anything else.
    """
    if value is None:
        return ()
    where = f"{path}, rewards"
    if not isinstance(value, list) or not value:
        raise InputError(f"{where}: expected a list of names, got {value!r:.80}.")
    for item in value:
        if isinstance(item, Mapping):
            if len(item) != 1:
                raise InputError(f"{where}: expected one name with its arguments an entry, got {', '.join(item)}.")
            name, arguments = next(iter(item.items()))
            as_mapping(arguments, f"{where}, {name}")
        else:
            name = item
        as_text(name, where)
    return tuple(value)


def _check_origin(recipe: Recipe) -> None:
    given = [key for key in ORIGINS if getattr(recipe, key) is not None]
    if len(given) != 1:
        raise InputError(
            f"{recipe.path}: expected exactly one of {', '.join(ORIGINS)} (where the weights come from), got "
            f"{', '.join(given) or 'none'}."
        )
    if recipe.architecture is not None:
        as_text(recipe.architecture.get("model_type"), f"{recipe.path}, architecture, model_type")
        if recipe.tokenizer is None:
            raise InputError(f"{recipe.path}: architecture needs 'tokenizer', a folder.")
    if recipe.shipped is not None:
        where = f"{recipe.path}, shipped"
        refuse_unknown(recipe.shipped, ("folder", "sha256"), where)
        for key in ("folder", "sha256"):
            as_text(recipe.shipped.get(key), f"{where}, {key}")
        if recipe.architecture is None:
            raise InputError(f"{where}: goes with 'architecture', of which it is a trained copy.")
    if recipe.architecture is not None and recipe.trainer is None and recipe.shipped is None:
        raise InputError(f"{recipe.path}: random weights, and neither a training section (sft) nor 'shipped'.")


def _check_training(recipe: Recipe) -> None:
    sections = [name for name in TRAINERS if getattr(recipe, name) is not None]
    if len(sections) > 1:
        raise InputError(f"{recipe.path}: expected at most one of {', '.join(TRAINERS)}, got {', '.join(sections)}.")
    if not sections:
        for key in ("data", "lora", "rewards"):
            if getattr(recipe, key) not in (None, ()):
                raise InputError(f"{recipe.path}: '{key}' needs one of the sections {', '.join(TRAINERS)}.")
        if not recipe.shuffle:
            raise InputError(f"{recipe.path}: 'shuffle' needs one of the sections {', '.join(TRAINERS)}.")
        return
    where = f"{recipe.path}, {sections[0]}"
    for key in recipe.settings:
        if key in _RUNNERS or key.startswith("hub_"):
            remedy = _RUNNERS.get(key, _RUNNERS["push_to_hub"])
            raise InputError(f"{where}, {key}: the runner sets it, a recipe must not ({remedy}).")
    if not recipe.shuffle:
        _check_order(recipe, sections[0])
    if not recipe.data:
        raise InputError(f"{where}: a stage that trains needs 'data'.")
    if (sections[0] == "grpo") != bool(recipe.rewards):
        raise InputError(f"{where}: 'rewards' belongs to grpo, and grpo needs it.")


def _check_order(recipe: Recipe, trainer: str) -> None:
    """Refuse settings that would take rows out of the order that ``shuffle: false`` promises."""
    settings, where = recipe.settings, f"{recipe.path}, {trainer}"
    for key, value in in_order(trainer).items():
        if settings.get(key, value) != value:
            raise InputError(
                f"{where}, {key}: {settings[key]!r} does not keep the order that 'shuffle: false' asks for: expected "
                f"{value!r}, or nothing (the runner sets it)."
            )
    if settings.get("packing") and settings.get("packing_strategy") != "wrapped":
        raise InputError(
            f"{where}, packing_strategy: expected 'wrapped' beside 'shuffle: false': TRL's other strategies (bfd is "
            "the default) order rows by their length."
        )


def in_order(trainer: str) -> dict[str, Any]:
    """The settings of a trainer that reads the rows in the order given."""
    if trainer == "grpo":  # its sampler is TRL's own, which repeats prompts and knows this setting only
        return {"shuffle_dataset": False}
    settings: dict[str, Any] = {"train_sampling_strategy": "sequential"}
    return settings | ({"shuffle_dataset": False} if trainer == "sft" else {})


def _check_monitor(recipe: Recipe) -> None:
    where = f"{recipe.path}, monitor"
    for key, remedy in _MONITORS.items():
        if key in recipe.monitor:
            raise InputError(f"{where}, {key}: the runner sets it, a recipe must not ({remedy}).")
    options = [item.name for item in dataclasses.fields(MonitorOptions)]
    refuse_unknown(recipe.monitor, [*_CALLBACK, *options], where)
    try:
        MonitorOptions.of(monitor_options(recipe.monitor))
    except (InputError, TypeError) as error:
        raise InputError(f"{where}: {error}") from error
    try:
        file = prompts_file(recipe)
    except InputError as error:
        raise InputError(f"{where}, prompts: {error}") from error
    if file is not None and not file.is_file():
        raise InputError(f"{where}, prompts: there is no file {file}.{near_path(file)}")
    prompts: Any = recipe.monitor.get("prompts")
    if not isinstance(prompts, str | Sequence | None):
        raise InputError(
            f"{where}, prompts: expected a JSONL file, names of tasks or a list of prompts, got {prompts!r:.80}."
        )
    if (steps := recipe.monitor.get("every_n_steps")) is not None:
        as_count(steps, f"{where}, every_n_steps")


def prompts_file(recipe: Recipe) -> Path | None:
    """The file that a recipe's ``monitor`` takes its prompts from; None where they are a list or tasks, by name.

    Raises:
        InputError: For what looks like the name of a task, misspelt.
    """
    prompts = recipe.monitor.get("prompts")
    return recipe.local(prompts) if isinstance(prompts, str) and not names_tasks(prompts) else None


def monitor_options(monitor: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a ``monitor`` section that ``MonitorOptions`` holds."""
    return {key: value for key, value in monitor.items() if key not in _CALLBACK}
