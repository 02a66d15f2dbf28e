"""Runs Python programs in the strongest sandbox that this machine gives."""

from __future__ import annotations

import functools
import os
import sys
from typing import get_args

from divmon.sandbox.process import run_task
from divmon.sandbox.values import Level, Limits, Result, SandboxError

# Its own interpreter, without the environment's packages; the flags are those of -I, but the hash seed is heeded.
FLAGS = ("-s", "-P", "-S", "-B", "-X", "utf8", "-c")
_BOOT = """
import builtins, sys
from _sitebuiltins import Quitter
builtins.exit, builtins.quit = Quitter("exit", "Ctrl-D"), Quitter("quit", "Ctrl-D")
sys.argv = ["program.py"]
with open("program.py", encoding="utf-8", newline="") as _file:
    _code = compile(_file.read(), "program.py", "exec")
del builtins, sys, Quitter, _file
exec(_code)
"""


def run_python(
    program: str,
    *,
    stdin: str = "",
    limits: Limits | None = None,
    allow_weaker: bool = False,
) -> Result:
    """Run ``program`` with this Python version and its standard library, in a sandbox.

    The program cannot reach a network, another process, a device or a file outside its scratch folder, whatever it is
    or imports; `divmon.sandbox` says how, what it can read, and what is not guaranteed.

    Args:
        program: Source text; it runs as ``__main__`` in a process, a folder and an environment of its own.
        stdin: Its standard input.
        limits: Bounds; default `Limits()`.
        allow_weaker: Where the kernel gives no namespaces, run with what it does give.

    Returns:
        How it ended and what it wrote; a program that fails is no error here.

    Raises:
        SandboxError: If there is no sandbox to be had here, with the reason and what can be done.
    """
    task = {"arguments": [*FLAGS, _BOOT], "files": {"program.py": program}}
    if stdin:
        task |= {"files": {"program.py": program, "stdin": stdin}, "stdin": "stdin"}
    return run_task(task, limits or Limits(), isolation(allow_weaker=allow_weaker))


def default_workers() -> int:
    """Programs at one time beside a training that needs the processors too: half of these, at least 1, at most 8."""
    return max(1, min(8, len(os.sched_getaffinity(0)) // 2)) if sys.platform == "linux" else 1


# ---------------------------------------------------------------------------------------------------------
# What this machine has
# ---------------------------------------------------------------------------------------------------------


def isolation(*, allow_weaker: bool = False) -> Level:
    """The strongest isolation of this machine, found by running an empty program in it once a process.

    Raises:
        SandboxError: If it is less than namespaces and ``allow_weaker`` is not given, or if there is none at all.
    """
    reason = _fault("namespaces")
    if not reason:
        return "namespaces"
    if not allow_weaker:
        raise SandboxError(
            "Programs are run in Linux namespaces only, which this machine does not give: "
            f"{reason} Model-written code could otherwise reach your files. What helps: user namespaces for this user "
            "(sysctl user.max_user_namespaces, on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0), in a "
            "container its seccomp profile and an unmasked /proc; or accept a weaker sandbox: allow_weaker=True."
        )
    reasons = [reason]
    for level in get_args(Level)[1:]:
        reason = _fault(level)
        if not reason:
            return level
        reasons.append(reason)
    raise SandboxError(f"There is no sandbox on this machine, not even a weaker one: {' '.join(reasons)}")


@functools.cache
def _fault(level: Level) -> str:
    """Why ``level`` is not to be had; empty where it is."""
    if sys.platform != "linux":
        return f"it needs Linux, this is {sys.platform}."
    from divmon.sandbox import kernel, seccomp, view

    if not seccomp.supported():
        return f"it needs an x86-64 or arm64 processor, this is {os.uname().machine}."
    if level == "landlock" and kernel.landlock_version() < view.LANDLOCK_NEEDED:
        return "Landlock of Linux 6.2 or newer is not switched on."
    try:
        result = run_task({"arguments": [*FLAGS, _BOOT], "files": {"program.py": ""}}, Limits(seconds=30), level)
    except SandboxError as error:
        return str(error)
    return "" if result.status == "ok" else f"an empty program ended with {result.exit_code}: {result.stderr.strip()}."
