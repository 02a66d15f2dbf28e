"""A recorded run as a value: measurements, completions, data frames, and how it shows itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divmon import frames, shown
from divmon.errors import InputError
from divmon.ledger import Ledger, RunRecord
from divmon.measurement import Measurement
from divmon.showing import Showing

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Run(Showing):
    """What the ledger of a run holds.

    Shows itself as a table: ``print(run)`` in a console, ``run`` as the last line of a notebook's cell.

    Attributes:
        ledger: Where it was read from.
        record: The newest run in it.
    """

    ledger: Ledger
    record: RunRecord

    @property
    def name(self) -> str:
        """The name of the folder that holds ``divmon/``."""
        folder = self.ledger.folder.resolve()
        return folder.parent.name if folder.name == "divmon" else folder.name

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.record.run_id

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The measurements by step."""
        return self.record.measurements

    @property
    def baseline(self) -> Measurement | None:
        """What ``retained`` compares with."""
        return self.record.baseline

    @property
    def alerts(self) -> tuple[Mapping[str, Any], ...]:
        """What the run warned of."""
        return self.record.alerts

    @property
    def gaps(self) -> tuple[Mapping[str, Any], ...]:
        """Measurements that failed."""
        return self.record.gaps

    @property
    def options(self) -> Mapping[str, Any]:
        """The monitor's settings."""
        return self.record.start.get("options", {})

    def at(self, step: int) -> Measurement:
        """The measurement at ``step``.

        Raises:
            InputError: If there is none.
        """
        for measurement in self.measurements:
            if measurement.step == step:
                return measurement
        steps = ", ".join(str(measurement.step) for measurement in self.measurements) or "none"
        raise InputError(f"{self.ledger.path}: no measurement at step {step}; measured were {steps}.")

    def completions(self, step: int | None = None) -> list[dict[str, Any]]:
        """The completions at ``step`` (default: the last measurement), a prompt a row.

        Returns:
            Rows with ``task``, ``input_id``, ``key``, ``category``, ``prompt``, ``outputs`` (K texts) and, of each
            completion, ``tokens``, ``truncated``, ``entropy``, ``logprob``, ``baseline_distance`` and
            ``near_duplicate_of``; empty where they were not kept.

        Raises:
            InputError: If nothing was measured then.
        """
        if step is None and not self.measurements:
            return []
        measurement = self.measurements[-1] if step is None else self.at(step)
        return self.ledger.completions(measurement, self.run_id)

    @cached_property
    def baseline_completions(self) -> list[dict[str, Any]]:
        """The baseline's completions, likewise."""
        return [] if self.baseline is None else self.ledger.completions(self.baseline, self.run_id)

    def frame(self) -> pd.DataFrame:
        """The means as a tidy data frame.

        Returns:
            A row for each step, task (empty: all of them) and metric, with ``mean``, ``low``, ``high`` (its 95%
            interval), ``retained``, ``retained_low``, ``retained_high`` and ``change_p``. ``accuracy``, where there is
            one, counts as a metric without ``retained``. NaN is what was not measured or must not be compared.
        """
        return frames.means(self.measurements)

    def per_prompt(self) -> pd.DataFrame:
        """The values of each prompt as a tidy data frame.

        Returns:
            A row for each step, prompt and metric (or ``accuracy``), with ``prompt`` (its id), ``key`` (the same in
            every run), ``task``, ``category``, ``value`` and the ``baseline``'s value, NaN where the two must not be
            compared.
        """
        return frames.per_prompt(self.measurements, self.baseline)

    def decomposition(self) -> pd.DataFrame:
        """What a loss of diversity is made of, as a tidy data frame (`divmon.quality.decomposition`).

        Returns:
            A row for each step, task (empty: all of them) and metric (``sbert``, ``vendi``) of prompts with a verifier:
            ``total``, ``genuine``, ``quality_control`` and ``share``, each with its 95% interval (``genuine_low``,
            ``genuine_high``); ``d_all``, ``d_correct`` and ``accuracy`` with the baseline's (``d_all_baseline``); and
            ``prompts``, the number of prompts with two right answers in both, ``of`` those that were verified in both.
            Empty where nothing was verified, or the two must not be compared.
        """
        return frames.decomposition(self.measurements, self.baseline)

    def validity(self) -> pd.DataFrame:
        """What tells whether the completions are sound, as a data frame.

        Returns:
            A row for each step with the fields of `divmon.measurement.Validity`, ``sampling_seconds`` and
            ``scoring_seconds``.
        """
        return frames.validity(self.measurements)

    @property
    def _shown(self) -> shown.Shown:
        return shown.Shown(
            name=self.name,
            folder=str(self.ledger.folder),
            run_id=self.run_id,
            measurements=self.measurements,
            baseline=self.baseline,
            alerts=self.alerts,
            failed=tuple(gap["step"] for gap in self.gaps),
        )


def load(path: str | Path) -> Run:
    """Read a recorded run.

    Args:
        path: An output folder, its ``divmon`` folder, or the ledger's file.

    Raises:
        InputError: If there is no ledger, nothing in it, or a broken line.
    """
    ledger = Ledger.of(path)
    record = ledger.read()
    if record is None:
        raise InputError(f"{ledger.path}: no run was recorded in it.")
    return Run(ledger, record)
