"""Any checkpoint: sampling and scoring models that are not in training, in units that are independent of each other.

A `Request` says which models are asked what. Its plan splits the work by model, task and slice of the prompts into
units; sampling a unit appends a row a prompt to the unit's file, and once every prompt has its row the completions
become a measurement in a ledger. ``divmon eval`` is the command, `UnitWorker` samples single units from other programs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "Evaluation": "divmon.evaluation.request",
    "Request": "divmon.evaluation.request",
    "Subject": "divmon.evaluation.subject",
    "Unit": "divmon.evaluation.units",
    "UnitWorker": "divmon.evaluation.work",
    "evaluate": "divmon.evaluation.run",
}

__all__ = ["Evaluation", "Request", "Subject", "Unit", "UnitWorker", "evaluate"]

if TYPE_CHECKING:
    from divmon.evaluation.request import Evaluation, Request
    from divmon.evaluation.run import evaluate
    from divmon.evaluation.subject import Subject
    from divmon.evaluation.units import Unit
    from divmon.evaluation.work import UnitWorker


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'divmon.evaluation' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
