"""MLflow: intervals, categories and validity as metrics, completions as tables, settings as parameters.

| where | what |
|---|---|
| metrics ``divmon/...`` | the scalars of the trainer's log, through transformers' own callback |
| metrics ``divmon/{intervals,validity,within}/...`` | bounds of 95% intervals, validity, means of categories |
| parameters ``divmon/...`` | the monitor's settings, prompts, encoders, versions |
| tables ``divmon/completions/step-....json`` | completions |
| tag ``divmon.alert`` (the last), files ``divmon/alerts/step-....md`` | alerts |

A table holds one measurement: at most 32 completions of 8 prompts, less than 40,000 characters. One table for all steps
would be fetched and written anew as a whole at each measurement. MLflow lists a run's tables in a tag of bounded
length, so there are at most ``TABLES``: the first 32 measurements have one each, then every second, from the 64th on
every fourth, and so on; those that warn have one too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import mlflow
import pandas
from mlflow.utils.uri import is_local_uri

from divmon.logged import PREFIX
from divmon.sinks.base import View
from divmon.sinks.grouped import grouped
from divmon.sinks.text import alerts_markdown, described, prompts_shown
from divmon.sinks.wandb_table import is_due

if TYPE_CHECKING:
    from transformers import TrainerCallback

TABLES = 100
_BATCH = 100  # parameters that MLflow takes at once


class MlflowSink:
    """Adds to the active MLflow run, which transformers' callback began or found.

    Args:
        callback: transformers' ``MLflowCallback``.
    """

    name = "MLflow"

    def __init__(self, callback: TrainerCallback) -> None:
        self._run_id = ""
        self._tables = 0

    def measured(self, view: View) -> None:
        """Log one measurement; nothing where no run is active."""
        run = mlflow.active_run()
        if run is None:
            return
        step = view.measurement.step
        if is_local_uri(mlflow.get_tracking_uri()):
            mlflow.flush_async_logging()  # files cannot be read while transformers' callback writes them
        if run.info.run_id != self._run_id:
            self._run_id, self._tables = run.info.run_id, 0
            _add_parameters(run.info.run_id, described(view))
        mlflow.log_metrics(grouped(view.measurement, view.baseline), step=step)
        if view.alerts:
            mlflow.set_tag("divmon.alert", "; ".join(alert.title for alert in view.alerts))
            mlflow.log_text(alerts_markdown(view), f"{PREFIX}alerts/step-{step:08}.md")
        rows = [row for prompt in prompts_shown(view) for row in prompt]
        if rows and self._tables < TABLES and (view.alerts or is_due(len(view.history) - 1)):
            table = pandas.DataFrame(rows, dtype=object)  # MLflow looks at other kinds of text with a warning
            mlflow.log_table(table, f"{PREFIX}completions/step-{step:08}.json")
            self._tables += 1


def _add_parameters(run_id: str, settings: Mapping[str, str]) -> None:
    """Log parameters that the run does not have: they cannot be changed, and a second trainer may log to one run."""
    known = mlflow.get_run(run_id).data.params
    fresh = {f"{PREFIX}{name}": value for name, value in settings.items() if f"{PREFIX}{name}" not in known}
    names = list(fresh)
    for start in range(0, len(names), _BATCH):
        mlflow.log_params({name: fresh[name] for name in names[start : start + _BATCH]})
