"""Scores of given texts, with the encoders that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from divmon import encoders
from divmon.errors import DivmonError, InputError, ModelNotFoundError
from divmon.metrics import METRICS
from divmon.protocols import NliClassifier, SentenceEncoder
from divmon.scoring import Scorer, Scores, ScoringSettings

_Model = TypeVar("_Model", SentenceEncoder, NliClassifier)


def score(
    groups: Sequence[Sequence[str]],
    *,
    metrics: Sequence[str] = METRICS,
    vocab_size: int | None = None,
    preset: Literal["paper", "fast"] = "paper",
    sentence_encoder: str | Path | None = None,
    nli: str | Path | None = None,
    nli_pairs: int | Literal["all"] = 3,
    unclosed: Literal["drop", "keep"] = "drop",
    keep_think: bool = False,
    device: str | None = None,
) -> Scores:
    """Score texts that were generated elsewhere: the completions of each prompt.

    Args:
        groups: A list of completions for each prompt.
        metrics: Any of ``ead``, ``sbert``, ``nli``, ``vendi``.
        vocab_size: The generating model's, needed for EAD.
        preset: Which encoders (see ``MonitorOptions``).
        sentence_encoder: A sentence-transformers model by name or path.
        nli: A sequence-classification model by name or path.
        nli_pairs: Aligned sentences that are scored for a pair of completions, or ``"all"``.
        unclosed: What becomes of a completion without an answer: left out, or kept as the paper's code does.
        keep_think: Score the think block too.
        device: Where the encoders run; default: a GPU where there is one.

    Returns:
        Values for each prompt and across prompts (see ``Scores``).

    Raises:
        InputError: For groups or settings that make no sense.
        ModelNotFoundError: If an encoder is not to be had.
    """
    settings = ScoringSettings(
        metrics=tuple(metrics), vocab_size=vocab_size, nli_pairs=nli_pairs, unclosed=unclosed, keep_think=keep_think
    )
    if "ead" in settings.metrics and vocab_size is None:
        raise InputError("EAD needs vocab_size: give the generating model's tokenizer.vocab_size, or leave out 'ead'.")
    encoder, classifier = None, None
    if device is not None and set(settings.metrics) - {"ead"}:
        _check_device(device)
    if {"sbert", "vendi"} & set(settings.metrics):
        encoder = _load(encoders.load_sentence_encoder, "sentence encoder", sentence_encoder, preset, device)
    if "nli" in settings.metrics:
        classifier = _load(encoders.load_nli, "NLI classifier", nli, preset, device)
    return Scorer(settings, encoder, classifier).score(groups)


def _check_device(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device: {device!r} cannot be used here; give 'cpu', or a device that this torch has ('cuda', 'mps')."
        ) from error


def _load(load: Callable[..., _Model], role: str, name: str | Path | None, preset: str, device: str | None) -> _Model:
    """Load an encoder; a folder that holds something else fails in many ways, all of which mean the same."""
    try:
        return load(name, preset=preset, device=device)
    except DivmonError:
        raise
    except Exception as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise ModelNotFoundError(
            f"The {role} {str(name or 'by default')!r} cannot be loaded ({type(error).__name__}: {reason:.200}): give "
            f"the name or the complete folder of a {role}."
        ) from error
