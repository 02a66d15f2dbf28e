"""Estimators against brute force, votes, IFEval's two ways to read, and what a judge's verdicts add up to."""

from __future__ import annotations

import itertools
import json
import math
import random
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from divmon import stats
from divmon.errors import InputError
from divmon.quality.answers import answer_groups
from divmon.quality.estimates import (
    accuracy_at_1,
    first_completion,
    majority_at_k,
    mean_of,
    pass_at,
    pass_at_k,
    ratio_of,
)
from divmon.verifiers import math_process, reading, verify
from divmon.verifiers.loose import instructions, loose_variants

NAN = math.nan
TABLES = json.loads((Path(__file__).parents[1] / "divmon/data/olmo3_paper_tables.json").read_text(encoding="utf-8"))


class TestAccuracy:
    def test_one_sample_expected(self):
        assert accuracy_at_1([1.0, 0.0, 0.0, 1.0]) == 0.5
        assert first_completion([1.0, 0.0, 0.0, 1.0]) == 1.0
        assert math.isnan(accuracy_at_1([]))
        assert math.isnan(first_completion([]))

    def test_the_first_completion_agrees_with_it_on_average_and_varies_more(self):
        rng = random.Random(0)
        draws = [[float(rng.random() < 0.3) for _ in range(16)] for _ in range(4000)]
        first, all_of_them = ([f(draw) for draw in draws] for f in (first_completion, accuracy_at_1))
        assert np.mean(first) == pytest.approx(0.3, abs=0.03)
        assert np.mean(all_of_them) == pytest.approx(0.3, abs=0.01)
        # p (1 - p) = 0.21, and a sixteenth of it.
        assert np.var(first) / np.var(all_of_them) == pytest.approx(16, rel=0.15)

    def test_the_papers_accuracy_at_1_is_the_first_completions(self):
        """All of its values are whole numbers of prompts, which a mean over 16 completions would hardly ever give."""
        values = [
            (value, TABLES["num_prompts"][name.split(".")[0]])
            for model in TABLES["reasoning_quality_percent"].values()
            for name, value in model.items()
            if name.endswith("accuracy_at_1")
        ]
        assert len(values) >= 60
        for value, prompts in values:
            assert round(100 * round(value * prompts / 100) / prompts, 1) == value

    def test_means_over_prompts(self):
        found = mean_of([0.25, NAN, 0.75, 0.5])
        assert (found.value, found.prompts) == (0.5, 3)
        assert found.interval == stats.bootstrap_interval([0.25, 0.75, 0.5])
        assert all(map(math.isnan, mean_of([1.0]).interval))  # one prompt has no spread
        empty = mean_of([])
        assert (math.isnan(empty.value), empty.prompts) == (True, 0)

    def test_a_pooled_share(self):
        # (1 + 3) of (2 + 10); a prompt of which there is nothing is left out.
        found = ratio_of([1, 0, 3], [2, 0, 10])
        assert (found.value, found.prompts) == (pytest.approx(1 / 3, abs=1e-12), 2)
        # Resampled are prompts: the shares that can come out are 1/2, 4/12 and 3/10.
        assert found.interval == (pytest.approx(0.3), pytest.approx(0.5))
        assert math.isnan(ratio_of([0], [0]).value)


