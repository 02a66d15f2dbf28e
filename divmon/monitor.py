"""One measurement: prompts, completions, scores, record."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import logging
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from divmon import encoders
from divmon.encoders.remembering import RememberingEncoder
from divmon.errors import DivmonError
from divmon.measurement import Measurement, PromptRecord, Validity
from divmon.nearness import Nearness, neighbours
from divmon.options import MonitorOptions
from divmon.prompt import content_digest
from divmon.prompts import PromptSet
from divmon.protocols import FloatArray, NliClassifier
from divmon.provenance import git_state, package_versions
from divmon.sampling.guard import preserved_rng
from divmon.sampling.render import RenderedPrompt, Renderer, tokenizer_of
from divmon.sampling.sampler import Processes, Progress, SampledPrompt, Samples, SingleProcess, sample
from divmon.scoring import Scorer, Scores, ScoringSettings
from divmon.summary import accuracy_of, summarise
from divmon.verification import RIGHT, Verdicts, Verification, shares_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelFacts:
    """What a measurement says of the model that wrote the completions.

    Attributes:
        vocab_size: Its tokenizer's, for EAD.
        description: For the provenance: class, name, number of parameters.
    """

    vocab_size: int
    description: Mapping[str, Any]

    @classmethod
    def of(cls, model: Any, processing_class: Any) -> ModelFacts:
        """The facts of a model and its tokenizer or processor."""
        config = getattr(model, "config", None)
        description = {
            "class": type(model).__name__,
            "name": getattr(config, "_name_or_path", None) or None,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        }
        return cls(tokenizer_of(processing_class).vocab_size, description)


@dataclass(frozen=True)
class Outcome:
    """A measurement with what it was made of (on the first process; elsewhere without).

    Attributes:
        measurement: The measurement.
        samples: The completions.
        nearness: For each prompt, how near its completions are to each other and to the baseline's.
        verdicts: For each prompt, how right its completions are.
    """

    measurement: Measurement
    samples: Samples | None
    nearness: tuple[Nearness, ...] = ()
    verdicts: tuple[Verdicts, ...] = ()


class Monitor:
    """Measures models with one prompt set under one protocol.

    Args:
        prompts: The prompts.
        options: Everything else.
    """

    def __init__(self, prompts: PromptSet, options: MonitorOptions) -> None:
        self.prompts = prompts
        self.options = options
        self._encoder: RememberingEncoder | None = None
        self._nli: NliClassifier | None = None
        self._missing: dict[str, str] = {}
        self._loaded = False
        self._verification = Verification(prompts, options.code)
        self._without = [prompt.without for prompt in prompts]
        self._meant = [name for name in options.metrics if any(name not in names for names in self._without)]

    @property
    def verified_tasks(self) -> tuple[str, ...]:
        """The tasks of which there should be an accuracy: ``PromptSet.verified_tasks``, and code where it is run."""
        pairs = zip(self.prompts, self._verification.labels, strict=True)
        return tuple(dict.fromkeys(prompt.task for prompt, label in pairs if label))

    def measure(
        self,
        model: Any,
        processing_class: Any,
        *,
        run_id: str,
        step: int = 0,
        epoch: float = 0.0,
        baseline: Measurement | None = None,
        baseline_rows: Sequence[Mapping[str, Any]] = (),
        kind: str = "measurement",
        processes: Processes | None = None,
        synced: bool = False,
        progress: Progress | None = None,
    ) -> Outcome:
        """Measure ``model`` as it is; every process calls this and gets the same measurement.

        Args:
            model: A causal language model, unwrapped.
            processing_class: Its tokenizer or processor.
            run_id: The run that the measurement belongs to.
            step: Optimizer steps done.
            epoch: Epochs done.
            baseline: What ``retained`` compares with; None makes the measurement its own baseline.
            baseline_rows: The baseline's completions, as the ledger holds them, to tell how far the present ones are
                from them; the first process's count.
            kind: ``measurement`` or ``baseline``.
            processes: The processes that share the sampling.
            synced: See ``sample``.
            progress: See ``sample``.

        Raises:
            DivmonError: On every process, if it failed on any.
        """
        processes = processes or SingleProcess()
        rendered = self.render(processing_class)
        samples = sample(
            model,
            processing_class,
            rendered,
            self.options.sampling(),
            processes=processes,
            synced=synced,
            progress=progress,
        )
        found: Outcome | DivmonError | None = None
        if processes.index == 0:
            try:
                with preserved_rng():
                    found = self.score(
                        samples,
                        ModelFacts.of(model, processing_class),
                        run_id=run_id,
                        step=step,
                        epoch=epoch,
                        baseline=baseline,
                        baseline_rows=baseline_rows,
                        kind=kind,
                    )
            except Exception as error:  # whatever it is, the other processes must hear of it, or they wait for ever
                logger.debug("scoring failed", exc_info=True)
                found = DivmonError(f"Scoring failed: {type(error).__name__}: {error}")
        shared = processes.broadcast(found.measurement if isinstance(found, Outcome) else found)
        if isinstance(shared, DivmonError):
            raise shared
        return found if isinstance(found, Outcome) else Outcome(shared, None)

    def render(self, processing_class: Any) -> list[RenderedPrompt]:
        """The prompts as the model gets them."""
        options = self.options
        renderer = Renderer(
            processing_class,
            chat_template=options.chat_template,
            chat_template_kwargs=options.chat_template_kwargs,
            system_prompt=options.system_prompt,
            tools=options.tools,
            thinking=options.thinking,
        )
        return [renderer.render(prompt) for prompt in self.prompts]

    def score(
        self,
        samples: Samples,
        facts: ModelFacts,
        *,
        run_id: str,
        step: int = 0,
        epoch: float = 0.0,
        baseline: Measurement | None = None,
        baseline_rows: Sequence[Mapping[str, Any]] = (),
        kind: str = "measurement",
    ) -> Outcome:
        """The measurement of completions that are there already; one process calls this, and no model is needed.

        Args:
            samples: The completions of all prompts, in the set's order.
            facts: Of the model that wrote them.
            run_id: As for `measure`, and likewise the others.
            step: Optimizer steps done.
            epoch: Epochs done.
            baseline: What ``retained`` compares with.
            baseline_rows: The baseline's completions.
            kind: ``measurement`` or ``baseline``.

        Raises:
            InputError: If an encoder gives what is unfit.
        """
        started = time.perf_counter()
        device = self.options.encoder_device or samples.layout.device
        self._load_encoders(device)
        settings = ScoringSettings(
            metrics=tuple(name for name in self._meant if name not in self._missing),
            vocab_size=facts.vocab_size,
            nli_pairs=self.options.nli_pairs,
            seed=self.options.seed,
        )
        groups = [[completion.text for completion in prompt.completions] for prompt in samples.prompts]
        opened = [prompt.rendered.think_opened for prompt in samples.prompts]
        verdicts = self._verification.verdicts(samples.prompts)
        with self._encoders_on(device):
            scores = Scorer(settings, self._encoder, self._nli).score(groups, opened, self._without)
            right = self._diversity_of_right(groups, opened, verdicts, settings)
            near = neighbours(samples.prompts, baseline_rows, self._encoder)
        seconds = {"sampling": samples.seconds, "scoring": time.perf_counter() - started}
        measurement = Measurement(
            run_id=run_id,
            step=step,
            epoch=epoch,
            time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            metrics={},
            tasks={},
            accuracy=None,
            validity=_validity(samples.prompts, scores),
            prompts=PromptRecord(
                digest=self.prompts.digest,
                source=self.prompts.source,
                ids=tuple(prompt.id for prompt in self.prompts),
                keys=tuple(prompt.key for prompt in self.prompts),
                categories=tuple(prompt.category for prompt in self.prompts),
                tasks=tuple(prompt.task for prompt in self.prompts),
            ),
            baseline={},
            seconds=seconds,
            protocol=self._protocol(settings, samples),
            provenance=self._provenance(facts, samples),
            kind=kind,
        )
        accuracy = accuracy_of(
            measurement, shares_of(verdicts), self._verification.labels, baseline, self.options.seed, right
        )
        measurement = dataclasses.replace(measurement, accuracy=accuracy)
        measurement = summarise(measurement, scores, self.options.metrics, baseline, self.options.seed, self._without)
        return Outcome(measurement, samples, near, tuple(verdicts))

    def _diversity_of_right(
        self,
        groups: Sequence[Sequence[str]],
        opened: Sequence[bool],
        verdicts: Sequence[Verdicts],
        settings: ScoringSettings,
    ) -> dict[str, FloatArray]:
        """The semantic metrics on the completions that are right; their embeddings are there already."""
        metrics = tuple(name for name in ("sbert", "vendi") if name in settings.metrics)
        if not metrics or not any(verdicts):
            return {}
        right = [
            [text for text, verdict in zip(group, found, strict=True) if verdict >= RIGHT] if found else []
            for group, found in zip(groups, verdicts, strict=True)
        ]
        scorer = Scorer(dataclasses.replace(settings, metrics=metrics), self._encoder)
        return scorer.score(right, opened, self._without).per_prompt

    def _load_encoders(self, device: str) -> None:
        """Load once what the metrics need; a metric whose model is not to be had is left out and said once."""
        if self._loaded:
            return
        wanted, options = set(self._meant), self.options
        if {"sbert", "vendi"} & wanted:
            loaded = self._try(
                ("sbert", "vendi"),
                lambda: encoders.load_sentence_encoder(options.sentence_encoder, preset=options.preset, device=device),
            )
            self._encoder = None if loaded is None else RememberingEncoder(loaded)
        if "nli" in wanted:
            self._nli = self._try(
                ("nli",), lambda: encoders.load_nli(options.nli, preset=options.preset, device=device)
            )
        self._loaded = True

    @contextlib.contextmanager
    def _encoders_on(self, device: str) -> Iterator[None]:
        """Lend the encoders a device; between measurements its memory belongs to the training."""
        models = [model for model in (self._encoder, self._nli) if model is not None and device != "cpu"]
        try:
            for model in models:
                model.to(device)
            yield
        finally:
            for model in models:
                model.to("cpu")

    def _try(self, metrics: Sequence[str], load: Callable[[], Any]) -> Any:
        try:
            # A fallback is said in the log: a warning would show a line of this file in the middle of a progress bar.
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", encoders.EncoderFallbackWarning)
                return load()
        except DivmonError as error:
            named = [name for name in metrics if name in self.options.metrics]
            self._missing.update(dict.fromkeys(named, str(error)))
            logger.warning("divmon: %s will not be measured. %s", " and ".join(named), error)
            return None
        finally:
            for warning in said:
                logger.warning("%s", warning.message)

    def _protocol(self, settings: ScoringSettings, samples: Samples) -> dict[str, Any]:
        return {
            "sampling": sampling_protocol(self.options, samples.limits),
            "scoring": {"unclosed": settings.unclosed},
            "nli_sentences": {"pairs": settings.nli_pairs, "seed": settings.seed},
            "vocab_size": settings.vocab_size,
            "sentence_encoder": None if self._encoder is None else dataclasses.asdict(self._encoder.identity),
            "nli": None if self._nli is None else dataclasses.asdict(self._nli.identity),
        }

    def _provenance(self, facts: ModelFacts, samples: Samples) -> dict[str, Any]:
        return {
            "packages": package_versions(),
            "git": git_state(),
            "layout": dataclasses.asdict(samples.layout),
            "model": dict(facts.description),
            "missing": self._missing | ({"accuracy": self._verification.fault} if self._verification.fault else {}),
        }


def sampling_protocol(options: MonitorOptions, limits: Mapping[str, int] | None = None) -> dict[str, Any]:
    """How completions are sampled: what must agree for two sets of them to be comparable.

    Args:
        options: The options.
        limits: Limits of a task's completions that differ from ``max_new_tokens``, by task.
    """
    sampling = dataclasses.asdict(options.sampling())
    del sampling["batch_tokens"]
    if options.thinking != "full":
        del sampling["max_think_tokens"]
    sampling["system_prompt"] = options.system_prompt
    sampling["chat_template_kwargs"] = dict(options.chat_template_kwargs)
    for name in ("chat_template", "tools"):
        content = getattr(options, name)
        sampling[name] = content_digest(content) if content else None
    return sampling | ({"limits": dict(limits)} if limits else {})


def _validity(prompts: Sequence[SampledPrompt], scores: Scores) -> Validity:
    completions = [completion for prompt in prompts for completion in prompt.completions]
    texts = scores.validity
    count = len(completions)
    judged = [completion for completion in completions if not math.isnan(completion.base_logprob)]
    base = _token_mean(judged, "base_logprob")
    return Validity(
        completions=count,
        empty=texts.empty / count,
        unclosed=texts.unclosed / count,
        truncated=sum(completion.truncated for completion in completions) / count,
        repeated=texts.repeated,
        mean_length=statistics.fmean(len(completion.token_ids) for completion in completions),
        entropy=_token_mean(completions, "entropy"),
        logprob=_token_mean(completions, "logprob"),
        base_logprob=base,
        base_gap=_token_mean(judged, "logprob") - base if judged else math.nan,
        unmeasured=texts.unmeasured_prompts,
    )


def _token_mean(completions: Sequence[Any], name: str) -> float:
    """Mean over all tokens of a per-completion mean; NaN without any."""
    tokens = [(getattr(completion, name), len(completion.token_ids)) for completion in completions]
    count = sum(length for _, length in tokens)
    return sum(value * length for value, length in tokens if length) / count if count else math.nan
