"""Runs tests against a program in the sandbox and believes only what the program cannot have guessed."""

from __future__ import annotations

import ast
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from divmon.errors import InputError
from divmon.sandbox import wire
from divmon.sandbox.process import run_task
from divmon.sandbox.run import FLAGS, isolation
from divmon.sandbox.values import Limits, Status


@dataclass(frozen=True)
class SuiteResult:
    """Which tests a program passed.

    Attributes:
        passed: One truth value a test; those that were not run any more are False.
        status: ``"ok"`` where all that was to be run was run; ``"broken"`` where the program itself failed before any
            test; ``"tampered"`` where it wrote to the channel of the verdicts, and so passed nothing; else what ended
            it (`divmon.sandbox.Result`).
        detail: What went wrong first, in the program's or Python's words; not to be trusted.
        seconds: Wall clock of everything.
    """

    passed: tuple[bool, ...]
    status: Status | Literal["broken", "tampered"]
    detail: str
    seconds: float


def run_tests(
    program: str,
    tests: Sequence[str],
    *,
    seconds_a_test: float = 6.0,
    total_seconds: float = 60.0,
    max_failures: int | None = None,
    limits: Limits | None = None,
    allow_weaker: bool = False,
) -> SuiteResult:
    """Run ``program`` once, then each test in a fork of it, so that no test sees what another has changed.

    A test is Python source, run in the program's namespace; it passes if it comes to its end without an exception.
    A verdict is believed only with the test's token, random, which reaches the sandbox together with the tests when the
    program has been executed. So a program that exits early, prints what a success looks like, replaces functions of
    the standard library or closes its descriptors passes nothing, and one that writes anything else to the channel
    loses what it has passed.

    In a test, ``a == b`` compares what numbers, strings and collections really hold, and these equal no object of
    another kind: an ``__eq__`` that always says yes (what policies are known to learn) does not pass. The price is
    that a Fraction no longer equals a float.

    What cannot be prevented: the tests run in the interpreter of the program they test (as in open-instruct and
    HumanEval), so code written against this very module can look for the tokens in its own memory once a function of
    its is called, or pose as the end of the program on the channel; and tests that use an answer in other ways
    (``assert f(x)``, ``abs(f(x) - 1) < 0.1``, ``f(x) in y``) trust its methods. A pass means that the tests noticed
    nothing.

    Args:
        program: Source text; its ``__name__`` is not ``"__main__"``.
        tests: Source texts.
        seconds_a_test: Wall clock of one test.
        total_seconds: Wall clock of everything; tests that it leaves no time for count as failed.
        max_failures: Stop after one more than these; the rest count as failed. Default: run all.
        limits: Bounds, but for the seconds.
        allow_weaker: As in `divmon.sandbox.run_python`.

    Raises:
        InputError: If there is no test.
        SandboxError: If there is no sandbox to be had here.
    """
    if not tests:
        raise InputError("run_tests: expected at least one test, got none.")
    level = isolation(allow_weaker=allow_weaker)
    exchange = _Exchange(tests, seconds_a_test, len(tests) if max_failures is None else max_failures)
    seconds = min(total_seconds, (len(tests) + 1) * (seconds_a_test + 0.5) + 1)
    driver = (Path(__file__).parent / "driver.py").read_text(encoding="utf-8")
    task = {"arguments": [*FLAGS, driver], "files": {"program.py": program}}
    result = run_task(task, replace(limits or Limits(), seconds=seconds), level, exchange.start)
    return exchange.result(result.status, result.seconds)


class _Exchange:
    """What is said on the channel, and what of it counts."""

    def __init__(self, tests: Sequence[str], seconds: float, max_failures: int) -> None:
        self._tests = tests
        self._seconds = seconds
        self._max_failures = max_failures
        self.start()

    def start(self) -> Callable[[bytes], bytes | None]:
        """Begin anew: what answers the lines of one run."""
        self._tokens = [secrets.token_hex(16) for _ in self._tests]
        self._passed: set[str] = set()
        self._asked = self._broken = self._tampered = False
        self._detail = ""
        return self._answer

    def _answer(self, line: bytes) -> bytes | None:
        kind, _, text = line.decode("utf-8", "replace").partition(" ")
        if kind == "ready" and not self._asked:
            self._asked = True
            equality = f"_same_{secrets.token_hex(8)}"
            sources = [_with_equality(test, equality) for test in self._tests]
            tests = list(zip(sources, self._tokens, strict=True))
            return wire.pack((tests, equality, self._seconds, self._max_failures))
        if kind == "passed" and self._asked and text in set(self._tokens) - self._passed:
            self._passed.add(text)
        elif kind in ("failed", "broken"):
            self._broken = self._broken or kind == "broken"
            self._detail = self._detail or text
        else:
            self._tampered = True
        return None

    def result(self, status: Status, seconds: float) -> SuiteResult:
        verdict: Status | Literal["broken", "tampered"] = status
        passed = [token in self._passed for token in self._tokens]
        if self._tampered:
            verdict, passed = "tampered", [False] * len(passed)
        elif self._broken or (status in ("ok", "error") and not self._asked):
            verdict = "broken"
        return SuiteResult(tuple(passed), verdict, self._detail, seconds)


def _with_equality(test: str, name: str) -> str:
    """Have the function ``name`` decide every ``a == b`` of a test; one that does not parse is left as it is."""
    try:
        return ast.unparse(ast.fix_missing_locations(_Equality(name).visit(ast.parse(test))))
    except (SyntaxError, ValueError, RecursionError):
        return test


class _Equality(ast.NodeTransformer):
    def __init__(self, name: str) -> None:
        self._name = name

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        if [type(operator) for operator in node.ops] != [ast.Eq]:
            return node
        return ast.Call(ast.Name(self._name, ast.Load()), [node.left, *node.comparators], [])
