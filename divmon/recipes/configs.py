"""A recipe's sections as the real configuration objects of TRL, PEFT and transformers."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from divmon.errors import InputError
from divmon.recipes.document import refuse_unknown
from divmon.recipes.recipe import Recipe
from divmon.recipes.validate import in_order, prompts_file

CHECKPOINTS = "checkpoints"
SMOKE_STEPS = 2
SMOKE_TOKENS = 24

# Where an interrupted stage goes on from; a recipe that says otherwise is followed.
_SAVING: dict[str, Any] = {"save_strategy": "steps", "save_steps": 0.25}
_PLAIN = (bool, int, float, str, type(None))
# What the classes refuse values with: files that are not there, packages and devices too, and a division by one of 0.
_REFUSALS = (ValueError, TypeError, ImportError, OSError, RuntimeError, ArithmeticError)


def config_class(trainer: str) -> type[Any]:
    """TRL's configuration class of ``sft``, ``dpo`` or ``grpo``."""
    import trl

    classes: dict[str, type[Any]] = {"sft": trl.SFTConfig, "dpo": trl.DPOConfig, "grpo": trl.GRPOConfig}
    return classes[trainer]


def check_sections(recipe: Recipe) -> None:
    """Check the keys and the plain types of the sections that belong to other libraries, and nothing else.

    Raises:
        InputError: For an unknown field, with the near miss, and for a value of the wrong type.
    """
    if recipe.trainer:
        _check_fields(config_class(recipe.trainer), recipe.settings, f"{recipe.path}, {recipe.trainer}")
    if recipe.lora is not None:
        from peft import LoraConfig

        _check_fields(LoraConfig, recipe.lora, f"{recipe.path}, lora")
    if recipe.architecture is not None:
        architecture_config(recipe)


def _check_fields(cls: type[Any], given: Mapping[str, Any], where: str) -> None:
    fields = [item.name for item in dataclasses.fields(cls) if item.init]
    refuse_unknown(given, fields, where)
    hints = typing.get_type_hints(cls)
    for name, value in given.items():
        allowed = _plain_types(hints.get(name, Any))
        if allowed is not None and type(value) not in allowed and not (type(value) is int and float in allowed):
            names = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in allowed)
            raise InputError(f"{where}, {name}: expected {names}, got {value!r:.80}.")


def _plain_types(hint: Any) -> tuple[type, ...] | None:
    """The types of a hint that names plain types only, else None."""
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    options = typing.get_args(hint) if union else (hint,)
    return tuple(options) if options and all(option in _PLAIN for option in options) else None


def build_config(
    recipe: Recipe,
    output_dir: str | Path,
    *,
    seed: int = 0,
    report_to: str | None = None,
    smoke: bool = False,
) -> Any:
    """The recipe's ``SFTConfig``, ``DPOConfig`` or ``GRPOConfig``.

    Args:
        recipe: A stage that trains.
        output_dir: The stage's run folder; checkpoints go into a folder of it.
        seed: The run's seed, of data too.
        report_to: A reporting integration in place of the recipe's.
        smoke: Two short steps.

    Raises:
        InputError: For what the class refuses, in its own words.
    """
    assert recipe.trainer is not None
    check_sections(recipe)
    settings = resolved_settings(recipe, output_dir, seed=seed, report_to=report_to, smoke=smoke)
    try:
        return config_class(recipe.trainer)(**settings)
    except _REFUSALS as error:
        raise InputError(f"{recipe.path}, {recipe.trainer}: {error}") from error


def resolved_settings(
    recipe: Recipe, output_dir: str | Path, *, seed: int = 0, report_to: str | None = None, smoke: bool = False
) -> dict[str, Any]:
    """The arguments of the config: the recipe's, and what the runner adds."""
    given = dict(recipe.settings)
    settings = machine_settings() | (_SAVING if "save_strategy" not in given else {}) | given
    settings.setdefault("save_total_limit", 1)
    settings.setdefault("ddp_find_unused_parameters", False)  # a language model uses them all
    settings.setdefault("report_to", "none")
    settings.setdefault("run_name", f"{recipe.name}-seed{seed}")
    if report_to is not None:
        settings["report_to"] = report_to
    if not recipe.shuffle:
        settings |= in_order(str(recipe.trainer))
    if recipe.trainer == "grpo":
        settings["num_completions_to_print"] = 0  # whatever log_completions says, tables stay off the console
    if smoke:
        settings = short_settings(str(recipe.trainer), settings, steps=SMOKE_STEPS, batch=4, tokens=SMOKE_TOKENS)
    settings |= {
        "output_dir": str(Path(output_dir) / CHECKPOINTS),
        "seed": seed,
        "data_seed": seed,
        "disable_tqdm": True,
        "push_to_hub": False,
    }
    return settings


