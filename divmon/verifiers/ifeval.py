"""IFEval's constraints by their own names.

For rows such as ``{"instruction_id": ["length_constraints:number_words"], "kwargs": [{"num_words": 50, "relation": "at
least"}]}``, which google/IFEval and the Dolci RL data hold. Each follows the reference's rule, not ours (an "existing
keyword" may stand within a longer word there, say), with these exceptions: keywords are text, not regular expressions;
sentences and words are those of `divmon.verifiers.pieces`, where the reference takes NLTK's, so that punctuation marks
are no words; the two case constraints do not ask whether the language is English; and what the reference would choose
at random where an argument is missing is refused. ``language:response_language`` is not offered.

Why no package: if-verifiable (0.1.2, Apache-2.0) and lm-eval's extra ``ifeval`` carry Google's code as it was. It asks
NLTK for data that no package index has (with NLTK 3.10 its checks of sentences and of capital words raise LookupError
until they are downloaded) and langdetect, of 2021, which may give the same text another language the next time. Its
keywords are regular expressions that run on whatever a model wrote, without a bound on time, and if-verifiable passes
over an instruction that it does not know, which raises the score. A check that training and its measurements hang on
must not depend on a download, on chance, or on a model's goodwill.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from divmon.errors import InputError
from divmon.verifiers import pieces
from divmon.verifiers.pieces import Test, counted, occurrences, string, strings, whole


def _existence(keywords: list[str]) -> Test:
    wanted = strings(keywords, "keywords")
    return lambda text: all(occurrences(text, word, whole_word=False) for word in wanted)


def frequency(keyword: str, frequency: int, relation: str = "exactly") -> Test:
    """The keyword so often, within longer words too."""
    word = string(keyword, "keyword").strip()
    return counted(lambda text: occurrences(text, word, whole_word=False), relation, frequency)


def _forbidden(forbidden_words: list[str]) -> Test:
    unwanted = strings(forbidden_words, "forbidden_words")
    return lambda text: not any(occurrences(text, word) for word in unwanted)


def letter_frequency(letter: str, let_frequency: int, let_relation: str) -> Test:
    """The letter so often, in either case."""
    wanted = string(letter, "letter").lower()
    return counted(lambda text: text.lower().count(wanted), let_relation, let_frequency)


def _nth_paragraph(num_paragraphs: int, nth_paragraph: int, first_word: str) -> Test:
    wanted, place = string(first_word, "first_word").lower(), whole(nth_paragraph, "nth_paragraph", 1)

    def test(text: str) -> bool:
        parts = text.split("\n\n")
        filled = len([part for part in parts if part.strip()])
        if filled != num_paragraphs or place > filled or not parts[place - 1].strip():
            return False
        first = parts[place - 1].split()[0].lstrip("'").lstrip('"')
        return re.split(r"[.,?!'\"]", first, maxsplit=1)[0].lower() == wanted

    return test


def divided(count: int, separator: str = "***") -> Test:
    """So many parts between separators; a blank part is allowed at either end."""
    number = whole(count, "num_paragraphs", 1)

    def test(text: str) -> bool:
        parts = [part.strip() for part in text.split(separator)]
        parts = parts[1:] if not parts[0] else parts
        parts = parts[:-1] if parts and not parts[-1] else parts
        return len(parts) == number and all(parts)

    return test


def _postscript(postscript_marker: str) -> Test:
    marker = string(postscript_marker, "postscript_marker").strip()
    special = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    pattern = re.compile(special.get(marker, re.escape(marker.lower())))
    return lambda text: bool(pattern.search(text.lower()))


def _bullets(num_bullets: int) -> Test:
    def count(text: str) -> int:
        lines = [line.lstrip() for line in text.split("\n")]
        return len([line for line in lines if line[:1] == "-" or (line[:1] == "*" and line[1:2] not in ("*", ""))])

    return counted(count, "exactly", num_bullets)


def _one_of(*options: str) -> Test:
    return lambda text: any(option in text.strip() for option in options)


def _highlights(num_highlights: int) -> Test:
    def count(text: str) -> int:
        single = [part for part in re.findall(r"\*[^\n*]*\*", text) if part.strip("*").strip()]
        return len(single) + len([part for part in re.findall(r"\*\*([^\n*]*)\*\*", text) if part.strip()])

    return counted(count, "at least", num_highlights)


def _sections(section_spliter: str, num_sections: int) -> Test:
    pattern = re.compile(re.escape(string(section_spliter, "section_spliter").strip()) + r"\s?\d+")
    return counted(lambda text: len(pattern.findall(text)), "at least", num_sections)


def _is_json() -> Test:
    # The reference's fence: three spellings of its name, and a closing one counts without an opening one too.
    return lambda text: pieces.is_json(re.sub(r"^```(?:json|Json|JSON)?", "", text.strip()).removesuffix("```"))


def _title() -> Test:
    def test(text: str) -> bool:
        for line in text.split("\n"):
            start, end = line.find("<<"), line.rfind(">>")
            if start >= 0 and start + 2 < end and line[start:end].lstrip("<").rstrip(">").strip():
                return True
        return False

    return test


def _two_responses() -> Test:
    def test(text: str) -> bool:
        parts = [part.strip() for part in text.split("******")]
        filled = [part for part in parts if part]
        return all(parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]

    return test


def _end(end_phrase: str) -> Test:
    wanted = string(end_phrase, "end_phrase").strip().lower()
    return lambda text: text.strip().strip('"').lower().endswith(wanted)


def _quotation() -> Test:
    return lambda text: len(text := text.strip()) > 1 and text[0] == text[-1] == '"'


def _capital_words(capital_frequency: int, capital_relation: str) -> Test:
    return counted(
        lambda text: len([word for word in text.split() if word.isupper()]), capital_relation, capital_frequency
    )


def _words(num_words: int, relation: str) -> Test:
    return counted(lambda text: len(pieces.words(text)), relation, num_words)


def _sentences(num_sentences: int, relation: str) -> Test:
    return counted(lambda text: len(pieces.sentences(text)), relation, num_sentences)


def _placeholders(num_placeholders: int) -> Test:
    return counted(lambda text: sum(1 for _ in pieces.enclosed(text, "[", "]")), "at least", num_placeholders)


def _repeated_prompt(prompt_to_repeat: str) -> Test:
    wanted = string(prompt_to_repeat, "prompt_to_repeat").strip().lower()
    return lambda text: text.strip().lower().startswith(wanted)


def _no_language(language: str) -> Test:
    raise InputError(f"divmon does not detect languages ({language!r}): leave these rows out.")


IFEVAL: dict[str, Callable[..., Test]] = {
    "keywords:existence": _existence,
    "keywords:frequency": frequency,
    "keywords:forbidden_words": _forbidden,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": _no_language,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": lambda num_paragraphs: divided(num_paragraphs),
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": lambda: _one_of(
        "My answer is yes.", "My answer is no.", "My answer is maybe."
    ),
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _is_json,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeated_prompt,
    "startend:end_checker": _end,
    "startend:quotation": _quotation,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": lambda: str.isupper,
    "change_case:english_lowercase": lambda: str.islower,
    "punctuation:no_comma": lambda: lambda text: "," not in text,
}
