"""A monitored training run: its prompts, its baseline, its ledger, its measurements."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm
from transformers import AutoModelForCausalLM, Trainer

from divmon.errors import DivmonError, InputError, ModelNotFoundError
from divmon.ledger import FOLDER, Ledger, RunRecord
from divmon.measurement import Measurement, comparison_problem, to_plain
from divmon.monitor import Monitor, Outcome
from divmon.options import MonitorOptions
from divmon.prompts import PromptSet
from divmon.recording import header, new_run_id, record
from divmon.sampling.sampler import Progress
from divmon.trainer.choice import choose_prompts, with_trainer_settings
from divmon.trainer.seam import TrainerProcesses, lent_model

logger = logging.getLogger(__name__)

ADAPTER_OFF = "adapter-off"


class MonitoredRun:
    """The state of one run. Every process holds one; only the first writes.

    Attributes:
        trainer: The trainer.
        run_id: Names the run; resuming keeps it.
        baseline: What ``retained`` compares with, or None before the first measurement.
        measurements: By step.
        failed: Steps that could not be measured.
        tasks: The tasks of the prompts.
        training: Whether training has begun (a bare ``evaluate()`` may come first).
        finished: Whether training has ended.
    """

    def __init__(
        self, trainer: Trainer, monitor: Monitor, ledger: Ledger, run_id: str, baseline: Measurement | None
    ) -> None:
        self.trainer = trainer
        self.monitor = monitor
        self.ledger = ledger
        self.run_id = run_id
        self.baseline = baseline
        self.measurements: dict[int, Measurement] = {}
        self.failed: set[int] = set()
        self.tasks = monitor.prompts.tasks
        self.training = False
        self.finished = False
        self._processes = TrainerProcesses.of(trainer)

    @classmethod
    def begin(
        cls,
        trainer: Trainer,
        options: MonitorOptions,
        prompts: PromptSet | None,
        baseline: str | Path | None,
        output_dir: Path,
    ) -> MonitoredRun:
        """Start a run, or take up the one that a resumed trainer belongs to.

        Raises:
            DivmonError: If there are no prompts, or the baseline is not to be had.
        """
        processes = TrainerProcesses.of(trainer)
        options = with_trainer_settings(options, trainer)
        ledger = Ledger(output_dir / FOLDER)
        step = trainer.state.global_step
        # The first process reads and decides; the others must not differ.
        decided: Any = None
        if processes.index == 0:
            try:
                chosen = choose_prompts(trainer, options, prompts)
                decided = chosen, ledger.read() if step > 0 else None
            except (DivmonError, OSError) as error:
                decided = InputError(str(error))
        decided = processes.broadcast(decided)
        if isinstance(decided, DivmonError):
            raise decided
        chosen, earlier = decided
        monitor = Monitor(chosen, options)
        if earlier is not None:
            return cls._resumed(trainer, monitor, ledger, earlier, step)
        if step > 0:
            logger.warning(
                "divmon: training resumes at step %d, but %s holds no run to go on with: the baseline is measured "
                "now. Pass baseline= (the folder of the run's first part) to compare with the original.",
                step,
                ledger.path,
            )
        run_id = processes.broadcast(new_run_id())
        run = cls(trainer, monitor, ledger, run_id, None)
        if processes.index == 0:
            moved = ledger.move_aside()
            if moved is not None:
                logger.info("divmon: the earlier run's records are now in %s", moved)
        run._append({"kind": "run", "step": step, "options": to_plain(options)})
        if baseline is not None:
            try:
                run._take_baseline(baseline)
            except DivmonError as error:
                raise InputError(f"{error} The run itself is not monitored until baseline= is mended.") from error
        return run

    @classmethod
    def _resumed(
        cls, trainer: Trainer, monitor: Monitor, ledger: Ledger, earlier: RunRecord, step: int
    ) -> MonitoredRun:
        run = cls(trainer, monitor, ledger, earlier.run_id, earlier.baseline)
        run.measurements = {m.step: m for m in earlier.measurements if m.step <= step}
        run._append({"kind": "resume", "step": step})
        return run

    def ordered(self) -> list[Measurement]:
        """The measurements by step."""
        return [self.measurements[step] for step in sorted(self.measurements)]

    def measure(self, step: int, epoch: float) -> None:
        """Measure the trainer's model now, record it, and make it the baseline if it is the first."""
        outcome = self._look(step, epoch, self.baseline, "measurement")
        if self.baseline is None:
            self.baseline = outcome.measurement
            if step > 0:
                logger.warning("divmon: nothing was measured before step %d, which is the baseline now.", step)
        if not self.measurements:
            _warn_of_open_thinking(outcome.measurement)
            _warn_of_mismatch(outcome.measurement, self.baseline)
        # In memory first: what the disk refuses is still logged.
        self.measurements[step] = outcome.measurement
        self._record(outcome)

    def record_gap(self, step: int, error: Exception) -> None:
        """Note in the ledger that ``step`` could not be measured; a disk that refuses that too is ignored."""
        if step not in self.measurements:
            self.failed.add(step)
        with contextlib.suppress(OSError):
            self._append({"kind": "gap", "step": step, "error": f"{type(error).__name__}: {error}"})

    def _look(self, step: int, epoch: float, baseline: Measurement | None, kind: str, off: bool = False) -> Outcome:
        with lent_model(self.trainer) as (model, synced), contextlib.ExitStack() as stack:
            if off:
                if not hasattr(model, "disable_adapter"):
                    raise InputError(f'baseline="{ADAPTER_OFF}" needs a PEFT model, got {type(model).__name__}.')
                stack.enter_context(model.disable_adapter())
            progress = stack.enter_context(self._progress(step))
            return self.monitor.measure(
                model,
                self.trainer.processing_class,
                run_id=self.run_id,
                step=step,
                epoch=epoch,
                baseline=baseline,
                kind=kind,
                processes=self._processes,
                synced=synced,
                progress=progress,
            )

    def _take_baseline(self, baseline: str | Path) -> None:
        path = Path(baseline)
        if str(baseline) == ADAPTER_OFF:
            outcome = self._look(0, 0.0, None, "baseline", off=True)
            self.baseline = outcome.measurement
            self._record(outcome)
        elif path.exists() and not (path / "config.json").is_file() and not (path / "adapter_config.json").is_file():
            other = Ledger.of(path).read()
            if other is None or other.baseline is None:
                raise InputError(f"baseline: {path} has a divmon ledger without a measurement.")
            self.baseline = other.baseline
            if self._processes.index == 0:
                self.ledger.append(other.baseline.to_json() | {"kind": "baseline"})
        else:
            outcome = self._measure_model(str(baseline))
            self.baseline = outcome.measurement
            self._record(outcome)

    def _measure_model(self, name: str) -> Outcome:
        own = self.trainer.accelerator.unwrap_model(self.trainer.model_wrapped)
        parameter = next(own.parameters())
        try:
            model = AutoModelForCausalLM.from_pretrained(name, dtype=parameter.dtype)
        except (OSError, ValueError) as error:
            raise ModelNotFoundError(
                f"baseline: {name!r} is neither a divmon run nor a model that can be loaded ({error})."
            ) from error
        return self.monitor.measure(
            model.to(parameter.device),
            self.trainer.processing_class,
            run_id=self.run_id,
            kind="baseline",
            processes=self._processes,
        )

    def _record(self, outcome: Outcome) -> None:
        if outcome.samples is not None:
            record(outcome, self.ledger)

    def _append(self, line: dict[str, Any]) -> None:
        if self._processes.index == 0:
            self.ledger.append(header(self.run_id) | line)

    @contextlib.contextmanager
    def _progress(self, step: int) -> Iterator[Progress | None]:
        if self._processes.index or self.trainer.args.disable_tqdm:
            yield None
            return
        bars: list[tqdm] = []

        def advance(done: int, total: int) -> None:
            if not bars:
                text = f"divmon, step {step}: completions"
                bars.append(tqdm(total=total, desc=text, leave=False, dynamic_ncols=True))
            bars[0].update(done - bars[0].n)

        try:
            yield advance
        finally:
            for bar in bars:
                bar.close()


def _warn_of_open_thinking(measurement: Measurement) -> None:
    if measurement.validity.unclosed > 0.5:
        logger.warning(
            "divmon: %.0f%% of the completions end inside their think block, so that they have no answer to measure. "
            'Pass thinking="full" with a larger max_think_tokens, or thinking="suppress".',
            100 * measurement.validity.unclosed,
        )


def _warn_of_mismatch(first: Measurement, baseline: Measurement) -> None:
    problems = {metric: comparison_problem(first, baseline, metric) for metric in first.metrics}
    for problem in dict.fromkeys(problem for problem in problems.values() if problem):
        affected = ", ".join(metric for metric, found in problems.items() if found == problem)
        logger.warning(
            "divmon: %s cannot be compared with the baseline: %s. Their retained fractions stay empty.",
            affected,
            problem,
        )
