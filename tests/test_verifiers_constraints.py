"""Format constraints: each kind held and broken, IFEval's and IF-RLVR's names likewise, refusals with the near miss."""

from __future__ import annotations

import json

import pytest
from datasets import Dataset

from divmon.errors import InputError
from divmon.verifiers import check_ground_truth, verify
from divmon.verifiers.constraints import KINDS
from divmon.verifiers.ifeval import IFEVAL
from divmon.verifiers.ifrlvr import IFRLVR


def holds(answer, *constraints):
    return verify("constraints", answer, list(constraints)) == 1


# kind -> arguments, answers that hold, answers that do not
CASES = [
    ("max_words", {"count": 3}, ["a b c", "one.", "a, b; c!"], ["a b c d", "don't do it"]),
    ("min_words", {"count": 3}, ["a b c", "a b c d"], ["a b", "..."]),
    ("exact_words", {"count": 3}, ["a b c", "well-known fact"], ["a b", "a b c d"]),
    ("num_words", {"count": 3, "relation": "less than"}, ["a b"], ["a b c"]),
    ("num_words", {"count": 3, "relation": "more than"}, ["a b c d"], ["a b c"]),
    ("num_words", {"count": 3.0}, ["a b c"], ["a b"]),  # as Arrow gives whole numbers where a column has nulls
    (
        "num_sentences",
        {"count": 2},
        ["One. Two.", "he has 4 . she has 5 .", "Really?! Yes", "one\ntwo"],
        ["One.", "a. b. c.", "3.5 of them"],
    ),
    ("num_paragraphs", {"count": 2}, ["a\nb\n\nc", "a\n\n\n\nb", "\n\na\n\nb\n\n"], ["a\nb", "a\n\nb\n\nc"]),
    ("num_lines", {"count": 2}, ["a\nb", "a\n\n b \n"], ["a", "a\nb\nc"]),
    (
        "num_list_items",
        {"count": 2},
        ["- a\n- b", "Here:\n* a\n  • b\nDone.", "1. a\n2) b", "- a\n1. b"],
        ["- a", "-a\n-b", "a - b\nc - d", "- \n- b", "1990 was\n- a", "- a\n- b\n- c"],
    ),
    ("num_list_items", {"count": 2, "marker": "bullet"}, ["- a\n- b\n1. c"], ["1. a\n2. b"]),
    ("num_list_items", {"count": 2, "marker": "number", "relation": "at least"}, ["1. a\n2. b\n3. c"], ["- a\n- b"]),
    ("separated_by", {"separator": ",", "count": 3}, ["a, b, c", " a,b,c "], ["a, b", "a, b,", "a,, c", "a b c"]),
    ("separated_by", {"separator": "\n", "count": 2}, ["a\nb", "\na\nb\n"], ["a", "a\n\nb"]),
    ("separated_by", {"separator": "***", "count": 2}, ["a *** b"], ["a ** b", "***"]),
    (
        "starts_with",
        {"text": "The sea"},
        ["The sea is", "the SEA.", '"The sea" it is', "\n the sea"],
        ["The seaside", "Oh, the sea"],
    ),
    ("starts_with", {"text": "Dear,"}, ["dear,you"], ["dear you"]),
    (
        "ends_with",
        {"text": "the sea"},
        ["It is the sea", "It is the Sea.", 'He said "the sea!"', "the sea . "],
        ["It is the sea, yes", "bathe sea", "the seas"],
    ),
    ("ends_with", {"text": "Right?"}, ["Is it right?"], ["It is right.", "It is right"]),
    (
        "includes",
        {"words": ["Sea", "the cat"]},
        ["The cat at SEA", "sea: the cat!"],
        ["seas and the cat", "cat the sea"],
    ),
    ("includes", {"words": ["c++"]}, ["I like C++."], ["I like c"]),
    ("includes", {"words": "sea"}, ["the sea"], ["the lake"]),
    ("excludes", {"words": ["sea", "lake"]}, ["season", "a pond"], ["The Sea", "lake."]),
    ("repeats", {"word": "ha", "count": 3}, ["Ha ha, HA!", "ha-ha ha"], ["ha ha", "ha ha haha", "ha ha ha ha"]),
    ("repeats", {"word": "ha", "count": 2, "relation": "at least"}, ["ha ha ha"], ["ha"]),
    ("no_repeats", {}, ["a b c a b d", "one"], ["a b c, A B C"]),
    ("no_repeats", {"n": 1, "times": 2}, ["a a b b"], ["a b a b a"]),
    ("uppercase", {}, ["COLD TEA, 2 CUPS!"], ["Cold", "COLD tEA", "42!"]),
    ("lowercase", {}, ["cold tea, 2 cups."], ["Cold tea", "42"]),
    ("quoted", {}, ['"so it is"', ' "a" ', "“a”"], ['"a', 'a"', '"a" he said', '""', '"']),
    ("no_commas", {}, ["a; b"], ["a, b"]),
    ("json", {}, ['{"a": [1, 2]}', "```json\n[1]\n```", "42"], ["{a: 1}", "```\nno\n```", "{}```", "[" * 100_000]),
]


