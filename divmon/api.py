"""The same measurement without a trainer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

from divmon.comparison import comparison_problems
from divmon.measurement import Measurement
from divmon.options import MonitorOptions, OptionKeywords
from divmon.prompts import PromptSet

logger = logging.getLogger(__name__)


def measure(
    model: Any,
    tokenizer: Any,
    prompts: PromptSet | str | Path | Sequence[Any] | None = None,
    *,
    baseline: Measurement | None = None,
    step: int = 0,
    run_id: str | None = None,
    output_dir: str | Path | None = None,
    **options: Unpack[OptionKeywords],
) -> Measurement:
    """Measure a model's output diversity once: what ``DiversityCallback`` does, for loops without a trainer.

    Args:
        model: A causal language model. Its mode, its weights and every random state are left as they are.
        tokenizer: Its tokenizer or multimodal processor.
        prompts: As for ``DiversityCallback``; default: the bundled set.
        baseline: An earlier measurement with the same prompts and options, to compare with.
        step: What the measurement is filed under.
        run_id: Likewise; default: a new one, or the baseline's.
        output_dir: Append the measurement and its completions to ``<output_dir>/divmon/``; records of a run with
            another id that are there are moved aside, to ``earlier/``.
        **options: Fields of ``MonitorOptions``.

    Returns:
        The measurement; ``.metrics["sbert"].mean``, ``.retained``, ``.retained_interval`` and so on.

    Raises:
        InputError: For prompts or options that make no sense.
        SamplingError: If sampling fails.
    """
    from divmon.monitor import Monitor
    from divmon.recording import new_run_id, record_outcome

    checked = MonitorOptions.of(options)
    chosen = (PromptSet.bundled() if prompts is None else PromptSet.of(prompts)).take(checked.num_prompts)
    run_id = run_id or (baseline.run_id if baseline else new_run_id())
    outcome = Monitor(chosen, checked).measure(model, tokenizer, run_id=run_id, step=step, baseline=baseline)
    if baseline is not None:
        for problem in comparison_problems(outcome.measurement, baseline):
            logger.warning("divmon: %s", problem)
    if output_dir is not None:
        record_outcome(outcome, Path(output_dir), checked, baseline)
    return outcome.measurement
