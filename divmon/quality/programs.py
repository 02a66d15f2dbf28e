"""Many programs run and their verdicts remembered, so that a grading that was interrupted goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from divmon.prompt import content_digest
from divmon.sandbox import isolation
from divmon.sandbox.pool import finished
from divmon.text import extract_code
from divmon.verifiers import code
from divmon.verifiers.truth import Check

FILE = "code-verdicts.jsonl"

Progress = Callable[[int, int], None]
"""Is told how many of how many programs are done."""


@dataclass(frozen=True)
class ProgramLimits:
    """What a program may take, as in `divmon.verifiers.code.checker`; verdicts under other limits are others.

    Attributes:
        seconds: Wall clock of one test.
        total_seconds: Wall clock of all tests of a program.
        memory_mb: Memory.
    """

    seconds: float = 6.0
    total_seconds: float = 60.0
    memory_mb: int = 512


class Programs:
    """Runs programs that a model wrote, several at a time, each once.

    A verdict is kept in a file as soon as it is there, under a digest of program, tests and limits. One that the clock
    of a busy machine has spoilt is kept too: delete the file to run everything again.

    Args:
        file: Where verdicts are kept.
        limits: Of one program.
        workers: Programs at one time; 0: half the processors, at most 8.
        allow_weaker: Accept a weaker sandbox where this machine gives no namespaces (`divmon.sandbox`).

    Attributes:
        ran: How many programs were run, the rest being known.

    Raises:
        SandboxError: If there is no sandbox to be had here.
    """

    def __init__(
        self, file: Path, *, limits: ProgramLimits | None = None, workers: int = 0, allow_weaker: bool = False
    ) -> None:
        isolation(allow_weaker=allow_weaker)
        self.ran = 0
        self._file = file
        self._limits = asdict(limits or ProgramLimits())
        self._workers = workers
        self._options = self._limits | {"execute_code": True, "allow_weaker": allow_weaker}
        self._known = dict(_read(file))

    def verdicts(
        self, prompts: Sequence[tuple[Sequence[str | None], Any]], progress: Progress | None = None
    ) -> list[tuple[float, ...]]:
        """Whether each answer's program passes its prompt's tests.

        Args:
            prompts: (P,) pairs of the answers to a prompt (without their reasoning; None where there is none) and its
                tests, in a form of `divmon.verifiers.code_tests`.
            progress: Told of every program that is run.

        Returns:
            (P,) tuples with a verdict an answer: 1 where all tests passed, else 0; 0 without an answer.

        Raises:
            InputError: For tests of no known form.
            SandboxError: If the sandbox cannot be started; what was run is kept.
        """
        new: dict[str, tuple[Check, str]] = {}
        digests: list[list[str | None]] = []
        for answers, truth in prompts:
            check, tests = code.checker(truth, **self._options), content_digest([truth, self._limits])
            named = [None if answer is None else content_digest([extract_code(answer), tests]) for answer in answers]
            digests.append(named)
            for digest, answer in zip(named, answers, strict=True):
                if digest is not None and answer is not None and digest not in self._known:
                    new[digest] = check, answer
        if new:
            self._run(new, progress)
        return [tuple(0.0 if digest is None else self._known[digest] for digest in named) for named in digests]

    def _run(self, new: dict[str, tuple[Check, str]], progress: Progress | None) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        jobs = {digest: partial(check, answer) for digest, (check, answer) in new.items()}
        with self._file.open("a+b") as file:
            _end_last_line(file)
            for done, (digest, verdict) in enumerate(finished(jobs, self._workers), 1):
                self._known[digest] = verdict
                self.ran += 1
                file.write(json.dumps({"program": digest, "verdict": verdict}).encode() + b"\n")
                file.flush()
                if progress is not None:
                    progress(done, len(jobs))


def _read(file: Path) -> Iterator[tuple[str, float]]:
    """The verdicts of a file; what is no verdict, as a line that was cut short, is passed over."""
    if not file.is_file():
        return
    for line in file.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
            yield str(row["program"]), float(row["verdict"])
        except (ValueError, TypeError, KeyError):
            continue


def _end_last_line(file: Any) -> None:
    size = file.seek(0, 2)
    if size:
        file.seek(size - 1)
        if file.read(1) != b"\n":
            file.write(b"\n")
