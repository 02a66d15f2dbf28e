"""Watch output diversity while you post-train a language model with TRL.

The public names are imported when they are first used, so that ``import divmon`` stays fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "DiversityCallback": "divmon.callback",
    "DivmonError": "divmon.errors",
    "InputError": "divmon.errors",
    "Ledger": "divmon.ledger",
    "Measurement": "divmon.measurement",
    "MonitorOptions": "divmon.options",
    "Prompt": "divmon.prompt",
    "PromptSet": "divmon.prompts",
    "Run": "divmon.loaded",
    "load": "divmon.loaded",
    "measure": "divmon.api",
    "score": "divmon.scored",
}

__all__ = [
    "DiversityCallback",
    "DivmonError",
    "InputError",
    "Ledger",
    "Measurement",
    "MonitorOptions",
    "Prompt",
    "PromptSet",
    "Run",
    "load",
    "measure",
    "score",
]

if TYPE_CHECKING:
    from divmon.api import measure
    from divmon.callback import DiversityCallback
    from divmon.errors import DivmonError, InputError
    from divmon.ledger import Ledger
    from divmon.loaded import Run, load
    from divmon.measurement import Measurement
    from divmon.options import MonitorOptions
    from divmon.prompt import Prompt
    from divmon.prompts import PromptSet
    from divmon.scored import score


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'divmon' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
