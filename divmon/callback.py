"""``DiversityCallback``: decides when to measure and passes the measurement on."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from divmon import shown
from divmon.errors import DivmonError, InputError
from divmon.logged import for_evaluation, for_log, logged_values
from divmon.measurement import Measurement
from divmon.options import MonitorOptions, OptionKeywords
from divmon.prompts import PromptSet
from divmon.sampling.guard import preserved_rng
from divmon.showing import Showing
from divmon.trainer.run import MonitoredRun
from divmon.trainer.seam import TrainerNotFoundError, find_trainer, log, put_before_early_stopping

logger = logging.getLogger(__name__)


class DiversityCallback(Showing, TrainerCallback):
    """Measures output diversity while a TRL or transformers trainer runs.

    ``trainer.add_callback(DiversityCallback())`` is all it takes. It samples held-out prompts before the first step,
    every ``every_n_steps`` and at the last step, computes EAD, SBERT, NLI and Vendi Score, and logs them with the
    fraction retained against the first measurement through the trainer's own log, as ``divmon/...``. In an evaluation's
    metrics they are ``eval_divmon/...``, so that ``metric_for_best_model="divmon/sbert_retained"`` works; every
    evaluation is measured for that. Records and completions are kept in ``<output_dir>/divmon/``.

    Losses and weights of the run stay bit for bit what they are without it. What fails inside becomes one warning and a
    recorded gap.

    Cost of one measurement with the defaults: 32 prompts x 16 completions x up to 128 tokens. That is some 500 decode
    steps in about four batches, so with a 1B model in bf16 on one GPU, at 20 to 30 ms a step, 10 to 15 seconds, and
    scoring on top. Without a GPU use ``preset="fast"`` and fewer, shorter completions.

    A GRPO trainer that generates with vLLM is monitored through the training model: the weights are the same and vLLM's
    engine is left alone.

    Args:
        prompts: Prompts to sample: a list of strings or chats, a JSONL file, the name of one of the paper's tasks
            (``"gsm8k"``) or several with commas (``"gsm8k,ifeval"``; `divmon tasks` lists them), or a ``PromptSet``.
            Default: those of the trainer's evaluation data set; without one, a bundled set.
        every_n_steps: Steps between measurements. Default: the trainer's ``eval_steps`` where it evaluates by steps,
            else a tenth of the run.
        baseline: What ``retained`` compares with. Default: the first measurement of the run. Also the folder of another
            divmon run (its baseline is taken over), the name or path of a model, or ``"adapter-off"`` for the base
            under a PEFT adapter.
        output_dir: Where ``divmon/`` goes. Default: the trainer's ``output_dir``.
        trainer: The trainer; only needed where the callback is called from outside of one.
        alert_below: Warn once when the upper bound of a metric's retained fraction falls below this while the
            completions are sound, and when they become unsound while diversity moves (the console, the ledger, W&B).
            None: never.
        on_alert: What else to do then: ``"save"`` a checkpoint, or ``"stop"`` training.
        strict: Raise what fails instead of warning.
        **options: Fields of ``MonitorOptions``: ``num_prompts``, ``samples``, ``max_new_tokens``, ``thinking``,
            ``preset`` and so on.

    Raises:
        InputError: For an unknown option or a value out of range.
    """

    def __init__(
        self,
        prompts: PromptSet | str | Path | Sequence[Any] | None = None,
        *,
        every_n_steps: int | None = None,
        baseline: str | Path | None = None,
        output_dir: str | Path | None = None,
        trainer: Trainer | None = None,
        alert_below: float | None = 0.7,
        on_alert: Literal["save", "stop"] | None = None,
        strict: bool = False,
        **options: Unpack[OptionKeywords],
    ) -> None:
        if every_n_steps is not None and (not isinstance(every_n_steps, int) or every_n_steps < 1):
            raise InputError(f"every_n_steps: expected a whole number of at least 1, got {every_n_steps!r}.")
        if alert_below is not None and not (isinstance(alert_below, int | float) and alert_below > 0):
            raise InputError(f"alert_below: expected a fraction above 0 or None, got {alert_below!r}.")
        if on_alert not in (None, "save", "stop"):
            raise InputError(f'on_alert: expected "save", "stop" or None, got {on_alert!r}.')
        own = ("prompts", "every_n_steps", "baseline", "output_dir", "trainer", "alert_below", "on_alert", "strict")
        self.options = MonitorOptions.of(options, others=own)
        self.prompts = None if prompts is None else PromptSet.of(prompts)
        self.every_n_steps = every_n_steps
        self.baseline = baseline
        self.output_dir = output_dir
        self.alert_below = alert_below
        self.on_alert = on_alert
        self.strict = strict
        self._given_trainer = trainer
        self._run: MonitoredRun | None = None
        self._interval: int | None = None
        self._refused = self._idle = self._said = False
        self._reasons: set[str] = set()

    @property
    def measurements(self) -> list[Measurement]:
        """The measurements of the current run, by step; empty before the first."""
        return [] if self._run is None else self._run.ordered()

    @property
    def _shown(self) -> shown.Shown:
        run = self._run
        if run is None:
            return shown.Shown("DiversityCallback")
        history = tuple(run.ordered())
        return shown.Shown(
            name="DiversityCallback",
            folder=str(run.pen.ledger.folder),
            run_id=run.run_id,
            measurements=history,
            baseline=run.baseline,
            alerts=shown.past_alerts(history, run.baseline, self.alert_below),
            failed=tuple(sorted(run.failed)),
        )

    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Take the place ahead of EarlyStoppingCallback."""
        self._find()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start or resume the run and set the schedule."""
        trainer = self._find()
        if trainer is None:
            return
        run, self._refused = self._run, False
        fresh = run is not None and not run.training and run.trainer is trainer and state.global_step == 0
        if run is not None and fresh:
            run.pen.release()  # a bare evaluation began it, and its records may be written now
        else:
            self._run = None
            self._begin(trainer, state, training=True)
        if self._run is not None:
            self._run.training = True
        by_steps = getattr(args.eval_strategy, "value", args.eval_strategy) == "steps"
        default = int(state.eval_steps) if by_steps and state.eval_steps else math.ceil(state.max_steps / 10)
        self._interval = self.every_n_steps or max(1, default)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the baseline, unless an evaluation did or the run was resumed with one.

        Not at ``on_train_begin``: the progress bar, which prints what is logged, may not be there yet.
        """
        run = self._run
        if run is not None and run.training and (state.global_step == 0 or run.baseline is None):
            self._measure(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure when it is due and at the last step."""
        last = state.global_step >= state.max_steps or control.should_training_stop
        if last or (self._interval is not None and state.global_step % self._interval == 0):
            self._measure(state)
            self._act(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure a last step that ended the training unexpectedly (another callback stopped it)."""
        if control.should_training_stop:
            self._measure(state)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Put the values of this step into the evaluation's metrics, measuring them first if need be.

        A hyperparameter search sums an evaluation's metrics up, so there they stay out unless it asks for them.
        """
        trainer = self._find()
        if self._idle:
            return
        if trainer is not None:
            if self._run is not None and self._run.trainer is not trainer:
                self._run, self._refused = None, False
            if self._run is None and not self._refused:
                self._begin(trainer, state, training=False)
        run = self._run
        best = state.best_global_step if args.load_best_model_at_end else None
        if run is not None and run.finished and best is not None and best != state.global_step:
            measurement = run.measurements.get(best)  # the best model is loaded again
        else:
            measurement = self._measure(state)
            self._act(state, control)
        asked = not state.is_hyper_param_search or "divmon" in (args.metric_for_best_model or "")
        if metrics is not None and asked:
            tasks, verified = ((), ()) if run is None else (run.tasks, run.verified)
            before = run.baseline if run else None
            metrics.update(for_evaluation(logged_values(measurement, self.options.metrics, tasks, verified, before)))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note that the weights may now be those of the best checkpoint."""
        if self._run is not None:
            self._run.finished = True

    def _find(self) -> Trainer | None:
        """The trainer that is calling, or None where there is nothing to do for it."""
        try:
            trainer = self._given_trainer or find_trainer(self)
        except TrainerNotFoundError as error:
            if self.strict:
                raise
            self._say_once(f"nothing will be measured. {error}")
            return None
        put_before_early_stopping(trainer, self)
        others = [other for other in trainer.callback_handler.callbacks if isinstance(other, DiversityCallback)]
        self._idle = bool(others) and others[0] is not self
        if self._idle:
            self._say_once(
                "this trainer already has a DiversityCallback, so this one stays idle: their keys would clash. Give "
                "the prompts of both to one callback, with a task each."
            )
            return None
        return trainer

    def _say_once(self, text: str) -> None:
        if not self._said:
            logger.warning("divmon: %s", text)
        self._said = True

    def _begin(self, trainer: Trainer, state: TrainerState, training: bool) -> None:
        """Begin the run; where that fails, it is not tried again before the next training."""
        folder = Path(self.output_dir or trainer.args.output_dir or ".")

        def begin() -> None:
            self._run = MonitoredRun.begin(
                trainer, self.options, self.prompts, self.baseline, folder, training=training, strict=self.strict
            )
            self._run.alert_below = self.alert_below

        self._refused = not self._guarded(f"step {state.global_step} was not measured", begin)

    def _measure(self, state: TrainerState) -> Measurement | None:
        """The measurement of this step, made if there is none yet; None where it failed."""
        run = self._run
        if run is None:
            return None
        step = state.global_step
        if step not in run.measurements and step not in run.failed:
            self._guarded(
                f"step {step} was not measured",
                lambda: run.measure(step, float(state.epoch or 0.0)),
                lambda error: run.record_gap(step, error),
            )
            measurement, trainer = run.measurements.get(step), run.trainer
            if measurement is not None and trainer is not None:
                scope = (run.tasks, run.verified, run.baseline)
                values = for_log(logged_values(measurement, self.options.metrics, *scope))
                self._guarded(f"step {step} was measured but not shown everywhere", run.open_sinks)
                self._guarded(f"step {step} was measured but not logged everywhere", lambda: log(trainer, values))
                self._guarded(f"step {step} was measured but not shown everywhere", lambda: run.show(step))
        return run.measurements.get(step)

    def _act(self, state: TrainerState, control: TrainerControl) -> None:
        """Do what the user asked for in case of an alert at this step."""
        if self._run is None or not any(alert.step == state.global_step for alert in self._run.alerts):
            return
        if self.on_alert == "save":
            control.should_save = True
        elif self.on_alert == "stop":
            control.should_training_stop = True

    def _guarded(
        self, what: str, action: Callable[[], None], failed: Callable[[Exception], None] | None = None
    ) -> bool:
        """Run ``action`` without moving a random generator; what it raises becomes one warning, unless ``strict``.

        Returns:
            Whether it succeeded.
        """
        try:
            with preserved_rng():
                action()
        except Exception as error:
            if self.strict:
                raise
            remedy = "" if isinstance(error, DivmonError) else " Pass strict=True to see where."
            reason = f"{type(error).__name__}: {error}"
            level = logging.INFO if reason in self._reasons else logging.WARNING  # once is enough; the ledger has all
            logger.log(level, "divmon: %s; training goes on. %s%s", what, reason, remedy)
            self._reasons.add(reason)
            if failed is not None:
                failed(error)
            return False
        return True
