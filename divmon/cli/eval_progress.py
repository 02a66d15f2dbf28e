"""An evaluation on a terminal: a bar for the model that is sampled; elsewhere a plain line a unit."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from divmon.cli.terminal import console, printable

if TYPE_CHECKING:
    from rich.progress import Progress

    from divmon.evaluation.progress import Reporter
    from divmon.evaluation.work import UnitReport

QUIET_SECONDS = 60.0
"""Plain lines within a unit come at least this far apart."""


@contextmanager
def reporter() -> Iterator[Reporter]:
    """What shows an evaluation on standard output."""
    if sys.stdout is None or not sys.stdout.isatty():
        yield Lines()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[amount]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=console(), transient=True, speed_estimate_period=600.0) as progress:
        yield Bar(progress)


def amount(done: float, total: int, samples: int) -> str:
    """``12 of 500 prompts, 200 completions``: the completions of the running prompts are counted as they come."""
    return f"{int(done):,} of {total:,} prompts, {int(done * samples):,} completions"


def unit_text(report: UnitReport) -> str:
    """A unit in one line."""
    from divmon.recipes.progress import duration

    name = report.unit.id
    if not report.prompts:
        return f"{name}: no prompts there"
    before = f"{report.found:,} of them done before" if report.found else ""
    if not report.completions:
        return f"{name}: {report.prompts:,} prompts, {before or 'nothing to do'}"
    mean, cut = report.tokens / report.completions, report.truncated / report.completions
    figures = f"{report.completions:,} completions of {mean:,.0f} tokens on average, {cut:.0%} cut off"
    rate = f", {report.tokens / report.seconds:,.0f} tokens/s" if report.seconds > 0 else ""
    return f"{name}: {report.prompts:,} prompts{', ' + before if before else ''}, {figures}, " + (
        duration(report.seconds) + rate
    )


class Lines:
    """Plain lines, flushed at once."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def begin(self, label: str, number: int, count: int, text: str) -> None:
        """A line."""
        self._last = time.monotonic()
        self.note(f"[{number}/{count}] {label}: {text}")

    def progress(self, done: float, total: int, samples: int) -> None:
        """A line now and then."""
        if time.monotonic() - self._last >= QUIET_SECONDS:
            self.note(f"  {amount(done, total, samples)}")

    def activity(self, text: str) -> None:
        """Nothing: the lines would outnumber the units."""

    def unit(self, report: UnitReport) -> None:
        """A line."""
        self.note(f"  {unit_text(report)}")

    def end(self, label: str, text: str) -> None:
        """A line."""
        self.note(f"  {label}: {text}")

    def note(self, text: str) -> None:
        """A line."""
        self._last = time.monotonic()
        indent = text[: len(text) - len(text.lstrip())]
        print(indent + printable(text), flush=True)


class Bar:
    """A line a model, and a bar below them for the one that is being evaluated."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._label = ""
        self._task = progress.add_task("", total=None, visible=False, amount="")

    def begin(self, label: str, number: int, count: int, text: str) -> None:
        """A line and an empty bar."""
        self._label = printable(label)
        self.note(f"[{number}/{count}] {label}: {text}")
        self._progress.reset(self._task, total=None, visible=True, description=self._label, amount="")

    def progress(self, done: float, total: int, samples: int) -> None:
        """The bar moves."""
        self._progress.update(
            self._task, completed=done, total=total, description=self._label, amount=amount(done, total, samples)
        )

    def activity(self, text: str) -> None:
        """The bar says so."""
        self._progress.update(self._task, description=f"{self._label}: {printable(text)}".lstrip(": "), visible=True)

    def unit(self, report: UnitReport) -> None:
        """The bar says so, as long as nothing else happens."""

    def end(self, label: str, text: str) -> None:
        """A line in the bar's place."""
        self._progress.update(self._task, visible=False)
        self.note(f"  {label}: {text}")

    def note(self, text: str) -> None:
        """A line above the bar."""
        indent = text[: len(text) - len(text.lstrip())]
        self._progress.console.print(indent + printable(text), soft_wrap=True)
