"""A run of recipes on a terminal: a line a stage, and a bar that goes away; elsewhere plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from divmon.cli.terminal import console, printable

if TYPE_CHECKING:
    from rich.progress import Progress

    from divmon.recipes.progress import Reporter

QUIET_SECONDS = 30.0
"""Plain lines come at least this far apart within a stage."""


@contextmanager
def reporter() -> Iterator[Reporter]:
    """What shows a run on standard output."""
    if sys.stdout is None or not sys.stdout.isatty():
        yield Lines()
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[values]}", markup=False),
    )
    with Progress(*columns, console=console(), transient=True) as progress:
        yield Bar(progress)


def values_text(values: Mapping[str, float]) -> str:
    """``loss 1.234``, ``reward 0.5``."""
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())


class Lines:
    """Plain lines, flushed at once."""

    def __init__(self) -> None:
        self._name = ""
        self._last = time.monotonic()

    def begin(self, name: str, number: int, count: int, text: str) -> None:
        """A line."""
        self._name, self._last = name, time.monotonic()
        self.note(f"[{number}/{count}] {name}: {text}")

    def step(self, done: int, total: int, values: Mapping[str, float]) -> None:
        """A line now and then."""
        if time.monotonic() - self._last >= QUIET_SECONDS:
            self._last = time.monotonic()
            self.note(f"  {self._name}: step {done} of {total}, {values_text(values)}".rstrip(" ,"))

    def activity(self, text: str) -> None:
        """Nothing: the lines would outnumber the stages."""

    def end(self, name: str, text: str) -> None:
        """A line."""
        self.note(f"  {name}: {text}")

    def note(self, text: str) -> None:
        """A line."""
        indent = text[: len(text) - len(text.lstrip())]
        print(indent + printable(text), flush=True)


class Bar:
    """Lines, and a bar below them for the stage that is running."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._name = ""
        self._task = progress.add_task("", total=None, visible=False, values="")

    def begin(self, name: str, number: int, count: int, text: str) -> None:
        """A line and an empty bar."""
        self._name = name
        self.note(f"[{number}/{count}] {name}: {text}")
        self._progress.reset(self._task, total=None, visible=True, description=name, values="")

    def step(self, done: int, total: int, values: Mapping[str, float]) -> None:
        """The bar moves."""
        self._progress.update(
            self._task, completed=done, total=total, description=self._name, values=values_text(values)
        )

    def activity(self, text: str) -> None:
        """The bar says so."""
        self._progress.update(self._task, description=f"{self._name}: {printable(text)}")

    def end(self, name: str, text: str) -> None:
        """A line in the bar's place."""
        self._progress.update(self._task, visible=False)
        self.note(f"  {name}: {text}")

    def note(self, text: str) -> None:
        """A line above the bar."""
        indent = text[: len(text) - len(text.lstrip())]
        self._progress.console.print(indent + printable(text), soft_wrap=True)
