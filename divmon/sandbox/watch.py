"""Watches a running program: wall clock, number of processes, memory of all of them, and who asked for it."""

from __future__ import annotations

import os
import select
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

_INTERVAL = 0.02  # seconds between two looks at /proc


def watch(
    child: int,
    lifeline: int,
    pids: Callable[[], Iterable[str]],
    kill: Callable[[], None],
    limits: dict[str, Any],
) -> tuple[str, int | None, float]:
    """Wait until ``child`` ends or must end; then kill everything.

    Args:
        child: Process id of the program; other children are reaped too.
        lifeline: Descriptor that reports a hang-up when the process that asked for the run is gone.
        pids: The processes that count: the program and all its descendants, as names in /proc.
        kill: Kills all of them; called while ``child`` is not yet reaped, so that its number is not another's.
        limits: ``seconds``, ``processes``, and ``memory_bytes`` of resident memory over all processes.

    Returns:
        How it ended: ``exited``, ``timeout``, ``processes``, ``memory`` or ``abandoned`` (nobody waits any more); the
        exit code, where it exited; and the seconds it took.
    """
    started = time.monotonic()
    wake, end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(end, warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    poll.register(lifeline, select.POLLHUP)
    how = ""
    while not how:
        events = dict(poll.poll(_INTERVAL * 1000))
        if wake in events:
            os.read(wake, 4096)
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            how = "exited"
        elif lifeline in events:
            how = "abandoned"
        elif time.monotonic() - started > limits["seconds"]:
            how = "timeout"
        else:
            _reap_others(child)
            how = _excess(list(pids()), limits)
    seconds = time.monotonic() - started
    kill()
    _, status = os.waitpid(child, 0)
    return how, os.waitstatus_to_exitcode(status) if how == "exited" else None, seconds


def _reap_others(child: int) -> None:
    """Take the exit statuses of adopted orphans, so that they do not count as processes."""
    while True:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None or ended.si_pid == child:
            return
        os.waitpid(ended.si_pid, 0)


def _excess(pids: list[str], limits: dict[str, Any]) -> str:
    # A fork shares its memory with its parent and yet counts in full: the bound is on the safe side.
    if len(pids) > limits["processes"]:
        return "processes"
    pages = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", "rb") as file:
                pages += int(file.read().split()[1])
        except (OSError, IndexError):
            continue  # it has ended
    return "memory" if pages * os.sysconf("SC_PAGE_SIZE") > limits["memory_bytes"] else ""


def namespace_pids() -> Iterator[str]:
    """All processes of this process namespace but process 1."""
    return (name for name in os.listdir("/proc") if name.isdigit() and name != "1")


def descendants() -> Iterator[str]:
    """All descendants of this process that it can find in /proc."""
    pending = [str(os.getpid())]
    while pending:
        parent = pending.pop()
        children: list[str] = []
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children", encoding="ascii") as file:
                    children += file.read().split()
        except OSError:
            continue  # it has ended
        pending += children
        yield from children
