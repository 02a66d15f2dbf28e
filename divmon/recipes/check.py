"""``divmon recipe check``: what can be proved of a recipe without its weights, its data and its machine."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from divmon.errors import DivmonError, InputError
from divmon.recipes.known import known_dataset
from divmon.recipes.recipe import Recipe
from divmon.recipes.row_checks import mapped, scored
from divmon.recipes.subject import Subject

CHECKS = ("config", "template", "data", "step", "estimate")
MEMORY_SHARE = 0.92
"""Of a GPU's memory that a stage may be estimated to take."""


@dataclass(frozen=True)
class Finding:
    """What one check of one recipe found.

    Attributes:
        recipe: The recipe, as folder and name.
        check: ``config``, ``template``, ``data``, ``step`` or ``estimate``.
        ok: Whether it holds.
        detail: What was done and found, or what is wrong.
    """

    recipe: str
    check: str
    ok: bool
    detail: str


def check_recipes(
    recipes: Sequence[Recipe],
    *,
    progress: Callable[[str], None] | None = None,
    checks: Iterable[str] = CHECKS,
) -> list[Finding]:
    """Check recipes, offline and on the CPU; nothing is written but to a temporary folder.

    - ``config``: TRL's and PEFT's own classes take the sections, and the batches divide on the recipe's GPUs.
    - ``template``: the chat template renders a conversation with the right roles, a prompt is a prefix of its answer,
      and the mask covers the answers where the loss is theirs alone.
    - ``data``: the mapping works on rows of the real schema (fixtures that come with divmon stand in for the hub), and
      verifiers take the ground truths.
    - ``step``: a forward, a backward and an optimiser step with the recipe's trainer, and a generation, on a model of
      the same architecture with random weights, shrunken in width and depth.
    - ``estimate``: memory and hours by the formulae of ``memory.py`` and ``hours.py``, against the ``hardware`` given.

    Args:
        recipes: The recipes.
        progress: Is told what is being done.
        checks: Which checks to do.

    Returns:
        The findings, by recipe; a check that fails is a finding, not an error.
    """
    from divmon.quiet import quiet_libraries

    wanted = list(checks)
    findings = []
    with quiet_libraries():
        for number, recipe in enumerate(recipes, 1):
            subject = Subject(recipe)
            for name in wanted:
                if progress is not None:
                    progress(f"{number}/{len(recipes)} {subject.name}: {name}")
                findings.append(_finding(subject, name))
    return findings


def _finding(subject: Subject, name: str) -> Finding:
    try:
        return Finding(subject.name, name, True, _CHECKS[name](subject))
    except DivmonError as error:
        return Finding(subject.name, name, False, str(error))
    except Exception as error:
        # A trainer, a template or a model fails with whatever its layers raise, and one recipe's failure must not end
        # the check of the others. Class and place tell a library's refusal from a fault of divmon's own.
        return Finding(subject.name, name, False, f"{type(error).__name__} in {_raised_in(error)}: {error}".strip())


def _raised_in(error: Exception) -> str:
    """The module that raised an error."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "generated code"))


def _check_config(subject: Subject) -> str:
    from divmon.recipes.configs import build_config, lora_config, machine_settings, monitor_settings

    recipe = subject.recipe
    monitor_settings(recipe)
    if recipe.trainer is None:
        return "measured, not trained: the monitor's options are valid"
    with tempfile.TemporaryDirectory(prefix="divmon-check-") as folder:
        config = build_config(recipe, folder)
    parts = [f"{type(config).__name__} with {len(recipe.settings)} fields"]
    if recipe.lora is not None:
        parts.append(f"{type(lora_config(recipe)).__name__} with {len(recipe.lora)}")
    if recipe.trainer == "grpo":
        parts += [_rewards(recipe), _divided(recipe, config)]
    if changed := [f"{key}={value}" for key, value in machine_settings().items() if key not in recipe.settings]:
        parts.append(f"no GPU here, so built with {', '.join(changed)}")
    return "; ".join(parts)


def _rewards(recipe: Recipe) -> str:
    """Build the rewards, which run nothing and ask nobody until they are called."""
    from divmon.recipes.trainer import rewards
    from divmon.sandbox import SandboxError

    try:
        functions, weights = rewards(recipe)
    except SandboxError as error:
        return f"rewards as far as there is no sandbox here ({error})"
    return "rewards " + ", ".join(f"{f.__name__} x {w:g}" for f, w in zip(functions, weights, strict=True))


def _divided(recipe: Recipe, config: Any) -> str:
    """Check GRPO's batches on as many GPUs as the recipe is meant for; TRL checks them for those that are here."""
    from divmon.recipes.batches import Batches

    batches = Batches.of(recipe)
    gpus, micro, at_once = batches.gpus, batches.forward, batches.generated
    if at_once % config.num_generations or at_once % micro:
        raise InputError(
            f"{recipe.path}, grpo: on {gpus} GPUs {at_once} completions are generated at once, expected a multiple of "
            f"num_generations ({config.num_generations}) and of {micro}."
        )
    return (
        f"on {gpus} GPU{'s' * (gpus > 1)} {at_once} completions at once ({at_once // config.num_generations} prompts), "
        f"{batches.step} an optimiser step"
    )


