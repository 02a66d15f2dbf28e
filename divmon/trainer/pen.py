"""What a run writes to its ledger: at once, or when training confirms that the folder is its own."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from divmon.ledger import Ledger
from divmon.measurement import Measurement
from divmon.recording import header, record

logger = logging.getLogger(__name__)


class Pen:
    """Writes on the first process only, and never harms the run: what the disk refuses is one warning.

    Args:
        ledger: Where to.
        run_id: The run.
        active: Whether this is the first process.
        held: Keep everything in memory until ``release``: a bare ``evaluate()`` in the folder of a finished run may be
            followed by that run's resumption, so its records must stay where they are.
        strict: Raise what fails.
    """

    def __init__(self, ledger: Ledger, run_id: str, *, active: bool, held: bool = False, strict: bool = False) -> None:
        self.ledger = ledger
        self.run_id = run_id
        self._active = active
        self._held: list[Callable[[], Any]] | None = [] if held else None
        self._strict = strict

    def line(self, line: Mapping[str, Any]) -> None:
        """Append a line under the run's header."""
        full = header(self.run_id) | dict(line)
        self._do(lambda: self.ledger.append(full))

    def baseline(self, baseline: Measurement, rows: Sequence[Mapping[str, Any]]) -> None:
        """Copy another run's baseline and its completions into this ledger, so that it can be read on its own."""
        self._do(lambda: record(dataclasses.replace(baseline, kind="baseline"), rows, self.ledger))

    def measurement(self, measurement: Measurement, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a measurement and its completions."""
        self._do(lambda: record(measurement, rows, self.ledger))

    def start(self, line: Mapping[str, Any]) -> None:
        """Move an earlier run's records aside and write the first line of this one."""
        self._do(self._move_aside)
        self.line(line)

    def release(self) -> None:
        """Write what was held back; from now on everything is written at once."""
        held, self._held = self._held or [], None
        for action in held:
            self._do(action)

    def _move_aside(self) -> None:
        moved = self.ledger.move_aside()
        if moved is not None:
            logger.info("divmon: the earlier run's records are now in %s", moved)

    def _do(self, action: Callable[[], Any]) -> None:
        if not self._active:
            return
        if self._held is not None:
            self._held.append(action)
            return
        try:
            action()
        except Exception as error:
            if self._strict:
                raise
            logger.warning(
                "divmon: a record could not be written to %s (%s: %s); measuring and training go on.",
                self.ledger.folder,
                type(error).__name__,
                error,
            )
