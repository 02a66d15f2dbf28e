"""Runs tests against a program, inside the sandbox; `divmon.sandbox.suite` is the other side of its channel.

This file is handed to the interpreter as text and imports the standard library only. Whatever it needs after the
program has run is a local variable by then, out of reach of one that replaces ``os.write`` or ``builtins.exec``.
"""

from __future__ import annotations

import builtins
import marshal
import os
import signal
import sys
import time
import types
from _sitebuiltins import Quitter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CHANNEL = 3


def make_same() -> Callable[[object, object], bool]:
    """Make the ``==`` of the tests: equality that a class of the program's cannot answer for.

    What is plain data (numbers, strings, collections, instances of their subclasses) is compared by what it really
    holds, and does not equal what is not, whatever that one's ``__eq__`` says. Where neither is plain, ``==`` decides.
    """
    type_of, is_subclass, make_dict, make_set, whole = type, issubclass, dict, frozenset, slice(None)
    # Methods of the built-in types: those of a subclass may say anything.
    numbers: list[Any] = [(int, int.__add__, 0), (float, float.__add__, 0.0), (complex, complex.__add__, 0j)]
    texts: list[Any] = [(base, base.__getitem__) for base in (str, bytes, bytearray)]
    sequences: list[Any] = [(base, base.__iter__) for base in (list, tuple)]
    views: list[Any] = [type_of({}.keys()), type_of({}.items())]
    sets: list[Any] = [(base, base.__iter__) for base in (set, frozenset, *views)]
    items = make_dict.items

    class NotPlainError(Exception):
        pass

    def plain(value: Any) -> Any:
        if value is None or value is True or value is False:
            return value
        kind = type_of(value)
        for base, add, zero in numbers:
            if is_subclass(kind, base):
                return add(value, zero)
        for base, cut in texts:
            if is_subclass(kind, base):
                return cut(value, whole)
        for base, each in sequences:
            if is_subclass(kind, base):
                return base([plain(item) for item in each(value)])
        for base, each in sets:
            if is_subclass(kind, base):
                return make_set([plain(item) for item in each(value)])
        if is_subclass(kind, make_dict):
            return make_dict([(plain(key), plain(item)) for key, item in items(value)])
        raise NotPlainError

    def same(left: Any, right: Any) -> bool:
        plains = []
        for value in (left, right):
            try:
                plains.append(plain(value))
            except NotPlainError:
                continue
        if plains[1:]:
            return plains[0] == plains[1]
        return False if plains else left == right

    return same


def main() -> None:
    """Run ``program.py``, ask for the tests, run each in a fork of its own and report the tokens of those that pass."""
    read, write, fork, leave, wait, no_hang = os.read, os.write, os.fork, os._exit, os.waitpid, os.WNOHANG
    compile_source, run, load, sleep, clock = compile, exec, marshal.loads, time.sleep, time.monotonic
    trace, profile, timer, real = sys.settrace, sys.setprofile, signal.setitimer, signal.ITIMER_REAL
    handle, alarm, default, kill, kill_signal = signal.signal, signal.SIGALRM, signal.SIG_DFL, os.kill, signal.SIGKILL
    any_error, system_error, size_of, number, text_of, numbered = BaseException, OSError, len, int, str, enumerate
    same = make_same()

    def say(kind: str, text: str) -> None:
        write(_CHANNEL, f"{kind} {text}".replace("\n", " ")[:300].encode("utf-8", "replace") + b"\n")

    def receive(size: int) -> bytes:
        data = b""
        while size_of(data) < size:
            part = read(_CHANNEL, size - size_of(data))
            if not part:
                leave(1)
            data += part
        return data

    os.set_inheritable(_CHANNEL, False)
    builtins.exit, builtins.quit = Quitter("exit", "Ctrl-D"), Quitter("quit", "Ctrl-D")
    sys.argv = ["program.py"]
    program = types.ModuleType("program")  # not __main__: what a script does when it is run is not asked for
    sys.modules["program"] = program
    names = vars(program)
    try:
        with open("program.py", encoding="utf-8", newline="") as file:
            code = compile_source(file.read(), "program.py", "exec", dont_inherit=True, optimize=0)
        run(code, names)
    except any_error as error:
        say("broken", f"{type(error).__name__}: {text_of(error)}")
        leave(1)

    say("ready", "")
    tests, equality, seconds, failures_left = load(receive(number.from_bytes(receive(8), "little")))
    names[equality] = same
    for index, (source, token) in numbered(tests):
        child = fork()
        if child == 0:
            trace(None)
            profile(None)
            handle(alarm, default)
            timer(real, seconds)
            try:
                run(compile_source(source, "test", "exec", dont_inherit=True, optimize=0), names)
            except any_error as error:
                say("failed", f"{index} {type(error).__name__}: {text_of(error)}")
                leave(1)
            say("passed", token)
            leave(0)
        status, pause, deadline = -1, 0.001, clock() + seconds + 0.5
        while status < 0:
            ended, value = wait(child, no_hang)
            if ended:
                status = value
            elif clock() > deadline:  # it has put off its alarm
                status = 1
                try:
                    kill(child, kill_signal)
                except system_error:
                    break  # not allowed to without namespaces; it ends with the sandbox
            else:
                sleep(pause)
                pause = min(2 * pause, 0.02)
        if status:
            if status == alarm:
                say("failed", f"{index} it took longer than {seconds} seconds")
            failures_left -= 1
            if failures_left < 0:
                break
    leave(0)


if __name__ == "__main__":
    main()
