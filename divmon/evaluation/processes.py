"""The processes of a launcher: each samples units of its own, and they meet between models."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from divmon.launched import connected

if TYPE_CHECKING:
    from divmon.sampling.sampler import Processes

# One process may sample for days while the others wait for it.
_PATIENCE = datetime.timedelta(days=30)


def start_processes() -> Processes:
    """This process among those of the launcher, if there is one, connected."""
    from divmon.sampling.sampler import SingleProcess

    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return SingleProcess()  # without what TRL imports
    return connected(_PATIENCE)


def decided(processes: Processes, action: Callable[[], Any]) -> Any:
    """What ``action`` returns on the first process, on every process; what it raises there, everywhere."""
    return action() if processes.count == 1 else processes.decide(action)  # type: ignore[attr-defined]
