"""How good the completions of a recorded run are, task by task: accuracy, votes, pass@k, what a judge says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from divmon.errors import DivmonError, InputError
from divmon.judge import Judge
from divmon.loaded import Run
from divmon.nearness import answers_of
from divmon.prompts import PromptSet
from divmon.quality.answers import answer_groups
from divmon.quality.estimates import accuracy_at_1, first_completion, majority_at_k, mean_of, pass_at, ratio_of
from divmon.quality.grades import Following, Grades, TaskGrades
from divmon.quality.judged import Answers, checklist_score, win_rate
from divmon.quality.programs import Programs, Progress
from divmon.quality.right import diversity_of_right
from divmon.quality.truths import prompts_behind
from divmon.quality.verdicts import Verified, verified
from divmon.verification import RIGHT
from divmon.verifiers.loose import instructions


def grade(
    run: Run,
    *,
    step: int | None = None,
    prompts: PromptSet | None = None,
    programs: Programs | None = None,
    judge: Judge | None = None,
    judge_samples: int = 1,
    against: Run | None = None,
    progress: Progress | None = None,
) -> Grades:
    """Grade the completions of one measurement of a run.

    Args:
        run: The run.
        step: The measurement's step; default: the last.
        prompts: Prompts with what is right, where `divmon.quality.truths` would not find it.
        programs: Runs programs; without, answers that are programs are not graded.
        judge: Judges the answers of tasks that no verifier stands behind; without, they are not graded.
        judge_samples: How many completions of a prompt the judge is asked about, the first ones.
        against: A run whose last measurement's completions the judge compares with; default: the run's baseline.
        progress: Told of every program that is run.

    Raises:
        InputError: If nothing was measured at that step, its completions were not kept, or ``prompts`` are others.
        SandboxError: If a program cannot be run.
    """
    if not run.measurements:
        raise InputError(f"{run.ledger.path}: nothing was measured in it.")
    measurement = run.measurements[-1] if step is None else run.at(step)
    rows = run.completions(measurement.step)
    if not rows:
        raise InputError(f"{run.ledger.folder}: the completions of step {measurement.step} are not there to be graded.")
    truths = prompts_behind(rows, prompts)
    if prompts is not None and not any(prompt.key in truths for prompt in prompts):
        raise InputError(
            f"None of the {len(prompts)} prompts of {prompts.source} is among the {len(rows)} that {run.name} was "
            "measured on: give those that the run was given."
        )
    before = Counter(judge.counts) if judge else Counter()  # of the runs that were graded with it already
    found, notes = verified(rows, truths, measurement, programs, progress)
    right = diversity_of_right(found, measurement)
    others, compared = _others(run, measurement.step, against)
    tasks: dict[str, TaskGrades] = {}
    for task in dict.fromkeys(each.task for each in found):
        places = [place for place, each in enumerate(found) if each.task == task]
        mine = [found[place] for place in places]
        grades = _graded(
            task, mine, {name: [values[place] for place in places] for name, values in right.items()}, notes
        )
        if judge is not None and all(each.judged for each in mine):
            grades = _judged(grades, mine, others, judge, judge_samples)
            if not any(each.row["key"] in others for each in mine):
                notes.append(f"{task}: there is nothing to compare with: --against names another run.")
        elif judge is None and all(each.judged for each in mine):
            notes.append(f"{task}: no verifier stands behind it: --judge-url and --judge-model name a judge.")
        tasks[task] = grades
    asked = judge is not None and any(grades.won or grades.checklist for grades in tasks.values())
    return Grades(
        name=run.name,
        run_id=run.run_id,
        step=measurement.step,
        tasks=tasks,
        against=compared if asked else {},
        judge=dict(judge.model.identity) | {"samples": judge_samples, **(judge.counts - before)}
        if judge and asked
        else {},
        notes=tuple(notes),
    )


def _others(run: Run, step: int, against: Run | None) -> tuple[dict[str, Mapping[str, Any]], dict[str, Any]]:
    """The completions to compare with, by key, and whose they are; none where the run is its own baseline."""
    if against is not None:
        last = against.measurements[-1] if against.measurements else None
        rows = against.completions()
        whose = {"name": against.name, "run_id": against.run_id, "step": last.step if last else None}
    else:
        base = run.baseline
        itself = base is not None and base.kind == "measurement" and (base.run_id, base.step) == (run.run_id, step)
        rows = [] if itself else run.baseline_completions
        whose = {"name": "baseline", "run_id": base.run_id, "step": base.step} if base and rows else {}
    return {row["key"]: row for row in rows}, whose


def _graded(task: str, mine: Sequence[Verified], right: Mapping[str, Sequence[float]], notes: list[str]) -> TaskGrades:
    """The grades of a task that come from verdicts."""
    verdicts = [each.verdicts or () for each in mine]
    k = min(len(each.row["outputs"]) for each in mine)
    names = sorted({each.verifier for each in mine if each.verifier})
    accuracy, first = [accuracy_at_1(each) for each in verdicts], [first_completion(each) for each in verdicts]
    votes = [_vote(each, notes) for each in mine]
    counts = [(len(each), sum(verdict >= RIGHT for verdict in each)) for each in verdicts if each]
    strict, loose = _following(mine)
    return TaskGrades(
        task=task,
        verifier=", ".join(names),
        prompts=len(mine),
        k=k,
        accuracy_at_1=mean_of(accuracy),
        first_completion=mean_of(first),
        majority_at_k=mean_of(votes),
        pass_at=pass_at(counts),
        d_correct=mean_of(right["sbert"]),
        v_correct=mean_of(right["vendi"]),
        strict=strict,
        loose=loose,
        keys=tuple(each.row["key"] for each in mine),
        per_prompt={
            "accuracy_at_1": tuple(accuracy),
            "majority_at_k": tuple(votes),
            "d_correct": tuple(right["sbert"]),
            "v_correct": tuple(right["vendi"]),
        },
    )


def _vote(each: Verified, notes: list[str]) -> float:
    """Whether a prompt's majority answer is right; NaN where its answers cannot be compared."""
    if not each.verdicts or each.prompt is None:
        return math.nan
    opened = bool(each.row.get("think_opened"))
    try:
        groups = answer_groups(each.verifier, each.row["outputs"], each.truth, opened_in_prompt=opened)
    except DivmonError as error:
        if (note := f"{each.task}: no majority vote. {error}") not in notes:
            notes.append(note)
        return math.nan
    return math.nan if groups is None else majority_at_k(each.verdicts, groups)