def machine_settings() -> dict[str, Any]:
    """What this machine decides: without an accelerator, training in fp32 on the CPU."""
    import torch

    if torch.accelerator.is_available():
        return {}
    return {"use_cpu": True, "bf16": False, "dataloader_pin_memory": False}


# What goes by the length of a whole training.
_LONG = (
    "num_train_epochs",
    "steps_per_generation",
    "generation_batch_size",
    "warmup_ratio",
    "eval_steps",
    "save_steps",
)


def short_settings(trainer: str, settings: Mapping[str, Any], *, steps: int, batch: int, tokens: int) -> dict[str, Any]:
    """Settings for a few steps of few rows, otherwise as they are.

    Args:
        trainer: ``sft``, ``dpo`` or ``grpo``.
        settings: The settings of the whole training.
        steps: How many steps.
        batch: Rows of a step, at most (GRPO: a group of at most 4 completions).
        tokens: Tokens of a completion, at most.
    """
    small = {name: value for name, value in settings.items() if name not in _LONG}
    small |= {
        "max_steps": steps,
        "logging_steps": 1,
        "save_strategy": "no",
        "eval_strategy": "no",
        "warmup_steps": 0,
        "gradient_accumulation_steps": 1,
        "per_device_train_batch_size": min(batch, small.get("per_device_train_batch_size", batch)),
    }
    if trainer == "grpo":
        group = min(4, small.get("num_generations", 4))
        small |= {"num_generations": group, "per_device_train_batch_size": group, "num_iterations": 1}
        small["max_completion_length"] = min(tokens, small.get("max_completion_length", tokens))
    return small


def lora_config(recipe: Recipe) -> Any:
    """The recipe's ``LoraConfig``, or None.

    Raises:
        InputError: For what the class refuses.
    """
    if recipe.lora is None:
        return None
    from peft import LoraConfig

    try:
        return LoraConfig(**({"task_type": "CAUSAL_LM"} | dict(recipe.lora)))
    except _REFUSALS as error:
        raise InputError(f"{recipe.path}, lora: {error}") from error


def architecture_config(recipe: Recipe, **defaults: Any) -> Any:
    """The transformers config of a recipe's ``architecture``.

    Args:
        recipe: A recipe with an architecture.
        **defaults: What holds where the recipe says nothing (the tokenizer's vocabulary and special tokens).

    Raises:
        InputError: For an unknown model type or field (transformers itself would take any), with the near miss.
    """
    assert recipe.architecture is not None
    given = {key: value for key, value in recipe.architecture.items() if key != "model_type"}
    kind = recipe.architecture["model_type"]
    return model_config(kind, defaults | given, f"{recipe.path}, architecture", written=given)


def model_config(kind: Any, values: Mapping[str, Any], where: str, *, written: Iterable[str] = ()) -> Any:
    """A transformers config.

    Args:
        kind: Its model type.
        values: Its fields.
        where: Whose they are, for messages.
        written: Which of them must be fields of the class; transformers itself would take any.

    Raises:
        InputError: For an unknown model type or field, with the near miss, and for what the class refuses.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING

    refuse_unknown([kind], list(CONFIG_MAPPING.keys()), f"{where}, model_type")
    cls: Any = CONFIG_MAPPING[kind]
    refuse_unknown(written, [item.name for item in dataclasses.fields(cls) if item.init], where)
    try:
        return cls(**values)
    except (*_REFUSALS, StrictDataclassError, KeyError, AttributeError) as error:  # rope's keys, names of a dtype
        raise InputError(f"{where}: {error}") from error


def monitor_settings(recipe: Recipe, *, smoke: bool = False) -> dict[str, Any]:
    """The arguments of ``DiversityCallback``: the recipe's, with the prompts' file resolved; few and short in smoke."""
    settings = dict(recipe.monitor)
    if (file := prompts_file(recipe)) is not None:
        settings["prompts"] = file
    if smoke:
        small = {"num_prompts": 4, "samples": 4, "max_new_tokens": 16, "max_think_tokens": 16}
        settings |= {name: min(most, settings.get(name, most)) for name, most in small.items()}
        settings["every_n_steps"] = SMOKE_STEPS
    return settings