def test_every_kind_is_covered():
    assert {case[0] for case in CASES} == set(KINDS)


@pytest.mark.parametrize(("kind", "arguments", "good", "bad"), CASES)
def test_kinds(kind, arguments, good, bad):
    for answer in good:
        assert holds(answer, {"kind": kind, **arguments}), answer
    for answer in bad:
        assert not holds(answer, {"kind": kind, **arguments}), answer


def test_all_must_hold():
    both = [{"kind": "max_words", "count": 3}, {"kind": "includes", "words": ["sea"]}]
    assert holds("the sea", *both)
    assert not holds("the lake", *both)
    assert not holds("here it is the sea", *both)


def test_nothing_meets_no_constraint():
    for kind in ("no_commas", "no_repeats"):
        assert not holds("", {"kind": kind})
        assert not holds("<think>a</think> \n", {"kind": kind})


class TestForms:
    TRUTH = ({"kind": "max_words", "count": 3}, {"kind": "no_commas"})

    @pytest.mark.parametrize(
        "form", [list, json.dumps, lambda truth: repr(list(truth)), lambda truth: list(map(str, truth))]
    )
    def test_lists_and_texts(self, form):
        assert verify("constraints", "a b c", form(self.TRUTH)) == 1
        assert verify("constraints", "a, b", form(self.TRUTH)) == 0

    def test_one_constraint_alone(self):
        assert verify("constraints", "a b c", self.TRUTH[0]) == 1

    def test_what_arrow_makes_of_rows_that_differ(self):
        rows = [
            {"ground_truth": [{"kind": "max_words", "count": 3}]},
            {"ground_truth": [{"kind": "includes", "words": ["a"]}]},
        ]
        first, second = Dataset.from_list(rows)["ground_truth"]
        assert first == [{"kind": "max_words", "count": 3, "words": None}]
        assert verify("constraints", "a b", first) == 1
        assert verify("constraints", "a b c d", second) == 1

    IFEVAL_ROW = (
        {
            "instruction_id": ["length_constraints:number_words", "punctuation:no_comma"],
            "kwargs": [{"num_words": 3, "relation": "at least", "keywords": None}, None],
        },
    )

    @pytest.mark.parametrize(
        "form", [list, json.dumps, repr, lambda truth: [repr(list(truth))], lambda truth: [json.dumps(truth[0])]]
    )
    def test_open_instructs_form(self, form):
        """A list, JSON or (in the Dolci data) a list with one Python literal in it."""
        truth = form(self.IFEVAL_ROW)
        assert verify("constraints", "a b c", truth) == 1
        assert verify("constraints", "a, b, c", truth) == 0
        assert verify("constraints", "a b", truth) == 0

    def test_ifevals_own_form(self):
        row = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
        assert verify("constraints", "a b", row) == 1
        assert verify("constraints", "a b", {"instruction_id": "punctuation:no_comma"}) == 1


