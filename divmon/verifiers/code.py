"""Does a program pass its tests? It runs in `divmon.sandbox`, and only where the caller says so.

The rules are open-instruct's (``CodeVerifier`` in its ground_truth_utils.py): the last code block of the answer, every
test on its own, the share of tests that pass, and nothing below a threshold. Its threshold
(``code_pass_rate_reward_threshold``) is 0 by default and in the published script of Olmo 3's RL-Zero on code, 0.99 in
those of Think and Instruct; here the default is 1, which makes the score an accuracy. A test may take 1 s there by
default, 6 s in an earlier script of RL-Zero; 6 s here, because a machine that trains is a busy one.

`divmon.verifiers.code_tests` has the forms of a ground truth. Programs have the standard library only; output is
compared line by line but for white space at the ends, numbers by value. What a program can do to look right without
being it: see `divmon.sandbox.run_tests`.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from divmon.errors import InputError
from divmon.sandbox import Limits, isolation, run_python, run_tests
from divmon.text import extract_code
from divmon.verifiers.code_tests import CodeTests, read_tests
from divmon.verifiers.truth import Check


def checker(
    ground_truth: Any,
    *,
    execute_code: bool = False,
    threshold: float = 1.0,
    seconds: float = 6.0,
    total_seconds: float = 60.0,
    memory_mb: int = 512,
    allow_weaker: bool = False,
) -> Check:
    """Read a ground truth once, for the answers to come.

    Args:
        ground_truth: The tests, in one of the forms of `divmon.verifiers.code_tests`.
        execute_code: Must be true before an answer is checked: this runs code that a model wrote.
        threshold: Shares of passed tests below this give 0. With 1, testing stops at the first failure.
        seconds: Wall clock of one test.
        total_seconds: Wall clock of all; what it leaves no time for has failed.
        memory_mb: Memory of the program.
        allow_weaker: Accept a weaker sandbox where this machine gives no namespaces (`divmon.sandbox`).

    Returns:
        A function of an answer (without its reasoning; without a code block all of it is the program) that gives the
        share of tests that passed, 0 to 1, or 0 below the threshold. It raises InputError without ``execute_code``,
        and SandboxError if there is no sandbox to be had here.

    Raises:
        InputError: For a ground truth of no known form, or a value out of range.
    """
    tests = read_tests(ground_truth)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise InputError(f"threshold: expected a share from 0 to 1, got {threshold!r}.")
    limits = Limits(seconds=seconds, memory_mb=memory_mb)
    Limits(seconds=total_seconds)  # refused now where it is out of range, not in the middle of a training
    count = len(tests.tests) + len(tests.pairs)
    allowed = failures_allowed(count, threshold)

    def check(answer: str) -> float:
        if execute_code is not True:
            raise InputError(
                "The verifier 'code' runs what a model wrote, in a sandbox (divmon.sandbox says what that keeps it "
                "from). Nothing does so unless you say it: execute_code=True, in a recipe `execute_code: true`."
            )
        program = assemble(extract_code(answer), tests)
        if tests.tests:
            result = run_tests(
                program,
                tests.tests,
                seconds_a_test=seconds,
                total_seconds=total_seconds,
                max_failures=allowed,
                limits=limits,
                allow_weaker=allow_weaker,
            )
            passed = sum(result.passed)
        else:
            passed = _printed(program, tests.pairs, limits, total_seconds, allowed, allow_weaker)
        return passed / count if count - passed <= allowed else 0.0

    return check


def failures_allowed(tests: int, threshold: float) -> int:
    """How many of ``tests`` may fail for a pass rate of at least ``threshold``."""
    return tests - math.ceil(threshold * tests - 1e-9)


def _printed(
    program: str,
    pairs: Sequence[tuple[str, str]],
    limits: Limits,
    total_seconds: float,
    failures_left: int,
    allow_weaker: bool,
) -> int:
    """How many of ``pairs`` the program gets right; what it printed is compared here, out of its reach."""
    isolation(allow_weaker=allow_weaker)
    deadline, passed = time.monotonic() + total_seconds, 0
    for given, wanted in pairs:
        left = deadline - time.monotonic()
        if failures_left < 0 or left < 0.1:
            break
        bounds = Limits(
            seconds=min(limits.seconds, left),
            memory_mb=limits.memory_mb,
            output_kb=64 + len(wanted.encode("utf-8", "replace")) // 512,
        )
        result = run_python(program, stdin=given, limits=bounds, allow_weaker=allow_weaker)
        if result.status == "ok" and same_output(result.stdout, wanted):
            passed += 1
        else:
            failures_left -= 1
    return passed


# ---------------------------------------------------------------------------------------------------------
# The program
# ---------------------------------------------------------------------------------------------------------


def assemble(code: str, tests: CodeTests) -> str:
    """The program: an answer that repeats the function stands after the prompt, which may define helpers; one that
    does not is the prompt's continuation.
    """
    if not tests.prompt:
        return code
    defined = re.search(rf"^(?:async[ ]+)?(?:def|class)[ ]+{re.escape(tests.entry_point)}\b", code, re.MULTILINE)
    if defined:
        return f"{tests.prompt}\n\n{code}"
    # One that lost the white space at its beginning, as after a think block, goes on where the prompt stands.
    last = tests.prompt.rstrip().rpartition("\n")[2]
    lost = not _BEGINS_ANEW.match(code)
    return f"{tests.prompt}{last[: len(last) - len(last.lstrip())] if lost else ''}{code}"


_BEGINS_ANEW = re.compile(r"\s|(?:async\s+def|def|class|if\s+__name__)\b|@")


def same_output(given: str, wanted: str) -> bool:
    """Whether two outputs agree line by line: as texts without white space at the ends, or as numbers."""
    left, right = given.strip().split("\n"), wanted.strip().split("\n")
    return len(left) == len(right) and all(
        one.strip() == other.strip() or _same_numbers(one, other) for one, other in zip(left, right, strict=True)
    )


def _same_numbers(given: str, wanted: str) -> bool:
    try:
        left, right = ([Decimal(word) for word in line.split()] for line in (given, wanted))
        return left == right
    except (InvalidOperation, ValueError):
        return False
