"""Sampling units: a model is loaded, and every prompt's completions are on the disk as soon as they are there."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from divmon.evaluation import kept
from divmon.evaluation.batching import batches, most_rows, room, without_room
from divmon.evaluation.request import Evaluation
from divmon.evaluation.units import Unit

if TYPE_CHECKING:
    from divmon.evaluation.load import Loaded, Located
    from divmon.sampling.sampler import Samples

logger = logging.getLogger(__name__)

Progress = Callable[[float], None]
"""Is told how many prompts of the unit are done, the running ones in part."""


@dataclass(frozen=True)
class UnitReport:
    """What sampling a unit came to.

    Attributes:
        unit: The unit.
        prompts: How many prompts it has.
        found: How many of them were done already.
        completions: How many completions were sampled now.
        tokens: Their tokens.
        truncated: How many of them were cut off at the limit.
        seconds: How long it took, without loading the model.
    """

    unit: Unit
    prompts: int
    found: int
    completions: int = 0
    tokens: int = 0
    truncated: int = 0
    seconds: float = 0.0


class UnitWorker:
    """Samples units one after another, and keeps the model of the last one loaded.

    Nothing is loaded before the first unit, so that a worker can be sent to another process. It can be called with a
    row that names a unit, as ``datasets.Dataset.map`` and Ray Data's ``map`` do.

    Args:
        evaluation: What is asked of which models.
        device: A torch device; default: the accelerator, with several processes each its own.
    """

    def __init__(self, evaluation: Evaluation, device: Any = None) -> None:
        self.evaluation = evaluation
        self.device = device
        self._loaded: tuple[str, Loaded] | None = None
        self._located: dict[str, Located] = {}
        self._batch_tokens = evaluation.request.options.batch_tokens

    def __call__(self, row: Mapping[str, Any], rank: int | None = None) -> dict[str, Any]:
        """Sample the unit ``row["unit"]``.

        Args:
            row: With ``unit``, a unit's id.
            rank: Number of the process among its like: it takes the GPU of that number.

        Returns:
            ``row`` with the figures of the `UnitReport`.
        """
        if rank is not None and self.device is None:
            import torch

            if count := torch.cuda.device_count():
                self.device = f"cuda:{rank % count}"
        report = dataclasses.asdict(self.run(Unit.of(str(row["unit"]))))
        del report["unit"]
        return {**row, **report}

    def run(self, unit: Unit, progress: Progress | None = None, say: Callable[[str], None] | None = None) -> UnitReport:
        """Sample what is missing of a unit.

        Args:
            unit: The unit, of any slice.
            progress: Is told of the prompts done.
            say: Is told that a model is being loaded.

        Raises:
            DivmonError: If the model is not to be had, what is there was sampled otherwise, or sampling fails.
        """
        request = self.evaluation.request
        subject = request.subject(unit.model)
        chosen = self.evaluation.of_unit(unit)
        if chosen is None:
            return UnitReport(unit, 0, 0)
        if unit.model not in self._located:
            from divmon.evaluation.load import locate

            self._located[unit.model] = locate(subject)
        protocol = self._protocol(unit, chosen.digest)
        done: set[str] = set()
        for found in kept.of_task(request.output_dir / unit.model, unit.task):
            kept.refuse_other(found, protocol, unit)
            done |= set(found.rows)
        found_now = sum(prompt.key in done for prompt in chosen)
        report = UnitReport(unit, len(chosen), found_now)
        if found_now == len(chosen):
            return report
        loaded = self._load(unit.model, say)
        header = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "unit": unit.id,
            "protocol": protocol,
            "model": self._facts(loaded),
            "vocab_size": loaded.tokenizer.vocab_size,
        }
        started = time.perf_counter()
        with kept.opened(unit.path(request.output_dir), header) as writer:
            for sampled in self._sampled(unit, loaded, done, progress):
                rows = [kept.row_of(prompt) for prompt in sampled.prompts if prompt.rendered.prompt.key not in done]
                layout = dataclasses.asdict(sampled.layout)
                batch = {"prompts": len(sampled.prompts), "seconds": sampled.seconds, "layout": layout}
                writer.add([*rows, {"kind": "batch"} | batch])
                made = [completion for prompt in sampled.prompts for completion in prompt.completions]
                report = dataclasses.replace(
                    report,
                    completions=report.completions + len(made),
                    tokens=report.tokens + sum(len(completion.token_ids) for completion in made),
                    truncated=report.truncated + sum(completion.truncated for completion in made),
                )
        return dataclasses.replace(report, seconds=time.perf_counter() - started)

    def release(self) -> None:
        """Free the model's memory."""
        if self._loaded is None:
            return
        import gc

        import torch

        self._loaded = None
        gc.collect()
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()

    def _protocol(self, unit: Unit, digest: str) -> dict[str, Any]:
        from divmon.facts import sampling_protocol

        request = self.evaluation.request
        options = dataclasses.replace(request.options, max_new_tokens=request.limit(unit.task))
        model = dict(self._located[unit.model].identity) | {"dtype": request.dtype}
        return {"model": model, "sampling": sampling_protocol(options), "prompts": digest}

    def _load(self, label: str, say: Callable[[str], None] | None) -> Loaded:
        if self._loaded is None or self._loaded[0] != label:
            from divmon.evaluation.load import load
            from divmon.launched import own_device

            self.release()
            if say is not None:
                say("loading")
            device = own_device() if self.device is None else self.device
            self._loaded = (label, load(self._located[label], self.evaluation.request.dtype, device))
            self._batch_tokens = self.evaluation.request.options.batch_tokens
            self._say_what_is_not_suppressed(label, self._loaded[1])
        return self._loaded[1]

    def _say_what_is_not_suppressed(self, label: str, loaded: Loaded) -> None:
        from divmon.sampling.render import Renderer

        options = self.evaluation.request.options
        if options.thinking == "suppress" and not Renderer(loaded.tokenizer, options.chat_template).template:
            logger.warning("divmon: %s has no chat template, so it has no think block to suppress.", label)

    def _facts(self, loaded: Loaded) -> dict[str, Any]:
        from divmon.facts import ModelFacts

        described = dict(ModelFacts.of(loaded.model, loaded.tokenizer).description)
        parts = {"name": loaded.located.model, "adapter": loaded.located.adapter}
        return described | {name: value for name, value in parts.items() if value}

    def _sampled(self, unit: Unit, loaded: Loaded, done: set[str], progress: Progress | None) -> Iterator[Samples]:
        """Batch by batch the prompts that are missing; a batch is the same whatever of the unit is there already."""
        from divmon.monitor import Monitor
        from divmon.sampling.sampler import sample

        request, chosen = self.evaluation.request, self.evaluation.of_unit(unit)
        assert chosen is not None
        options = dataclasses.replace(request.options, max_new_tokens=request.limit(unit.task))
        rendered = Monitor(chosen, options).render(loaded.tokenizer)
        settings = options.sampling()
        limits = [room(prompt, settings.token_limit, loaded.context) for prompt in rendered]
        counted = 0
        for places in batches(rendered, limits, settings.samples, settings.batch_tokens):
            part, limit = [rendered[place] for place in places], limits[places[0]]
            before, counted = counted, counted + len(part)
            if all(prompt.prompt.key in done for prompt in part):
                continue
            if limit < 1:
                yield without_room(part, settings.samples, unit.id, loaded)
                continue
            width = max(len(prompt.token_ids) for prompt in part) + limit
            rows = most_rows(width, min(settings.batch_tokens, self._batch_tokens))
            # A thinking budget is part of the limit by now.
            bounded = dataclasses.replace(settings, thinking=None, max_new_tokens=limit, batch_tokens=rows * width)
            report = None if progress is None else _share(progress, before, len(part))
            found = sample(loaded.model, loaded.tokenizer, part, bounded, progress=report)
            if found.layout.halvings:  # what did not fit now will not fit later: remembered for this model
                self._batch_tokens = max(1, found.layout.rows * width)
                logger.warning(
                    "divmon: %s: more than %d rows at once did not fit into memory; --batch-tokens is %d from now on.",
                    unit.id,
                    found.layout.rows,
                    self._batch_tokens,
                )
            yield found
            if progress is not None:
                progress(counted)


def _share(progress: Progress, before: int, prompts: int) -> Callable[[int, int], None]:
    return lambda tokens, total: progress(before + prompts * tokens / max(1, total))
