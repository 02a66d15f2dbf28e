"""How completions are sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from divmon.errors import InputError

Thinking = Literal["full", "suppress"]


@dataclass(frozen=True)
class SamplingSettings:
    """The sampling protocol; the defaults are the paper's K, temperature and top-p.

    Attributes:
        samples: Completions a prompt (K), at least 2.
        temperature: Above 0.
        top_p: In (0, 1].
        max_new_tokens: Limit of a completion in tokens; with ``thinking="full"`` the limit of what follows the
            thinking budget.
        seed: Seed of the noise. The same seed and prompts give the same random numbers at every measurement.
        thinking: ``"full"`` gives a thinking model ``max_think_tokens`` more; ``"suppress"`` prefills an empty
            think block behind a chat template's generation prompt; None leaves the chat template as it is.
        max_think_tokens: Extra tokens for ``thinking="full"``.
        batch_tokens: Upper bound of rows x (prompt + completion tokens) in one batch.
    """

    samples: int = 16
    temperature: float = 0.6
    top_p: float = 0.95
    max_new_tokens: int = 128
    seed: int = 0
    thinking: Thinking | None = None
    max_think_tokens: int = 1024
    batch_tokens: int = 32768

    def __post_init__(self) -> None:
        checks = [
            (self.samples >= 2, "samples", "at least 2 (diversity needs a pair)", self.samples),
            (self.temperature > 0, "temperature", "above 0", self.temperature),
            (0 < self.top_p <= 1, "top_p", "in (0, 1]", self.top_p),
            (self.max_new_tokens >= 1, "max_new_tokens", "at least 1", self.max_new_tokens),
            (self.max_think_tokens >= 0, "max_think_tokens", "at least 0", self.max_think_tokens),
            (self.batch_tokens >= 1, "batch_tokens", "at least 1", self.batch_tokens),
            (
                self.thinking in (None, "full", "suppress"),
                "thinking",
                '"full", "suppress" or None',
                self.thinking,
            ),
        ]
        for holds, name, expected, value in checks:
            if not holds:
                raise InputError(f"{name}: expected {expected}, got {value!r}.")

    @property
    def token_limit(self) -> int:
        """The most tokens one completion may have."""
        return self.max_new_tokens + (self.max_think_tokens if self.thinking == "full" else 0)
