"""The encoders of a monitor: loaded once, and on a device only while they score."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from divmon import encoders
from divmon.encoders.remembering import RememberingEncoder
from divmon.errors import DivmonError
from divmon.options import MonitorOptions
from divmon.protocols import NliClassifier

logger = logging.getLogger(__name__)


class LentEncoders:
    """The sentence encoder and the NLI classifier that a monitor's metrics need.

    Args:
        options: Which ones.
        metrics: The metrics that mean something on any of the prompts.

    Attributes:
        sentence: The sentence encoder; None before `load`, where no metric needs it, and where it is not to be had.
        nli: The NLI classifier, likewise.
        missing: Metric -> why it is not measured.
    """

    def __init__(self, options: MonitorOptions, metrics: Collection[str]) -> None:
        self._options = options
        self._wanted = frozenset(metrics)
        self._loaded = False
        self.sentence: RememberingEncoder | None = None
        self.nli: NliClassifier | None = None
        self.missing: dict[str, str] = {}

    def load(self, device: str) -> None:
        """Load once what the metrics need; a metric whose model is not to be had is left out and said once."""
        if self._loaded:
            return
        wanted, options = self._wanted, self._options
        if {"sbert", "vendi"} & wanted:
            loaded = self._try(
                ("sbert", "vendi"),
                lambda: encoders.load_sentence_encoder(options.sentence_encoder, preset=options.preset, device=device),
            )
            self.sentence = None if loaded is None else RememberingEncoder(loaded)
        if "nli" in wanted:
            self.nli = self._try(("nli",), lambda: encoders.load_nli(options.nli, preset=options.preset, device=device))
        self._loaded = True

    @property
    def identities(self) -> dict[str, dict[str, Any] | None]:
        """Which models they are, for a measurement's protocol: ``sentence_encoder`` and ``nli``."""
        models = {"sentence_encoder": self.sentence, "nli": self.nli}
        return {role: None if model is None else dataclasses.asdict(model.identity) for role, model in models.items()}

    @contextlib.contextmanager
    def on(self, device: str) -> Iterator[None]:
        """Lend the encoders a device; between measurements its memory belongs to the training."""
        models = [model for model in (self.sentence, self.nli) if model is not None and device != "cpu"]
        try:
            for model in models:
                model.to(device)
            yield
        finally:
            for model in models:
                model.to("cpu")

    def _try(self, metrics: Sequence[str], load: Callable[[], Any]) -> Any:
        try:
            # A fallback is said in the log: a warning would show a line of this file in the middle of a progress bar.
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", encoders.EncoderFallbackWarning)
                return load()
        except DivmonError as error:
            named = [name for name in metrics if name in self._options.metrics]
            self.missing.update(dict.fromkeys(named, str(error)))
            logger.warning("divmon: %s will not be measured. %s", " and ".join(named), error)
            return None
        finally:
            for warning in said:
                logger.warning("%s", warning.message)
