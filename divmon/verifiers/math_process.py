"""math-verify, asked in a process of its own, so that nothing a model writes can stop a training.

math-verify's own time limit is an alarm signal: it fails in any thread but the main one, would replace the host's own
alarm, and cannot interrupt a computation inside sympy's or Python's C code (a power of powers). A child process can be
killed from any thread, and its memory is its own. It starts at the first question (about a second) and ends with its
parent.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

from divmon.errors import DivmonError

logger = logging.getLogger(__name__)

SECONDS = 2.0
"""Time for one question; halved after each one that ran out of it, down to a quarter, until one is answered again."""

_GRACE = 0.5  # the child ends what can be interrupted itself; beyond this it is killed
_START = 120.0
_WORKER = Path(__file__).with_name("math_worker.py")


class MathVerifyError(DivmonError, RuntimeError):
    """math-verify cannot be run here."""


@functools.lru_cache(maxsize=8192)
def same(wanted: str, given: str) -> bool:
    """Whether math-verify finds two formulas equal; what it cannot read or finish in time is not.

    Raises:
        MathVerifyError: If its process cannot be started.
    """
    return _asked(os.getpid()).ask(wanted, given)


@functools.cache
def _asked(process: int) -> _MathVerify:
    """What this process asks: one inherited through a fork would share its pipes with the parent."""
    asked = _MathVerify()
    atexit.register(asked.close)
    return asked


class _MathVerify:
    """The child process, started again after it had to be killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._overruns = 0

    def ask(self, wanted: str, given: str) -> bool:
        """Put one question."""
        with self._lock:
            seconds = SECONDS / 2**self._overruns
            if self._child is not None and self._child.poll() is not None:
                self._stop()  # something else ended it
            child = self._child or self._start()
            answer = _exchange(child, json.dumps([wanted, given, seconds]), seconds + _GRACE)
            if answer is None:
                self._stop()
            if answer in (None, "late"):
                self._overruns = min(self._overruns + 1, 2)
                logger.debug("divmon: math-verify had no answer within %.2f s: %.80r", seconds, given)
                return False
            self._overruns = 0
            return answer == "yes"

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._stop()

    def _start(self) -> subprocess.Popen[str]:
        try:
            # -P: the script's folder, whose math.py would hide Python's, stays out of sys.path.
            child = subprocess.Popen(
                [sys.executable, "-P", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="ascii",
            )
        except (OSError, ValueError) as error:
            raise MathVerifyError(f"The process for math-verify cannot be started ({error}).") from error
        self._child = child
        ready = _exchange(child, json.dumps(["1", "1", _START]), _START)
        if ready != "yes":
            self._stop()
            raise MathVerifyError(
                f"math-verify does not work here ({ready or 'no reply'}): pip install 'math-verify[antlr4-13-2]'."
            )
        return child

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                with contextlib.suppress(OSError):  # what was written and never read goes nowhere
                    assert pipe is not None
                    pipe.close()


def _exchange(child: subprocess.Popen[str], line: str, seconds: float) -> str | None:
    """The child's reply to a line; None where it died or had to be killed."""
    assert child.stdin is not None
    assert child.stdout is not None
    killer = threading.Timer(seconds, child.kill)
    killer.daemon = True
    killer.start()
    try:
        child.stdin.write(line + "\n")
        child.stdin.flush()
        return child.stdout.readline().strip() or None
    except OSError:
        return None
    finally:
        killer.cancel()