class TestRefusals:
    @pytest.mark.parametrize(
        ("truth", "expected"),
        [
            ([{"kind": "max_word", "count": 1}], "Unknown kind of constraint 'max_word': did you mean 'max_words'"),
            ([{"count": 1}], "Unknown kind of constraint None"),
            ([{"kind": "max_words", "counts": 1}], "Unknown argument of max_words 'counts': did you mean 'count'"),
            ([{"kind": "max_words"}], "max_words needs count"),
            ([{"kind": "separated_by"}], "separated_by needs separator and count"),
            ([{"kind": "max_words", "count": "3"}], "max_words: count: expected a whole number of at least 0, got '3'"),
            ([{"kind": "max_words", "count": -1}], "at least 0, got -1"),
            ([{"kind": "max_words", "count": 1.5}], "got 1.5"),
            ([{"kind": "max_words", "count": True}], "got True"),
            ([{"kind": "num_words", "count": 1, "relation": "atleast"}], "relation 'atleast': did you mean 'at least'"),
            ([{"kind": "num_list_items", "count": 1, "marker": "bullets"}], "marker 'bullets': did you mean 'bullet'"),
            ([{"kind": "includes", "words": []}], "includes: words: expected a list of words, got"),
            ([{"kind": "includes", "words": [" "]}], "words: expected a text, got ' '"),
            ([{"kind": "starts_with", "text": 3}], "text: expected a text, got 3"),
            ([{"kind": "separated_by", "separator": "", "count": 2}], "separator: expected a text, got ''"),
            ([{"kind": "no_repeats", "n": 0}], "no_repeats: n: expected a whole number of at least 1"),
            (
                [{"instruction_id": ["length_constraints:number_word"], "kwargs": [{}]}],
                "mean 'length_constraints:number_words'",
            ),
            (
                [{"instruction_id": ["punctuation:no_comma"], "kwargs": []}, 3],
                r"expected a list of {kind: ...}, got '3'",
            ),
            ([{"instruction_id": ["a", "b"], "kwargs": [{}]}], "as many kwargs as there are instruction_ids"),
            (
                [{"instruction_id": ["punctuation:no_comma"], "kwargs": ["x"]}],
                "expected the kwargs of punctuation:no_comma as",
            ),
            (
                [{"instruction_id": ["language:response_language"], "kwargs": [{"language": "de"}]}],
                r"divmon does not detect languages \('de'\): leave these rows out",
            ),
            (
                [{"instruction_id": ["length_constraints:number_words"], "kwargs": [{"num_words": 3}]}],
                "length_constraints:number_words needs relation",
            ),
            ([], "expected at least one constraint"),
            (None, "expected at least one constraint"),
            ("no json", "Expected JSON or a Python literal, got 'no json'"),
            ("[" * 10_000, "Expected JSON or a Python literal"),
            ("42", "expected a list of constraints, got 42"),
            (42, "expected a list of constraints, got 42"),
        ],
    )
    def test_malformed(self, truth, expected):
        with pytest.raises(InputError, match=expected):
            check_ground_truth("constraints", truth)
        with pytest.raises(InputError, match=expected):
            verify("constraints", "a b c", truth)


