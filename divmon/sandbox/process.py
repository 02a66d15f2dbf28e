"""One program in one sandbox: the side that asks (the launcher is the other, see `divmon.sandbox.launch`)."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from divmon.sandbox import wire
from divmon.sandbox.values import Level, Limits, Result, SandboxError, Status

_GRACE = 5.0  # seconds that building and clearing away a sandbox may take beyond the program's own
_ATTEMPTS = 3
_FLOOD = 256  # a program that writes this many times its output limit is ended
_SIGXCPU = -24
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # the order of a set, and with it a verdict, is the same every time
    "MALLOC_ARENA_MAX": "1",  # an arena a thread would count against the limit on memory
}
# Enters the launcher without importing the packages above it, which would take longer than all the rest.
_LAUNCH = """
import sys, types
for name, folder in zip(("divmon", "divmon.sandbox"), sys.argv[2:]):
    sys.modules[name] = module = types.ModuleType(name)
    module.__path__ = [folder]
from divmon.sandbox.launch import main
main()
"""


def run_task(
    task: dict[str, Any],
    limits: Limits,
    level: Level,
    talk: Callable[[], Callable[[bytes], bytes | None]] | None = None,
) -> Result:
    """Run a launcher's task (`divmon.sandbox.launch`) and collect what comes of it.

    Args:
        task: ``arguments`` of the interpreter, ``files`` of the scratch folder, ``stdin`` (one of them).
        limits: Bounds.
        level: The isolation.
        talk: Gives the program a socket at descriptor 3. Called at the start of a run, it returns a function that is
            called with each line that the program writes there and returns what to answer.

    Raises:
        SandboxError: If the sandbox could not be started, tried several times.
    """
    python, trees = _python()
    task = {
        "level": level,
        "python": python,
        "trees": trees,
        "environment": _ENVIRONMENT,
        "stdin": None,
        "channel": None,
        "scratch": None,
        "limits": {
            "seconds": limits.seconds,
            "processes": limits.processes,
            "memory_bytes": limits.memory_mb << 20,
            "disk_bytes": limits.disk_mb << 20,
        },
    } | task
    for attempt in range(_ATTEMPTS):
        with contextlib.ExitStack() as stack:
            if level != "namespaces":
                task["scratch"] = stack.enter_context(_scratch())
            run = _Run(limits, talk() if talk is not None else None)
            report = run.launch(task)
        if "ending" in report:
            return run.result(report, level)
        time.sleep(0.2 * attempt)
    raise SandboxError(f"The sandbox could not be started: {report.get('failed', 'it gave no report')}.")


def _python() -> tuple[str, list[str]]:
    """The interpreter behind a virtual environment, and the folders that hold it."""
    base = os.path.realpath(sys.base_prefix)
    python = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    home = os.path.realpath(os.path.expanduser("~"))  # a user without one is no error, as with Path.home
    trees = {base, os.path.realpath(sys.base_exec_prefix)}
    if not python.startswith(tuple(f"{tree}/" for tree in trees)):
        trees.add(os.path.dirname(python))
    if base.startswith("/nix/store/"):
        trees.add("/nix/store")
    for tree in trees:
        if tree == "/" or home == tree or home.startswith(f"{tree}/"):
            raise SandboxError(f"The Python installation's folder {tree} holds more than Python: it cannot be shown.")
    return python, sorted(trees - {"/usr"})


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close the launcher's standard input, at which it kills what still runs and ends; if need be, kill it too."""
    try:
        process.stdin.close()  # type: ignore[union-attr]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            pipe.close()  # type: ignore[union-attr]


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="divmon-sandbox-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Run:
    """One launcher process and the pipes to it."""

    def __init__(self, limits: Limits, talk: Callable[[bytes], bytes | None] | None) -> None:
        self._limits = limits
        self._talk = talk
        self._kept = {"stdout": bytearray(), "stderr": bytearray(), "report": bytearray(), "channel": bytearray()}
        self._written = 0
        self._truncated = False
        self._flooded = False

    def launch(self, task: dict[str, Any]) -> dict[str, Any]:
        """Run to the end and give the launcher's report; empty where there was none."""
        folder, started = Path(__file__).parent, time.monotonic()
        with contextlib.ExitStack() as stack:
            read, write = os.pipe()
            report = stack.enter_context(open(read, "rb", buffering=0))
            passed, ours, theirs = [write], None, None
            if self._talk is not None:
                ours, theirs = socket.socketpair()
                stack.enter_context(ours)
                task = task | {"channel": theirs.fileno()}
                passed.append(theirs.fileno())
            python = task["python"]
            try:
                process = subprocess.Popen(
                    [python, "-I", "-S", "-c", _LAUNCH, str(write), str(folder.parent), str(folder)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    pass_fds=passed,
                    env={},
                    cwd="/",
                    start_new_session=True,  # an interrupt at the terminal comes to us, who then end it
                )
            except OSError as error:
                return {"failed": f"{python}: {error.strerror}"}
            finally:
                os.close(write)
                if theirs is not None:
                    theirs.close()
            try:
                self._converse(process, report, ours, wire.pack(task))
            finally:
                _end(process)
        if self._flooded:
            return {"ending": "output", "exit_code": None, "seconds": time.monotonic() - started}
        return wire.unpack(bytes(self._kept["report"]))

    def _converse(
        self,
        process: subprocess.Popen[bytes],
        report: IO[bytes],
        channel: socket.socket | None,
        task: bytes,
    ) -> None:
        deadline = time.monotonic() + self._limits.seconds + _GRACE
        rest = memoryview(task)
        with contextlib.suppress(BrokenPipeError):
            while rest:
                rest = rest[process.stdin.write(rest) :]  # type: ignore[union-attr]
        with selectors.DefaultSelector() as selector:
            for name, file in (("stdout", process.stdout), ("stderr", process.stderr), ("report", report)):
                os.set_blocking(file.fileno(), False)  # type: ignore[union-attr]
                selector.register(file, selectors.EVENT_READ, name)  # type: ignore[arg-type]
            if channel is not None:
                channel.settimeout(self._limits.seconds + _GRACE)
                selector.register(channel, selectors.EVENT_READ, "channel")
            ended = False
            while time.monotonic() < deadline and not self._flooded:
                ready = selector.select(0 if ended else 0.5)
                for key, _ in ready:
                    try:
                        data = os.read(key.fd, 1 << 16)
                    except ConnectionResetError:
                        data = b""  # it has ended without reading what we sent
                    if not data:
                        selector.unregister(key.fileobj)
                        # The launcher closes its report at the end, when everything that could write is dead.
                        ended = ended or key.data == "report"
                    else:
                        self._take(key.data, data, channel)
                if ended and not ready:
                    break

    def _take(self, name: str, data: bytes, channel: socket.socket | None) -> None:
        kept = self._kept[name]
        if name == "report":
            kept += data
        elif name == "channel":
            kept += data
            while b"\n" in kept:
                line, _, rest = bytes(kept).partition(b"\n")
                kept[:] = rest
                answer = self._talk(line) if self._talk is not None else None
                if answer is not None and channel is not None:
                    with contextlib.suppress(OSError):  # it has ended, or does not listen
                        channel.sendall(answer)
            self._flooded = self._flooded or len(kept) > 1 << 16
        else:
            self._written += len(data)
            room = self._limits.output_kb * 1024 - len(kept)
            self._truncated = self._truncated or len(data) > room
            kept += data[: max(0, room)]
            self._flooded = self._flooded or self._written > self._limits.output_kb * 1024 * _FLOOD

    def result(self, report: dict[str, Any], level: Level) -> Result:
        """The result from what was read and the launcher's report."""
        ending, exit_code = report["ending"], report["exit_code"]
        if ending == "exited":
            status: Status = "ok" if exit_code == 0 else "timeout" if exit_code == _SIGXCPU else "error"
        else:
            status = ending
        texts = {name: bytes(self._kept[name]).decode("utf-8", "replace") for name in ("stdout", "stderr")}
        return Result(status, exit_code, texts["stdout"], texts["stderr"], report["seconds"], self._truncated, level)
