"""Sentence encoders and NLI classifiers: found, checked and loaded, with or without the model hub."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from divmon.encoders.resolve import (
        EncoderFallbackWarning,
        EncoderPlan,
        describe,
        load_nli,
        load_sentence_encoder,
    )

__all__ = ["EncoderFallbackWarning", "EncoderPlan", "describe", "load_nli", "load_sentence_encoder"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("divmon.encoders.resolve"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
