"""What is asked of a sandbox and what it answers: limits, results, the error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from divmon.errors import DivmonError, InputError

Level = Literal["namespaces", "landlock", "seccomp"]
"""Kinds of isolation, the strongest first."""

Status = Literal["ok", "error", "timeout", "memory", "processes", "output"]
"""How a program ended, see `Result`."""


class SandboxError(DivmonError, RuntimeError):
    """The sandbox that was asked for cannot be had on this machine, or could not be started."""


@dataclass(frozen=True)
class Limits:
    """What a program may use. Every limit holds for the program with all its children, except where it says a process.

    Attributes:
        seconds: Wall clock; processor time of a process is limited to the next whole second.
        memory_mb: Address space of a process, and resident memory of all together.
        processes: Processes and threads at one time (threads are not counted without namespaces, nor for root on
            kernels before 5.14).
        disk_mb: Size of the scratch folder, which is memory, and of a file. Without namespaces, of a file only.
        output_kb: What is kept of standard output, and of standard error; 256 times that ends the program.
    """

    seconds: float = 10.0
    memory_mb: int = 512
    processes: int = 32
    disk_mb: int = 32
    output_kb: int = 64

    def __post_init__(self) -> None:
        for name, least in (("seconds", 0.05), ("memory_mb", 32), ("processes", 1), ("disk_mb", 1), ("output_kb", 1)):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not (whole or (name == "seconds" and isinstance(value, float))) or not least <= value <= 1e6:
                raise InputError(f"{name}: expected a number of at least {least}, got {value!r}.")


@dataclass(frozen=True)
class Result:
    """How a program ended.

    Attributes:
        status: ``"ok"`` where it ended with exit code 0; ``"error"`` with another one, by an exception or by a signal;
            ``"timeout"``, ``"memory"``, ``"processes"`` and ``"output"`` where a limit ended it. A single process that
            runs into its memory limit sees a MemoryError, and so mostly ends as ``"error"``.
        exit_code: Exit code, a signal's number negated, or None where the sandbox ended it.
        stdout: The first ``output_kb`` kilobytes of it, as UTF-8 with replacements.
        stderr: The same.
        seconds: From the program's start to its end, wall clock.
        truncated: Output was left out.
        isolation: What it ran in: ``"namespaces"``, or with less ``"landlock"`` or ``"seccomp"``.
    """

    status: Status
    exit_code: int | None
    stdout: str
    stderr: str
    seconds: float
    truncated: bool
    isolation: Level
