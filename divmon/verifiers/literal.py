"""``literal``: the answer is the Python value that it should be (CRUXEval: what does this function return?).

The ground truth is the value's source, ``"[1, 2]"`` or ``"'ab'"``. Both sides are read by ``ast.literal_eval``, which
runs nothing, and compared as values; a text need not be in quotation marks. What counts, where an answer says several
things: the last code block that is a value; else what stands behind the last ``answer:``, ``output:``, ``is``,
``returns`` or ``==``, to the end of its line; else the last value in backticks; else the first line. What goes before
an ``==`` in it is passed over. Only the last 20,000 characters of an answer are read.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from divmon.errors import InputError
from divmon.verifiers.truth import Check, Reading

_READ = 20_000
_MOST = 20  # places of one kind that are looked at: a bound on the time it takes
_FENCE = re.compile(r"```+[ \t]*\w*[ \t]*\n(.*?)```", re.DOTALL)
_TICKS = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LEAD = re.compile(r"(?:\b(?:answer|output|result)\b[\s*]*:|\b(?:is|returns?)\b|==)[\s*:]*", re.IGNORECASE)
_NOTHING = object()


def checker(ground_truth: Any) -> Check:
    """The check against a value.

    Raises:
        InputError: If the ground truth is not the source of a Python literal.
    """
    wanted = _wanted(ground_truth)

    def check(answer: str) -> float:
        for text, _ in _candidates(answer[-_READ:]):
            value = _value(text)
            if value is _NOTHING:
                # A word without quotation marks is a text, but only where nothing else can be meant.
                value = text if isinstance(wanted, str) and text == wanted else _NOTHING
            if value is not _NOTHING:
                return float(_equal(value, wanted))
        return 0.0

    return check


class _Said(NamedTuple):
    """A value and its source."""

    value: Any
    text: str


def reading(ground_truth: Any) -> Reading[_Said]:
    """An answer is the first value that the check finds in it.

    Where the right answer is a text, a word without quotation marks is one too, if it stands in a place that is meant
    for the answer, or if there is nothing else.

    Raises:
        InputError: As `checker`.
    """
    textual = isinstance(_wanted(ground_truth), str)

    def read(answer: str) -> _Said | None:
        text = ""
        for text, pointed_at in _candidates(answer[-_READ:]):
            value = _value(text)
            if value is not _NOTHING:
                return _Said(value, text)
            if textual and pointed_at and text:
                break
        return _Said(text, repr(text)) if textual and text else None

    return Reading(read, lambda said: said.text, lambda left, right: _equal(left.value, right.value))


def _wanted(ground_truth: Any) -> Any:
    wanted = _value(ground_truth) if isinstance(ground_truth, str) else _NOTHING
    if wanted is _NOTHING:
        raise InputError(f'literal: expected the source of a Python value such as "[1, 2]", got {ground_truth!r:.80}.')
    return wanted


def _candidates(answer: str) -> Iterator[tuple[str, bool]]:
    """What may be the answer's value, the likeliest first, and whether a word or backticks point at it."""
    yield _bare(answer), False
    for block in reversed(_FENCE.findall(answer)[-_MOST:]):
        yield _bare(block), False
    for lead in reversed(list(_LEAD.finditer(answer))[-_MOST:]):
        yield _bare(answer[lead.end() :].partition("\n")[0]), True
    for ticked in reversed(_TICKS.findall(answer)[-_MOST:]):
        yield _bare(ticked), True
    yield _bare(answer.strip().partition("\n")[0]), False


def _bare(text: str) -> str:
    """``text`` without white space, emphasis, backticks and a full stop around it, and from behind an ``==`` in it."""
    text = text.strip().strip("*`").strip()
    text = text.removesuffix(".") if not re.fullmatch(r"-?\d+\.", text) else text
    return text.rpartition("==")[2].strip().strip("`")


def _value(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # a stray backslash in a model's string
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _NOTHING


def _equal(left: Any, right: Any) -> bool:
    try:
        return bool(left == right)
    except RecursionError:
        return False
