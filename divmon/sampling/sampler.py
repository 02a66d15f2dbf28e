"""Sampling a whole prompt set, over one or several processes."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from divmon.errors import DivmonError
from divmon.sampling.batches import Batch, pack
from divmon.sampling.generate import BatchGenerator, Completion
from divmon.sampling.guard import untouched
from divmon.sampling.likelihood import mean_logprobs
from divmon.sampling.render import RenderedPrompt, tokenizer_of
from divmon.sampling.room import LIKELY, rows_that_fit
from divmon.sampling.settings import SamplingSettings

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

BASE_LIKELIHOOD_SAMPLES = 2
"""Completions a prompt whose likelihood under the base is computed: one more forward pass over their tokens."""


class SamplingError(DivmonError, RuntimeError):
    """Sampling failed on some process; every process raises it."""


class Processes(Protocol):
    """The processes that share the sampling."""

    @property
    def index(self) -> int:
        """This process's rank."""

    @property
    def count(self) -> int:
        """How many there are."""

    def gather(self, values: list[Any]) -> list[Any]:
        """Every process's list, joined in rank order, on every process."""

    def broadcast(self, value: Any) -> Any:
        """The first process's value, on every process."""


@dataclass(frozen=True)
class SingleProcess:
    """No other process."""

    index: int = 0
    count: int = 1

    def gather(self, values: list[Any]) -> list[Any]:
        """The list itself."""
        return values

    def broadcast(self, value: Any) -> Any:
        """The value itself."""
        return value


@dataclass(frozen=True)
class Layout:
    """How the sampling was laid out; equal layouts give equal completions bit for bit.

    Attributes:
        processes: How many shared the work.
        batches: Batches on the process that had most.
        rows: Rows of the largest batch.
        halvings: Batches cut in half for want of memory.
        shared_prefill: Whether a prompt's samples shared one prefill.
        dtype: The weights' own, as torch names it.
        autocast: What autocast computes in, None without it.
        device: Kind of device.
    """

    processes: int
    batches: int
    rows: int
    halvings: int
    shared_prefill: bool
    dtype: str
    autocast: str | None
    device: str


@dataclass(frozen=True)
class SampledPrompt:
    """A prompt with its K completions."""

    rendered: RenderedPrompt
    completions: tuple[Completion, ...]


@dataclass(frozen=True)
class Samples:
    """The completions of a prompt set, in its order.

    Attributes:
        prompts: The prompts with their completions.
        layout: How they were sampled.
        seconds: How long that took, on all machines together.
        limits: Limits of a task's completions, in tokens, where they are not ``max_new_tokens``; by task.
    """

    prompts: tuple[SampledPrompt, ...]
    layout: Layout
    seconds: float
    limits: Mapping[str, int] = field(default_factory=dict)


def sample(
    model: Any,
    processing_class: Any,
    prompts: Sequence[RenderedPrompt],
    settings: SamplingSettings,
    *,
    processes: Processes | None = None,
    synced: bool = False,
    base_likelihood: bool = True,
    progress: Progress | None = None,
) -> Samples:
    """Sample K completions of every prompt and leave model, tokenizer and random states as they were.

    Args:
        model: A causal language model, unwrapped.
        processing_class: Its tokenizer or processor.
        prompts: Rendered prompts; each process is given all of them.
        settings: The sampling protocol.
        processes: The processes that share the work; each gets every n-th prompt by length.
        synced: The model is sharded, so every process must run the same number of forward passes: processes with
            fewer batches repeat one, and a lack of memory is not retried.
        base_likelihood: Measure some completions' likelihood with a PEFT model's adapter off.
        progress: Called with (tokens done, tokens in all at the most) of this process, after each decode step.

    Raises:
        SamplingError: On every process, if it failed on any.
    """
    processes = processes or SingleProcess()
    model = getattr(model, "_orig_mod", model)  # what torch.compile wraps: its compiled graphs are the training's own
    started = time.perf_counter()
    error: Exception | None = None
    local = _Local({}, 0, 0, 0, False)
    try:
        with untouched(model):
            local = _sample_share(
                model, processing_class, prompts, settings, processes, synced, base_likelihood, progress
            )
    except Exception as caught:
        # Held back until every process has met the others in gather(), else those would wait for ever.
        error = caught
    reports = processes.gather(
        [(processes.index, None if error is None else f"{type(error).__name__}: {error}", local)]
    )
    failures = [f"process {index}: {text}" for index, text, _ in reports if text is not None]
    if failures:
        raise SamplingError("Sampling failed on " + "; ".join(failures)) from error
    completions = {index: found for _, _, share in reports for index, found in share.completions.items()}
    parameter = next(model.parameters())
    device = parameter.device.type
    layout = Layout(
        processes=processes.count,
        batches=max(share.batches for _, _, share in reports),
        rows=max(share.rows for _, _, share in reports),
        halvings=sum(share.halvings for _, _, share in reports),
        shared_prefill=any(share.shared_prefill for _, _, share in reports),
        dtype=_dtype_name(parameter.dtype),
        autocast=_dtype_name(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else None,
        device=device,
    )
    sampled = tuple(SampledPrompt(prompt, completions[index]) for index, prompt in enumerate(prompts))
    return Samples(sampled, layout, time.perf_counter() - started)


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True)
class _Local:
    """One process's share of the work."""

    completions: dict[int, tuple[Completion, ...]]
    batches: int
    rows: int
    halvings: int
    shared_prefill: bool


