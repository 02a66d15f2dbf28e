"""``constraints``: the answer has the form that was asked for; every constraint must hold.

The ground truth is a list of constraints, each ``{kind: ..., further arguments}``, as a list or as JSON:

- ``max_words``, ``min_words``, ``exact_words`` (``count``): at most, at least, exactly so many words.
- ``num_words``, ``num_sentences``, ``num_paragraphs``, ``num_lines`` (``count``, ``relation``): so many; blank
  paragraphs and lines do not count.
- ``num_list_items`` (``count``, ``relation``, ``marker``): so many lines are items of a list, of any kind, or only
  those with a ``bullet`` or a ``number``.
- ``separated_by`` (``separator``, ``count``): the separator divides it into exactly so many parts, none blank.
- ``starts_with``, ``ends_with`` (``text``): whatever the case, not within a longer word; quotation marks around the
  answer, and ``.!?`` at its end, are passed over.
- ``includes``, ``excludes`` (``words``): all, none of the words or phrases stand in it, whole and whatever their case.
- ``repeats`` (``word``, ``count``, ``relation``): the word or phrase stands in it so often, counted likewise.
- ``no_repeats`` (``n``, ``times``): no run of n words (3) stands in it more than so many times (1).
- ``uppercase``, ``lowercase``: all its letters are; it has at least one.
- ``quoted``: the whole is in double quotation marks. ``no_commas``. ``json``: it is JSON, a code fence aside.

``relation`` is ``exactly`` (the default), ``at least``, ``at most``, ``less than`` or ``more than``. A word is a run of
letters, digits and underscores, as in IFEval. The form of IFEval, IFBench and open-instruct, ``{"instruction_id":
[...], "kwargs": [...]}`` with names such as ``length_constraints:number_words``, is read too: see
`divmon.verifiers.ifeval` and `divmon.verifiers.ifrlvr`. Values that are null, which Arrow puts where rows differ, are
as good as absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from divmon.errors import InputError
from divmon.verifiers import pieces
from divmon.verifiers.ifeval import IFEVAL
from divmon.verifiers.ifrlvr import IFRLVR
from divmon.verifiers.pieces import Test, counted, string, strings, whole
from divmon.verifiers.truth import Check, check_arguments, parsed, unknown

_CLOSING = " \t\n.!?\"'”’"
_FENCE = re.compile(r"```(?:json)?", re.IGNORECASE)


def checker(ground_truth: Any) -> Check:
    """The check of all constraints; an answer without a word or sign meets none.

    Raises:
        InputError: For a ground truth of another form, an unknown kind or argument, or a value out of range.
    """
    tests = tests_of(ground_truth)
    return lambda answer: float(bool(answer.strip()) and all(test(answer) for test in tests))


def tests_of(ground_truth: Any) -> list[Test]:
    """The test of each constraint, in the ground truth's order.

    Raises:
        InputError: As `checker`.
    """
    tests = list(_tests(ground_truth))
    if not tests:
        raise InputError(f"constraints: expected at least one constraint, got {ground_truth!r}.")
    return tests


def _tests(ground_truth: Any) -> Iterator[Test]:
    if isinstance(ground_truth, str):
        ground_truth = parsed(ground_truth)
    entries = [ground_truth] if isinstance(ground_truth, Mapping) else ground_truth or []
    if not isinstance(entries, list | tuple):
        raise InputError(f"constraints: expected a list of constraints, got {str(ground_truth)[:80]}.")
    for entry in entries:
        if isinstance(entry, str):
            yield from _tests(entry)
            continue
        if not isinstance(entry, Mapping):
            raise InputError(f"constraints: expected a list of {{kind: ...}}, got {str(entry)[:80]!r} in it.")
        given = {name: value for name, value in entry.items() if value is not None}
        ids = given.get("instruction_id", given.get("instruction_id_list"))
        if ids is not None:
            yield from _listed(ids, given.get("kwargs"))
        else:
            yield _test("kind of constraint", _KINDS, given.pop("kind", None), given)


def _listed(ids: Any, settings: Any) -> Iterator[Test]:
    """The tests of IFEval's form: names and, beside each, its arguments."""
    ids = [ids] if isinstance(ids, str) else ids
    settings = settings or [None] * len(ids)
    if not isinstance(ids, list) or not isinstance(settings, list) or len(ids) != len(settings):
        raise InputError("constraints: expected as many kwargs as there are instruction_ids.")
    for name, arguments in zip(ids, settings, strict=True):
        if not isinstance(arguments or {}, Mapping):
            raise InputError(f"constraints: expected the kwargs of {name} as an object, got {str(arguments)[:80]!r}.")
        given = {key: value for key, value in (arguments or {}).items() if value is not None}
        yield _test("instruction_id", IFEVAL | IFRLVR, name, given)