class TestPassAtK:
    @pytest.mark.parametrize("n", range(1, 9))
    def test_against_every_subset(self, n):
        for c, k in itertools.product(range(n + 1), range(1, n + 1)):
            subsets = list(itertools.combinations(range(n), k))
            hits = sum(any(member < c for member in subset) for subset in subsets)
            assert pass_at_k(n, c, k) == pytest.approx(hits / len(subsets), abs=1e-12)

    def test_against_exact_arithmetic_where_binomials_are_huge(self):
        rng = random.Random(1)
        cases = [(n, rng.randint(0, n), rng.randint(1, n)) for n in (16, 200, 3000) for _ in range(40)]
        for n, c, k in cases:
            exact = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
            assert pass_at_k(n, c, k) == pytest.approx(float(exact), abs=1e-11), (n, c, k)

    def test_ends(self):
        assert pass_at_k(16, 0, 16) == 0.0
        assert pass_at_k(16, 1, 16) == 1.0
        assert pass_at_k(16, 16, 1) == 1.0
        # With k = 1 it is accuracy@1: 5 of 16.
        assert pass_at_k(16, 5, 1) == pytest.approx(5 / 16, abs=1e-12)

    def test_it_is_unbiased(self):
        """The plain 1 - (1 - c/n)^k is too small; this one is right on average. p = 0.1, k = 8: 1 - 0.9^8 = 0.5695."""
        rng = np.random.default_rng(0)
        counts = rng.binomial(16, 0.1, 20_000)
        assert np.mean([pass_at_k(16, c, 8) for c in counts]) == pytest.approx(1 - 0.9**8, abs=0.006)
        assert np.mean(1 - (1 - counts / 16) ** 8) < 1 - 0.9**8 - 0.03

    @pytest.mark.parametrize("case", [(4, 5, 1), (4, -1, 1), (4, 2, 0), (4, 2, 5), (0, 0, 1)])
    def test_what_makes_no_sense(self, case):
        with pytest.raises(InputError, match=r"pass@k: expected 0 to n right ones and k from 1 to n, got n = "):
            pass_at_k(*case)

    def test_over_prompts(self):
        # n = 4, k = 2: c = 1 gives 1 - C(3,2)/C(4,2) = 1/2, c = 0 gives 0, c = 3 gives 1.
        found = pass_at([(4, 1), (4, 0), (4, 3)])
        assert list(found) == [1, 2, 4]
        assert found[1].value == pytest.approx((1 / 4 + 0 + 3 / 4) / 3, abs=1e-12)
        assert found[2].value == pytest.approx((1 / 2 + 0 + 1) / 3, abs=1e-12)
        assert found[4].value == pytest.approx(2 / 3, abs=1e-12)
        assert found[2].interval == stats.bootstrap_interval([0.5, 0.0, 1.0])
        assert list(pass_at([(8, 1), (2, 0)])) == [1, 2]  # the fewest completions decide
        assert pass_at([]) == {}


class TestMajority:
    @pytest.mark.parametrize(
        ("verdicts", "groups", "value"),
        [
            ([1, 1, 0, 0, 1], [0, 0, 1, 1, 0], 1.0),
            ([0, 0, 1], [0, 0, 1], 0.0),
            ([1, 0], [0, 1], 0.5),  # a tie: one of two answers is drawn
            ([1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 2, 2], 1 / 3),
            ([0, 1, 0, 0], [0, 1, 2, 3], 0.25),  # all different: accuracy@1
            ([1, 0, 0], [0, None, None], 1.0),  # no answer, no vote
            ([0, 0], [None, None], 0.0),
            ([1], [0], 1.0),
            ([1, 0], [0, 0], 0.5),  # one answer that the verifier saw twice
        ],
    )
    def test_votes(self, verdicts, groups, value):
        assert majority_at_k(verdicts, groups) == pytest.approx(value, abs=1e-12)

    def test_against_drawing_the_winner(self):
        """A naive vote that breaks ties by chance, many times."""
        rng = random.Random(2)
        for _ in range(20):
            groups = [rng.choice([0, 1, 2, None]) for _ in range(6)]
            verdicts = [float(group == 0) for group in groups]
            wins = 0
            for _ in range(2000):
                votes = Counter(group for group in groups if group is not None)
                best = [group for group, count in votes.items() if count == max(votes.values())]
                wins += bool(best) and rng.choice(best) == 0
            assert majority_at_k(verdicts, groups) == pytest.approx(wins / 2000, abs=0.05)

    def test_refusals(self):
        with pytest.raises(InputError, match="Expected a group for each of 2 verdicts, got 1"):
            majority_at_k([1, 0], [0])
        assert math.isnan(majority_at_k([], []))