def _sample_share(
    model: Any,
    processing_class: Any,
    prompts: Sequence[RenderedPrompt],
    settings: SamplingSettings,
    processes: Processes,
    synced: bool,
    base_likelihood: bool,
    progress: Progress | None,
) -> _Local:
    tokenizer = tokenizer_of(processing_class)
    generator = BatchGenerator(model, tokenizer, settings, synced=synced)
    by_length = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index].token_ids), index))
    mine = by_length[processes.index :: processes.count]
    share = [prompts[index] for index in mine]
    lengths = [len(prompt.token_ids) for prompt in share]
    batches = pack(lengths, settings.samples, settings.token_limit, _most_tokens(model, lengths, settings, synced))
    # Before the first forward pass: from then on, a sharded model's own collectives are all that may be in flight.
    idle = max(processes.gather([len(batches)])) - len(batches) if synced else 0
    rows: dict[tuple[int, int], Completion] = {}
    total, halvings, largest, limit = len(share) * settings.samples, 0, 0, settings.batch_tokens
    queue = list(reversed(batches))
    report = progress or _silent
    report(0, total * settings.token_limit)
    while queue:
        batch = queue.pop()
        if len(batch.rows) > limit:
            queue.extend(reversed(batch.halves()))
            continue
        try:
            size, done = len(batch.rows), len(rows) * settings.token_limit
            found = generator.run(batch, share, partial(_advance, report, done, size, total * settings.token_limit))
        except RuntimeError as error:
            if synced or len(batch.rows) == 1 or not should_reduce_batch_size(error):
                raise
            found = None
        if found is None:  # out of memory, and the failed attempt's tensors are gone with its traceback
            clear_device_cache(garbage_collection=True)
            halvings, limit = halvings + 1, len(batch.rows) // 2 + len(batch.rows) % 2
            queue.append(batch)
            continue
        rows.update(zip(batch.rows, found, strict=True))
        largest = max(largest, len(batch.rows))
        report(len(rows) * settings.token_limit, total * settings.token_limit)
    for _ in range(idle):  # a sharded model computes all together
        generator.run(Batch(((0, 0),)), prompts)
    if not all(math.isfinite(completion.logprob) for completion in rows.values()):
        raise SamplingError("the model's logits are NaN or infinite: the training has diverged, or the dtype overflows")
    if base_likelihood and not synced and hasattr(model, "disable_adapter"):
        rows = _with_base_likelihood(model, generator.pad_id, share, rows)
    completions = {index: tuple(rows[place, k] for k in range(settings.samples)) for place, index in enumerate(mine)}
    return _Local(completions, len(batches), largest, halvings, generator.share_prefill)


def _most_tokens(model: Any, lengths: Sequence[int], settings: SamplingSettings, synced: bool) -> int:
    """``batch_tokens``, or less where the accelerator has no room for so many.

    A batch that outgrows the memory does so late, when most of its tokens are there, and all that is lost.
    """
    if synced or not lengths:  # what a sharded model leaves free is not known before its layers are gathered
        return settings.batch_tokens
    longest = max(lengths)
    rows = rows_that_fit(model, longest + min(LIKELY, settings.token_limit))
    most = settings.batch_tokens
    return most if rows is None else min(most, rows * (longest + settings.token_limit))


def _silent(done: int, total: int) -> None:
    """No progress is wanted."""


def _advance(report: Progress, done: int, rows: int, total: int, tokens: int) -> None:
    """``tokens`` more of each of a batch's rows are there."""
    report(done + rows * tokens, total)


def _with_base_likelihood(
    model: Any, pad_id: int, share: Sequence[RenderedPrompt], rows: dict[tuple[int, int], Completion]
) -> dict[tuple[int, int], Completion]:
    chosen = [row for row in rows if row[1] < BASE_LIKELIHOOD_SAMPLES]
    prompts, texts = [share[place].token_ids for place, _ in chosen], [rows[row].token_ids for row in chosen]
    try:
        with model.disable_adapter(), torch.no_grad():
            values = mean_logprobs(model, prompts, texts, pad_id)
    except (RuntimeError, TypeError, ValueError) as error:  # out of memory, or a model that wants other arguments
        logger.warning("divmon: no likelihood under the base this time (%s: %s).", type(error).__name__, error)
        return rows
    measured = dict(zip(chosen, values, strict=True))
    return {
        row: dataclasses.replace(completion, base_logprob=measured[row]) if row in measured else completion
        for row, completion in rows.items()
    }
