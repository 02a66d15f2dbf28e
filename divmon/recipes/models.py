"""The model and tokenizer that a stage begins with, and saving the ones that it ends with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divmon.encoders.folder import outside_zero3, weight_files, weights_digest
from divmon.errors import InputError, ModelNotFoundError, said_as
from divmon.recipes.configs import architecture_config
from divmon.recipes.recipe import Recipe
from divmon.recipes.revisions import model_key

MODEL = "model"
ADAPTER = "adapter"


@dataclass(frozen=True)
class Weights:
    """Where weights are: a folder or hub id, and there the revision."""

    name: str
    revision: str | None = None


def weights_given(recipe: Recipe, revisions: Mapping[str, str] | None = None) -> Weights | None:
    """What the recipe itself says of where its weights come from: ``model``; None for another recipe or random ones.

    Args:
        recipe: The stage.
        revisions: The commits that its run began with (`divmon.recipes.revisions`).
    """
    if recipe.model is None:
        return None
    commit = (revisions or {}).get(model_key(recipe) or "")
    return Weights(recipe.place(recipe.model), commit or recipe.model_args.get("revision"))


def shipped_folder(recipe: Recipe) -> Path:
    """The folder of the recipe's trained copy, its digest verified.

    Raises:
        InputError: If it is not there or holds other weights than the recipe says.
    """
    assert recipe.shipped is not None
    folder, expected = recipe.local(recipe.shipped["folder"]), recipe.shipped["sha256"].lower()
    where = f"{recipe.path}, shipped"
    if not weight_files(folder):
        raise InputError(f"{where}: {folder} holds no weights (model.safetensors): restore it, or give --from-scratch.")
    found = weights_digest(folder)
    if found != expected:
        raise InputError(
            f"{where}: the weights in {folder} have the sha256 {found}, expected {expected}: restore the folder, or "
            "give --from-scratch."
        )
    return folder


def load_tokenizer(recipe: Recipe, weights: Weights | None) -> Any:
    """The recipe's own tokenizer, or that of the weights it starts from, with the recipe's chat template.

    Args:
        recipe: The stage.
        weights: What it starts from; None for random ones.

    Raises:
        ModelNotFoundError: If it cannot be loaded.
        InputError: If the chat template cannot be read.
    """
    from transformers import AutoTokenizer

    assert recipe.tokenizer or weights
    name = recipe.place(recipe.tokenizer) if recipe.tokenizer else weights.name  # type: ignore[union-attr]
    options = {key: recipe.model_args[key] for key in ("trust_remote_code",) if key in recipe.model_args}
    if weights and weights.revision and not recipe.tokenizer:
        options["revision"] = weights.revision
    with _not_found(recipe, "tokenizer", name):
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
    return with_chat_template(recipe, tokenizer)


def with_chat_template(recipe: Recipe, tokenizer: Any) -> Any:
    """``tokenizer`` with the recipe's chat template, where that has one.

    Raises:
        InputError: If it cannot be read.
    """
    if recipe.chat_template:
        tokenizer.chat_template = chat_template(recipe)
    return tokenizer


def chat_template(recipe: Recipe) -> str:
    """The text of the recipe's own chat template.

    Raises:
        InputError: If it cannot be read.
    """
    assert recipe.chat_template is not None
    path = recipe.local(recipe.chat_template)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{recipe.path}, chat_template: cannot read {path} ({error}).") from error


def load_model(recipe: Recipe, weights: Weights | None, tokenizer: Any, seed: int) -> Any:
    """The model that the stage begins with.

    Args:
        recipe: The stage.
        weights: What it starts from; None for random weights of the recipe's architecture.
        tokenizer: The stage's tokenizer, which decides an architecture's vocabulary where the recipe does not.
        seed: Seed of random weights.

    Raises:
        ModelNotFoundError: If it cannot be loaded.
        InputError: If the architecture is wrong.
    """
    from transformers import AutoModelForCausalLM, set_seed

    options = {key: value for key, value in recipe.model_args.items() if key != "revision"}
    if weights is not None:
        if weights.revision:
            options["revision"] = weights.revision
        with _not_found(recipe, "model", weights.name):
            model = AutoModelForCausalLM.from_pretrained(weights.name, **options)
        size = model.config.get_text_config().vocab_size
        if tokenizer is not None and len(tokenizer) > size:
            raise InputError(
                f"{recipe.path}: the tokenizer has {len(tokenizer)} tokens, the model {weights.name} only {size}: they "
                "do not go together."
            )
        return model
    names = ("pad_token_id", "bos_token_id", "eos_token_id")
    config = architecture_config(
        recipe, vocab_size=len(tokenizer), **{name: getattr(tokenizer, name, None) for name in names}
    )
    set_seed(seed)
    kept = {key: value for key, value in options.items() if key in ("dtype", "attn_implementation")}
    # Of sizes that cannot be, each layer raises its own.
    with said_as(InputError, lambda reason: f"{recipe.path}, architecture: {reason}."):
        return AutoModelForCausalLM.from_config(config, **kept)


def _not_found(recipe: Recipe, what: str, name: str) -> AbstractContextManager[None]:
    return said_as(
        ModelNotFoundError, lambda reason: f"{recipe.path}: the {what} {name!r} cannot be loaded here ({reason})."
    )


@contextmanager
def loaded_whole() -> Iterator[None]:
    """Load a model whole on every process, though the launcher asks for sharded training (ZeRO-3, FSDP)."""
    name = "FSDP_CPU_RAM_EFFICIENT_LOADING"  # leaves all processes but the first with empty weights
    held = os.environ.get(name)
    if held is not None:
        os.environ[name] = "false"
    try:
        with outside_zero3():
            yield
    finally:
        if held is not None:
            os.environ[name] = held


def save_trained(trainer: Any, tokenizer: Any, recipe: Recipe, weights: Weights | None, folder: Path) -> None:
    """Write the trained model and tokenizer to ``model/`` of the run folder; every process calls this.

    An adapter is kept in ``adapter/`` and merged into the model it was trained on, so that the next stage, and anybody
    else, loads ``model/`` as an ordinary model.

    Args:
        trainer: The trainer, done.
        tokenizer: The stage's tokenizer.
        recipe: The stage.
        weights: What the stage started from.
        folder: The run folder.
    """
    from peft import PeftModel

    if trainer.is_fsdp_enabled:
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    adapted = isinstance(trainer.accelerator.unwrap_model(trainer.model), PeftModel)
    target, partial = folder / MODEL, folder / f"{MODEL}.partial"
    first = trainer.accelerator.is_main_process
    if first:
        shutil.rmtree(partial, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    saved = folder / ADAPTER if adapted else partial
    trainer.save_model(str(saved))
    if first:
        (saved / "training_args.bin").unlink(missing_ok=True)  # a pickle with paths of this machine
        if adapted:
            with loaded_whole():
                base = load_model(recipe, weights, tokenizer, trainer.args.seed)
            merged = PeftModel.from_pretrained(base, str(folder / ADAPTER)).merge_and_unload()
            merged.save_pretrained(str(partial))
        tokenizer.save_pretrained(str(partial))
        if not weight_files(partial):
            raise InputError(
                f"The trained model was not saved whole to {partial}: let the launcher's settings gather it "
                "(zero3_save_16bit_model: true, or fsdp_state_dict_type: FULL_STATE_DICT)."
            )
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    trainer.accelerator.wait_for_everyone()
