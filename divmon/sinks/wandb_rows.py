"""W&B's rows: a measurement goes into the one that is open and ends none."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from transformers import TrainerCallback

STEP = "train/global_step"
"""The x axis of transformers' own callback, and of everything that divmon logs."""

_MEASURED = "train/divmon/"  # what transformers' callback makes of `divmon/...`


class OpenRow:
    """Stands for the module ``wandb`` in transformers' callback, so that measurements cost no step of W&B's own.

    Each ``wandb.log`` ends W&B's row and counts its step up. With one more row at a measurement, a script that logs
    with ``step=trainer.state.global_step`` would be behind from then on, and W&B refuses such rows with a warning. So a
    measurement goes into the row that is open, and the next log ends it: the trainer's own of the same step, or
    anybody else's. Only before the trainer logs a later step is the row ended here, because it has one x value.

    Args:
        wandb: The module, or what stands in its place.
    """

    # Of the whole process, as the open row is: the run, W&B's step, and the x value of the measurement in the row.
    _held: ClassVar[tuple[Any, int, Any] | None] = None

    def __init__(self, wandb: Any) -> None:
        self._wandb = wandb

    @classmethod
    def of(cls, callback: TrainerCallback) -> OpenRow:
        """The one of transformers' ``WandbCallback``, put there if it is not."""
        wandb = getattr(callback, "_wandb", None)
        if isinstance(wandb, cls):
            return wandb
        row = cls(wandb or importlib.import_module("wandb"))
        if wandb is not None:
            callback._wandb = row  # type: ignore[attr-defined]
        return row

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copying and pickling ask for these before there is a module
            raise AttributeError(name)
        return getattr(self._wandb, name)

    def log(self, data: Mapping[str, Any], *arguments: Any, **options: Any) -> None:
        """What the callback calls: a measurement goes into the open row, everything else is ``wandb.log``."""
        if self._wandb.run is not None and STEP in data and any(key.startswith(_MEASURED) for key in data):
            self.add(data)
        else:
            self._end_before(data.get(STEP))
            self._wandb.log(data, *arguments, **options)

    def add(self, data: Mapping[str, Any]) -> None:
        """Put ``data`` into the open row.

        Args:
            data: With the trainer's step under ``STEP``.
        """
        self._end_before(data[STEP])
        run = self._wandb.run
        run.log(dict(data), commit=False)
        OpenRow._held = (run, run.step, data[STEP])

    def _end_before(self, step: Any) -> None:
        """End the row that holds a measurement of another step than ``step``, unless somebody did."""
        if OpenRow._held is None or OpenRow._held[2] == step:
            return
        run, row, _ = OpenRow._held
        OpenRow._held = None
        if run is self._wandb.run and run.step == row:
            run.log({}, commit=True)