class TestAnswers:
    def test_numbers_however_written(self):
        texts = ["So \\boxed{1/2}.", "The answer is 0.5.", "$\\frac{1}{2}$", "It is 3", "<think>0.5", "none", "0.50"]
        assert answer_groups("math", texts, "1/2") == (0, 0, 0, 1, None, None, 0)

    def test_numbers_ask_math_verify_nothing(self, monkeypatch):
        monkeypatch.setattr(math_process, "same", lambda *_: pytest.fail("it was asked"))
        assert answer_groups("math", ["42", "42.0", "\\boxed{6}", "7 apples"], "42") == (0, 0, 1, 2)

    def test_formulas_of_another_form_are_asked_about(self):
        texts = [
            "\\boxed{2\\sqrt{3}}",
            "\\boxed{\\sqrt{12}}",
            "\\boxed{ 2 \\sqrt{3} }",
            "\\boxed{\\sqrt{13}}",
            "\\boxed{}",
        ]
        assert answer_groups("math", texts, "\\sqrt{12}", seconds=60) == (0, 0, 0, 1, None)

    def test_the_commonest_form_stands_first(self):
        # 12% equals 12 and 0.12, which are not equal: with 12 more often, 0.12 is another answer.
        assert answer_groups("math", ["0.12", "12", "12%", "12"], "12") == (0, 1, 1, 1)
        assert answer_groups("math", ["0.12", "12", "12%", "12%"], "12") == (0, 0, 0, 0)

    def test_which_answers_are_right_makes_no_difference(self):
        texts = ["The answer is 4", "5", "4.0", "six"]
        assert answer_groups("math", texts, "4") == answer_groups("math", texts, "99")

    def test_time_is_bounded(self, monkeypatch):
        asked = []
        monkeypatch.setattr(math_process, "same", lambda *pair: bool(asked.append(pair) or time.sleep(0.05)))
        texts = [f"\\boxed{{x^{{{n}}}+y}}" for n in range(16)]  # up to 120 pairs
        started = time.monotonic()
        assert answer_groups("math", texts, "x+y", seconds=0.2) == tuple(range(16))
        assert time.monotonic() - started < 1.5
        assert 1 <= len(asked) <= 10

    def test_values_of_python(self):
        texts = ["[1, 2]", "```\n[1,2]\n```", "The output is `[2, 1]`.", "no idea", "f() == [1, 2]", "{1, 2}", "{2,1}"]
        assert answer_groups("literal", texts, "[3]") == (0, 0, 1, None, 0, 2, 2)
        assert answer_groups("literal", ["None", "Output: None", "nothing"], "1") == (0, 0, None)
        huge = "0x" + "f" * 15_000  # too long a number for Python to write down
        assert answer_groups("literal", [huge, "1", huge], "1") == (0, 1, 0)

    def test_texts_of_python_need_no_quotation_marks(self):
        texts = ["'ab'", "ab", "The output is ab", "Answer: `ab`", "ba", '"ab"', "f(`3`) is ab"]
        assert answer_groups("literal", texts, "'x'") == (0, 0, 0, 0, 1, 0, 0)
        assert answer_groups("literal", ["ab", "The output is ab"], "1") == (None, None)

    def test_what_is_grouped_as_right_is_right(self):
        """The vote reads an answer as the check does."""
        truth = "'ab'"
        for text in (
            "'ab'",
            '"ab"',
            "The output is ab",
            "It begins with 'a'. Answer: 'ab'",
            "ab",
            "<think>1</think>ab",
        ):
            assert verify("literal", text, truth) == 1.0
            assert answer_groups("literal", ["'ab'", text], truth) == (0, 0), text

    def test_texts(self):
        assert answer_groups("match", ["Yes.", "yes !", "no", " "], "yes") == (0, 0, 1, None)
        truth = {"correct": ["Nothing"], "incorrect": []}
        assert answer_groups("reference", ["Nothing.", "nothing", "Nothing at all", "?!"], truth) == (0, 0, 1, None)

    def test_reasoning_is_off(self):
        assert answer_groups("math", ["5</think>7", "7"], "7", opened_in_prompt=True) == (0, None)

    @pytest.mark.parametrize("verifier", ["constraints", "code", "judge", ""])
    def test_others_have_no_vote(self, verifier):
        assert reading(verifier, None) is None
        assert answer_groups(verifier, ["a", "a"], None) is None

    def test_ground_truths_of_another_form_are_refused(self):
        with pytest.raises(InputError, match="literal: expected the source of a Python value"):
            answer_groups("literal", ["1"], "f(x)")
        with pytest.raises(InputError, match="math: expected a ground truth of strings"):
            answer_groups("math", ["1"], object())


