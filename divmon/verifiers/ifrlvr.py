"""The constraints that open-instruct's IF-RLVR data (the training half of IFBench) adds to IFEval's, by name.

Rules and exceptions are those of `divmon.verifiers.ifeval`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

from divmon.verifiers import pieces
from divmon.verifiers.ifeval import divided, frequency, letter_frequency
from divmon.verifiers.pieces import Test, counted, string, whole


def _copied(prompt_to_repeat: str, times: int = 1) -> Test:
    wanted = string(prompt_to_repeat, "prompt_to_repeat").strip().lower()

    def test(text: str) -> bool:
        parts = text.split("******") if times > 1 else [text]
        return len(parts) == times and all(part.strip().lower() == wanted for part in parts)

    return test


def _copied_span(prompt_to_repeat: str, n_start: int, n_end: int) -> Test:
    span = string(prompt_to_repeat, "prompt_to_repeat")[whole(n_start, "n_start") : whole(n_end, "n_end")]
    return lambda text: text.strip().lower() == span.strip().lower()


def _repeated_phrase(phrase: str, small_n: int) -> Test:
    """The phrase so many times, another word in it exchanged each time."""
    wanted = string(phrase, "phrase").split()
    number = whole(small_n, "small_n", 1)
    first, last = re.escape(wanted[0]), re.escape(wanted[-1])
    # At most so many characters between: the reference's pattern takes quadratic time.
    pattern = re.compile(rf"{first} .{{0,{4 * len(phrase) + 80}}}? {last}")

    def test(text: str) -> bool:
        found = [match.split() for match in pattern.findall(text)]
        exchanged = [
            sum(a != b for a, b in zip(words, wanted, strict=True)) if len(words) == len(wanted) else 0
            for words in found
        ]
        return len(found) == number and all(changes == 1 for changes in exchanged)

    return test


def _no_adjacent_letters() -> Test:
    def test(text: str) -> bool:
        letters = [word[0].lower()[:1] for word in text.split()]
        return not any(ord(right) - ord(left) == 1 for left, right in itertools.pairwise(letters))

    return test


def _first_words(first_word: object) -> Test:
    """Every sentence begins with the word."""
    wanted = _one(first_word, "first_word")

    def test(text: str) -> bool:
        found = pieces.sentences(text)
        return bool(found) and all(sentence.split()[0].lower() == wanted for sentence in found)

    return test


def _last_words(last_word: object) -> Test:
    """Every sentence ends with the word, punctuation marks aside."""
    wanted = _one(last_word, "last_word")

    def test(text: str) -> bool:
        found = pieces.sentences(text)
        return bool(found) and all(_bare(sentence.split()[-1]) == wanted for sentence in found)

    return test


def _one(word: object, name: str) -> str:
    """A word that the data give as it is or in a list."""
    return string(word[0] if isinstance(word, list) and word else word, name).strip().lower()


def _bare(word: str) -> str:
    return re.sub(r"[^\w\s]", "", word).lower()


def _first_word(first_word: str) -> Test:
    wanted = string(first_word, "first_word").strip().lower()
    return lambda text: text.lower().split()[:1] == [wanted]


def _last_word(last_word: str) -> Test:
    wanted = string(last_word, "last_word").strip().lower()
    return lambda text: [_bare(word) for word in text.split()[-1:]] == [wanted]


def _bigrams_wrapped() -> Test:
    def test(text: str) -> bool:
        words = text.split()
        pairs = zip(words[::2], words[1::2], strict=False)
        return all(left.startswith("<<") and right.endswith(">>") for left, right in pairs)

    return test


def _composition(n_sent: int, n_words: int) -> Test:
    """Three paragraphs of so many sentences of so many words each."""
    three, lengths = divided(3), [whole(n_words, "n_words", 1)] * whole(n_sent, "n_sent", 1)

    def test(text: str) -> bool:
        parts = [part for part in text.split("***") if part.strip()]
        return three(text) and all([len(pieces.words(s)) for s in pieces.sentences(p)] == lengths for p in parts)

    return test


def _unique_words() -> Test:
    return lambda text: max(pieces.ngrams(pieces.words(text), 1).values(), default=1) == 1


def _incremented(keyword1: str, keyword2: str) -> Test:
    once, twice = frequency(keyword1, 1), frequency(keyword2, 2)
    return lambda text: once(text) and twice(text)


def _placed(keyword: str, n: int, m: int) -> Test:
    """The m-th word of the n-th sentence."""
    wanted, sentence, place = string(keyword, "keyword").strip(), whole(n, "n", 1), whole(m, "m", 1)

    def test(text: str) -> bool:
        found = pieces.sentences(text)
        return len(found) >= sentence and pieces.words(found[sentence - 1])[place - 1 : place] == [wanted]

    return test


def _same_ends() -> Test:
    def test(text: str) -> bool:
        words = pieces.words(text.lower())
        return len(words) > 1 and words[0] == words[-1]

    return test


def _hyphenated() -> Test:
    """Sentences joined by hyphens with no white space around, and no hyphen within one."""

    def test(text: str) -> bool:
        parts, found = text.split("-"), pieces.sentences(text.replace("-", " "))
        pairs = zip(parts, found, strict=False)
        return bool(found) and all(part.rstrip(".!?") == sentence.rstrip(".!?") for part, sentence in pairs)

    return test


def _excluded(keyword: str, instruction: str = "") -> Test:
    wanted = string(keyword, "keyword").strip()
    return lambda text: f" {wanted} " not in text


def _without(sign: str) -> Callable[[], Test]:
    return lambda: lambda text: sign not in text


def _lowercase_words(N: int) -> Test:  # noqa: N803 (the data's own name)
    return counted(lambda text: len(re.findall(r"\b[a-z]+\b", text)), "at most", N)


def _letters(N: int, relation: str) -> Test:  # noqa: N803
    return counted(lambda text: len(re.findall(r"[a-zA-Z]", text)), relation, N)


def _copies(prompt_to_repeat: str, N: int) -> Test:  # noqa: N803
    return _copied(prompt_to_repeat, whole(N, "N", 1))


IFRLVR: dict[str, Callable[..., Test]] = {
    "copy:repeat_phrase": _repeated_phrase,
    "copy:copy": lambda prompt_to_repeat: _copied(prompt_to_repeat),
    "copy:copying_simple": lambda prompt_to_repeat: _copied(prompt_to_repeat),
    "copy:copying_multiple": _copies,
    "new:copy_span_idx": _copied_span,
    "detectable_format:sentence_hyphens": _hyphenated,
    "detectable_format:square_brackets": lambda: lambda text: all(w[0] + w[-1] == "[]" for w in text.split()),
    "detectable_format:bigram_wrapping": _bigrams_wrapped,
    "keywords:no_adjacent_consecutive": _no_adjacent_letters,
    "keywords:word_once": lambda keyword: frequency(keyword, 1),
    "keywords:word_count_different_numbers": frequency,
    "keywords:exclude_word_harder": _excluded,
    "keywords:palindrome": lambda: lambda text: any(word == word[::-1] for word in text.split()),
    "keywords:keyword_specific_position": _placed,
    "keywords:start_end": _same_ends,
    "paragraphs:paragraphs": lambda: divided(2),
    "paragraphs:paragraphs2": lambda: divided(2, "\n\n"),
    "first_word:first_word_sent": _first_words,
    "first_word:first_word_answer": _first_word,
    "last_word:last_word_sent": _last_words,
    "last_word:last_word_answer": _last_word,
    "punctuation:punctuation_dot": _without("."),
    "punctuation:punctuation_exclamation": _without("!"),
    "count:lowercase_counting": _lowercase_words,
    "count:counting_composition": _composition,
    "count:count_unique": _unique_words,
    "count:count_increment_word": _incremented,
    "letters:letter_counting": _letters,
    "letters:letter_counting2": letter_frequency,
}
