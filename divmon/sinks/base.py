"""What a sink is, and how a finished measurement reaches all of them."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from divmon.alerts import Alert
from divmon.errors import in_a_line
from divmon.measurement import Measurement

if TYPE_CHECKING:
    from transformers import Trainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class View:
    """A finished measurement, as a sink gets it.

    Attributes:
        measurement: The measurement.
        baseline: What it is compared with; the measurement itself where it is the first.
        history: All of the run's by step, the measurement last.
        rows: Its completions, a prompt a row (`divmon.recording.completion_rows`).
        baseline_rows: The baseline's completions, likewise; empty where they are not at hand.
        alerts: What it warns of.
        settings: The monitor's settings, plain values.
        folder: The ledger's folder.
    """

    measurement: Measurement
    baseline: Measurement
    history: tuple[Measurement, ...]
    rows: tuple[Mapping[str, Any], ...]
    baseline_rows: tuple[Mapping[str, Any], ...]
    alerts: tuple[Alert, ...]
    settings: Mapping[str, Any]
    folder: str


class Sink(Protocol):
    """Shows measurements somewhere; on the first process only."""

    name: str

    def measured(self, view: View) -> None:
        """Show one measurement; called after its scalars went through the trainer's log."""


# The reporting callback of transformers that stands for a backend -> the sink that adds to it.
_OF_CALLBACK = {
    "WandbCallback": ("divmon.sinks.wandb", "WandbSink"),
    "TensorBoardCallback": ("divmon.sinks.tensorboard", "TensorBoardSink"),
    "MLflowCallback": ("divmon.sinks.mlflow", "MlflowSink"),
    "TrackioCallback": ("divmon.sinks.trackio", "TrackioSink"),
}


class Sinks:
    """The sinks of a run; what one of them refuses is one warning, and the others go on.

    Args:
        sinks: The sinks.
        strict: Raise what fails.
    """

    def __init__(self, sinks: Sequence[Sink], *, strict: bool = False) -> None:
        self.sinks = list(sinks)
        self._strict = strict
        self._failed: set[str] = set()

    @classmethod
    def of(cls, trainer: Trainer, *, strict: bool = False) -> Sinks:
        """The sinks that go with a trainer's ``report_to``, and the console's.

        Each is made with the reporting callback that stands for its backend, which holds the backend's handle.
        """
        from divmon.sinks.console import ConsoleSink

        sinks: list[Sink] = [*ConsoleSink.of(trainer)]
        for callback in trainer.callback_handler.callbacks:
            for kind in type(callback).__mro__:
                if kind.__name__ in _OF_CALLBACK:
                    module, name = _OF_CALLBACK[kind.__name__]
                    try:
                        sinks.append(getattr(importlib.import_module(module), name)(callback))
                    except Exception as error:  # a backend's library that moved a name, say
                        if strict:
                            raise
                        logger.warning(
                            "divmon: %s gets the scalars only: what divmon shows beside them cannot be made (%s). Mend "
                            "or update the backend's library.",
                            kind.__name__.removesuffix("Callback"),
                            in_a_line(error),
                        )
        return cls(sinks, strict=strict)

    def measured(self, view: View) -> None:
        """Show a measurement everywhere."""
        for sink in self.sinks:
            try:
                sink.measured(view)
            except Exception as error:  # whatever a backend raises, the run goes on
                if self._strict:
                    raise
                if sink.name not in self._failed:
                    logger.warning(
                        "divmon: step %d could not be shown in full in %s (%s: %s); measuring and training go on, and "
                        "the ledger has everything.",
                        view.measurement.step,
                        sink.name,
                        type(error).__name__,
                        error,
                    )
                self._failed.add(sink.name)
