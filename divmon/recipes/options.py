"""What a run of recipes is told beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """What a run is told beside its recipes.

    Attributes:
        output_dir: Where the run folders go.
        seed: Seed of weights, data and training.
        smoke: Two short steps a stage: does everything work?
        from_scratch: Train what has a shipped copy.
        report_to: A reporting integration (``wandb``) in place of the recipes'.
        force: Run the named stages though they are complete.
    """

    output_dir: Path
    seed: int = 0
    smoke: bool = False
    from_scratch: bool = False
    report_to: str | None = None
    force: bool = False
