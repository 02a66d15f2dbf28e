"""What a record says of how it was made: the model, and how completions were sampled from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from divmon.options import MonitorOptions
from divmon.prompt import content_digest
from divmon.sampling.render import tokenizer_of


@dataclass(frozen=True)
class ModelFacts:
    """What a measurement says of the model that wrote the completions.

    Attributes:
        vocab_size: Its tokenizer's, for EAD.
        description: For the provenance: class, name, number of parameters.
    """

    vocab_size: int
    description: Mapping[str, Any]

    @classmethod
    def of(cls, model: Any, processing_class: Any) -> ModelFacts:
        """The facts of a model and its tokenizer or processor."""
        config = getattr(model, "config", None)
        description = {
            "class": type(model).__name__,
            "name": getattr(config, "_name_or_path", None) or None,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        }
        return cls(tokenizer_of(processing_class).vocab_size, description)


def sampling_protocol(options: MonitorOptions, limits: Mapping[str, int] | None = None) -> dict[str, Any]:
    """How completions are sampled: what must agree for two sets of them to be comparable.

    Args:
        options: The options.
        limits: Limits of a task's completions that differ from ``max_new_tokens``, by task.
    """
    sampling = dataclasses.asdict(options.sampling())
    del sampling["batch_tokens"]
    if options.thinking != "full":
        del sampling["max_think_tokens"]
    sampling["system_prompt"] = options.system_prompt
    sampling["chat_template_kwargs"] = dict(options.chat_template_kwargs)
    for name in ("chat_template", "tools"):
        content = getattr(options, name)
        sampling[name] = content_digest(content) if content else None
    return sampling | ({"limits": dict(limits)} if limits else {})
