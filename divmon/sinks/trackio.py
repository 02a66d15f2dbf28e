"""Trackio: intervals, categories and validity as metrics, completions as tables, settings and alerts as reports.

| key | what |
|---|---|
| ``train/divmon/...`` | the scalars of the trainer's log, through transformers' own callback |
| ``train/divmon_{intervals,validity,within}/...`` | bounds of 95% intervals, validity, means of categories |
| ``divmon/completions`` | a table for each measurement |
| ``divmon/settings``, ``divmon/alerts`` | Markdown, among the reports |

Trackio shows groups and keys in alphabetical order: these names come after the loss and what is looked at first.

A table has at most 32 completions of 8 prompts, less than 40,000 characters, whatever K and the prompts are.
``train/global_step`` is logged with everything, as transformers' callback does: choose it as the x axis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import trackio
from tqdm.auto import tqdm

from divmon.alerts import Alert
from divmon.logged import PREFIX
from divmon.sinks.base import View
from divmon.sinks.grouped import grouped
from divmon.sinks.text import described, prompts_shown
from divmon.visible import cut

if TYPE_CHECKING:
    from transformers import TrainerCallback

LINE_CHARACTERS = 400


class TrackioSink:
    """Adds to the current Trackio run, which transformers' callback began.

    Args:
        callback: transformers' ``TrackioCallback``.
    """

    name = "Trackio"

    def __init__(self, callback: TrainerCallback) -> None:
        self._run: Any = None

    def measured(self, view: View) -> None:
        """Log one measurement; nothing where there is no run."""
        run = trackio.context_vars.current_run.get()
        if run is None:
            return
        values: dict[str, Any] = {
            metric_name(key): value for key, value in grouped(view.measurement, view.baseline).items()
        }
        rows = list(table_rows(view))
        if rows:
            values[f"{PREFIX}completions"] = trackio.Table(list(rows[0]), [list(row.values()) for row in rows])
        if run is not self._run:
            self._run = run
            settings = "\n".join(f"- **{name}** {in_line(value)}" for name, value in described(view).items())
            values[f"{PREFIX}settings"] = trackio.Markdown(f"### What divmon measures, and how\n\n{settings}")
        if view.alerts:
            values[f"{PREFIX}alerts"] = trackio.Markdown("\n\n".join(map(report, view.alerts)))
        trackio.log(values | {"train/global_step": view.measurement.step})
        for alert in view.alerts:
            with tqdm.external_write_mode():  # Trackio prints it, in the middle of a progress bar
                run.alert(alert.title, step=view.measurement.step)


def metric_name(key: str) -> str:
    """A key of `divmon.sinks.grouped` as it is called here."""
    return f"train/{PREFIX.rstrip('/')}_{key.removeprefix(PREFIX)}"


def table_rows(view: View) -> Iterator[dict[str, Any]]:
    """The table's rows; a prompt stands beside its first completion only, since Trackio shows a cell in full."""
    first = ("step", "prompt_id", "index", "prompt", "completion")
    for prompt in prompts_shown(view):
        for row in prompt:
            yield {name: row[name] for name in first} | row | {"prompt": row["prompt"] if row["index"] == 0 else ""}


def report(alert: Alert) -> str:
    """An alert as Trackio's Markdown, which escapes HTML and knows headings, lists, bold and code in a line."""
    lines = [f"### {in_line(alert.title)}", "", in_line(alert.advice), ""]
    for example in alert.examples:
        for name, text in (("Prompt", example.prompt), ("Before", example.before), ("Now", example.now)):
            lines.append(f"- **{name}** {in_line(text) or '(no answer)'}")
    return "\n".join(lines)


def in_line(text: str) -> str:
    """Text as one line in which Trackio's Markdown finds no mark-up."""
    plain = " ".join(cut(text, LINE_CHARACTERS).split()).replace("`", "'")
    return re.sub(r"\*(?=\*)", "* ", plain)
