"""What all verifiers share: the answer that counts, unknown names, malformed ground truths, hostile texts; `match`."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from divmon.errors import InputError
from divmon.verifiers import VERIFIERS, check_ground_truth, verify
from divmon.verifiers.match import normalise

SHORT = [{"kind": "max_words", "count": 3}]
TRUTHS = {"math": "42", "constraints": SHORT, "match": "forty two"}
RIGHT = {"math": "It is 42.", "constraints": "so it is", "match": "Forty two."}


def test_these_are_among_them():
    assert set(TRUTHS) <= set(VERIFIERS)


@pytest.mark.parametrize("verifier", TRUTHS)
class TestAnswer:
    def test_stands_behind_the_think_block(self, verifier):
        right, truth = RIGHT[verifier], TRUTHS[verifier]
        assert verify(verifier, right, truth) == 1
        assert verify(verifier, f"<think>well, 7 of them, or perhaps more</think>\n\n{right}", truth) == 1
        assert verify(verifier, f"<think>{right}</think> no it is 7 of them", truth) == 0

    def test_an_open_think_block_has_none(self, verifier):
        right, truth = RIGHT[verifier], TRUTHS[verifier]
        assert verify(verifier, f"<think>{right}", truth) == 0
        assert verify(verifier, right, truth, opened_in_prompt=True) == 0
        assert verify(verifier, f"hm</think>{right}", truth, opened_in_prompt=True) == 1

    @pytest.mark.parametrize("nothing", ["", "  \n", "<think>x</think>", "<think>x</think> \n"])
    def test_nothing_is_not_right(self, verifier, nothing):
        assert verify(verifier, nothing, TRUTHS[verifier]) == 0

    @pytest.mark.parametrize(
        "text",
        [
            "4" * 1_000_000,
            "-" * 1_000_000,
            " " * 500_000 + "\n" * 500_000 + "x",
            "\\boxed{" * 140_000,
            "{" * 500_000 + "}" * 500_000,
            "$" * 1_000_000,
            "\\(" * 500_000,
            "\\[ x " * 200_000,
            "\\frac" * 200_000,
            "1 / " * 250_000,
            "1,234," * 170_000,
            "½" * 1_000_000,
            "a " * 500_000,
            "<<" * 500_000,
            "[" * 1_000_000,
            "* " * 500_000,
            '"' * 1_000_000,
            "." * 1_000_000,
            "the answer is " * 70_000,
            "\x00\ud800\udfff\u202e\ufeff" * 1000,
            "𝟜𝟚" * 100_000,
            "<think>" * 140_000,
        ],
        ids=lambda text: repr(text[:10]),
    )
    def test_hostile_texts_take_linear_time_and_raise_nothing(self, verifier, text):
        started = time.perf_counter()
        assert verify(verifier, text, TRUTHS[verifier]) in (0, 1)
        # Alone each takes less than a second; quadratic time would be minutes.
        assert time.perf_counter() - started < 20


def test_all_constraints_take_linear_time():
    every = [
        {"kind": "starts_with", "text": "a"},
        {"kind": "ends_with", "text": "a"},
        {"kind": "num_sentences", "count": 1, "relation": "at least"},
        {"kind": "num_list_items", "count": 0, "relation": "at least"},
        {"kind": "includes", "words": ["a"]},
        {"kind": "no_repeats", "n": 3, "times": 10**6},
        {
            "instruction_id": [
                "detectable_format:title",
                "detectable_content:number_placeholders",
                "detectable_format:number_highlighted_sections",
                "copy:repeat_phrase",
            ],
            "kwargs": [None, {"num_placeholders": 1}, {"num_highlights": 1}, {"phrase": "a b a", "small_n": 1}],
        },
    ]
    # One at a time, since the first that fails ends the check.
    for constraint in every[:-1] + [
        {"instruction_id": [name], "kwargs": [arguments]}
        for name, arguments in zip(every[-1]["instruction_id"], every[-1]["kwargs"], strict=True)
    ]:
        for text in ("a " * 500_000, "a<<[*" * 200_000, "a\n" * 500_000, "a. " * 300_000):
            started = time.perf_counter()
            assert verify("constraints", text, constraint) in (0, 1)
            assert time.perf_counter() - started < 20, (constraint, text[:10])


class TestRefusals:
    def test_an_unknown_verifier_names_the_near_miss(self):
        with pytest.raises(InputError, match="Unknown verifier 'maths': did you mean 'math'"):
            verify("maths", "42", "42")
        with pytest.raises(InputError, match="Unknown verifier 'xyz': known are math, constraints, match"):
            check_ground_truth("xyz", "42")

    @pytest.mark.parametrize("verifier", ["math", "match"])
    @pytest.mark.parametrize("truth", [None, "", "  ", [], [None], ["42", ""], {"a": 1}, True, [["42"]]])
    def test_what_is_no_answer(self, verifier, truth):
        with pytest.raises(InputError, match=f"{verifier}: expected the right answer as text or a number"):
            verify(verifier, "42", truth)
        with pytest.raises(InputError, match=f"{verifier}: expected"):
            check_ground_truth(verifier, truth)

    def test_what_is_no_json(self):
        with pytest.raises(InputError, match="match: expected a ground truth of strings, numbers and lists, got a set"):
            verify("match", "42", {"42"})

    def test_options_that_a_verifier_does_not_take(self):
        with pytest.raises(TypeError, match="execute_code"):
            verify("math", "4", "4", execute_code=True)

    def test_a_judge_is_no_function_of_one_answer(self):
        with pytest.raises(InputError, match="'judge' is a language model that has to be asked"):
            verify("judge", "4", "4")

    def test_values_of_numpy_are_as_good_as_pythons(self):
        assert verify("math", "42", np.int64(42)) == 1
        assert verify("match", "b", np.array(["a", "b"])) == 1


def test_a_ground_truth_is_read_once(monkeypatch):
    from divmon import verifiers

    made = []
    monkeypatch.setitem(verifiers._MAKERS, "match", lambda truth: made.append(truth) or (lambda answer: 1.0))
    for _ in range(3):
        assert verify("match", "x", ["read once only"]) == 1
    assert made == [["read once only"]]
    verifiers._made.cache_clear()


class TestMatch:
    @pytest.mark.parametrize(
        ("answer", "reference"),
        [
            ("Paris", "paris"),
            ("  the  Seine\nriver ", "The Seine river."),
            ("Tom has 42 apples now .", "Tom has 42 apples now."),
            ('"I do not know."', "I do not know"),
            ("“Yes!”", "yes"),
            ("Straße", "STRASSE"),
            ("b", ["a", "b"]),
            ("7", 7),
            ("2.5", 2.5),
        ],
    )
    def test_right(self, answer, reference):
        assert verify("match", answer, reference) == 1

    @pytest.mark.parametrize(
        ("answer", "reference"),
        [
            ("Paris is it", "Paris"),
            ("Pari", "Paris"),
            ("a", ["b", "c"]),
            ("no", "yes"),
            ("x-y", "xy"),
            ("...", "Paris"),
        ],
    )
    def test_wrong(self, answer, reference):
        assert verify("match", answer, reference) == 0

    def test_normalisation(self):
        assert normalise(" “A  b , c .”. ") == "a b, c"
        assert normalise('"') == '"'
        assert normalise("it's 'so'") == "it's 'so'"


def test_importing_the_verifiers_is_light():
    code = "import sys, json, divmon.verifiers, divmon.rewards; print(json.dumps(list(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "trl", "sympy", "math_verify", "numpy", "datasets", "nltk"}
    assert not heavy & set(json.loads(result.stdout))
