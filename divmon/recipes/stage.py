"""One stage: what is left to do of it, doing it, and its record."""

from __future__ import annotations

import contextlib
import datetime
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from divmon.errors import DivmonError, in_a_line
from divmon.measurement import Measurement
from divmon.provenance import git_state, package_versions
from divmon.recipes.configs import resolved_settings
from divmon.recipes.data import StageData
from divmon.recipes.models import MODEL
from divmon.recipes.options import RunOptions
from divmon.recipes.places import ends_with
from divmon.recipes.plan import Plan, Stage
from divmon.recipes.progress import Reporter, duration, summary
from divmon.recipes.state import last_checkpoint, locked, move_aside, read_state, write_state
from divmon.recipes.work import StageWork
from divmon.trainer.seam import TrainerProcesses

SCHEMA = 1
ERROR = "error.txt"


class StageError(DivmonError, RuntimeError):
    """A stage of a run failed."""


@dataclass(frozen=True)
class _Task:
    """What the first process found is to be done for a stage.

    Attributes:
        train: Whether to train.
        checkpoint: The checkpoint to go on from.
        revisions: Commits of hub data sets.
    """

    train: bool
    checkpoint: str | None
    revisions: dict[str, str]


class StageRunner:
    """Runs one stage.

    Args:
        stage: The stage.
        plan: All stages of the run.
        options: What the run was told.
        processes: The launcher's processes; each has a runner, and only the first writes and reports.
        reporter: Shows the run.
    """

    def __init__(
        self, stage: Stage, plan: Plan, options: RunOptions, processes: TrainerProcesses, reporter: Reporter
    ) -> None:
        self.stage, self.plan, self.options = stage, plan, options
        self.processes, self.reporter = processes, reporter
        self.recipe, self.folder = stage.recipe, stage.folder
        self.number, self.count = plan.stages.index(stage) + 1, len(plan.stages)
        self._state: dict[str, Any] = {}
        self._started = time.monotonic()

    def run(self) -> None:
        """Do what is left to do of the stage.

        Raises:
            DivmonError: If its run folder holds something else, or another command is at it.
            StageError: If it fails; its record then says so, and running again goes on.
        """
        with contextlib.ExitStack() as held:
            task: _Task | None = self.processes.decide(lambda: self._prepare(held))
            if task is None:
                return
            try:
                measurement = self._work(task)
            except BaseException as error:
                self._interrupted(error)
                failure = self._failure(error)
                if isinstance(error, Exception):
                    raise failure from error
                self.reporter.note(str(failure))
                raise
            self._complete(measurement)
            self.processes.decide(lambda: None)  # nobody reads the folder before it is whole

    def _prepare(self, held: contextlib.ExitStack) -> _Task | None:
        """What is to be done, on the first process; None where the stage is complete."""
        stage, name = self.stage, self.stage.name
        held.enter_context(locked(self.folder))
        status = self.plan.status(stage)
        if status == "complete" and stage.trains and not (self.folder / MODEL).is_dir():
            status = "interrupted"
        forced = self.options.force and stage.named and status != "absent"
        if status == "complete" and not forced:
            text = read_state(self.folder).get("summary", "")
            self.reporter.note(f"[{self.number}/{self.count}] {name}: complete already, skipped. {text}".rstrip())
            return None
        if forced or status == "changed":
            why = "--force" if forced else self.plan.what_changed(stage)
            self.reporter.note(f"{name}: {why}; the earlier run is now {move_aside(self.folder)}.")
        known = read_state(self.folder)
        trained = bool(known.get("trained")) and (self.folder / MODEL).is_dir()
        checkpoint = None if trained else last_checkpoint(self.folder, self.recipe)
        kept = {"commit": known["commit"]} if trained and "commit" in known else {}
        self._state = self._record(known) | {"trained": trained} | kept
        write_state(self.folder, self._state)
        self.reporter.begin(name, self.number, self.count, self._what(trained, checkpoint))
        return _Task(stage.trains and not trained, checkpoint, self._state["revisions"])

    def _record(self, known: dict[str, Any]) -> dict[str, Any]:
        """``stage.json`` at the beginning; ``known`` is what an interrupted run left."""
        stage, options = self.stage, self.options
        data = self.plan.data(stage) if stage.trains else None
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        config = None
        if stage.trains:
            config = resolved_settings(
                self.recipe, self.folder, seed=options.seed, report_to=options.report_to, smoke=options.smoke
            )
        return {
            "schema": SCHEMA,
            "name": stage.name,
            "status": "running",
            "hash": self.plan.content_hash(stage),
            "parent": stage.parent.name if stage.parent else None,
            "parent_hash": self.plan.content_hash(stage.parent) if stage.parent else None,
            "root": stage.root.name,
            "seed": options.seed,
            "smoke": options.smoke,
            "recipe": {"path": str(self.recipe.path), "text": self.recipe.text},
            "config": config,
            "data": data.digest() if data else None,
            "revisions": self.plan.revisions(stage),
            "packages": package_versions(),
            "git": git_state(self.recipe.folder),
            "processes": self.processes.count,
            "started": known.get("started") or now,
            "seconds": float(known.get("seconds") or 0.0),
            "steps": known.get("steps"),
        }

    def _what(self, trained: bool, checkpoint: str | None) -> str:
        stage = self.stage
        if not stage.trains:
            return "measures " + ("the shipped copy" if self.recipe.shipped else str(ends_with(stage).name))
        if trained:
            return "was trained; measures"
        start = f"from {stage.parent.name}" if stage.parent else f"from {self.recipe.model or 'random weights'}"
        resumed = f", resumed from {Path(checkpoint).name}" if checkpoint else ""
        return f"{str(self.recipe.trainer).upper()} {start}{resumed}"

    def _work(self, task: _Task) -> Measurement:
        """Train and measure; the stage's last measurement."""
        work = StageWork(self.stage, self.options, self.processes, self.reporter)
        measurement = None
        if task.train:
            seed, smoke = self.options.seed, self.options.smoke
            data = self.plan.data(self.stage) if self.processes.index == 0 else None  # its rows may be made already
            data = data or StageData(self.recipe, seed, smoke=smoke, revisions=task.revisions)
            measurement = work.train(data, task.checkpoint, self._saved)
        if measurement is None:
            measurement, commit = work.measure(int(self._state.get("steps") or 0))
            self._state.setdefault("commit", commit)
        return measurement

    def _saved(self, steps: int, commit: str | None) -> None:
        self._state |= {"trained": True, "steps": steps, "commit": commit}
        write_state(self.folder, self._state)

    def _complete(self, measurement: Measurement) -> None:
        if self.processes.index:
            return
        text = summary(measurement)
        seconds = self._state["seconds"] + time.monotonic() - self._started
        weights = ends_with(self.stage).name
        self._state |= {"status": "complete", "seconds": round(seconds, 1), "weights": weights, "summary": text}
        write_state(self.folder, self._state)
        (self.folder / ERROR).unlink(missing_ok=True)  # of an earlier attempt
        self.reporter.end(self.stage.name, f"{text} ({duration(seconds)})")

    def _interrupted(self, error: BaseException) -> None:
        """Note where it stopped; the whole traceback goes to a file."""
        if self.processes.index:
            return
        seconds = round(self._state["seconds"] + time.monotonic() - self._started, 1)
        self._state |= {"status": "interrupted", "error": f"{type(error).__name__}: {error}", "seconds": seconds}
        with contextlib.suppress(OSError):  # a full disk may be why it stopped
            write_state(self.folder, self._state)
            (self.folder / ERROR).write_text(traceback.format_exc(), encoding="utf-8")

    def _failure(self, error: BaseException) -> StageError:
        checkpoint = last_checkpoint(self.folder, self.recipe)
        again = f"goes on from {Path(checkpoint).name}" if checkpoint else "starts it again (it has no checkpoint yet)"
        if self._state.get("trained"):
            again = "measures it again (it is trained)"
        if not isinstance(error, Exception):
            return StageError(f"Stage {self.stage.name!r} was interrupted. The same command {again}.")
        reason = str(error) if isinstance(error, DivmonError) else in_a_line(error)
        return StageError(
            f"Stage {self.stage.name!r} failed: {reason.rstrip('.')}. Once that is mended, the same command {again}; "
            f"{self.folder / ERROR} has the traceback."
        )
