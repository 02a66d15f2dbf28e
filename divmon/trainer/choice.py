"""Which prompts a run samples, and with which of the trainer's own settings."""

from __future__ import annotations

import dataclasses
import logging
from typing import Literal

from transformers import Trainer

from divmon.errors import InputError
from divmon.monitor import Monitor
from divmon.options import MonitorOptions
from divmon.prompts import PromptSet
from divmon.sampling.guard import text_config_of
from divmon.sampling.render import Renderer
from divmon.trainer.data import eval_prompts, overlap

logger = logging.getLogger(__name__)


def choose_prompts(trainer: Trainer, options: MonitorOptions, given: PromptSet | None) -> PromptSet:
    """The run's prompts: given, else the evaluation set's, else bundled; without those of the training data.

    Raises:
        InputError: If no prompt fits into the model's context.
    """
    processing_class = trainer.processing_class
    renderer = Renderer(processing_class, chat_template=options.chat_template)
    found = given or eval_prompts(trainer.eval_dataset, options.num_prompts, renderer, _packing(trainer, "eval"))
    if found is None:
        found = PromptSet.bundled()
        if trainer.eval_dataset is not None:
            logger.warning(
                "divmon: the evaluation set holds no prompts that can be told from answers, so the bundled prompts are "
                "sampled. Pass prompts= to choose your own."
            )
    shared = overlap(found, trainer.train_dataset, renderer, _packing(trainer, "train"))
    if shared.keys and len(shared.keys) == len(found):
        logger.warning("divmon: every prompt also stands in the training data (%s); they are kept.", shared.scanned)
    elif shared.keys:
        logger.warning(
            "divmon: %d of %d prompts also stand in the training data (%s) and are dropped.",
            len(shared.keys),
            len(found),
            shared.scanned,
        )
        tasks = found.tasks
        found = found.only(prompt.key for prompt in found if prompt.key not in shared.keys)
        lost = [task for task in tasks if task not in found.tasks]
        if lost:
            logger.warning("divmon: no prompt is left of %s, which is not measured.", ", ".join(lost))
    if (options.system_prompt or options.chat_template_kwargs) and any(prompt.token_ids for prompt in found):
        logger.warning(
            "divmon: system_prompt and chat_template_kwargs do not reach the prompts of the evaluation set, of which "
            "only token ids are left. Pass prompts= to use them."
        )
    return _fitting(found, trainer, options).take(options.num_prompts)


def _packing(trainer: Trainer, part: Literal["train", "eval"]) -> str | None:
    """TRL's packing strategy of the training or the evaluation set, or None if that is not packed."""
    packed = getattr(trainer.args, "packing", False)
    own = getattr(trainer.args, "eval_packing", None)
    if part == "eval" and own is not None:
        packed = own
    return getattr(trainer.args, "packing_strategy", None) if packed else None


def _fitting(prompts: PromptSet, trainer: Trainer, options: MonitorOptions) -> PromptSet:
    """The prompts that leave room for a completion in the model's context."""
    context = getattr(text_config_of(trainer.model), "max_position_embeddings", None)
    if not context:
        return prompts
    room = context - options.sampling().token_limit
    rendered = Monitor(prompts, options).render(trainer.processing_class)
    fitting = [item.prompt.key for item in rendered if len(item.token_ids) <= room]
    if not fitting:
        raise InputError(
            f"No prompt and its completion fit into the model's context of {context} tokens: "
            "lower max_new_tokens or give shorter prompts."
        )
    if len(fitting) < len(prompts):
        logger.warning(
            "divmon: %d prompts are dropped: with their completions they are longer than the model's context of %d.",
            len(prompts) - len(fitting),
            context,
        )
    return prompts.only(fitting)


def with_trainer_settings(options: MonitorOptions, trainer: Trainer) -> MonitorOptions:
    """The options with the trainer's own chat template, template arguments and tools where the user gave none."""
    # TRL gives some models another template for training (with generation marks, say).
    template = options.chat_template or getattr(trainer, "chat_template", None)
    given = options.chat_template_kwargs or getattr(trainer.args, "chat_template_kwargs", None) or {}
    tools = options.tools or tuple(getattr(trainer, "tools", None) or ())
    return dataclasses.replace(options, chat_template=template, chat_template_kwargs=given, tools=tools)
