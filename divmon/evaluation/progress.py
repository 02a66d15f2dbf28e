"""What an evaluation says while it runs, whoever shows it: the command line does, with a bar or in plain lines."""

from __future__ import annotations

from typing import Protocol

from divmon.evaluation.work import UnitReport


class Reporter(Protocol):
    """Shows an evaluation."""

    def begin(self, label: str, number: int, count: int, text: str) -> None:
        """Model ``label``, the ``number``th of ``count``, begins; ``text`` says what it is."""

    def progress(self, done: float, total: int, samples: int) -> None:
        """So many of the model's prompts that are sampled here are done, each ``samples`` times."""

    def activity(self, text: str) -> None:
        """What is being done besides sampling."""

    def unit(self, report: UnitReport) -> None:
        """A unit is done."""

    def end(self, label: str, text: str) -> None:
        """The model is done; ``text`` sums it up."""

    def note(self, text: str) -> None:
        """A line for the reader."""


class Silent:
    """Shows nothing: for processes but the first, and for callers that look at the results."""

    def begin(self, label: str, number: int, count: int, text: str) -> None:
        """Nothing."""

    def progress(self, done: float, total: int, samples: int) -> None:
        """Nothing."""

    def activity(self, text: str) -> None:
        """Nothing."""

    def unit(self, report: UnitReport) -> None:
        """Nothing."""

    def end(self, label: str, text: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
