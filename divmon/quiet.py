"""Libraries that talk while a bar is on the screen, told not to."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep progress bars and advice of the libraries off the console; set back afterwards."""
    import datasets
    import transformers

    bars = datasets.are_progress_bars_disabled()
    verbosity = transformers.logging.get_verbosity()
    loading = transformers.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # TRL and peft still use transformers' old name for activation checkpointing.
            warnings.filterwarnings("ignore", ".*gradient_checkpointing.* is deprecated", FutureWarning)
            yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        if loading:
            transformers.logging.enable_progress_bar()
        if not bars:
            datasets.enable_progress_bars()
