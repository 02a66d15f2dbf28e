"""One compact line a measurement, for somebody who watches the console or reads its log."""

from __future__ import annotations

import math
import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from divmon.alerts import unsoundness
from divmon.measurement import MetricSummary
from divmon.metrics import NAMES
from divmon.reading import format_number, format_percent

if TYPE_CHECKING:
    from transformers import Trainer

    from divmon.sinks.base import View

WIDTH = 80
_LEGEND = "divmon: means, and % of the baseline retained (* the interval excludes 100%)"
# The callbacks of transformers and TRL that show a run's progress.
_PROGRESS = ("ProgressCallback", "PrinterCallback", "NotebookProgressCallback", "RichProgressCallback")


class ConsoleSink:
    """Prints a line for each measurement, above the progress bar where there is one.

    ::

        step   12 EAD 0.08 10%*  SBERT 0.14 33%*  NLI 0.98 97%   Vendi 1.45 45%*

    It is of ASCII and stays within 80 columns, so that it reads the same in a log file; a terminal also gets colours.
    Where the completions look unsound, the reason stands below it.
    """

    name = "the console"

    def __init__(self) -> None:
        self._explained = False

    @classmethod
    def of(cls, trainer: Trainer) -> list[ConsoleSink]:
        """The console's sink; none where the trainer shows no progress either: then somebody else does (a recipe)."""
        kinds = {kind.__name__ for callback in trainer.callback_handler.callbacks for kind in type(callback).__mro__}
        return [cls()] if kinds.intersection(_PROGRESS) else []

    def measured(self, view: View) -> None:
        """Print the line."""
        if sys.stdout is None:  # a program without a console
            return
        from rich.console import Console
        from tqdm.auto import tqdm  # the one of transformers' progress bar

        console = Console(markup=False, emoji=False, highlight=False, force_jupyter=False)  # text in a notebook too
        with console.capture() as shown:
            if not self._explained:
                console.print(Text(_LEGEND, "dim"), soft_wrap=True)
            for line in lines(view):
                console.print(line, soft_wrap=True)
        tqdm.write(shown.get(), end="")  # clears the bar and draws it again below
        sys.stdout.flush()
        self._explained = True


def lines(view: View) -> Iterator[Text]:
    """A measurement in one line, and why it is unsound in another where it is."""
    measurement = view.measurement
    line = Text(f"step {measurement.step:>4} ")
    width = 5 if measurement.accuracy else 6  # "165%* " is rare, and with the accuracy there is no room for it
    for name, summary in measurement.metrics.items():
        digits = 2 if not summary.mean >= 9.995 else 1
        line.append(f"{NAMES[name]} {format_number(summary.mean, digits):>4} ")
        kept = "" if not measurement.baseline else format_percent(summary.retained) + "*" * _is_told(summary)
        line.append(f"{kept + ' ':<{width}}", _style(summary, view.settings.get("alert_below")))
    if measurement.accuracy is not None:
        line.append(f"acc {format_percent(measurement.accuracy.mean)}")
    line.rstrip()
    yield line
    why = unsoundness(measurement, view.baseline)
    if why is not None:
        for part in textwrap.wrap(f"unsound: {why}", WIDTH, initial_indent=" " * 10, subsequent_indent=" " * 19):
            yield Text(part, "yellow")


def _is_told(summary: MetricSummary) -> bool:
    """Whether the interval of the retained fraction excludes 1."""
    low, high = summary.retained_interval
    return high < 1 or low > 1


def _style(summary: MetricSummary, below: float | None) -> str:
    high = summary.retained_interval[1]
    if math.isnan(high) or not _is_told(summary):
        return ""
    return "bold red" if below is not None and high < below else "bold"
