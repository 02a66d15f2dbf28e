r"""``math``: the answer is the number or formula that it should be.

What counts, where an answer says several things:

1. the last ``\boxed{...}`` whose braces close;
2. else the last number, in the sense of `divmon.verifiers.number`; where it stands inside ``$...$``, ``\(...\)`` or
   ``\[...\]``, the whole formula (of an equation its right-hand side), and where it is a part of ``2^10`` or
   ``sqrt(5)``, that word;
3. where the right answer is no number: the last formula, else the last line, without an "answer is" before it.

So "Tom has 42 apples now ." is 42, "3 + 4 = 7" is 7 and "42 apples, 3 of them green" is 3. Numbers are compared exactly
(decimals to 6 places, see `Number.equals`), everything else by math-verify, in a process of its own with a time limit
(`divmon.verifiers.math_process`). Only the last 50,000 characters of an answer are read.

The ground truth is a number or a text (a formula with or without ``$`` or ``\boxed``; of a GSM8K solution what follows
``####``), or a list of them, of which any will do.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, NamedTuple

from divmon.verifiers import math_process
from divmon.verifiers.number import Number, last, last_number, only_number, plain, read_number
from divmon.verifiers.truth import Check, Reading, alternatives

_READ = 50_000
_FORMULA_LENGTH = 400  # longer ones are not verified: parsing takes time beyond any use
_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
# A dollar sign opens a formula before anything but a space, and closes one behind that, unless a digit follows.
_FORMULA = re.compile(
    r"\$\$([^$]{1,2000}+)\$\$|(?<![\\$])\$(?![\s$])([^$\n]{1,2000}+)(?<![\s\\])\$(?!\d)"
    # Not possessive: Python 3.11.2 (Debian 12) forgets a group that repeats another so, and there is one match anyway.
    r"|\\\(((?:[^\\]|\\(?![()])){1,2000})\\\)|\\\[((?:[^\\]|\\(?![\[\]])){1,2000})\\\]"
)
_LEAD = re.compile(r"\b(?:answer|result)\b(?:\s+is\b)?\s*[:=]?", re.IGNORECASE)
_RIGHT_SIDE = re.compile(r"=|\\approx(?![a-z])|≈")
_DRESSING = re.compile(
    r"\\(?:left|right|displaystyle|quad|qquad)(?![a-z])|\\[,;:! ]|\\(?=\$)|~|\^\{?\s*(?:\\circ|°)\s*\}?|°"
    r"|\\(?:text|mathrm|textbf|mathbf|operatorname)\s*\{([^{}]*)\}"
)
_SPELLINGS = (
    (re.compile(r"√\s*(\d++|[a-z])|(?:√|(?<![\\a-z])sqrt)\s*\(([^()]*+)\)", re.IGNORECASE), r"\\sqrt{\1\2}"),
    (re.compile(r"π"), r"\\pi "),
    (re.compile(r"×|·"), r"\\times "),
    (re.compile(r"÷"), r"\\div "),
    (re.compile(r"²"), "^2"),
    (re.compile(r"³"), "^3"),
    (re.compile(r"∞"), r"\\infty "),
    (re.compile(r"≤"), r"\\le "),
    (re.compile(r"≥"), r"\\ge "),
)
_EDGE = " \t\n.,;:!?*\"'`“”"


def checker(ground_truth: Any) -> Check:
    """The check against one or several right answers.

    Raises:
        InputError: If the ground truth is not a text, a number or a list of them.
    """
    wanted = [_Wanted(text) for text in alternatives("math", ground_truth)]

    def check(answer: str) -> float:
        answer = plain(answer[-_READ:])
        return float(any(each.is_given_by(answer) for each in wanted))

    return check


def reading(ground_truth: Any) -> Reading[Said]:
    """An answer is what counts in it, see the module; of several right answers a number's way to read comes first.

    Raises:
        InputError: As `checker`.
    """
    wanted = [_Wanted(text) for text in alternatives("math", ground_truth)]
    chosen = next((each for each in wanted if each.number), wanted[0])

    def read(answer: str) -> Said | None:
        said = chosen.read(plain(answer[-_READ:]))
        return said if said and said.text.strip() else None

    return Reading(read, _key, _agree)


class Said(NamedTuple):
    """What counts in an answer: its source, and the number that it is."""

    text: str
    number: Number | None


class _Wanted:
    """A right answer."""

    def __init__(self, text: str) -> None:
        text = plain(text.rsplit("####")[-1] or text)
        boxed = last_boxed(text)
        text = text if boxed is None else boxed
        whole = _FORMULA.fullmatch(text.strip())
        self.text = _content(whole) if whole else text.strip()
        self.number = _number(self.text)

    def is_given_by(self, answer: str) -> bool:
        said = self.read(answer)
        return said is not None and _agree(said, Said(self.text, self.number))

    def read(self, answer: str) -> Said | None:
        """What counts in an answer, where this one is right."""
        given: Said | str | None = last_boxed(answer)
        if given is None:
            given = self._number_in(answer) if self.number else _last_formula(answer)
        if not isinstance(given, str):
            return given
        number = _number(given) or (_number(_right_side(given)) if not _RIGHT_SIDE.search(self.text) else None)
        if self.number and number is None:
            number = only_number(_undressed(given[:_FORMULA_LENGTH]))
        return Said(given, number)

    def _number_in(self, answer: str) -> Said | str | None:
        """The last number of an answer, or what it is a part of."""
        found = last_number(answer)
        if found is None:
            return None
        for formula in _FORMULA.finditer(answer):
            if formula.start() < found.end and found.start < formula.end():
                return _content(formula)
        word = _word_around(answer, found.start, found.end)
        if found.number is None or re.search(r"[\\^_√π²³∞]|[a-z]\(", word, re.IGNORECASE):
            return word
        return Said(answer[found.start : found.end], found.number)


def _agree(left: Said, right: Said) -> bool:
    if left.number and right.number:
        return left.number.equals(right.number)
    return _same(right.text, left.text)


def _key(said: Said) -> Hashable:
    if said.number:
        return said.number.value, said.number.percent
    return _at_a_glance(said.text)


def last_boxed(text: str) -> str | None:
    r"""What stands in the last ``\boxed{...}`` whose braces close, the outermost of nested ones; None without one."""
    opened: list[int] = []  # where the content of a box begins; -1 for another brace
    found = None
    for token in _BRACE.finditer(text):
        kind = token.group()
        if kind == "}":
            start = opened.pop() if opened else -1
            if start >= 0:
                found = text[start : token.start()]
        elif kind == "{":
            opened.append(-1)
        elif len(kind) > 2:
            opened.append(token.end())
    return found


def _content(formula: re.Match[str]) -> str:
    return next(group for group in formula.groups() if group is not None).strip()


def _last_formula(answer: str) -> str | None:
    """The last formula of an answer; without one its last line, from behind "answer is"."""
    formula = last(_FORMULA.finditer(answer))
    if formula is not None:
        return _content(formula)
    line = answer.rstrip().rpartition("\n")[2][-_FORMULA_LENGTH * 2 :]
    return _LEAD.split(line)[-1].strip(_EDGE) or None


def _word_around(text: str, start: int, end: int) -> str:
    """The word, up to white space, that a place in the text belongs to."""
    before = re.search(r"\S*$", text[max(0, start - _FORMULA_LENGTH) : start])
    after = re.match(r"\S*", text[end : end + _FORMULA_LENGTH])
    return ((before.group() if before else "") + text[start:end] + (after.group() if after else "")).strip(_EDGE)


def _undressed(text: str) -> str:
    """``text`` without what changes its looks only."""
    return _DRESSING.sub(lambda match: match.group(1) or "", text).strip(_EDGE)


def _number(text: str) -> Number | None:
    return read_number(_undressed(text)) if len(text) <= 2 * _FORMULA_LENGTH else None


def _right_side(text: str) -> str:
    return _RIGHT_SIDE.split(text)[-1]


def _same(wanted: str, given: str) -> bool:
    """Whether two formulas say the same: at a glance, or by math-verify."""
    left, right = _at_a_glance(wanted), _at_a_glance(given)
    if left == right:
        return bool(left)
    if max(len(wanted), len(given)) > _FORMULA_LENGTH:
        return False
    return math_process.same(_spelled(wanted), _spelled(given))


def _at_a_glance(text: str) -> str:
    return "".join(_undressed(text).split()).casefold()


def _spelled(text: str) -> str:
    """``text`` in LaTeX where it was typed otherwise."""
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    return text.strip(_EDGE)
