"""Weights & Biases: what it shows beside the scalars of the trainer's log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wandb

from divmon.measurement import to_plain
from divmon.sinks import wandb_alerts
from divmon.sinks.base import View
from divmon.sinks.wandb_rows import STEP, OpenRow
from divmon.sinks.wandb_table import CompletionsTable
from divmon.sinks.wandb_text import inert_values
from divmon.sinks.wandb_values import TABLE, is_hidden, logged, summarised

if TYPE_CHECKING:
    from transformers import TrainerCallback

_CONFIG_CHARACTERS = 1000


class WandbSink:
    """Adds to the current W&B run: intervals, categories, validity, completions, alerts, config and summary.

    The keys are those of `divmon.sinks.wandb_values`, over ``train/global_step``; the completions are one table
    (`divmon.sinks.wandb_table`, which states its bound). No ``step=`` is passed and no row of W&B's is ended
    (`divmon.sinks.wandb_rows`), so that the rows of whoever else logs stay in order.

    Args:
        callback: transformers' ``WandbCallback``.
    """

    name = "W&B"

    def __init__(self, callback: TrainerCallback) -> None:
        self._row = OpenRow.of(callback)
        self._run: Any = None
        self._defined: set[str] = set()

    def measured(self, view: View) -> None:
        """Log one measurement; nothing where there is no run."""
        run = wandb.run
        if run is None:
            return
        for alert in view.alerts:
            run.alert(wandb_alerts.title(alert), wandb_alerts.text(alert), level="WARN")
        if run is not self._run:
            self._run, self._defined = run, set()
            run.config.update({"divmon": described(view)}, allow_val_change=True)
        values: dict[str, Any] = dict(logged(view.measurement, view.baseline))
        table = CompletionsTable.of(run).increment(view)
        if table is not None:
            values[TABLE] = table
        # By name, not by pattern: which of two patterns counts is W&B's secret, and transformers has defined "*".
        for key in values.keys() - self._defined:
            run.define_metric(key, step_metric=STEP, hidden=is_hidden(key))
        self._defined |= values.keys()
        self._row.add(values | {STEP: view.measurement.step})
        run.summary.update(summarised(view.history))


def described(view: View) -> dict[str, Any]:
    """What the run's config holds under ``divmon``: the monitor's settings and where the numbers come from."""
    measurement, baseline = view.measurement, view.baseline
    plain = to_plain(
        {
            "run_id": measurement.run_id,
            "settings": view.settings,
            "prompts": {
                "source": measurement.prompts.source,
                "digest": measurement.prompts.digest,
                "count": len(measurement.prompts.keys),
            },
            "protocol": measurement.protocol,
            "provenance": measurement.provenance,
            "baseline": {
                "run_id": baseline.run_id,
                "step": baseline.step,
                "kind": baseline.kind,
                "model": baseline.provenance.get("model"),
            },
        }
    )
    return inert_values(plain, _CONFIG_CHARACTERS)
