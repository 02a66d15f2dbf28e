"""The same measurement without a trainer, and scores for texts that were generated elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

from divmon.measurement import Measurement
from divmon.metrics import METRICS
from divmon.options import MonitorOptions, OptionKeywords
from divmon.prompts import PromptSet
from divmon.scoring import Scores


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
    if output_dir is not None:
        record_outcome(outcome, Path(output_dir), checked, baseline)
    return outcome.measurement


def score(
    groups: Sequence[Sequence[str]],
    *,
    metrics: Sequence[str] = METRICS,
    vocab_size: int | None = None,
    preset: Literal["paper", "fast"] = "paper",
    sentence_encoder: str | Path | None = None,
    nli: str | Path | None = None,
    nli_pairs: int | Literal["all"] = 3,
    unclosed: Literal["drop", "keep"] = "drop",
    keep_think: bool = False,
    device: str | None = None,
) -> Scores:
    """Score texts that were generated elsewhere: the completions of each prompt.

    Args:
        groups: A list of completions for each prompt.
        metrics: Any of ``ead``, ``sbert``, ``nli``, ``vendi``.
        vocab_size: The generating model's, needed for EAD.
        preset: Which encoders (see ``MonitorOptions``).
        sentence_encoder: A sentence-transformers model by name or path.
        nli: A sequence-classification model by name or path.
        nli_pairs: Aligned sentences that are scored for a pair of completions, or ``"all"``.
        unclosed: What becomes of a completion without an answer: left out, or kept as the paper's code does.
        keep_think: Score the think block too.
        device: Where the encoders run; default: a GPU where there is one.

    Returns:
        Values for each prompt and across prompts (see ``Scores``).

    Raises:
        InputError: For groups or settings that make no sense.
        ModelNotFoundError: If an encoder is not to be had.
    """
    from divmon.scored import score_with

    return score_with(
        groups,
        metrics=metrics,
        vocab_size=vocab_size,
        preset=preset,
        sentence_encoder=sentence_encoder,
        nli=nli,
        nli_pairs=nli_pairs,
        unclosed=unclosed,
        keep_think=keep_think,
        device=device,
    )[0]
