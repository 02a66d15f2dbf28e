"""Scores of given texts, with the encoders that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from divmon import encoders
from divmon.errors import InputError, ModelNotFoundError, said_as
from divmon.metrics import CODE_METRICS, METRICS
from divmon.protocols import NliClassifier, SentenceEncoder
from divmon.scoring import Scorer, Scores, ScoringSettings

_Model = TypeVar("_Model", SentenceEncoder, NliClassifier)


def score(
    groups: Sequence[Sequence[str]],
    *,
    metrics: Sequence[str] | None = None,
    vocab_size: int | None = None,
    code: bool = False,
    correct: Sequence[Sequence[bool]] | None = None,
    preset: Literal["paper", "fast", "code"] | None = None,
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
        metrics: Any of ``ead``, ``sbert``, ``nli``, ``vendi`` and ``ast``; default: the first four, on code all but
            ``nli``.
        vocab_size: The generating model's, needed for EAD.
        code: The completions are Python programs, alone or in a code block: measure those.
        correct: For each completion whether it is right; AST leaves out wrong ones.
        preset: Which encoders (see ``MonitorOptions``); default: ``"paper"``, on code ``"code"``.
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
        metrics=default_metrics(code) if metrics is None else tuple(metrics),
        vocab_size=vocab_size,
        nli_pairs=nli_pairs,
        unclosed=unclosed,
        keep_think=keep_think,
        code=code,
    )
    loaded = load_scorer(settings, preset=preset, sentence_encoder=sentence_encoder, nli=nli, device=device)
    return loaded.score(groups, correct=correct)


def default_metrics(code: bool) -> tuple[str, ...]:
    """What is measured where no metric is named."""
    return CODE_METRICS if code else METRICS


def default_preset(code: bool) -> Literal["paper", "code"]:
    """Whose encoders are used where no preset is named."""
    return "code" if code else "paper"


def load_scorer(
    settings: ScoringSettings,
    *,
    preset: Literal["paper", "fast", "code"] | None = None,
    sentence_encoder: str | Path | None = None,
    nli: str | Path | None = None,
    device: str | None = None,
) -> Scorer:
    """A scorer with the encoders that its metrics need, for any number of sets of completions.

    Args:
        settings: What is computed.
        preset: As for `score`, and likewise the others.
        sentence_encoder: A sentence-transformers model by name or path.
        nli: A sequence-classification model by name or path.
        device: Where the encoders run.

    Raises:
        InputError: For settings that make no sense.
        ModelNotFoundError: If an encoder is not to be had.
    """
    metrics = set(settings.metrics)
    if "ead" in metrics and settings.vocab_size is None:
        raise InputError("EAD needs vocab_size: give the generating model's tokenizer.vocab_size, or leave out 'ead'.")
    encoder, classifier = None, None
    if device is not None and metrics & {"sbert", "vendi", "nli"}:
        _check_device(device)
    chosen = default_preset(settings.code) if preset is None else preset
    if {"sbert", "vendi"} & metrics:
        encoder = _load(encoders.load_sentence_encoder, "sentence encoder", sentence_encoder, chosen, device)
    if "nli" in metrics:
        classifier = _load(encoders.load_nli, "NLI classifier", nli, chosen, device)
    return Scorer(settings, encoder, classifier)


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
    with said_as(
        ModelNotFoundError,
        lambda reason: (
            f"The {role} {str(name or 'by default')!r} cannot be loaded ({reason}): give the name or the complete "
            f"folder of a {role}."
        ),
    ):
        return load(name, preset=preset, device=device)
