"""The work of one stage: training the model that it ends with, and measuring it."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divmon.comparison import comparison_problems
from divmon.launched import own_device
from divmon.ledger import FOLDER, Ledger
from divmon.measurement import Measurement
from divmon.monitor import Monitor
from divmon.options import MonitorOptions
from divmon.prompts import PromptSet
from divmon.recipes.configs import build_config, monitor_settings
from divmon.recipes.data import StageData
from divmon.recipes.models import load_model, loaded_whole, save_trained
from divmon.recipes.options import RunOptions
from divmon.recipes.places import ends_with, first_tokenizer, last_tokenizer, starts_with
from divmon.recipes.plan import Stage
from divmon.recipes.progress import Reporter, StageProgress
from divmon.recipes.trainer import build_trainer, monitor_callback, train
from divmon.recipes.validate import monitor_options
from divmon.recording import new_run_id, record_outcome
from divmon.trainer.baseline import baseline_of_run, rows_of_run
from divmon.trainer.seam import TrainerProcesses

LOG = "train.jsonl"


@dataclass(frozen=True)
class StageWork:
    """Trains and measures; every process of a launcher calls the same.

    Attributes:
        stage: The stage.
        options: What the run was told.
        processes: The launcher's processes.
        reporter: Shows the run.
    """

    stage: Stage
    options: RunOptions
    processes: TrainerProcesses
    reporter: Reporter

    def train(
        self, data: StageData, checkpoint: str | None, saved: Callable[[int, str | None], None]
    ) -> Measurement | None:
        """Train and save.

        Args:
            data: The stage's data.
            checkpoint: The checkpoint to go on from.
            saved: Is told, as soon as the model is saved, of how many steps and from which commit of a hub model.

        Returns:
            The measurement of the trained model, if the monitor has made it already.
        """
        stage, options, recipe, folder = self.stage, self.options, self.stage.recipe, self.stage.folder
        self.reporter.activity("preparing data and model")
        # First of all: it tells transformers how the launcher wants models loaded.
        config = build_config(recipe, folder, seed=options.seed, report_to=options.report_to, smoke=options.smoke)
        weights, tokenizer = starts_with(stage), first_tokenizer(stage)
        model = load_model(recipe, weights, tokenizer, options.seed)
        commit = _commit(model)
        callbacks: list[Any] = [StageProgress(self.reporter)]
        monitor = None
        if not stage.measures_itself:
            baseline = stage.root.folder if stage.root is not stage else None
            monitor = monitor_callback(recipe, folder, baseline, smoke=options.smoke)
            callbacks.append(monitor)
        trainer = build_trainer(recipe, config, model, tokenizer, data.build(), weights=weights, callbacks=callbacks)
        try:
            train(trainer, checkpoint)
            self.reporter.activity("saving")
            save_trained(trainer, tokenizer, recipe, weights, folder)
            step = trainer.state.global_step
            if self.processes.index == 0:
                _write_log(trainer.state.log_history, folder / LOG)
                saved(step, commit)
            last = monitor.measurements[-1] if monitor is not None and monitor.measurements else None
            return last if last is not None and last.step == step else None
        finally:
            _finish_reporting(config)
            trainer.accelerator.free_memory()
            del trainer, model, monitor, callbacks
            _free()

    def measure(self, steps: int) -> tuple[Measurement, str | None]:
        """Measure the model that the stage ends with, every process its share.

        Args:
            steps: How many steps it was trained, where it was.

        Returns:
            The measurement, and the commit of a hub model.
        """
        recipe, folder = self.stage.recipe, self.stage.folder
        self.reporter.activity("measuring")
        settings = monitor_settings(recipe, smoke=self.options.smoke)
        checked = MonitorOptions.of(monitor_options(settings))
        given = settings.get("prompts")
        prompts = (PromptSet.bundled() if given is None else PromptSet.of(given)).take(checked.num_prompts)
        baseline, run_id, step = self.processes.decide(lambda: self._filed_under(steps))
        rows = self._rows_of(baseline) if self.processes.index == 0 else ()
        with loaded_whole():
            model = load_model(recipe, ends_with(self.stage), None, self.options.seed)
        commit = _commit(model)
        model = model.to(own_device()).eval()
        outcome = Monitor(prompts, checked).measure(
            model,
            last_tokenizer(self.stage),
            run_id=run_id,
            step=step,
            baseline=baseline,
            baseline_rows=rows,
            processes=self.processes,
        )
        if self.processes.index == 0:
            record_outcome(outcome, folder, checked, baseline, rows)
            for problem in comparison_problems(outcome.measurement, baseline) if baseline else ():
                self.reporter.note(f"  {self.stage.name}: {problem}")
        del model
        _free()
        return outcome.measurement, commit

    def _filed_under(self, steps: int) -> tuple[Measurement | None, str, int]:
        """What a measurement compares with, and the run id and step it is filed under: where it trained, that run's."""
        stage = self.stage
        itself = stage.measures_itself
        baseline = None if itself and stage.root is stage else baseline_of_run(stage.root.folder)
        found = None if itself else Ledger(stage.folder / FOLDER).read()
        if found is None:
            return baseline, new_run_id(), 0
        return found.baseline or baseline, found.run_id, steps

    def _rows_of(self, baseline: Measurement | None) -> tuple[Mapping[str, Any], ...]:
        """The completions of the baseline, which is the root's unless that was measured again meanwhile."""
        root = self.stage.root.folder
        at_root = None if baseline is None else baseline_of_run(root)
        if baseline is None or at_root is None or (baseline.run_id, baseline.step) != (at_root.run_id, at_root.step):
            return ()
        return rows_of_run(str(root))


def _write_log(history: Sequence[dict[str, Any]], path: Path) -> None:
    path.write_text("".join(json.dumps(row, default=str) + "\n" for row in history), encoding="utf-8")


def _finish_reporting(config: Any) -> None:
    """End the W&B run, so that the next stage has one of its own."""
    if "wandb" in (config.report_to or ()):
        import wandb

        if wandb.run is not None:
            wandb.finish()


def _free() -> None:
    import torch

    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()


def _commit(model: Any) -> str | None:
    """The commit of a model that comes from the hub."""
    return getattr(model.config, "_commit_hash", None)
