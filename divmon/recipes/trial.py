"""A recipe's trainer for one step on a shrunken model: the real classes, real rows, no weights and no net."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from divmon.errors import DivmonError
from divmon.recipes.configs import short_settings
from divmon.recipes.recipe import Recipe
from divmon.verifiers import OUTSIDE

MAX_LENGTH = 512
COMPLETION = 12
ROWS = 8

# What a large run sets that a shrunken model on any machine cannot have.
_DROPPED = ("vllm_mode", "use_liger_kernel", "torch_compile", "dataset_num_proc", "dataloader_num_workers")


class TrialError(DivmonError, RuntimeError):
    """The step ran, and what came out of it is wrong."""


def trial_recipe(recipe: Recipe) -> Recipe:
    """``recipe`` with the settings of one short step in fp32 on the CPU, otherwise as it is."""
    assert recipe.trainer is not None
    kept = {key: value for key, value in recipe.settings.items() if key not in _DROPPED}
    settings = short_settings(recipe.trainer, kept, steps=1, batch=2, tokens=COMPLETION)
    settings |= {
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "fp16": False,
        "tf32": None,
        "optim": "adamw_torch",
    }
    if recipe.trainer == "grpo":
        # A random model hardly ever ends, and what is masked has no gradient.
        settings |= {"use_vllm": False, "mask_truncated_completions": False}
        named = zip(recipe.rewards, recipe.reward_names, strict=True)
        inside = [entry for entry, name in named if name not in OUTSIDE]
        recipe = dataclasses.replace(recipe, rewards=tuple(inside) or ("format_think",))  # which needs no columns
    else:
        settings["max_length"] = min(MAX_LENGTH, int(settings.get("max_length") or MAX_LENGTH))
    changed: dict[str, Any] = {str(recipe.trainer): settings}
    return dataclasses.replace(recipe, **changed)


def train_a_step(recipe: Recipe, config: Any, tokenizer: Any, dataset: Any) -> str:
    """Train one step with the recipe's trainer and generate with what it made.

    Rewards are really computed, but no program is run and no judge asked; a small spread is added to them, since a
    random model earns nothing and would have no gradient.

    Args:
        recipe: A stage that trains.
        config: The shrunken model's config.
        tokenizer: Its tokenizer, with a chat template.
        dataset: Rows as the trainer reads them.

    Returns:
        What was done, in words.

    Raises:
        DivmonError: If the trainer refuses the recipe, the loss is not finite, or no trained weight changes.
    """
    from divmon.recipes.configs import build_config
    from divmon.recipes.models import Weights
    from divmon.recipes.shrink import shrunken_model
    from divmon.recipes.trainer import build_trainer

    small = trial_recipe(recipe)
    model = shrunken_model(config)
    name = type(model).__name__
    # TRL has progress bars that nothing turns off.
    with tempfile.TemporaryDirectory(prefix="divmon-check-") as folder, contextlib.redirect_stderr(io.StringIO()):
        weights = Path(folder) / "weights"
        model.save_pretrained(weights)
        model.config._name_or_path = str(weights)  # where TRL loads a reference model from
        trainer = build_trainer(
            small,
            build_config(small, folder),
            model,
            tokenizer,
            _few(dataset),
            weights=Weights(str(weights)),
        )
        if recipe.trainer == "grpo":
            trainer.reward_funcs = [spread(function) for function in trainer.reward_funcs]
        before = {key: value.detach().clone() for key, value in _trained(trainer.model)}
        trainer.train()
        rows = [row for row in trainer.state.log_history if "loss" in row]
        changed = sum(1 for key, value in _trained(trainer.model) if not value.equal(before[key]))
        answer = generated(trainer.model, tokenizer)
    loss, norm = (float(rows[0].get(key, math.nan)) if rows else math.nan for key in ("loss", "grad_norm"))
    if not math.isfinite(loss) or not math.isfinite(norm):
        raise TrialError(f"After a step the loss is {loss} and the gradient's norm {norm}.")
    if not changed:
        raise TrialError(f"After a step none of the {len(before)} trained tensors has changed.")
    kind = f"{len(before)} adapter tensors" if recipe.lora is not None else f"{len(before)} tensors"
    return (
        f"{type(trainer).__name__} on a shrunken {name}: loss {loss:.3g}, gradient {norm:.2g}, {changed} of {kind} "
        f"changed, {answer}"
    )


def generated(model: Any, tokenizer: Any) -> str:
    """Generate a few tokens after a chat prompt; what was done, in words.

    Raises:
        TrialError: If nothing comes out.
    """
    import torch

    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Name a river."}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            output = model.generate(
                **inputs,
                max_new_tokens=COMPLETION,
                min_new_tokens=COMPLETION,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            )
    finally:
        model.train(training)
    count = output.shape[1] - inputs["input_ids"].shape[1]
    if count < 1:
        raise TrialError("The model generated nothing.")
    return f"{count} tokens generated"


def _few(dataset: Any) -> Any:
    """The first rows, without the verifiers that are not asked."""
    rows = dataset.select(range(min(ROWS, len(dataset))))
    if "verifier" not in rows.column_names:
        return rows
    return rows.map(lambda row: {"verifier": "" if row["verifier"] in OUTSIDE else row["verifier"]})


def _trained(model: Any) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in model.named_parameters() if value.requires_grad]


def spread(function: Callable[..., Sequence[float | None]]) -> Callable[..., list[float]]:
    """A reward function whose scores differ, since a random model earns nothing and would have no gradient."""

    def spread_scores(*, completions: Sequence[Any], **given: Any) -> list[float]:
        scores = function(completions=completions, **given)
        return [(score or 0.0) + 0.01 * number for number, score in enumerate(scores)]

    spread_scores.__name__ = function.__name__
    return spread_scores
