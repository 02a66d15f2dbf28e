"""Answer extraction, sentence splitting, n-gram tokens."""

import re
import time

import numpy as np
import pytest

from divmon.text import extract_answer, has_unclosed_think, ngram_tokens, split_sentences

# name, completion, opened_in_prompt, answer with "drop", answer with "keep", unclosed?
CASES = [
    ("no tags", "An answer.", False, "An answer.", "An answer.", False),
    ("no tags, not stripped", " An answer.\n", False, " An answer.\n", " An answer.\n", False),
    ("one block", "<think>why</think>\n\nBecause. ", False, "Because.", "Because.", False),
    ("empty block", "<think>\n</think>\nYes", False, "Yes", "Yes", False),
    ("text before the block stays", "Well: <think>x</think>yes", False, "Well: yes", "Well: yes", False),
    ("several blocks", "<think>a</think>one <think>b</think>two", False, "one two", "one two", False),
    ("only a closing tag", "why\n</think>\nBecause.", False, "Because.", "Because.", False),
    ("only a closing tag, said so", "why\n</think>\nBecause.", True, "Because.", "Because.", False),
    ("the last closing tag counts", "a</think>b</think> c", False, "c", "c", False),
    ("prompt's block, then one more", "a</think>b <think>c</think>d", True, "b d", "b d", False),
    ("opening tag repeated", "<think>why</think>Because.", True, "Because.", "Because.", False),
    ("reasoning names the tag", "use <think> here</think>ok", True, "ok", "ok", False),
    ("first close ends a block", "<think>say <think> twice</think>ok", False, "ok", "ok", False),
    (
        "a quoted closing tag after the block is text",
        "<think>x</think>Write `</think>` at the end.",
        False,
        "Write `</think>` at the end.",
        "Write `</think>` at the end.",
        False,
    ),
    ("never closed", "<think>why", False, None, "<think>why", True),
    ("never closed, raw text kept", " <think>why\n", False, None, " <think>why\n", True),
    ("never closed, prompt's", "why, why", True, None, "why, why", True),
    ("opened again after the answer", "<think>a</think> b <think>c ", False, None, "b <think>c", True),
    ("prompt's block, opened again", "a</think>b<think>c", True, None, "b<think>c", True),
    ("opening tag at the very end", "<think>a</think>b<think>", False, None, "b<think>", True),
    ("empty", "", False, None, "", False),
    ("white space", " \n\t", False, None, "", False),
    ("nothing after the block", "<think>why</think>\n", False, None, "", False),
    ("empty, block opened in the prompt", "", True, None, "", True),
    ("the closing tag alone", "</think>", True, None, "", False),
    (
        "other tags are text",
        "<Think>a</Think><thinking>b",
        False,
        *["<Think>a</Think><thinking>b"] * 2,
        False,
    ),
]


@pytest.mark.parametrize(
    ("completion", "opened", "drop", "keep", "is_open"),
    [case[1:] for case in CASES],
    ids=[c[0] for c in CASES],
)
def test_extract_answer(completion, opened, drop, keep, is_open):
    assert extract_answer(completion, opened_in_prompt=opened) == drop
    assert extract_answer(completion, opened_in_prompt=opened, unclosed="keep") == keep
    assert has_unclosed_think(completion, opened_in_prompt=opened) is is_open


@pytest.mark.parametrize("text", ["<think>a</think>b", " <think>a", "a</think>b\n", "plain "])
def test_keep_think_leaves_the_text_alone(text):
    assert extract_answer(text, keep_think=True) == text
    assert extract_answer(text, keep_think=True, opened_in_prompt=True, unclosed="keep") == text


def test_keep_think_still_knows_an_empty_text():
    assert extract_answer(" \n", keep_think=True) is None
    assert extract_answer(" \n", keep_think=True, unclosed="keep") == ""


def test_blocks_against_the_regular_expression_of_balanced_text():
    """On balanced text the scanner does what the usual regular expression does."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        pieces = []
        for _ in range(rng.integers(0, 5)):
            inside, outside = ("".join(rng.choice(list("ab .\n<>"), rng.integers(0, 6))) for _ in range(2))
            pieces.append(f"<think>{inside}</think>{outside}" if rng.random() < 0.7 else outside)
        text = "".join(pieces)
        reference = re.sub(r"<think>.*?</think>", "", text, flags=re.DOTALL).strip()
        assert (extract_answer(text, unclosed="keep") or "").strip() == reference
        assert not has_unclosed_think(text)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        (" \n \n", []),
        ("One", ["One"]),
        # The terminators go where white space follows, so not at the very end.
        ("One. Two!  Three?", ["One", "Two", "Three?"]),
        ("One. Two. ", ["One", "Two"]),
        ("Wait... what?! No.", ["Wait", "what", "No."]),
        ("3.14 is pi", ["3.14 is pi"]),
        ("a\n\n b\nc", ["a", "b", "c"]),
        ("List:\n1. one\n2. two", ["List:", "1", "one", "2", "two"]),
        (". ! ?", ["?"]),
        ("...", ["..."]),
        ("a.\tb", ["a", "b"]),
        ("a.\u00a0b", ["a", "b"]),
    ],
)
def test_split_sentences(text, sentences):
    assert split_sentences(text) == sentences


def test_split_sentences_equals_the_plain_expression():
    """The guarded expression gives what the readable but quadratic one gives."""
    rng = np.random.default_rng(1)
    for _ in range(500):
        text = "".join(rng.choice(list("ab.!? \n\t"), rng.integers(0, 30)))
        plain = [part.strip() for part in re.split(r"[.!?]+\s+|\n+", text) if part.strip()]
        assert split_sentences(text) == plain


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        (". .\n", []),
        ("a b. c", ["a", "b", "c"]),
        ("a\nb c.", ["ab", "c"]),  # the newline goes before the split, as in the paper's code
        ("e.g. 3.14, no", ["eg", "314,", "no"]),
        ("a\tb\r\nc", ["a", "b", "c"]),
        ("Case Is Kept!", ["Case", "Is", "Kept!"]),
    ],
)
def test_ngram_tokens(text, tokens):
    assert ngram_tokens(text) == tokens


@pytest.mark.parametrize(
    "text",
    [
        "." * 1_000_000,
        "a" * 1_000_000,
        "\n" * 1_000_000,
        ". " * 500_000,
        "." * 500_000 + " " * 500_000,
        " " * 1_000_000,
        "<think>" * 150_000,
        "</think>" * 125_000,
        "<think>" * 75_000 + "</think>" * 65_000,
        "<think></think>" * 70_000,
        "<" * 1_000_000,
    ],
    ids=lambda text: repr(text[:10]),
)
def test_a_megabyte_takes_linear_time(text):
    start = time.perf_counter()
    for opened in (False, True):
        extract_answer(text, opened_in_prompt=opened)
        has_unclosed_think(text, opened_in_prompt=opened)
    split_sentences(text)
    ngram_tokens(text)
    assert time.perf_counter() - start < 5  # tens of milliseconds; minutes if quadratic
