"""One measurement: prompts, completions, scores, record."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from divmon.errors import DivmonError
from divmon.facts import ModelFacts, sampling_protocol
from divmon.lent_encoders import LentEncoders
from divmon.measurement import Measurement, PromptRecord
from divmon.nearness import Nearness, neighbours
from divmon.options import MonitorOptions
from divmon.prompts import PromptSet
from divmon.protocols import FloatArray
from divmon.provenance import git_state, package_versions
from divmon.sampling.guard import preserved_rng
from divmon.sampling.render import RenderedPrompt, Renderer
from divmon.sampling.sampler import Processes, Progress, Samples, SingleProcess, sample
from divmon.scoring import Scorer, ScoringSettings
from divmon.soundness import validity_of
from divmon.summary import accuracy_of, summarise
from divmon.verification import RIGHT, Verdicts, Verification, shares_of

logger = logging.getLogger(__name__)


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
        self._verification = Verification(prompts, options.code)
        self._without = [prompt.without for prompt in prompts]
        self._meant = [name for name in options.metrics if any(name not in names for names in self._without)]
        self._encoders = LentEncoders(options, self._meant)

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
        self._encoders.load(device)
        settings = ScoringSettings(
            metrics=tuple(name for name in self._meant if name not in self._encoders.missing),
            vocab_size=facts.vocab_size,
            nli_pairs=self.options.nli_pairs,
            seed=self.options.seed,
        )
        groups = [[completion.text for completion in prompt.completions] for prompt in samples.prompts]
        opened = [prompt.rendered.think_opened for prompt in samples.prompts]
        verdicts = self._verification.verdicts(samples.prompts)
        with self._encoders.on(device):
            scores = Scorer(settings, self._encoders.sentence, self._encoders.nli).score(groups, opened, self._without)
            right = self._diversity_of_right(groups, opened, verdicts, settings)
            near = neighbours(samples.prompts, baseline_rows, self._encoders.sentence)
        seconds = {"sampling": samples.seconds, "scoring": time.perf_counter() - started}
        measurement = Measurement(
            run_id=run_id,
            step=step,
            epoch=epoch,
            time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            metrics={},
            tasks={},
            accuracy=None,
            validity=validity_of(samples.prompts, scores.validity),
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
        scorer = Scorer(dataclasses.replace(settings, metrics=metrics), self._encoders.sentence)
        return scorer.score(right, opened, self._without).per_prompt

    def _protocol(self, settings: ScoringSettings, samples: Samples) -> dict[str, Any]:
        return {
            "sampling": sampling_protocol(self.options, samples.limits),
            "scoring": {"unclosed": settings.unclosed},
            "nli_sentences": {"pairs": settings.nli_pairs, "seed": settings.seed},
            "vocab_size": settings.vocab_size,
            **self._encoders.identities,
        }

    def _provenance(self, facts: ModelFacts, samples: Samples) -> dict[str, Any]:
        fault = self._verification.fault
        return {
            "packages": package_versions(),
            "git": git_state(),
            "layout": dataclasses.asdict(samples.layout),
            "model": dict(facts.description),
            "missing": self._encoders.missing | ({"accuracy": fault} if fault else {}),
        }