def _test(what: str, makers: Mapping[str, Callable[..., Test]], name: Any, arguments: Mapping[str, Any]) -> Test:
    """One constraint, from a table of them."""
    if name not in makers:
        raise unknown(what, name, makers)
    check_arguments(name, makers[name], arguments)
    try:
        return makers[name](**arguments)
    except InputError as error:
        raise InputError(f"constraints: {name}: {error}") from error


def _num_words(count: int, relation: str = "exactly") -> Test:
    return counted(lambda text: len(pieces.words(text)), relation, count)


def _num_sentences(count: int, relation: str = "exactly") -> Test:
    return counted(lambda text: len(pieces.sentences(text)), relation, count)


def _num_paragraphs(count: int, relation: str = "exactly") -> Test:
    return counted(lambda text: len([part for part in text.split("\n\n") if part.strip()]), relation, count)


def _num_lines(count: int, relation: str = "exactly") -> Test:
    return counted(lambda text: len([line for line in text.split("\n") if line.strip()]), relation, count)


def _num_list_items(count: int, relation: str = "exactly", marker: str = "any") -> Test:
    if marker not in ("any", "bullet", "number"):
        raise unknown("marker", marker, ("any", "bullet", "number"))

    def found(text: str) -> int:
        items = pieces.list_items(text)
        return items.total() if marker == "any" else items[marker]

    return counted(found, relation, count)


def _separated_by(separator: str, count: int) -> Test:
    # White space may be the separator ("\n", " "), so it is not asked to be more than blank.
    if not isinstance(separator, str) or not separator:
        raise InputError(f"separator: expected a text, got {separator!r}.")
    number = whole(count, "count", 1)

    def test(text: str) -> bool:
        parts = text.strip().split(separator)
        return len(parts) == number and all(part.strip() for part in parts)

    return test


def _starts_with(text: str) -> Test:
    pattern = re.compile(re.escape(string(text, "text").strip()) + _edge(text.strip()[-1]), re.IGNORECASE)
    return lambda answer: bool(pattern.match(answer.strip(" \t\n\"'“‘")))


def _ends_with(text: str) -> Test:
    wanted = string(text, "text").strip().casefold()

    def test(answer: str) -> bool:
        answer = answer.strip().casefold()
        for ending in (answer, answer.rstrip(_CLOSING)):
            if ending.endswith(wanted):
                before = ending[: len(ending) - len(wanted)][-1:]
                return not (before and _is_word(before) and _is_word(wanted[0]))
        return False

    return test


def _edge(character: str) -> str:
    """What keeps a phrase that ends in ``character`` from ending within a word."""
    return r"(?!\w)" if _is_word(character) else ""


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _includes(words: list[str]) -> Test:
    wanted = strings(words, "words")
    return lambda text: all(pieces.occurrences(text, word) for word in wanted)


def _excludes(words: list[str]) -> Test:
    unwanted = strings(words, "words")
    return lambda text: not any(pieces.occurrences(text, word) for word in unwanted)


def _repeats(word: str, count: int, relation: str = "exactly") -> Test:
    wanted = string(word, "word")
    return counted(lambda text: pieces.occurrences(text, wanted), relation, count)


def _no_repeats(n: int = 3, times: int = 1) -> Test:
    size, most = whole(n, "n", 1), whole(times, "times", 1)
    return lambda text: max(pieces.ngrams(pieces.words(text.casefold()), size).values(), default=0) <= most


def _quoted() -> Test:
    def test(text: str) -> bool:
        text = text.strip()
        return len(text) > 2 and text[0] + text[-1] in ('""', "“”")

    return test


def _json() -> Test:
    def test(text: str) -> bool:
        text = text.strip()
        if fence := _FENCE.match(text):
            text = text[fence.end() :].removesuffix("```")
        return pieces.is_json(text)

    return test


_KINDS: dict[str, Callable[..., Test]] = {
    "max_words": lambda count: _num_words(count, "at most"),
    "min_words": lambda count: _num_words(count, "at least"),
    "exact_words": lambda count: _num_words(count),
    "num_words": _num_words,
    "num_sentences": _num_sentences,
    "num_paragraphs": _num_paragraphs,
    "num_lines": _num_lines,
    "num_list_items": _num_list_items,
    "separated_by": _separated_by,
    "starts_with": _starts_with,
    "ends_with": _ends_with,
    "includes": _includes,
    "excludes": _excludes,
    "repeats": _repeats,
    "no_repeats": _no_repeats,
    "uppercase": lambda: str.isupper,
    "lowercase": lambda: str.islower,
    "quoted": _quoted,
    "no_commas": lambda: lambda text: "," not in text,
    "json": _json,
}
KINDS = tuple(_KINDS)
