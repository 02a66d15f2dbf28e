"""From the rows of all units to a measurement in a ledger; no model is needed for that."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from divmon.comparison import comparison_problems
from divmon.errors import InputError
from divmon.evaluation import kept
from divmon.evaluation.baseline import baseline_in
from divmon.evaluation.request import Evaluation
from divmon.evaluation.subject import Subject
from divmon.facts import ModelFacts, sampling_protocol
from divmon.ledger import FOLDER, Ledger
from divmon.measurement import Measurement, to_plain
from divmon.monitor import Monitor, Outcome
from divmon.prompt import content_digest
from divmon.recording import record_outcome
from divmon.sampling.sampler import Layout, Samples
from divmon.trainer.baseline import kept_rows


@dataclass(frozen=True)
class Reference:
    """What a measurement is compared with.

    Attributes:
        measurement: The baseline.
        rows: Its completions.
    """

    measurement: Measurement
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Result:
    """A model's measurement.

    Attributes:
        subject: The model.
        measurement: What was measured.
        folder: The folder that holds ``divmon/``.
        before: Whether it had been measured already, in just this way.
        problems: What cannot be compared with the baseline, in words.
    """

    subject: Subject
    measurement: Measurement
    folder: Path
    before: bool
    problems: tuple[str, ...] = ()


class Assembler:
    """Scores the completions of one model after another, with encoders that are loaded once.

    Args:
        evaluation: What was asked of which models.
        device: Where the encoders run, unless the options say.
    """

    def __init__(self, evaluation: Evaluation, device: str) -> None:
        self.evaluation = evaluation
        options = evaluation.request.monitor_options
        self.options = dataclasses.replace(options, encoder_device=options.encoder_device or device)

    @cached_property
    def _monitor(self) -> Monitor:
        return Monitor(self.evaluation.all_prompts, self.options)

    def result(self, subject: Subject, *, again: bool = False) -> Result:
        """Score a model's completions and write its ledger, unless that was done already.

        Args:
            subject: The model.
            again: Even so.

        Raises:
            InputError: If completions are missing or were sampled otherwise, or the baseline is not to be had.
        """
        folder = self.evaluation.request.output_dir / subject.label
        found = self._found(folder, subject)
        reference = self._reference(subject)
        run_id = self._run_id(subject, found, reference)
        newest = Ledger(folder / FOLDER).read() if (folder / FOLDER).is_dir() else None
        if newest is not None and newest.run_id == run_id and newest.measurements and not again:
            last = newest.measurements[-1]
            # An encoder that was not to be had may be there by now.
            if not set(last.provenance.get("missing") or ()) - {"accuracy"}:
                return Result(subject, last, folder, True)
        outcome = self._score(found, reference, run_id)
        self._write(outcome, folder, reference)
        problems = comparison_problems(outcome.measurement, reference.measurement) if reference else []
        return Result(subject, outcome.measurement, folder, False, tuple(problems))

    def _found(self, folder: Path, subject: Subject) -> list[tuple[str, kept.Kept]]:
        """The files of every task, all sampled in one way from one model."""
        found = [(task, file) for task in self.evaluation.prompts for file in kept.of_task(folder, task)]
        request = self.evaluation.request
        missing = []
        for task, prompts in self.evaluation.prompts.items():
            there = {key for of, file in found if of == task for key in file.rows}
            if lacking := sum(prompt.key not in there for prompt in prompts):
                missing.append(f"{lacking} of {len(prompts)} prompts of {task}")
        if missing:
            raise InputError(
                f"{subject.label}: no completions yet for {', '.join(missing)} in {folder}: sample them first "
                "(the same command without --score-only)."
            )
        for task, file in found:
            limited = dataclasses.replace(request.options, max_new_tokens=request.limit(task))
            model = found[0][1].header["protocol"]["model"]
            kept.refuse_other(file, {"model": model, "sampling": sampling_protocol(limited)})
        return found

    def _reference(self, subject: Subject) -> Reference | None:
        request = self.evaluation.request
        folder = request.output_dir / subject.baseline if subject.baseline else request.baseline
        if folder is None:
            return None
        if subject.baseline and not Ledger(folder / FOLDER).path.is_file():
            raise InputError(
                f"{subject.label} is compared with {subject.baseline}, which is not scored yet in {folder}."
            )
        measurement, ledger = baseline_in(folder), Ledger.of(folder)
        return Reference(measurement, kept_rows(ledger, measurement, _run_id_of(ledger)))

    def _run_id(self, subject: Subject, found: list[tuple[str, kept.Kept]], reference: Reference | None) -> str:
        """Names what was measured and how, so that the same is not measured twice."""
        options = to_plain(self.options)
        for name in ("encoder_device", "batch_tokens"):
            del options[name]
        protocol = found[0][1].header["protocol"]
        content = {
            "model": protocol["model"],
            "sampling": protocol["sampling"],
            "options": options,
            "limits": self.evaluation.request.limits,
            "prompts": self.evaluation.all_prompts.digest,
            "code": to_plain(self.options.code),
            "baseline": reference and [reference.measurement.run_id, reference.measurement.step],
        }
        return f"eval-{subject.label}-{content_digest(content)[:12]}"

    def _score(self, found: list[tuple[str, kept.Kept]], reference: Reference | None, run_id: str) -> Outcome:
        from divmon.sampling.guard import preserved_rng

        rows: dict[str, Mapping[str, Any]] = {}
        for _, file in found:
            rows = dict(file.rows) | rows  # a prompt that two tasks have was sampled with the same noise in both
        prompts = self.evaluation.all_prompts
        samples = Samples(
            prompts=tuple(kept.sampled_of(rows[prompt.key], prompt) for prompt in prompts),
            layout=_layout([file for _, file in found]),
            seconds=sum(batch["seconds"] for _, file in found for batch in file.batches),
            limits=self.evaluation.request.limits,
        )
        header = found[0][1].header
        facts = ModelFacts(header["vocab_size"], dict(header["model"]) | {"identity": header["protocol"]["model"]})
        with preserved_rng():
            return self._monitor.score(
                samples,
                facts,
                run_id=run_id,
                baseline=reference.measurement if reference else None,
                baseline_rows=reference.rows if reference else (),
            )

    def _write(self, outcome: Outcome, folder: Path, reference: Reference | None) -> None:
        baseline, rows = (reference.measurement, reference.rows) if reference else (None, ())
        record_outcome(outcome, folder, self.options, baseline, rows)


def _run_id_of(ledger: Ledger) -> str:
    found = ledger.read()
    assert found is not None
    return found.run_id


def _layout(files: Sequence[kept.Kept]) -> Layout:
    """The layouts of all batches as one; each was sampled by one process, whichever."""
    layouts = [batch["layout"] for file in files for batch in file.batches]

    def named(name: str) -> Any:
        values = sorted({str(layout[name]) for layout in layouts if layout[name] is not None})
        return ", ".join(values) or None

    return Layout(
        processes=1,
        batches=sum(layout["batches"] for layout in layouts),
        rows=max((layout["rows"] for layout in layouts), default=0),
        halvings=sum(layout["halvings"] for layout in layouts),
        shared_prefill=any(layout["shared_prefill"] for layout in layouts),
        dtype=named("dtype") or "unknown",
        autocast=named("autocast"),
        device=named("device") or "unknown",
    )
