"""Scores of given texts, with the encoders that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from divmon import encoders
from divmon.metrics import METRICS
from divmon.protocols import ModelIdentity
from divmon.scoring import Scorer, Scores, ScoringSettings


def score_with(
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
) -> tuple[Scores, ModelIdentity | None, ModelIdentity | None]:
    """As ``divmon.score``, with the identities of the sentence encoder and the NLI classifier that were used."""
    settings = ScoringSettings(
        metrics=tuple(metrics), vocab_size=vocab_size, nli_pairs=nli_pairs, unclosed=unclosed, keep_think=keep_think
    )
    needs_encoder = bool({"sbert", "vendi"} & set(settings.metrics))
    encoder = encoders.load_sentence_encoder(sentence_encoder, preset=preset, device=device) if needs_encoder else None
    classifier = encoders.load_nli(nli, preset=preset, device=device) if "nli" in settings.metrics else None
    scores = Scorer(settings, encoder, classifier).score(groups)
    return (
        scores,
        None if encoder is None else encoder.identity,
        None if classifier is None else classifier.identity,
    )
