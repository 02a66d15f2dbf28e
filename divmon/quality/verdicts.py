"""Which completions of a recorded run are right: as its ledger says, or verified now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from divmon.errors import DivmonError
from divmon.measurement import Measurement
from divmon.nearness import answers_of
from divmon.prompt import Prompt
from divmon.quality.programs import Programs, Progress
from divmon.tasks import TASKS
from divmon.verification import Verdicts, label_of
from divmon.verifiers import check_ground_truth, verify


@dataclass(frozen=True)
class Verified:
    """A prompt's completions and how right they are.

    Attributes:
        row: The prompt's row of the ledger (`divmon.recording.completion_rows`).
        prompt: The prompt with what is right; None where that is not known here.
        verifier: What verifies it; empty where nothing does.
        verdicts: (K,) verdicts, 0 to 1; None where there are none.
        recorded: The verdicts are the ledger's.
    """

    row: Mapping[str, Any]
    prompt: Prompt | None
    verifier: str
    verdicts: Verdicts = None
    recorded: bool = False

    @property
    def task(self) -> str:
        """The prompt's task."""
        return str(self.row["task"])

    @property
    def truth(self) -> Any:
        """What is right, in the verifier's form; None where that is not known."""
        return None if self.prompt is None else self.prompt.ground_truth

    @property
    def judged(self) -> bool:
        """No verifier stands behind the prompt, nor, where the task is one of the paper's, behind its task."""
        known = TASKS.get(self.task)
        return not self.verifier and not (known and known.verifier)

    def answers(self, most: int | None = None) -> tuple[str | None, ...]:
        """The answers of the first ``most`` completions without their reasoning."""
        return answers_of(self.row, most)


def verified(
    rows: Sequence[Mapping[str, Any]],
    prompts: Mapping[str, Prompt],
    measurement: Measurement,
    programs: Programs | None = None,
    progress: Progress | None = None,
) -> tuple[list[Verified], list[str]]:
    """Find the verdict of every completion.

    The ledger's are taken where they were made with the same verifier and ground truth; else the completions are
    verified now. Programs are run only with ``programs``.

    Args:
        rows: (P,) the completions, a prompt a row.
        prompts: What is right, by key.
        measurement: The rows' measurement.
        programs: Runs programs.
        progress: Told of every program.

    Returns:
        (P,) rows with their verdicts, and what could not be verified, in words.

    Raises:
        SandboxError: If a program cannot be run.
    """
    labels = _labels(measurement)
    faults: list[str] = []
    found = [_recorded(row, prompts.get(row["key"]), labels.get(row["key"], "")) for row in rows]
    found = [_verified_now(each, faults) for each in found]
    places = [place for place, each in enumerate(found) if each.verifier == "code" and _has_tests(each, faults)]
    if places and programs is not None:
        jobs = [(found[place].answers(), found[place].truth) for place in places]
        for place, verdicts in zip(places, programs.verdicts(jobs, progress), strict=True):
            found[place] = replace(found[place], verdicts=verdicts)
    return found, [*dict.fromkeys(faults), *_left_out(found, programs is not None)]


def _labels(measurement: Measurement) -> dict[str, str]:
    """What verified each prompt, by its key (`divmon.measurement.Accuracy`)."""
    accuracy = measurement.accuracy
    return {} if accuracy is None else dict(zip(measurement.prompts.keys, accuracy.verifiers, strict=True))


def _recorded(row: Mapping[str, Any], prompt: Prompt | None, label: str) -> Verified:
    """The row with the ledger's verdicts, unless they were made with another verifier or ground truth."""
    verdicts = tuple(row["verdicts"]) if row.get("verdicts") else None
    if prompt is None:
        return Verified(row, None, label.partition(":")[0], verdicts, recorded=verdicts is not None)
    verifier = "" if prompt.verifier == "judge" else prompt.verifier
    if verdicts is not None and label == label_of(verifier, prompt.ground_truth):
        return Verified(row, prompt, verifier, verdicts, recorded=True)
    return Verified(row, prompt, verifier)


def _verified_now(each: Verified, faults: list[str]) -> Verified:
    if each.verdicts is not None or each.prompt is None or not each.prompt.verifiable:
        return each
    opened = bool(each.row.get("think_opened"))
    try:
        verdicts = tuple(
            verify(each.verifier, text, each.truth, opened_in_prompt=opened) for text in each.row["outputs"]
        )
    except DivmonError as error:
        faults.append(f"{each.task}: {error}")
        return each
    return replace(each, verdicts=verdicts)


def _has_tests(each: Verified, faults: list[str]) -> bool:
    if each.prompt is None or each.verdicts is not None:
        return False
    try:
        check_ground_truth("code", each.truth)
    except DivmonError as error:
        faults.append(f"{each.task}: {error}")
        return False
    return True


def _left_out(found: Sequence[Verified], ran_programs: bool) -> list[str]:
    """What has no verdict, or no right answer to vote by, in words."""
    notes = []
    programs = Counter(each.task for each in found if each.verifier == "code" and each.verdicts is None)
    for task, count in programs.items():
        if not ran_programs:
            notes.append(
                f"{task}: the answers to {count} prompts are programs, and no program is run unless you say so: "
                "--execute-code runs them in a sandbox."
            )
    behind = {each.task for each in found if not each.judged}
    unknown = Counter(each.task for each in found if each.prompt is None and each.task in behind)
    for task, count in unknown.items():
        notes.append(
            f"{task}: what is right is not known here for {count} of its prompts, so that they have the ledger's "
            "verdicts at most, and no vote. --prompts gives them (a JSONL file, or the names of tasks)."
        )
    return notes
