"""What a measurement is made of: one record of options, shared by the callback and ``measure``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

from divmon.errors import InputError, near_miss
from divmon.metrics import KNOWN, METRICS
from divmon.sampling.settings import SamplingSettings, Thinking


@dataclass(frozen=True)
class MonitorOptions:
    """Options of a measurement.

    The defaults sample 32 x 16 completions of at most 128 tokens: 65,536 tokens in about four batches, which is some
    500 decode steps, and 3 sentence pairs for each of the 120 pairs of completions of a prompt through the NLI
    classifier.

    Attributes:
        num_prompts: At most this many prompts.
        samples: Completions a prompt (K); the paper's is 16.
        temperature: The paper's is 0.6.
        top_p: The paper's is 0.95.
        max_new_tokens: Limit of a completion, in tokens.
        seed: Seed of sampling noise, of NLI's sentence sampling and of the bootstrap.
        thinking: ``"full"``, ``"suppress"`` or None (see ``SamplingSettings``).
        max_think_tokens: Extra tokens for ``thinking="full"``.
        batch_tokens: Bound on rows x tokens of a batch; smaller needs less memory.
        metrics: Any of ``ead``, ``sbert``, ``nli``, ``vendi``, and ``ast`` where the completions are Python.
        preset: ``"paper"`` for all-mpnet-base-v2 and roberta-large-mnli, ``"fast"`` for all-MiniLM-L6-v2 and
            nli-MiniLM2-L6-H768 (a tenth of the scoring time; for a machine without a GPU), ``"code"`` for
            unixcoder-base, where the completions are programs; it has no NLI.
        sentence_encoder: A sentence-transformers model by name or path, in place of the preset's.
        nli: A sequence-classification model by name or path, in place of the preset's.
        nli_pairs: Aligned sentences that are scored for a pair of completions, or ``"all"``; the paper's is 3.
        encoder_device: Where the encoders run; default: with the model.
        chat_template: A template in place of the tokenizer's own.
        chat_template_kwargs: Extra arguments for the chat template (``{"enable_thinking": False}``).
        system_prompt: A system turn for prompts that have none.
        tools: Tool schemas for the chat template, for prompts that have none.
        execute_code: Run the programs that the model wrote, in a sandbox (`divmon.sandbox`), to tell which are right,
            on prompts whose verifier is ``code`` (HumanEval, MBPP). By default none is run, and there is no accuracy.
        allow_weaker_sandbox: Run them even where this machine gives no namespaces.
    """

    num_prompts: int = 32
    samples: int = 16
    temperature: float = 0.6
    top_p: float = 0.95
    max_new_tokens: int = 128
    seed: int = 0
    thinking: Thinking | None = None
    max_think_tokens: int = 1024
    batch_tokens: int = 32768
    metrics: tuple[str, ...] = METRICS
    preset: Literal["paper", "fast", "code"] = "paper"
    sentence_encoder: str | Path | None = None
    nli: str | Path | None = None
    nli_pairs: int | Literal["all"] = 3
    encoder_device: str | None = None
    chat_template: str | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    system_prompt: str | None = None
    tools: tuple[Any, ...] = ()
    execute_code: bool = False
    allow_weaker_sandbox: bool = False

    def __post_init__(self) -> None:
        for name in ("num_prompts", "samples", "max_new_tokens", "seed", "max_think_tokens", "batch_tokens"):
            if not isinstance(getattr(self, name), int):
                raise InputError(f"{name}: expected a whole number, got {getattr(self, name)!r}.")
        for name in ("execute_code", "allow_weaker_sandbox"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name}: expected true or false, got {getattr(self, name)!r}.")
        if self.allow_weaker_sandbox and not self.execute_code:
            raise InputError("allow_weaker_sandbox is of use with execute_code only.")
        for name in ("temperature", "top_p"):
            if not isinstance(getattr(self, name), int | float):
                raise InputError(f"{name}: expected a number, got {getattr(self, name)!r}.")
        if self.nli_pairs != "all" and (not isinstance(self.nli_pairs, int) or self.nli_pairs < 1):
            raise InputError(f"nli_pairs: expected a whole number of at least 1 or 'all', got {self.nli_pairs!r}.")
        kind = (self.encoder_device or "cpu").partition(":")[0]
        if kind not in ("cpu", "cuda", "mps", "xpu"):
            raise InputError(f"encoder_device: expected a torch device (cpu, cuda, mps), got {self.encoder_device!r}.")
        self.sampling()
        names = self.metrics.split(",") if isinstance(self.metrics, str) else self.metrics
        object.__setattr__(self, "metrics", tuple(name.strip() for name in names))
        object.__setattr__(self, "tools", tuple(self.tools))
        unknown = [name for name in self.metrics if name not in KNOWN]
        if unknown or not self.metrics:
            raise InputError(f"metrics: expected some of {', '.join(KNOWN)}, got {', '.join(unknown) or 'none'}.")
        if self.num_prompts < 1:
            raise InputError(f"num_prompts: expected at least 1, got {self.num_prompts}.")
        if self.preset not in ("paper", "fast", "code"):
            raise InputError(f'preset: expected "paper", "fast" or "code", got {self.preset!r}.')

    @classmethod
    def of(cls, options: Mapping[str, Any], others: Sequence[str] = ()) -> MonitorOptions:
        """Build from keyword arguments.

        Args:
            options: The arguments.
            others: What else the caller takes, for the near miss of a misspelt one.

        Raises:
            InputError: For an unknown option, with the nearest known one, and for a value out of range.
        """
        fields = [option.name for option in dataclasses.fields(cls)]
        known = [*others, *fields]
        for name in options:
            if name not in fields:
                raise InputError(f"Unknown option {name!r}: {near_miss(name, known)}")
        return cls(**options)

    @property
    def code(self) -> Mapping[str, Any] | None:
        """What the verifier ``code`` is given; None where no program is to be run."""
        return {"execute_code": True, "allow_weaker": self.allow_weaker_sandbox} if self.execute_code else None

    def sampling(self) -> SamplingSettings:
        """The part that concerns sampling."""
        names = [setting.name for setting in dataclasses.fields(SamplingSettings)]
        return SamplingSettings(**{name: getattr(self, name) for name in names})


class OptionKeywords(TypedDict, total=False):
    """``MonitorOptions`` as keyword arguments, for editors and type checkers."""

    num_prompts: int
    samples: int
    temperature: float
    top_p: float
    max_new_tokens: int
    seed: int
    thinking: Thinking | None
    max_think_tokens: int
    batch_tokens: int
    metrics: tuple[str, ...]
    preset: Literal["paper", "fast", "code"]
    sentence_encoder: str | Path | None
    nli: str | Path | None
    nli_pairs: int | Literal["all"]
    encoder_device: str | None
    chat_template: str | None
    chat_template_kwargs: Mapping[str, Any]
    system_prompt: str | None
    tools: tuple[Any, ...]
    execute_code: bool
    allow_weaker_sandbox: bool
