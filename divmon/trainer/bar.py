"""The progress bar of a measurement within a training."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from tqdm.auto import tqdm

from divmon.sampling.sampler import Progress

_SECONDS_IN_A_FILE = 30.0
"""Between two states of a bar that is written to a file, where each stays."""


@contextlib.contextmanager
def sampling_bar(step: int, quiet: bool) -> Iterator[Progress | None]:
    """A bar below the trainer's own that is gone when the sampling is done.

    Args:
        step: The optimizer step that is measured.
        quiet: Show none.
    """
    if quiet:
        yield None
        return
    bars: list[tqdm] = []

    def advance(done: int, total: int) -> None:
        if not bars:
            text = f"divmon, step {step}: sampling"
            seen = sys.stderr.isatty() or "ipykernel" in sys.modules
            every = 0.1 if seen else _SECONDS_IN_A_FILE
            bars.append(tqdm(total=total, desc=text, unit="tok", leave=False, dynamic_ncols=True, mininterval=every))
        bars[0].update(done - bars[0].n)

    try:
        yield advance
    finally:
        for bar in bars:
            bar.close()
