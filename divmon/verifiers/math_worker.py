"""The process that asks math-verify: a question a line in, ``yes``, ``no``, ``late`` or what is amiss a line out.

It imports nothing of divmon, so that it starts fast.
"""

from __future__ import annotations

import functools
import importlib
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

_MEMORY = 4 * 2**30


class _Late(BaseException):
    """Time is up; not an Exception, which sympy would catch."""


def main() -> None:
    """Answer until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to parent and child alike
    _limit_memory()
    out = sys.stdout
    sys.stdout = sys.stderr  # nobody else may write there
    try:
        ask = _asker()
    except Exception as error:
        ask, broken = None, f"{type(error).__name__}: {error}".replace("\n", " ")
    for line in sys.stdin:
        wanted, given, seconds = json.loads(line)
        out.write((broken if ask is None else _answer(ask, wanted, given, seconds)) + "\n")
        out.flush()


def _limit_memory() -> None:
    try:
        resource: Any = importlib.import_module("resource")  # not on Windows
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ImportError, ValueError, OSError):
        pass


def _asker() -> Callable[[str, str], bool]:
    import math_verify

    config = [math_verify.LatexExtractionConfig(boxed_match_priority=0), math_verify.ExprExtractionConfig()]

    @functools.lru_cache(maxsize=256)
    def read(formula: str) -> list[Any]:
        return math_verify.parse(
            f"\\boxed{{{formula}}}", config, fallback_mode="no_fallback", parsing_timeout=None, raise_on_error=True
        )

    def ask(wanted: str, given: str) -> bool:
        gold, target = read(wanted), read(given)
        return bool(gold and target and math_verify.verify(gold, target, timeout_seconds=None))

    return ask


def _answer(ask: Callable[[str, str], bool], wanted: str, given: str, seconds: float) -> str:
    def late(*_: object) -> None:
        raise _Late

    alarms = hasattr(signal, "setitimer")
    try:
        if alarms:
            signal.signal(signal.SIGALRM, late)
            # Again and again: a bare `except:` in between may swallow it.
            signal.setitimer(signal.ITIMER_REAL, seconds, 0.05)
        try:
            return "yes" if ask(wanted, given) else "no"
        finally:
            if alarms:
                signal.setitimer(signal.ITIMER_REAL, 0)
    except _Late:
        return "late"
    except BaseException:  # whatever parsers and sympy raise at hostile input: recursion, memory, assertions
        return "no"


if __name__ == "__main__":
    main()