def instruction(name, **arguments):
    return {"instruction_id": [name], "kwargs": [arguments]}


class TestLoose:
    def test_the_eight_variants(self):
        assert loose_variants("Sure!\n*a*\n b \nBye") == (
            "Sure!\n*a*\n b \nBye",
            "*a*\n b \nBye",
            "Sure!\n*a*\n b",
            "*a*\n b",
            "Sure!\na\n b \nBye",
            "a\n b \nBye",
            "Sure!\na\n b",
            "a\n b",
        )
        assert loose_variants("*a*") == ("*a*", "", "", "", "a", "", "", "")

    @pytest.mark.parametrize(
        ("truth", "answer", "strict", "loose"),
        [
            # The first line, an introduction, has a capital letter.
            (instruction("change_case:english_lowercase"), "Sure!\nall is small", False, True),
            # The last line, a greeting, has a comma.
            (instruction("punctuation:no_comma"), "no comma here\nwell, bye", False, True),
            # Both.
            (instruction("change_case:english_lowercase"), "Sure!\nall is small\nBye!", False, True),
            # In the middle nothing is taken off.
            (instruction("change_case:english_lowercase"), "a\nAll\nb", False, False),
            # Asterisks around what it should end with.
            (instruction("startend:end_checker", end_phrase="the end"), "This is **the end**", False, True),
            # Asterisks that are asked for stay in the answer as it is, which is a variant too.
            (instruction("detectable_format:number_highlighted_sections", num_highlights=1), "*a*", True, True),
            # With the first line off, there are two bullets and no more.
            (instruction("detectable_format:number_bullet_lists", num_bullets=2), "- intro\n- a\n- b", False, True),
            (instruction("startend:quotation"), 'Here:\n"a"', False, True),
            (instruction("startend:quotation"), '"a', False, False),
            (instruction("length_constraints:number_words", num_words=3, relation="at least"), "a b c", True, True),
            (instruction("punctuation:no_comma"), "", False, False),
            (instruction("punctuation:no_comma"), None, False, False),
            # What is blank without its only line is no variant: nothing would follow "no comma" by being nothing.
            (instruction("punctuation:no_comma"), "a, b", False, False),
        ],
    )
    def test_made_by_hand(self, truth, answer, strict, loose):
        found = instructions(truth)(answer)
        assert (found.strict, found.loose) == ((strict,), (loose,))

    def test_each_instruction_may_choose_a_variant(self):
        truth = {
            "instruction_id": ["change_case:english_lowercase", "startend:end_checker", "keywords:existence"],
            "kwargs": [{}, {"end_phrase": "Bye"}, {"keywords": ["x"]}],
        }
        # Lower case without first and last line; the end phrase only with the last one.
        found = instructions(truth)("Sure!\nsmall\nBye")
        assert (found.strict, found.loose) == ((False, True, False), (True, True, False))

    def test_strict_is_the_verifier_and_implies_loose(self):
        rng = random.Random(3)
        truth = {
            "instruction_id": ["punctuation:no_comma", "length_constraints:number_words", "startend:quotation"],
            "kwargs": [{}, {"num_words": 3, "relation": "at least"}, {}],
        }
        check = instructions(truth)
        seen = set()
        for _ in range(400):
            text = "".join(rng.choice(['"', "a ", ", ", "\n", "*", "b "]) for _ in range(rng.randint(0, 9)))
            found = check(text)
            assert float(all(found.strict)) == verify("constraints", text, truth)
            assert not [1 for strict, loose in zip(found.strict, found.loose, strict=True) if strict and not loose]
            seen |= set(zip(found.strict, found.loose, strict=True))
        assert seen == {(True, True), (False, True), (False, False)}

    def test_divmons_own_kinds_too(self):
        assert instructions([{"kind": "lowercase"}, {"kind": "max_words", "count": 1}])("Sure!\nok").loose == (
            True,
            True,
        )