def _check_template(subject: Subject) -> str:
    tokenizer, origin = subject.tokenizer, subject.template[1]
    system = {"role": "system", "content": "SYSTEM-WORDS"}
    user = {"role": "user", "content": "USER-WORDS"}
    answer = {"role": "assistant", "content": "<think>\nTHOUGHT-WORDS\n</think>\n\nANSWER-WORDS"}
    last = {"role": "user", "content": "LAST-WORDS"}
    text = tokenizer.apply_chat_template([system, user, answer, last], tokenize=False, add_generation_prompt=True)
    words = ["SYSTEM-WORDS", "USER-WORDS", "ANSWER-WORDS", "LAST-WORDS"]
    places = [text.find(word) for word in words]
    if min(places) < 0 or places != sorted(places):
        raise InputError(f"chat template ({origin}): expected {', '.join(words)} in this order, got {text!r}.")
    prompt = tokenizer.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([user, answer], tokenize=False)
    if not whole.startswith(prompt):
        raise InputError(
            f"chat template ({origin}): a prompt must be the beginning of the prompt with its answer, else what is "
            f"trained is not what is asked later: got {prompt!r} and {whole!r}."
        )
    parts = [f"{origin} renders system, user and assistant"]
    if subject.recipe.trainer == "sft" and subject.recipe.settings.get("assistant_only_loss"):
        parts.append(_masked(tokenizer, [user, answer, last, answer], origin))
    if subject.tokenizer_from is None:
        parts.append("tokenizer: a stand-in of bytes, the real one comes from the hub")
    return "; ".join(parts)


def _masked(tokenizer: Any, turns: list[dict[str, str]], origin: str) -> str:
    encoded = tokenizer.apply_chat_template(turns, return_dict=True, return_assistant_tokens_mask=True)
    pairs = zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
    kept = tokenizer.decode([token for token, mask in pairs if mask])
    answers = [turn["content"] for turn in turns if turn["role"] == "assistant"]
    if kept.replace(tokenizer.eos_token, "") != "".join(answers) or not kept.endswith(tokenizer.eos_token):
        raise InputError(
            f"chat template ({origin}): assistant_only_loss needs {{% generation %}} around the answers and their end "
            f"token, and nothing else: the loss would be on {kept!r}."
        )
    return "the loss is on the answers and their end token"


def _check_data(subject: Subject) -> str:
    recipe = subject.recipe
    if recipe.trainer is None:
        return "none: it does not train"
    counts = []
    for source in recipe.data:
        known = known_dataset(source.dataset)
        if known is not None:
            counts.append(mapped(recipe, source, known.fixture))
    dataset = subject.dataset
    if recipe.trainer == "grpo":
        counts.append(scored(recipe, dataset))
    return "; ".join([*counts, f"columns {', '.join(dataset.column_names)}"])


def _check_step(subject: Subject) -> str:
    from divmon.recipes.shrink import shrunken_config, shrunken_model
    from divmon.recipes.trial import generated, train_a_step

    config = shrunken_config(subject.architecture, subject.tokenizer)
    if subject.recipe.trainer is None:
        model = shrunken_model(config)
        return f"a shrunken {type(model).__name__}: {generated(model, subject.tokenizer)}"
    return train_a_step(subject.recipe, config, subject.tokenizer, subject.dataset)


def _check_estimate(subject: Subject) -> str:
    from divmon.recipes.estimate import estimate

    recipe = subject.recipe
    found = estimate(recipe, subject.architecture)
    parts = ", ".join(f"{name} {size:.1f}" for name, size in found.memory.items() if size >= 0.05)
    limit = recipe.hardware.get("gpu_memory_gb")
    memory = f"{found.memory_gb:.1f} GB at the peak" + (f" of {limit} GB a GPU" if limit else "")
    memory += f" (not all at one time: {parts})" if parts else ""
    if limit and found.memory_gb > MEMORY_SHARE * float(limit):
        raise InputError(f"{recipe.path}, hardware: estimated {memory}: more than {MEMORY_SHARE:.0%} of it.")
    texts = [f"{found.parameters / 1e6:,.1f}M parameters, {found.trained / 1e6:,.1f}M trained", memory]
    if found.hours:
        hours = " + ".join(f"{name} {value:.1f}" for name, value in found.hours.items())
        texts.append(f"{found.total_hours:.1f} hours ({hours})")
    else:
        texts.append("hours unknown: hardware.tflops, or the rows of a source, are not given")
    return "estimated, not measured: " + "; ".join(texts)


_CHECKS: Mapping[str, Callable[[Subject], str]] = {
    "config": _check_config,
    "template": _check_template,
    "data": _check_data,
    "step": _check_step,
    "estimate": _check_estimate,
}