# id -> arguments, answers that hold, answers that do not; checked against the reference implementations beforehand
NAMED = {
    "keywords:existence": ({"keywords": ["cat", "sea"]}, ["Cats at SEA"], ["a cat"]),
    "keywords:frequency": ({"keyword": "cat", "frequency": 2, "relation": "at least"}, ["cat cats"], ["cat"]),
    "keywords:forbidden_words": ({"forbidden_words": ["cat"]}, ["cats"], ["a Cat."]),
    "keywords:letter_frequency": ({"letter": "A", "let_frequency": 2, "let_relation": "less than"}, ["a b"], ["a A"]),
    "length_constraints:number_sentences": ({"num_sentences": 2, "relation": "at least"}, ["A. B."], ["A."]),
    "length_constraints:number_paragraphs": ({"num_paragraphs": 2}, ["a *** b", "***\na\n***\nb"], ["a", "a****** b"]),
    "length_constraints:number_words": ({"num_words": 3, "relation": "less than"}, ["a b"], ["a b c", "don't go"]),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Sea"},
        ["a\n\nsea, b", "a\n\n'sea'"],
        ["a\n\nb sea", "sea", "a\n\nsea\n\nb"],
    ),
    "detectable_content:number_placeholders": ({"num_placeholders": 2}, ["[a] and [b c]"], ["[a]", "[a\nb] [c]"]),
    "detectable_content:postscript": ({"postscript_marker": "P.P.S"}, ["x\np. p. s. y"], ["x\nP.S. y"]),
    "detectable_format:number_bullet_lists": ({"num_bullets": 2}, ["* a\n- b", "-a\n  *b"], ["* a", "** a\n* b"]),
    "detectable_format:constrained_response": ({}, ["My answer is yes."], ["My answer is yes", "Yes."]),
    "detectable_format:number_highlighted_sections": (
        {"num_highlights": 2},
        ["*a* and *b*", "**a** *b*"],
        ["*a*", "* *"],
    ),
    "detectable_format:multiple_sections": (
        {"section_spliter": "Section", "num_sections": 2},
        ["Section 1\na\nSection 2\nb"],
        ["Section 1", "SECTION 1 SECTION 2"],
    ),
    "detectable_format:json_format": ({}, ['{"a": 1}', "```json\n{}\n```", "{}```"], ["a", "```jSON\n{}\n```"]),
    "detectable_format:title": ({}, ["<<A title>>\nx"], ["<<>>", "<< \n>>", "<a>", ">>a<<"]),
    "combination:two_responses": ({}, ["a ****** b"], ["a", "a ****** a", "a ****** b ****** c"]),
    "combination:repeat_prompt": ({"prompt_to_repeat": "Do it "}, [" do it: so"], ["so: do it"]),
    "startend:end_checker": ({"end_phrase": "The end. "}, ['So "the end."'], ["The end"]),
    "startend:quotation": ({}, ['"a"'], ["a", '"a" b', '"']),
    "change_case:capital_word_frequency": (
        {"capital_frequency": 2, "capital_relation": "at least"},
        ["COLD, TEA-POT"],
        ["COLD tea"],
    ),
    "change_case:english_capital": ({}, ["COLD TEA"], ["Cold"]),
    "change_case:english_lowercase": ({}, ["cold tea"], ["Cold"]),
    "punctuation:no_comma": ({}, ["a; b"], ["a, b"]),
    "copy:repeat_phrase": (
        {"phrase": "the red cat", "small_n": 2},
        ["the big cat and the old cat"],
        ["the big cat", "the red cat and the old cat", "the big old cat and the old cat"],
    ),
    "copy:copy": ({"prompt_to_repeat": "Do it"}, [" do IT "], ["do it now"]),
    "copy:copying_simple": ({"prompt_to_repeat": "Do it"}, ["Do it"], ["Do"]),
    "copy:copying_multiple": (
        {"prompt_to_repeat": "Do it", "N": 2},
        ["Do it ****** do it"],
        ["Do it", "Do it ****** no"],
    ),
    "new:copy_span_idx": ({"prompt_to_repeat": "the cat", "n_start": 1, "n_end": 5}, ["he c"], ["the"]),
    "detectable_format:sentence_hyphens": (
        {},
        ["It is so.-That is it."],
        ["It is so. That is it.", "It is so.- That."],
    ),
    "detectable_format:square_brackets": ({}, ["[a] [b]"], ["[a] b", "[a b]"]),
    "detectable_format:bigram_wrapping": ({}, ["<<a b>> <<c d>> e"], ["<<a>> b", "a b"]),
    "keywords:no_adjacent_consecutive": ({}, ["a cat", "b a"], ["a bat"]),
    "keywords:word_once": ({"keyword": "cat"}, ["a Cat"], ["cat, cats", "dog"]),
    "keywords:word_count_different_numbers": (
        {"keyword": "cat", "frequency": 2, "relation": "at least"},
        ["cat cat"],
        ["cat"],
    ),
    "keywords:exclude_word_harder": ({"keyword": "cat", "instruction": "a cat"}, ["cat"], ["a cat sat"]),
    "keywords:palindrome": ({}, ["a level field"], ["cats run"]),
    "keywords:keyword_specific_position": ({"keyword": "cat", "n": 2, "m": 2}, ["Oh. A cat."], ["A cat. Oh.", "Oh."]),
    "keywords:start_end": ({}, ["Sea, the sea!"], ["sea", "sea lake"]),
    "paragraphs:paragraphs": ({}, ["a *** b"], ["a"]),
    "paragraphs:paragraphs2": ({}, ["a\n\nb"], ["a\nb", "a\n\nb\n\nc"]),
    "first_word:first_word_sent": ({"first_word": "we"}, ["We go. we rest."], ["We go. They rest."]),
    "first_word:first_word_answer": ({"first_word": "We"}, ["we go. They rest."], ["They go."]),
    "last_word:last_word_sent": ({"last_word": ["here"]}, ["We are here. Be here!"], ["Here we are."]),
    "last_word:last_word_answer": ({"last_word": "here"}, ["We are Here."], ["Here we are."]),
    "punctuation:punctuation_dot": ({}, ["a!"], ["a."]),
    "punctuation:punctuation_exclamation": ({}, ["a."], ["a!"]),
    "count:lowercase_counting": ({"N": 2}, ["a b C D"], ["a b c"]),
    "count:counting_composition": (
        {"n_sent": 2, "n_words": 2},
        ["We go. We run. *** We go. We run. *** We go. We run."],
        ["We go. *** We go. *** We go.", "We go. We run. *** We go. We run."],
    ),
    "count:count_unique": ({}, ["each word once."], ["each word each"]),
    "count:count_increment_word": (
        {"keyword1": "cat", "keyword2": "sea"},
        ["cat sea sea"],
        ["cat sea", "cat cat sea sea"],
    ),
    "letters:letter_counting": ({"N": 3, "relation": "at least"}, ["a b1c"], ["ab 12"]),
    "letters:letter_counting2": ({"letter": "a", "let_frequency": 2, "let_relation": "at least"}, ["aA"], ["a"]),
}


def test_every_name_is_covered():
    assert set(NAMED) == set(IFEVAL | IFRLVR) - {"language:response_language"}
    assert not set(IFEVAL) & set(IFRLVR)


@pytest.mark.parametrize("name", NAMED)
def test_names_of_ifeval_and_ifrlvr(name):
    arguments, good, bad = NAMED[name]
    truth = [{"instruction_id": [name], "kwargs": [arguments]}]
    for answer in good:
        assert verify("constraints", answer, truth) == 1, answer
    for answer in bad:
        assert verify("constraints", answer, truth) == 0, answer
