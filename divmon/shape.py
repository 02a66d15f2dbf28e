"""A model's sizes and what follows from them: parameters, operations, bytes of its cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from divmon.errors import InputError

_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Shape:
    """The sizes of a model that the formulae need.

    Attributes:
        hidden: Width of the residual stream.
        intermediate: Width of the MLP.
        layers: How many.
        vocabulary: Rows of the embedding.
        queries: Width of all query heads together.
        keys: Width of all key heads together.
        windows: Of each layer the number of tokens that it sees; None for all.
        tied: The head is the embedding.
    """

    hidden: int
    intermediate: int
    layers: int
    vocabulary: int
    queries: int
    keys: int
    windows: tuple[int | None, ...]
    tied: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """Read a model's config.

        Args:
            config: The config as ``config.json`` has it.

        Raises:
            InputError: If a size is missing.
        """
        try:
            hidden, heads, layers = (
                int(config[name]) for name in ("hidden_size", "num_attention_heads", "num_hidden_layers")
            )
            intermediate, vocabulary = int(config["intermediate_size"]), int(config["vocab_size"])
        except KeyError as error:
            raise InputError(f"A model's config without {error}: its memory cannot be estimated.") from error
        width = int(config.get("head_dim") or hidden // heads)
        kinds = config.get("layer_types")
        window = config.get("sliding_window")
        if kinds is None and config.get("model_type") == "olmo3":  # transformers' default: every fourth sees all
            kinds = ["full_attention" if (number + 1) % 4 == 0 else "sliding_attention" for number in range(layers)]
        slides = [kind == "sliding_attention" for kind in kinds or [""] * layers]
        return cls(
            hidden=hidden,
            intermediate=intermediate,
            layers=layers,
            vocabulary=vocabulary,
            queries=heads * width,
            keys=int(config.get("num_key_value_heads") or heads) * width,
            windows=tuple(int(window) if slide and window else None for slide in slides),
            tied=bool(config.get("tie_word_embeddings", False)),
        )

    @property
    def embedding(self) -> int:
        """Parameters of the embedding."""
        return self.vocabulary * self.hidden

    @property
    def layer(self) -> int:
        """Parameters of one layer."""
        attention = 2 * self.hidden * (self.queries + self.keys) + self.queries + self.keys
        return attention + 3 * self.hidden * self.intermediate + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters."""
        return (1 if self.tied else 2) * self.embedding + self.layers * self.layer + self.hidden

    def adapters(self, rank: int, targets: Any) -> int:
        """Parameters of LoRA adapters.

        Args:
            rank: Their rank.
            targets: Names of the linear layers that have one, or ``"all-linear"``.
        """
        names = _PROJECTIONS if targets == "all-linear" else [targets] if isinstance(targets, str) else targets or ()
        ends = {
            "q_proj": self.hidden + self.queries,
            "k_proj": self.hidden + self.keys,
            "v_proj": self.hidden + self.keys,
            "o_proj": self.hidden + self.queries,
            **dict.fromkeys(("gate_proj", "up_proj", "down_proj"), self.hidden + self.intermediate),
        }
        return self.layers * rank * sum(ends.get(str(name).rpartition(".")[2], 0) for name in names)

    def forward(self, length: float) -> float:
        """Operations of a forward pass, a token of a sequence of ``length`` tokens."""
        seen = sum(min(length / 2, window or length) for window in self.windows)
        return 2.0 * (self.parameters - self.embedding) + 4.0 * self.queries * seen

    def cache(self, length: float) -> float:
        """Bytes of the keys and values of a sequence of ``length`` tokens, in 16 bits."""
        return 4.0 * self.keys * sum(min(length, window or length) for window in self.windows)
