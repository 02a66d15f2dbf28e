"""What format constraints are made of: parts of an answer counted and compared, arguments read.

Every function takes linear time.
"""

from __future__ import annotations

import json
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from divmon.errors import InputError
from divmon.text import split_sentences
from divmon.verifiers.truth import unknown

Test = Callable[[str], bool]
"""Tells whether an answer meets a constraint."""

RELATIONS: dict[str, Callable[[int, int], bool]] = {
    "exactly": operator.eq,
    "at least": operator.ge,
    "at most": operator.le,
    "less than": operator.lt,
    "more than": operator.gt,
}
_WORD = re.compile(r"\w+")
_ITEM = re.compile(r"[ \t]*(?:(?P<bullet>[-*+•])|(?P<number>\d{1,4}[.)]))[ \t]+\S")


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores, as IFEval counts them: "don't" is two."""
    return _WORD.findall(text)


def sentences(text: str) -> list[str]:
    """The sentences (`divmon.text.split_sentences`) that have a word."""
    return [sentence for sentence in split_sentences(text) if _WORD.search(sentence)]


def list_items(text: str) -> Counter[str]:
    """How many lines are items of a list, by ``bullet`` ("- ", "* ", "+ ", "• ") and ``number`` ("1. ", "1) ")."""
    matches = (_ITEM.match(line) for line in text.split("\n"))
    return Counter(match.lastgroup or "" for match in matches if match)


def occurrences(text: str, phrase: str, whole_word: bool = True) -> int:
    """How often ``phrase`` stands in ``text``, whatever its case; with ``whole_word`` not within a longer word."""
    pattern = re.escape(phrase)
    if whole_word:
        pattern = rf"(?<!\w){pattern}(?!\w)"
    return sum(1 for _ in re.finditer(pattern, text, re.IGNORECASE))


def enclosed(text: str, start: str, end: str) -> Iterator[str]:
    """What stands between ``start`` and the next ``end`` on the same line, from the left."""
    for line in text.split("\n"):
        place = 0
        while (left := line.find(start, place)) >= 0 and (right := line.find(end, left + len(start))) >= 0:
            yield line[left + len(start) : right]
            place = right + len(end)


def is_json(text: str) -> bool:
    """Whether ``text`` is JSON and nothing else, white space at its ends aside."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """How often each run of ``n`` tokens stands in ``tokens``."""
    return Counter(zip(*(tokens[start:] for start in range(n)), strict=False))


def counted(count_of: Callable[[str], int], relation: str, count: int) -> Test:
    """The test that what ``count_of`` finds stands in a relation to ``count``.

    Raises:
        InputError: For an unknown relation or a count that is not a whole number.
    """
    if relation not in RELATIONS:
        raise unknown("relation", relation, RELATIONS)
    compare, number = RELATIONS[relation], whole(count, "count")
    return lambda text: compare(count_of(text), number)


def whole(value: object, name: str, least: int = 0) -> int:
    """``value`` as a whole number of at least ``least`` (JSON and Arrow may have made a float of it).

    Raises:
        InputError: If it is none, or less.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name}: expected a whole number of at least {least}, got {value!r}.")
    return value


def string(value: object, name: str) -> str:
    """``value``, which must be a text that is not blank.

    Raises:
        InputError: If it is not.
    """
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name}: expected a text, got {value!r}.")
    return value


def strings(value: object, name: str) -> list[str]:
    """``value`` as a list of texts; one text is a list of one.

    Raises:
        InputError: If it is neither, or empty, or a text is blank.
    """
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not items:
        raise InputError(f"{name}: expected a list of words, got {value!r}.")
    return [string(item, name) for item in items]
