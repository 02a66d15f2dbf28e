"""The seams with a live trainer: finding it, logging through it, borrowing its model and processes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from accelerate.utils import broadcast_object_list, gather_object
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback

from divmon.errors import DivmonError, InputError

logger = logging.getLogger(__name__)

_FRAMES = 12


class TrainerNotFoundError(DivmonError, RuntimeError):
    """The callback was called from outside a trainer."""


def find_trainer(callback: TrainerCallback) -> Trainer:
    """The trainer that is calling ``callback`` at this moment.

    Callback events do not carry the trainer, but they are always sent from one of its methods: this looks for the
    nearest caller whose ``self`` is a trainer that holds the callback. Call it at the start of training and at
    evaluations only: up to Python 3.12, looking at a frame's locals keeps them alive until the frame ends, which
    inside the step loop would be a batch.

    Raises:
        TrainerNotFoundError: If no such caller exists.
    """
    frame = sys._getframe(1)
    for _ in range(_FRAMES):
        owner = frame.f_locals.get("self")
        if isinstance(owner, Trainer) and callback in owner.callback_handler.callbacks:
            return owner
        if frame.f_back is None:
            break
        frame = frame.f_back
    raise TrainerNotFoundError(
        "DiversityCallback found no trainer among its callers: give it to a transformers or TRL trainer "
        "(callbacks=[...] or add_callback), or pass trainer=."
    )


def put_before_early_stopping(trainer: Trainer, callback: TrainerCallback) -> None:
    """Let ``callback`` see an evaluation before EarlyStoppingCallback does, so that it finds our values there."""
    handler = trainer.callback_handler
    stoppers = [i for i, other in enumerate(handler.callbacks) if isinstance(other, EarlyStoppingCallback)]
    if not stoppers or callback not in handler.callbacks or handler.callbacks.index(callback) < stoppers[0]:
        return
    # A new list: the handler may be walking through the old one.
    others = [other for other in handler.callbacks if other is not callback]
    handler.callbacks = [*others[: stoppers[0]], callback, *others[stoppers[0] :]]


def log(trainer: Trainer, values: Mapping[str, float]) -> None:
    """Log ``values`` at the current step to every ``report_to`` backend, ``state.log_history`` and the console.

    Through the base class's method: TRL's own ``log`` would average and clear its pending metrics. Logging resets the
    control's ``should_log``, by which the trainer's own loss row would go missing, so that is put back.
    """
    should_log = trainer.control.should_log
    try:
        Trainer.log(trainer, dict(values))
    finally:
        trainer.control.should_log = should_log


@dataclass(frozen=True)
class TrainerProcesses:
    """The trainer's processes, for the sampler (see ``divmon.sampling.sampler.Processes``)."""

    index: int
    count: int

    @classmethod
    def of(cls, trainer: Trainer) -> TrainerProcesses:
        """The processes of ``trainer``."""
        return cls(trainer.accelerator.process_index, trainer.accelerator.num_processes)

    def gather(self, values: list[Any]) -> list[Any]:
        """Every process's list, joined in rank order, on every process."""
        return gather_object(values) if self.count > 1 else values

    def decide(self, action: Callable[[], Any]) -> Any:
        """What ``action`` returns on the first process, on every process; what it raises there, everywhere.

        Raises:
            DivmonError: Whatever went wrong on the first process.
        """
        decided: Any = None
        if self.index == 0:
            try:
                decided = action()
            except DivmonError as error:
                decided = InputError(str(error))
            except Exception as error:
                decided = InputError(f"{type(error).__name__}: {error}")
                logger.debug("the first process failed", exc_info=True)
        decided = self.broadcast(decided)
        if isinstance(decided, InputError):
            raise decided
        return decided

    def broadcast(self, value: Any) -> Any:
        """The first process's value, on every process."""
        return broadcast_object_list([value])[0] if self.count > 1 else value


@contextmanager
def lent_model(trainer: Trainer) -> Iterator[tuple[Any, bool]]:
    """The trainer's model, ready to generate with, and whether it stays sharded.

    It computes in the trainer's own mixed precision, which accelerate puts on the outermost ``forward`` only: with
    PEFT, ``generate`` would go past it. What torch.compile wraps comes unwrapped. DeepSpeed ZeRO-3 is gathered by TRL's
    helper, FSDP by its own. TRL's helper restores nothing after an exception, so none passes through it.
    """
    with trainer.accelerator.autocast(), _unwrapped(trainer) as lent:
        yield lent


@contextmanager
def _unwrapped(trainer: Trainer) -> Iterator[tuple[Any, bool]]:
    accelerator, wrapped = trainer.accelerator, trainer.model_wrapped
    fsdp = getattr(accelerator.state, "fsdp_plugin", None)
    zero = getattr(accelerator.state, "deepspeed_plugin", None)
    if zero is not None and zero.zero_stage == 3:
        from trl.models import unwrap_model_for_generation

        gather = getattr(trainer.args, "ds3_gather_for_generation", True)
        checkpointing: Any = trainer.args.gradient_checkpointing_kwargs
        failure: BaseException | None = None
        with unwrap_model_for_generation(
            wrapped,
            accelerator,
            gather_deepspeed3_params=gather,
            gradient_checkpointing_kwargs=checkpointing,
        ) as model:
            try:
                yield model, not gather
            except BaseException as error:
                failure = error
        if failure is not None:
            raise failure
    elif fsdp is not None and getattr(fsdp, "fsdp_version", 1) == 1 and accelerator.num_processes > 1:
        with FullyShardedDataParallel.summon_full_params(wrapped, recurse=False, writeback=False):
            yield accelerator.unwrap_model(wrapped, keep_torch_compile=False), True
    else:
        model = accelerator.unwrap_model(wrapped, keep_torch_compile=False)
        # Also a model that transformers sharded at loading, of which accelerate knows nothing.
        sharded = any(isinstance(module, FullyShardedDataParallel | FSDPModule) for module in model.modules())
        yield model, sharded and accelerator.num_processes > 1


def refuse_model_parallel(trainer: Trainer) -> None:
    """Refuse processes that hold parts of one model or one sequence: they could not be given different prompts.

    Raises:
        InputError: Under tensor, context or sequence parallelism.
    """
    for kind in ("tp", "cp", "sp"):
        size = getattr(trainer, f"get_{kind}_size", lambda: 1)()
        if size > 1:
            raise InputError(f"divmon does not sample under {kind.upper()} (size {size}): measure checkpoints instead.")