def _following(mine: Sequence[Verified]) -> tuple[Following | None, Following | None]:
    """Strict and loose, over the prompts whose verifier checks instructions."""
    checked = [
        [instructions(each.truth)(answer) for answer in each.answers()]
        for each in mine
        if each.verifier == "constraints" and each.prompt is not None
    ]
    if not checked:
        return None, None
    both = []
    for name in ("strict", "loose"):
        marks = [[getattr(followed, name) for followed in prompt] for prompt in checked]
        prompt = mean_of([accuracy_at_1([float(all(mark)) for mark in each]) for each in marks])
        followed, asked = [sum(map(sum, each)) for each in marks], [sum(map(len, each)) for each in marks]
        both.append(Following(prompt, ratio_of(followed, asked)))
    return both[0], both[1]


def _judged(
    grades: TaskGrades, mine: Sequence[Verified], others: Mapping[str, Mapping[str, Any]], judge: Judge, samples: int
) -> TaskGrades:
    """The grades with what a judge says."""
    asked = [_answers(each, others.get(each.row["key"]), samples) for each in mine]
    score = checklist_score(judge, asked)
    per_prompt = {**grades.per_prompt, "checklist": score.per_prompt}
    if not any(answers.theirs for answers in asked):
        return replace(grades, checklist=score, per_prompt=per_prompt)
    won = win_rate(judge, asked)
    return replace(grades, won=won, checklist=score, per_prompt={**per_prompt, "win_rate": won.per_prompt})


def _answers(each: Verified, other: Mapping[str, Any] | None, samples: int) -> Answers:
    prompt = each.prompt
    reference = prompt.ground_truth if prompt and prompt.verifier == "judge" and prompt.ground_truth else None
    ours, theirs = each.answers(samples), () if other is None else answers_of(other, samples)
    return Answers(
        question=str(each.row["prompt"]),
        ours=ours[: len(theirs)] if theirs else ours,
        theirs=theirs[: len(ours)],
        checklist=prompt.checklist if prompt else (),
        reference=None if reference is None else str(reference),
    )
