"""An evaluation from begin to end: every model sampled, unit by unit, then scored; the base first."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

from divmon.errors import DivmonError, InputError, ModelNotFoundError, in_a_line
from divmon.evaluation.baseline import check_baseline, check_prompts
from divmon.evaluation.processes import decided, start_processes
from divmon.evaluation.progress import Reporter, Silent
from divmon.evaluation.request import Evaluation, Request
from divmon.evaluation.subject import Subject
from divmon.evaluation.units import Unit
from divmon.evaluation.wording import limits_text, missing_texts, samples_text
from divmon.evaluation.work import UnitWorker
from divmon.launched import own_device

if TYPE_CHECKING:
    from divmon.evaluation.assemble import Assembler, Result
    from divmon.options import MonitorOptions
    from divmon.sampling.sampler import Processes

logger = logging.getLogger(__name__)

Part = Literal["all", "sample", "score"]


def evaluate(
    request: Request,
    *,
    units: Sequence[Unit] | None = None,
    part: Part = "all",
    device: str | None = None,
    reporter: Reporter | None = None,
) -> list[Result]:
    """Evaluate models; every process of a launcher calls this, and each samples its share of every unit.

    What is on the disk already is not sampled again, and what is scored already is not scored again.

    Args:
        request: Which models are asked what.
        units: Sample these alone, and score nothing; default: all that the request plans.
        part: ``"sample"`` leaves the scoring out, ``"score"`` the sampling: then no model is loaded.
        device: A torch device; default: the accelerator, with several processes each its own.
        reporter: Shows the run.

    Returns:
        The measurements, in the order of the models; on the first process, elsewhere and without scoring none.

    Raises:
        DivmonError: On every process, if something fails on any; what was sampled stays, and the same call goes on.
    """
    processes = start_processes()
    if processes.index or reporter is None:
        reporter = Silent()
    chosen = request.units if units is None else list(units)
    scoring = part != "sample" and units is None
    _check(request, chosen, scoring)
    reporter.activity("reading prompts")
    tasks = {unit.task for unit in chosen}
    evaluation: Evaluation = decided(processes, lambda: _with_prompts(request, tasks))
    if part != "score":
        reporter.note(limits_text(request, evaluation.samples))
    results = _Run(evaluation, processes, reporter, device).run(chosen, part, scoring)
    if evaluation.samples:
        reporter.note(samples_text(evaluation.samples))
    return results


def _with_prompts(request: Request, tasks: set[str]) -> Evaluation:
    evaluation = request.load_prompts(tasks)
    check_prompts(request, evaluation.prompts.values())
    return evaluation


def _check(request: Request, units: Sequence[Unit], scoring: bool) -> None:
    """Refuse at once what could not be done hours later."""
    for unit in units:
        request.subject(unit.model)
    if unknown := sorted({unit.task for unit in units} - set(request.counts)):
        raise InputError(f"This evaluation has no task {unknown[0]!r}; it has {', '.join(request.counts)}.")
    if request.options.execute_code and scoring:
        from divmon.sandbox import isolation

        isolation(allow_weaker=request.options.allow_weaker_sandbox)
    check_baseline(request)
    if scoring:
        _check_encoders(request.options)


def _check_encoders(options: MonitorOptions) -> None:
    """Refuse an encoder that was named and is not to be had; a default has a stand-in. Nothing is loaded."""
    named = (
        ("--sentence-encoder", "sentence encoder", options.sentence_encoder, {"sbert", "vendi"}),
        ("--nli", "NLI classifier", options.nli, {"nli"}),
    )
    if not any(name for _, _, name, metrics in named if metrics & set(options.metrics)):
        return
    from divmon import encoders

    plans = {plan.role: plan for plan in encoders.describe(options.preset, options.sentence_encoder, options.nli)}
    for flag, role, name, metrics in named:
        if name and metrics & set(options.metrics) and (plan := plans[role]).uses is None:  # type: ignore[index]
            raise ModelNotFoundError(
                f"{flag}: {plan.asked!r} is not to be had here: {'; '.join(plan.tried)}. Remedy: {plan.remedy}; or "
                f"leave {' and '.join(sorted(metrics))} out of --metrics."
            )


class _Run:
    """One evaluation; every process has one, and only the first scores and reports."""

    def __init__(self, evaluation: Evaluation, processes: Processes, reporter: Reporter, device: str | None) -> None:
        self.evaluation, self.request = evaluation, evaluation.request
        self.processes, self.reporter = processes, reporter
        self.worker = UnitWorker(evaluation, device)
        self.device = device
        self._assembler: Assembler | None = None

    def run(self, units: Sequence[Unit], part: Part, scoring: bool) -> list[Result]:
        """Every model in turn."""
        labels = dict.fromkeys(unit.model for unit in units)
        subjects = [subject for subject in self.request.subjects if subject.label in labels]
        results: list[Result] = []
        for number, subject in enumerate(subjects, 1):
            self.reporter.begin(subject.label, number, len(subjects), _described(subject))
            if part != "score":
                self._sample(subject, [unit for unit in units if unit.model == subject.label])
            if scoring:
                self.reporter.activity("scoring")
                found: Result | None = decided(self.processes, partial(self._score, subject, part))
                if found is not None and self.processes.index == 0:
                    results.append(found)
            else:
                self.reporter.end(subject.label, "sampled")
        return results

    def _sample(self, subject: Subject, units: Sequence[Unit]) -> None:
        """This process's share of a model's units; all processes go on once every share is done."""
        failure: DivmonError | None = None
        try:
            self._sample_share(subject, units)
        except DivmonError as error:
            failure = error
        except Exception as error:  # held back: the others would wait for ever
            logger.debug("sampling failed", exc_info=True)
            failure = DivmonError(f"{subject.label}: sampling failed ({in_a_line(error)}).")
            failure.__cause__ = error
        finally:
            self.worker.release()
        if self.processes.count == 1:
            if failure is not None:
                raise failure
            return
        reports = self.processes.gather([None if failure is None else str(failure)])
        if any(reports):
            texts = list(dict.fromkeys(text for text in reports if text))
            raise DivmonError(" ".join(texts)) from failure

    def _sample_share(self, subject: Subject, units: Sequence[Unit]) -> None:
        samples = self.request.options.samples
        shares = [self._share(unit) for unit in units]
        mine = [unit for unit in shares if unit is not None]
        sizes = [min(unit.stop, len(self.evaluation.prompts[unit.task])) - unit.start for unit in mine]
        done, total = 0, sum(sizes)
        for unit, size in zip(mine, sizes, strict=True):
            advance = partial(_advance, self.reporter, done, total, samples)
            report = self.worker.run(unit, progress=advance, say=self.reporter.activity)
            done += size
            self.reporter.progress(done, total, samples)
            self.reporter.unit(report)

    def _share(self, unit: Unit) -> Unit | None:
        """The part of a unit that is this process's; the unit itself where there is one process."""
        prompts = len(self.evaluation.prompts[unit.task])
        if self.processes.count == 1:
            return unit if unit.start < prompts else None
        return unit.part(self.processes.index, self.processes.count, prompts) if unit.start < prompts else None

    def _score(self, subject: Subject, part: Part) -> Result:
        from divmon.evaluation.assemble import Assembler
        from divmon.recipes.progress import summary

        if self._assembler is None:
            self._assembler = Assembler(self.evaluation, str(self.device or own_device()))
        result = self._assembler.result(subject, again=part == "score")
        text = summary(result.measurement)
        self.reporter.end(subject.label, f"{text} (scored already)" if result.before else text)
        for text in (*missing_texts(result.measurement), *result.problems):
            self.reporter.note(f"  {subject.label}: {text}")
        return result


def _advance(reporter: Reporter, before: int, total: int, samples: int, prompts: float) -> None:
    """So many prompts of a unit are done, behind those of earlier units."""
    reporter.progress(before + prompts, total, samples)


def _described(subject: Subject) -> str:
    named = subject.model if subject.adapter is None else f"{subject.adapter} on {subject.model}"
    return named + (f" ({subject.revision})" if subject.revision else "")
