"""The baseline of another run, with its completions."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from divmon.errors import InputError
from divmon.ledger import Ledger
from divmon.measurement import Measurement

logger = logging.getLogger(__name__)

ADAPTER_OFF = "adapter-off"


def baseline_of_run(baseline: str | Path | None) -> Measurement | None:
    """The baseline of the divmon run that ``baseline`` names; None if it names something else.

    Raises:
        InputError: If the folder has no ledger with a measurement.
    """
    if baseline is None or str(baseline) == ADAPTER_OFF:
        return None
    path = Path(baseline)
    if not path.exists() or any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
        return None
    run = Ledger.of(path).read()
    if run is None or run.baseline is None:
        raise InputError(f"baseline: {path} has a divmon ledger without a measurement.")
    return run.baseline


def rows_of_run(path: str) -> tuple[Mapping[str, Any], ...]:
    """The completions of the baseline of the run at ``path``; empty where they are not to be had."""
    ledger = Ledger.of(path)
    run = ledger.read()
    return () if run is None or run.baseline is None else kept_rows(ledger, run.baseline, run.run_id)


def kept_rows(ledger: Ledger, measurement: Measurement, run_id: str) -> tuple[Mapping[str, Any], ...]:
    """Completions that a ledger keeps; a monitor can do without them, so a broken file is only said."""
    try:
        return tuple(ledger.completions(measurement, run_id))
    except InputError as error:
        logger.warning("divmon: the baseline's completions cannot be shown. %s", error)
        return ()
