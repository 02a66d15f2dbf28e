"""The launcher: a process of its own that builds the sandbox, starts the program in it and reports how it ended.

It is started by `divmon.sandbox.process` with the descriptor of the report as its argument. Its standard input is a
message (`divmon.sandbox.wire`) that says what to run, and stays open for as long as anyone waits for the answer: when
it closes, the program is killed. The report is a message too: ``{"ending", "exit_code", "seconds"}``, or ``{"failed":
why}``.

With namespaces there are three processes: the launcher; the keeper, process 1 of the new process namespace, which no
program in it can signal and with which the kernel kills all others; the program. Without, the launcher is the keeper.

The launcher starts anew for each program, so its modules import little: json, typing and contextlib would double the
time that it takes.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys

from divmon.sandbox import kernel, seccomp, view, watch, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

_NOBODY = 65534
_NAMESPACES = (
    kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
)
_CHANNEL = 3  # the descriptor at which a program finds its channel, where it is given one


def main() -> NoReturn:
    """Run the task on standard input."""
    report = _move_up(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program may share our user, and Python would stop at one
    try:
        task = wire.read(0)
        if task["channel"] is not None:
            task["channel"] = _move_up(task["channel"])
        if task["level"] == "namespaces":
            _with_namespaces(task, report)
        else:
            _without_namespaces(task, report)
    except Exception as error:
        _fail(report, error)
    os._exit(0)


def _fail(report: int, error: BaseException) -> None:
    os.write(report, wire.pack({"failed": f"{type(error).__name__}: {error}"}))


def _succeed(report: int, ending: tuple[str, int | None, float]) -> None:
    os.write(report, wire.pack(dict(zip(("ending", "exit_code", "seconds"), ending, strict=True))))


def _tried(call: Callable[..., Any], *arguments: Any) -> bool:
    """Whether the system did what it was asked to."""
    try:
        call(*arguments)
    except OSError:
        return False
    return True


def _first_to_go() -> None:
    """Let the kernel kill this process before all others where memory runs out."""
    _tried(_write, "/proc/self/oom_score_adj", "1000")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _move_up(descriptor: int) -> int:
    """Move a descriptor out of the way of those that the program will have, to where no execve takes it along."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


# ---------------------------------------------------------------------------------------------------------
# The two ways
# ---------------------------------------------------------------------------------------------------------


def _with_namespaces(task: dict[str, Any], report: int) -> None:
    _first_to_go()  # the keeper too: all goes with it
    _tried(os.setgroups, [])
    _enter_namespaces()
    keeper = os.fork()
    if keeper:
        _, status = os.waitpid(keeper, 0)
        # The kernel has killed whatever else ran in the namespace by the time that its process 1 is reaped.
        if status:
            raise RuntimeError(f"the sandbox's keeper ended with {os.waitstatus_to_exitcode(status)}")
        return
    try:
        view.enter_view(task["trees"], task["limits"]["disk_bytes"], _NOBODY)
        _write_files(task, view.SCRATCH, _NOBODY)
        kernel.not_dumpable()
        child = _start(task, report, view.SCRATCH)
        _succeed(
            report,
            watch.watch(child, 0, watch.namespace_pids, lambda: os.kill(-1, signal.SIGKILL), task["limits"]),
        )
    except Exception as error:
        _fail(report, error)
    os._exit(0)


def _enter_namespaces() -> None:
    """Make the namespaces and map nobody into them.

    Root's programs run as nobody, for whom the kernel enforces the limit on processes: a helper that has stayed
    outside may map both. Anyone else (and root without that right) can map himself alone, under nobody's number.
    """
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        mapped = _enter_with_helper()
    else:
        kernel.unshare(_NAMESPACES)
        mapped = False
    if not mapped:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{_NOBODY} {user} 1\n")
        _write("/proc/self/gid_map", f"{_NOBODY} {group} 1\n")


