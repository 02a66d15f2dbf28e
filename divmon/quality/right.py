"""Diversity of the right completions: as the ledger has it, or measured now where the verdicts are new."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from divmon import encoders
from divmon.errors import DivmonError
from divmon.measurement import Measurement
from divmon.protocols import SentenceEncoder
from divmon.quality.verdicts import Verified
from divmon.scoring import Scorer, ScoringSettings
from divmon.verification import RIGHT

logger = logging.getLogger(__name__)

METRICS = ("sbert", "vendi")


def diversity_of_right(found: Sequence[Verified], measurement: Measurement) -> dict[str, tuple[float, ...]]:
    """D_c and V_c of each prompt: SBERT and Vendi Score of its right completions.

    Verdicts that were made after the measurement (programs that were run) need the encoder that the measurement used:
    with another one D_c could not be compared with D_a, so that it is left out, with a warning, where that one is not
    to be had.

    Args:
        found: (P,) the prompts with their verdicts.
        measurement: The measurement of the same completions.

    Returns:
        ``sbert`` and ``vendi`` -> (P,) values, NaN where fewer than two completions are right or none was verified.
    """
    recorded = measurement.accuracy.right if measurement.accuracy else {}
    places = {key: place for place, key in enumerate(measurement.prompts.keys)}
    values = {metric: [math.nan] * len(found) for metric in METRICS}
    new: list[tuple[int, list[str]]] = []
    for number, each in enumerate(found):
        if each.recorded:
            for metric in recorded.keys() & values.keys():
                values[metric][number] = recorded[metric][places[each.row["key"]]]
            continue
        pairs = zip(each.row["outputs"], each.verdicts or (), strict=each.verdicts is not None)
        right = [text for text, verdict in pairs if verdict >= RIGHT]
        if len(right) > 1:
            new.append((number, right))
    encoder = _same_encoder(measurement) if new else None
    if encoder is not None:
        opened = [bool(found[number].row.get("think_opened")) for number, _ in new]
        scores = Scorer(ScoringSettings(metrics=METRICS), encoder).score([right for _, right in new], opened)
        for metric in METRICS:
            for (number, _), value in zip(new, scores.per_prompt[metric], strict=True):
                values[metric][number] = float(value)
    return {metric: tuple(each) for metric, each in values.items()}


def _same_encoder(measurement: Measurement) -> SentenceEncoder | None:
    """The sentence encoder that a measurement was made with; None where it used none or is not to be had."""
    used = measurement.protocol.get("sentence_encoder")
    if not used:
        return None
    try:
        encoder = encoders.load_sentence_encoder(used["name"])
        if encoder.identity.digest == used["digest"]:
            return encoder
        reason = "its weights are other ones now"
    except DivmonError as error:
        reason = str(error)
    logger.warning(
        "divmon: the diversity of the right programs is left out: the measurement's encoder %s is needed. %s",
        used["name"],
        reason,
    )
    return None
