"""A monitored training run: its prompts, its baseline, its ledger, its measurements."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, Trainer

from divmon.alerts import Alert, alerts
from divmon.comparison import comparison_problems
from divmon.errors import DivmonError, InputError, ModelNotFoundError, in_a_line
from divmon.ledger import FOLDER, Ledger
from divmon.measurement import Measurement, to_plain
from divmon.monitor import Monitor, Outcome
from divmon.options import MonitorOptions
from divmon.prompts import PromptSet
from divmon.recording import completion_rows, new_run_id
from divmon.sinks.base import Sinks, View
from divmon.trainer.bar import sampling_bar
from divmon.trainer.baseline import ADAPTER_OFF, baseline_of_run, kept_rows, rows_of_run
from divmon.trainer.choice import choose_prompts, with_trainer_settings
from divmon.trainer.pen import Pen
from divmon.trainer.seam import TrainerProcesses, lent_model, refuse_model_parallel

logger = logging.getLogger(__name__)


class MonitoredRun:
    """The state of one run. Every process holds one; only the first writes.

    Attributes:
        baseline: What ``retained`` compares with, or None before the first measurement.
        measurements: By step.
        failed: Steps that could not be measured.
        tasks: The tasks of the prompts.
        verified: Those of them whose prompts have a verifier.
        training: Whether training has begun (a bare ``evaluate()`` may come first).
        finished: Whether training has ended.
        alert_below: The fraction retained whose crossing is a collapse; None for no alerts.
        alerts: Those of the last measurement.
    """

    def __init__(
        self,
        trainer: Trainer,
        monitor: Monitor,
        pen: Pen,
        baseline: Measurement | None = None,
        *,
        strict: bool = False,
    ) -> None:
        self._strict = strict
        self._trainer = weakref.ref(trainer)  # a callback that outlives its trainer must not keep the model alive
        self.monitor = monitor
        self.pen = pen
        self.baseline = baseline
        self.measurements: dict[int, Measurement] = {}
        self.failed: set[int] = set()
        self.tasks = monitor.prompts.tasks
        self.verified = monitor.verified_tasks
        self.training = False
        self.finished = False
        self.alert_below: float | None = None
        self.alerts: list[Alert] = []
        self._rows: tuple[Mapping[str, Any], ...] = ()
        self._baseline_rows: tuple[Mapping[str, Any], ...] = ()
        self._sinks: Sinks | None = None
        self._processes = TrainerProcesses.of(trainer)

    @property
    def trainer(self) -> Trainer | None:
        """The trainer, as long as somebody else holds it."""
        return self._trainer()

    @property
    def run_id(self) -> str:
        """Names the run; resuming keeps it."""
        return self.pen.run_id

    @classmethod
    def begin(
        cls,
        trainer: Trainer,
        options: MonitorOptions,
        prompts: PromptSet | None,
        baseline: str | Path | None,
        output_dir: Path,
        *,
        training: bool,
        strict: bool = False,
    ) -> MonitoredRun:
        """Start a run, or take up the one that a resumed trainer belongs to.

        Args:
            trainer: The trainer.
            options: The monitor's options.
            prompts: Given prompts, or None for the trainer's.
            baseline: As for ``DiversityCallback``.
            output_dir: The folder ``divmon/`` goes into it.
            training: Whether this is the start of training; else it is a bare evaluation.
            strict: Raise what cannot be written.

        Raises:
            DivmonError: On every process, if there are no prompts, the baseline is not to be had, or the trainer
                splits its model in a way that divmon cannot sample from.
        """
        processes = TrainerProcesses.of(trainer)
        refuse_model_parallel(trainer)
        options = with_trainer_settings(options, trainer)
        ledger, step = Ledger(output_dir / FOLDER), trainer.state.global_step
        resuming = training and step > 0
        # The first process reads and decides; the others must not differ.
        chosen, earlier, given, run_id, held = processes.decide(
            lambda: (
                choose_prompts(trainer, options, prompts),
                ledger.read() if resuming else None,
                baseline_of_run(baseline),
                new_run_id(),
                not training and ledger.path.exists(),
            )
        )
        first = processes.index == 0
        start = {"kind": "run", "step": step, "options": to_plain(options), "baseline": baseline and str(baseline)}
        if earlier is not None:
            pen = Pen(ledger, earlier.run_id, active=first, strict=strict)
            run = cls(trainer, Monitor(chosen, options), pen, earlier.baseline, strict=strict)
            run.measurements = {m.step: m for m in earlier.measurements if m.step <= step}
            if first and earlier.baseline is not None:
                run._baseline_rows = kept_rows(ledger, earlier.baseline, earlier.run_id)
            pen.line({"kind": "resume", "step": step})
            fresh_baseline = baseline is not None and earlier.start.get("baseline") != start["baseline"]
        else:
            pen = Pen(ledger, run_id, active=first, held=held, strict=strict)
            run = cls(trainer, Monitor(chosen, options), pen, strict=strict)
            if resuming:
                logger.warning(
                    "divmon: training resumes at step %d, but %s holds no run to go on with: the baseline is measured "
                    "now. Pass baseline= (the folder of the run's first part) to compare with the original.",
                    step,
                    ledger.path,
                )
            pen.start(start)
            fresh_baseline = baseline is not None
        if fresh_baseline:
            try:
                run._take_baseline(str(baseline), given)
            except DivmonError as error:
                raise InputError(f"{error} The run is not monitored until baseline= is mended.") from error
        return run

    def ordered(self) -> list[Measurement]:
        """The measurements by step."""
        return [self.measurements[step] for step in sorted(self.measurements)]

    def measure(self, step: int, epoch: float) -> None:
        """Measure the trainer's model now, record it, and make it the baseline if it is the first."""
        outcome = self._look(step, epoch, self.baseline, "measurement")
        self._rows = tuple(completion_rows(outcome)) if outcome.samples is not None else ()
        if self.baseline is None:
            self.baseline, self._baseline_rows = outcome.measurement, self._rows
            if step > 0:
                logger.warning("divmon: nothing was measured before step %d, which is the baseline now.", step)
        if not self.measurements:
            _warn_of_open_thinking(outcome.measurement)
            for problem in comparison_problems(outcome.measurement, self.baseline):
                logger.warning("divmon: %s", problem)
        self.measurements[step] = outcome.measurement
        self.pen.measurement(outcome.measurement, self._rows)
        self._warn()

    def open_sinks(self) -> None:
        """Make the sinks on the first process; before anything is logged, since W&B's minds how that is done."""
        if self._sinks is None and self._processes.index == 0:
            self._sinks = Sinks.of(self._held_trainer(), strict=self._strict)

    def show(self, step: int) -> None:
        """Show the measurement of ``step``, the last that was made, in the sinks."""
        measurement = self.measurements[step]
        if self._sinks is None:
            return
        self._sinks.measured(
            View(
                measurement=measurement,
                baseline=self.baseline or measurement,
                history=tuple(m for m in self.ordered() if m.step <= step),
                rows=self._rows,
                baseline_rows=self._baseline_rows,
                alerts=tuple(self.alerts),
                settings=to_plain(self.monitor.options) | {"alert_below": self.alert_below},
                folder=str(self.pen.ledger.folder),
            )
        )

    def _warn(self) -> None:
        """Say what the last measurement warns of, on the console and in the ledger."""
        self.alerts = []
        if self.alert_below is not None:
            self.alerts = alerts(self.ordered(), self.baseline, self.alert_below, self._rows, self._baseline_rows)
        for alert in self.alerts:
            if self._processes.index == 0:
                logger.warning("divmon: %s. %s", alert.title, alert.advice)
            self.pen.line({"kind": "alert", "step": alert.step, "alert": to_plain(alert) | {"title": alert.title}})

    def record_gap(self, step: int, error: Exception) -> None:
        """Note in the ledger that ``step`` could not be measured."""
        self.failed.add(step)
        self.pen.line({"kind": "gap", "step": step, "error": f"{type(error).__name__}: {error}"})

    def _look(self, step: int, epoch: float, baseline: Measurement | None, kind: str, off: bool = False) -> Outcome:
        trainer = self._held_trainer()
        with lent_model(trainer) as (model, synced), contextlib.ExitStack() as stack:
            if off:
                if not hasattr(model, "disable_adapter"):
                    raise InputError(f'baseline="{ADAPTER_OFF}" needs a PEFT model, got {type(model).__name__}.')
                stack.enter_context(model.disable_adapter())
            quiet = self._processes.index > 0 or bool(trainer.args.disable_tqdm)
            progress = stack.enter_context(sampling_bar(step, quiet))
            return self.monitor.measure(
                model,
                trainer.processing_class,
                run_id=self.run_id,
                step=step,
                epoch=epoch,
                baseline=baseline,
                baseline_rows=self._baseline_rows,
                kind=kind,
                processes=self._processes,
                synced=synced,
                progress=progress,
            )

    def _take_baseline(self, baseline: str, given: Measurement | None) -> None:
        """Take over a run's baseline, or measure the base under the adapter or another model."""
        if given is not None:
            self.baseline = given
            if self._processes.index == 0:
                self._baseline_rows = rows_of_run(baseline)
            self.pen.baseline(given, self._baseline_rows)
            return
        outcome = self._look(0, 0.0, None, "baseline", off=True) if baseline == ADAPTER_OFF else self._model(baseline)
        self.baseline = outcome.measurement
        self._baseline_rows = tuple(completion_rows(outcome)) if outcome.samples is not None else ()
        self.pen.measurement(outcome.measurement, self._baseline_rows)

    def _model(self, name: str) -> Outcome:
        trainer = self._held_trainer()
        parameter = next(trainer.accelerator.unwrap_model(trainer.model_wrapped).parameters())
        model, problem = None, ""
        try:
            model = AutoModelForCausalLM.from_pretrained(name, dtype=parameter.dtype).to(parameter.device)
        except Exception as error:  # whatever it is, the other processes must hear of it, or they wait for ever
            problem = in_a_line(error)
        problems = [text for text in self._processes.gather([problem]) if text]
        if problems or model is None:
            raise ModelNotFoundError(
                f"baseline: {name!r} is neither a divmon run nor a model that can be loaded ({problems[0]})."
            )
        return self.monitor.measure(
            model,
            trainer.processing_class,
            run_id=self.run_id,
            kind="baseline",
            processes=self._processes,
        )

    def _held_trainer(self) -> Trainer:
        trainer = self.trainer
        if trainer is None:
            raise InputError("The trainer of this run no longer exists.")
        return trainer


def _warn_of_open_thinking(measurement: Measurement) -> None:
    if measurement.validity.unclosed > 0.5:
        logger.warning(
            "divmon: %.0f%% of the completions end inside their think block, so that they have no answer to measure. "
            'Pass thinking="full" with a larger max_think_tokens, or thinking="suppress".',
            100 * measurement.validity.unclosed,
        )
