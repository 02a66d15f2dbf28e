"""The values of a measurement for backends that show each in a chart of its own, grouped by how its key begins."""

from __future__ import annotations

from divmon.measurement import Measurement
from divmon.sinks.wandb_values import PREFIX, interval_keys, logged, retained_keys

INTERVALS = f"{PREFIX}intervals/"
_BOUNDS = ("/low", "/high", "/retained_low", "/retained_high")


def grouped(measurement: Measurement, baseline: Measurement | None = None) -> dict[str, float]:
    """What is logged of a measurement beside the trainer's own scalars; what was not measured is absent.

    The keys are those of `divmon.sinks.wandb_values`, but the bounds of intervals are together, away from what one
    looks at first: ``divmon/intervals/ead_low`` instead of ``divmon/ead/low``. In a store of files, where a metric is a
    file, there could be no folder ``divmon/ead`` beside the metric ``divmon/ead`` of the trainer's log either.
    """
    return {_renamed(key): value for key, value in logged(measurement, baseline).items()}


def mean_bounds(name: str) -> list[str]:
    """Where the bounds of a metric's mean (or of ``accuracy``, or of a part of SBERT's loss) are."""
    return [_renamed(key) for key in interval_keys(name)]


def retained_bounds(metric: str) -> list[str]:
    """Where the bounds of a metric's retained fraction are."""
    return [_renamed(key) for key in retained_keys(metric)]


def _renamed(key: str) -> str:
    return INTERVALS + "_".join(key.removeprefix(PREFIX).rsplit("/", 1)) if key.endswith(_BOUNDS) else key
