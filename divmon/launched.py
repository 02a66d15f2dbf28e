"""The processes of a launcher (``accelerate launch``, ``torchrun``), connected outside a trainer."""

from __future__ import annotations

import datetime
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from divmon.trainer.seam import TrainerProcesses


def connected(timeout: datetime.timedelta) -> TrainerProcesses:
    """This process among those of the launcher, if there is one.

    Args:
        timeout: How long one process waits for another. The process group is opened here and once, so the
            ``ddp_timeout`` of a trainer that comes later changes nothing.
    """
    from divmon.trainer.seam import TrainerProcesses

    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return TrainerProcesses(0, 1)
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=timeout)
    return TrainerProcesses(state.process_index, state.num_processes)


def own_device() -> Any:
    """The device of this process: with several, each its own accelerator."""
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available()).device