def _enter_with_helper() -> bool:
    maps = [f"/proc/{os.getpid()}/{kind}_map" for kind in ("uid", "gid")]
    (go, ask), (answer, done) = os.pipe(), os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(ask)
        if os.read(go, 1) and all(_tried(_write, path, f"0 0 1\n{_NOBODY} {_NOBODY} 1\n") for path in maps):
            os.write(done, b"1")
        os._exit(0)
    os.close(done)
    try:
        kernel.unshare(_NAMESPACES)
        os.write(ask, b"1")
        return os.read(answer, 1) == b"1"
    finally:
        os.close(ask)
        os.waitpid(helper, 0)


def _without_namespaces(task: dict[str, Any], report: int) -> None:
    kernel.adopt_orphans()
    _write_files(task, task["scratch"], None)
    child = _start(task, report, task["scratch"])
    # The program cannot leave its process group, so one call ends all of it.
    ending = watch.watch(child, 0, watch.descendants, lambda: os.killpg(child, signal.SIGKILL), task["limits"])
    while _tried(os.waitpid, -1, 0):
        pass
    if ending[0] == "abandoned":  # whoever made the scratch folder cannot clear it away
        import shutil

        shutil.rmtree(task["scratch"], ignore_errors=True)
    _succeed(report, ending)


# ---------------------------------------------------------------------------------------------------------
# The program
# ---------------------------------------------------------------------------------------------------------


def _write_files(task: dict[str, Any], folder: str, owner: int | None) -> None:
    for name, text in task["files"].items():
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8", errors="replace", newline="") as file:
            file.write(text)
        if owner is not None:
            os.chown(path, owner, owner)


def _start(task: dict[str, Any], report: int, scratch: str) -> int:
    child = os.fork()
    if child == 0:
        try:
            _become(task, scratch)
        except BaseException as error:
            _fail(report, error)
        finally:
            os._exit(127)
    if task["channel"] is not None:
        os.close(task["channel"])
    os.close(1)
    os.close(2)
    return child


def _become(task: dict[str, Any], scratch: str) -> NoReturn:
    """Turn this process into the program, from which nothing of the launcher can be reached."""
    os.setsid()
    os.chdir(scratch)
    os.dup2(os.open(task["stdin"] or os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
    if task["channel"] is not None:
        os.dup2(task["channel"], _CHANNEL)
    kernel.bound_capabilities()
    level, user = task["level"], os.geteuid()
    if level == "namespaces":
        user = _NOBODY
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _limit(task["limits"], user, level)
    kernel.drop_capabilities()
    kernel.no_new_privileges()
    if level != "namespaces":
        _first_to_go()
        kernel.die_with_parent()  # there the kernel kills them together as it is
    if level == "landlock":
        view.restrict_files(task["trees"], scratch)
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # what is ignored stays ignored through execve
    kernel.install_filter(seccomp.sandbox_filter(level, os.getpid()))
    os.execve(task["python"], [task["python"], *task["arguments"]], task["environment"] | {"HOME": scratch})


def _limit(limits: dict[str, Any], user: int, level: str) -> None:
    processor, processes = int(limits["seconds"]) + 1, limits["processes"]
    if level != "namespaces" or _kernel_version() < (5, 14):
        processes += _threads_of(user)  # there the limit counts all that the user runs
    wanted = {
        resource.RLIMIT_AS: (limits["memory_bytes"], limits["memory_bytes"]),
        resource.RLIMIT_CPU: (processor, processor + 1),  # the soft limit first, so that its signal tells why
        resource.RLIMIT_FSIZE: (limits["disk_bytes"], limits["disk_bytes"]),
        resource.RLIMIT_NOFILE: (64, 64),
        resource.RLIMIT_NPROC: (processes, processes),
        resource.RLIMIT_MEMLOCK: (0, 0),
        resource.RLIMIT_MSGQUEUE: (0, 0),
        resource.RLIMIT_CORE: (1, 1),  # 0 would still start a crash handler that core_pattern names; 1 does not
    }
    for kind, pair in wanted.items():
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, pair if hard == resource.RLIM_INFINITY else (min(pair[0], hard), min(pair[1], hard)))


def _kernel_version() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(filter(str.isdigit, minor)))


def _threads_of(user: int) -> int:
    count = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == user:
                count += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue  # it has ended
    return count
