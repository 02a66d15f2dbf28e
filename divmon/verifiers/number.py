r"""Numbers as people and models write them: where the last one stands in a text, and what it is worth.

Read are ``42``, ``-7``, ``+7``, ``−7`` (any minus sign), ``1,234``, ``1{,}234`` and ``1 234`` (with a no-break or thin
space), ``3.50``, ``.5``, ``1e5``, ``2 × 10^3``, ``3/4``, ``3 1/2``, ``3½``, ``\frac{3}{4}``, ``\frac34``, each with
``%`` or "percent" behind it or a currency sign before it, and in the digits of any script. A minus belongs to the
number where it touches it and nothing but white space, an operator or an opening bracket comes before: ``10-5`` ends
in 5, ``is -5`` in -5. What follows a letter (``x2``, ``H2O``) is not a number. Every function takes linear time.
"""

from __future__ import annotations

import collections
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

_MAX_DIGITS = 300  # longer ones are noise, and slow to compute with
_DECIMALS = 6  # as math-verify's float_rounding
_MINUS = dict.fromkeys(map(ord, "−－﹣–"), "-")
_GAP = re.compile(r"(?<=\d)(?:[\u00a0\u202f\u2009]|\{,\}|\\[,;: ])(?=\d{3}(?!\d))")
_VULGAR = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"

_INTEGER = r"(?:\d{1,3}(?:,\d{3})++(?!\d)|\d++)"
_POWER = r"[-+]?\d{1,3}"
_NUMBER = re.compile(
    rf"""
    (?P<sign>(?<![\w)\]}}%])[-+])? [$€£¥]? (?<!\w)(?<!\d\.)
    (?:
      (?:(?P<whole>\d++)\s?)? (?:
          (?P<vulgar>[{_VULGAR}])
        | \\[dtc]?frac \s*+ (?:\{{\s*+(?P<top>[-+]?[0-9]++)\s*+\}}|(?P<top_digit>[0-9]))
                       \s*+ (?:\{{\s*+(?P<bottom>[0-9]++)\s*+\}}|(?P<bottom_digit>[0-9]))
        )
      | (?:(?P<mixed>\d++)[ ])? (?<!/)(?P<over>{_INTEGER}) \s?/\s? (?P<under>{_INTEGER}) (?![\d/])
      | (?P<decimal>{_INTEGER}(?:\.\d++)?|(?<![\w.)\]])\.\d++)
        (?: [eE](?P<e>{_POWER})(?!\w)
          | \s?(?:×|x|\*|\\times|\\cdot)\s?10\^(?:\{{(?P<ten>{_POWER})\}}|(?P<bare_ten>{_POWER})(?!\d))
        )?
    )
    (?P<percent>\s?(?:\\?%|(?:percent|pct)\b))?
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class Number:
    """A number that was written down.

    Attributes:
        value: What it says, the percent sign aside: 12 for "12%".
        exact: Whether it is a whole number or a fraction, not a decimal.
        percent: Whether a percent sign follows.
    """

    value: Fraction
    exact: bool = True
    percent: bool = False

    def equals(self, other: Number) -> bool:
        """Whether both are the same number.

        Decimals are compared to 6 places, so 0.333333 is 1/3. Of a percentage and a number without the sign both
        readings count: 12% is 12 and is 0.12, since the question may have named the unit.
        """
        if self.percent != other.percent:
            bare, rated = (other, self.value) if self.percent else (self, other.value)
            return any(bare.equals(Number(value, exact=False)) for value in (rated, rated / 100))
        if self.exact and other.exact:
            return self.value == other.value
        return round(self.value, _DECIMALS) == round(other.value, _DECIMALS)


class Found(NamedTuple):
    """The last number of a text and where it stands there; None for one that has no value (a division by zero)."""

    number: Number | None
    start: int
    end: int


def plain(text: str) -> str:
    """``text`` with one kind of digits and minus signs, and with commas between thousands; other characters stay."""
    if not text.isascii():
        text = text.translate(_MINUS)
        text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() and not c.isascii() else c for c in text)
    return _GAP.sub(",", text.replace("\\!", ""))


def last(matches: Iterator[re.Match[str]]) -> re.Match[str] | None:
    """The last of ``matches``, or None where there is none."""
    found = collections.deque(matches, maxlen=1)
    return found[0] if found else None


def read_number(text: str) -> Number | None:
    """The number that ``text`` (see `plain`) as a whole is, or None."""
    text = text.strip()
    if len(text) > 2 * _MAX_DIGITS:
        return None
    # In "- 5" and "$-5" there is nothing else that the sign could belong to.
    match = _NUMBER.fullmatch(re.sub(r"^[$€£¥]?([-+])\s*", r"\1", text))
    if match is None or (
        match["mixed"] and int(match["over"].replace(",", "")) >= int(match["under"].replace(",", ""))
    ):
        return None
    return _value(match)


def last_number(text: str) -> Found | None:
    """The last number in ``text`` (see `plain`), or None where there is none."""
    match = last(_NUMBER.finditer(text))
    return Found(_value(match), match.start(), match.end()) if match else None


def only_number(text: str) -> Number | None:
    """The number of a text that has one and nothing but words around it ("42 apples"); None for any other."""
    matches = list(_NUMBER.finditer(text))
    if len(matches) != 1:
        return None
    rest = text[: matches[0].start()] + text[matches[0].end() :]
    worded = all(c in " \t\n.,;:!?'\"$€£¥" or (c.isalpha() and c != "π") for c in rest)
    return _value(matches[0]) if worded else None


def _value(match: re.Match[str]) -> Number | None:
    if match.end() - match.start() > 2 * _MAX_DIGITS:
        return None
    part = {name: text.replace(",", "") for name, text in match.groupdict().items() if text}
    exact = True
    if "decimal" in part:
        power = int(part.get("e") or part.get("ten") or part.get("bare_ten") or 0)
        value = Fraction(part["decimal"]) * Fraction(10) ** power
        exact = "." not in part["decimal"] and power >= 0
    elif "vulgar" in part:
        value = Fraction(unicodedata.numeric(part["vulgar"])).limit_denominator(100)
        value += int(part.get("whole", 0))
    else:
        over = int(part.get("over") or part.get("top") or part["top_digit"])
        under = int(part.get("under") or part.get("bottom") or part["bottom_digit"])
        if under == 0 or ("whole" in part and not 0 < over < under):
            return None
        # "3 1/2" is one number, "in 5 10/2" are two.
        value = Fraction(over, under) + (int(part.get("whole") or part.get("mixed") or 0) if 0 < over < under else 0)
    return Number(-value if part.get("sign") == "-" else value, exact, "percent" in part)
