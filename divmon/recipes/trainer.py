"""A stage's trainer: TRL's own, with the diversity monitor on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from divmon.callback import DiversityCallback
from divmon.errors import InputError
from divmon.recipes.configs import lora_config, monitor_settings
from divmon.recipes.models import Weights, load_model
from divmon.recipes.recipe import Recipe


class AlreadyTrainedError(Exception):
    """The checkpoint that a trainer resumed from was its last."""


class StopWhenTrained(TrainerCallback):
    """Keeps a trainer that resumes from its last checkpoint from taking one step more.

    Trainers look at the number of steps only after a step. Nothing but an exception stops one before it; by the first
    epoch's beginning the checkpoint is loaded.
    """

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Raise where no step is left.

        Raises:
            AlreadyTrainedError: In that case.
        """
        if state.global_step >= state.max_steps:
            raise AlreadyTrainedError


def train(trainer: Any, checkpoint: str | None) -> None:
    """Train to the end, from a checkpoint where one is given."""
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except AlreadyTrainedError:
        return


def build_trainer(
    recipe: Recipe,
    config: Any,
    model: Any,
    tokenizer: Any,
    dataset: Any,
    *,
    weights: Weights | None = None,
    callbacks: Sequence[Any] = (),
) -> Any:
    """TRL's trainer for the stage.

    Args:
        recipe: The stage.
        config: Its config, of ``build_config``.
        model: The model to train.
        tokenizer: Its tokenizer.
        dataset: Its data, of ``StageData.build``.
        weights: What the model was loaded from, for the reference model of DPO.
        callbacks: Callbacks of the trainer.

    Raises:
        InputError: For what the trainer refuses, in its own words.
    """
    import trl
    from transformers import PrinterCallback, ProgressCallback

    arguments: dict[str, Any] = {
        "model": model,
        "args": config,
        "train_dataset": dataset,
        "processing_class": tokenizer,
        "peft_config": lora_config(recipe),
        "callbacks": [*callbacks, StopWhenTrained()],
    }
    if recipe.trainer == "grpo":
        arguments["reward_funcs"], config.reward_weights = rewards(recipe)
        cls: Any = trl.GRPOTrainer
    elif recipe.trainer == "dpo":
        if recipe.lora is None and not config.precompute_ref_log_probs:
            # TRL would load it by the model's name, without the recipe's revision.
            arguments["ref_model"] = load_model(recipe, weights, tokenizer, config.seed)
        cls = trl.DPOTrainer
    else:
        cls = trl.SFTTrainer
    try:
        trainer = cls(**arguments)
    except ValueError as error:
        raise InputError(f"{recipe.path}, {recipe.trainer}: the trainer refuses this: {error}") from error
    for printer in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printer)
    return trainer


def rewards(recipe: Recipe) -> tuple[list[Any], list[float]]:
    """The functions of a recipe's ``rewards``, and their weights.

    Raises:
        InputError: For an unknown name or argument.
    """
    from divmon.rewards import reward_functions

    try:
        functions, weights = reward_functions(list(recipe.rewards))
    except (InputError, TypeError) as error:
        raise InputError(f"{recipe.path}, rewards: {error}") from error
    return list(functions), list(weights)


def monitor_callback(recipe: Recipe, folder: Path, baseline: Path | None, *, smoke: bool = False) -> DiversityCallback:
    """The stage's monitor.

    Args:
        recipe: The stage.
        folder: Its run folder.
        baseline: The run folder that holds what ``retained`` compares with; None for the stage's own first measurement.
        smoke: Few prompts and short completions.
    """
    return DiversityCallback(output_dir=folder, baseline=baseline, **monitor_settings(recipe, smoke=smoke))
