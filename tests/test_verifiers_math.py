"""Mathematical answers: which number counts, what equals what, and the process that asks math-verify."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from fractions import Fraction

import pytest

from divmon.verifiers import math_process, verify
from divmon.verifiers.math import last_boxed
from divmon.verifiers.math_process import MathVerifyError, same
from divmon.verifiers.number import Number, last_number, only_number, plain, read_number


def right(answer, truth):
    return verify("math", answer, truth) == 1


class TestNumbers:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("42", 42),
            ("-7", -7),
            ("+7", 7),
            ("- 5", -5),
            ("−7", -7),
            ("1,234", 1234),
            ("1,234,567.5", Fraction(2469135, 2)),
            ("1{,}234", 1234),
            ("1\\,234", 1234),
            ("1\u202f234", 1234),
            ("1\u00a0234", 1234),
            ("3.50", Fraction(7, 2)),
            (".5", Fraction(1, 2)),
            ("007", 7),
            ("1e5", 100_000),
            ("2 × 10^3", 2000),
            ("2\\cdot 10^{-3}", Fraction(1, 500)),
            ("3/4", Fraction(3, 4)),
            ("-3 / 4", Fraction(-3, 4)),
            ("3 1/2", Fraction(7, 2)),
            ("-3 1/2", Fraction(-7, 2)),
            ("½", Fraction(1, 2)),
            ("3½", Fraction(7, 2)),
            ("⅓", Fraction(1, 3)),
            ("\\frac{3}{4}", Fraction(3, 4)),
            ("-\\dfrac{ 3 }{4}", Fraction(-3, 4)),
            ("\\frac34", Fraction(3, 4)),
            ("\\frac{-3}{4}", Fraction(-3, 4)),
            ("2\\frac12", Fraction(5, 2)),
            ("$5", 5),
            ("-$5", -5),
            ("$-5", -5),
            ("٤٢", 42),
            ("４２", 42),
            ("12%", 12),
            ("12 percent", 12),
        ],
    )
    def test_read(self, text, value):
        assert read_number(plain(text)).value == value

    @pytest.mark.parametrize(
        "text", ["", "x", "5²", "2^10", "4 apples", "1,23", "3 5/4", "1/0", "1.2.3", "5!", "9" * 700, "1e999999", "--5"]
    )
    def test_not_a_number_as_a_whole(self, text):
        assert read_number(plain(text)) is None

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("Tom has 42 apples now .", 42),
            ("3 + 4 = 7", 7),
            ("10-5", 5),
            ("10 - 5", 5),
            ("from 3–5", 5),
            ("it is -5.", -5),
            ("(-5)", -5),
            ("the end.42", 42),
            ("it is...42", 42),
            ("at 12:30", 30),
            ("on 3/4/2024", 2024),
            ("1,2345", 2345),
            ("1,234,56", 56),
            ("in 5 10/2", 5),
            ("25 m²", 25),
            ("42cm", 42),
            ("H2O has 3 atoms", 3),
        ],
    )
    def test_the_last_one_of_a_text(self, text, value):
        assert last_number(plain(text)).number.value == value

    def test_none(self):
        for text in ("", "no number", "x2", "H2O", "version v3.14.15"):
            assert last_number(text) is None
        assert last_number("so 1/0").number is None

    def test_with_words_only(self):
        assert only_number("42 apples").value == 42
        assert only_number("about 42 of them.").value == 42
        for text in ("2\\pi", "2π", "4x^2", "2 and 3", "5²", "√5", "f(3)", "no"):
            assert only_number(text) is None

    def test_equality(self):
        third, half = Number(Fraction(1, 3)), Number(Fraction(1, 2))
        assert third.equals(Number(Fraction("0.333333"), exact=False))
        assert not third.equals(Number(Fraction("0.3333"), exact=False))
        assert not Number(Fraction(333333, 1000000)).equals(third)  # both exact
        percent = Number(Fraction(50), percent=True)
        assert percent.equals(half)
        assert half.equals(percent)
        assert percent.equals(Number(Fraction(50)))
        assert not percent.equals(Number(Fraction(5)))
        assert percent.equals(Number(Fraction(50), percent=True))
        assert not percent.equals(Number(Fraction(1, 2), percent=True))

    def test_random_numbers_survive_every_spelling(self):
        rng = random.Random(0)
        for _ in range(300):
            number = rng.randint(-(10**7), 10**7)
            for text in (f"{number}", f"{number:,}", f"{number}.00", f"So it is {number:,} in all.", f"({number})"):
                assert last_number(plain(text)).number.value == number, text
            over, under = rng.randint(-99, 99), rng.randint(1, 99)
            for text in (f"{over}/{under}", f"\\frac{{{over}}}{{{under}}}", f"it is {over}/{under} ."):
                assert last_number(plain(text)).number.value == Fraction(over, under), text


class TestBoxed:
    @pytest.mark.parametrize(
        ("text", "content"),
        [
            ("\\boxed{42}", "42"),
            ("\\boxed {1} or \\fbox{2}", "2"),
            ("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
            ("\\boxed{\\boxed{3}}", "\\boxed{3}"),
            ("\\boxed{1} and then \\boxed{2", "1"),
            ("\\boxed{a\\}b}", "a\\}b"),
            ("\\boxed{}", ""),
            ("} \\boxed{5} {", "5"),
            ("\\boxed{ {{} \\boxed{7}", "7"),
        ],
    )
    def test_found(self, text, content):
        assert last_boxed(text) == content

    def test_none(self):
        for text in ("", "42", "\\boxed{", "\\boxed 5", "boxed{5}"):
            assert last_boxed(text) is None


class TestWhichNumberCounts:
    def test_the_last_box_before_any_later_number(self):
        answer = "First \\boxed{41}, but no: \\boxed{42}, found in 7 steps."
        assert right(answer, "42")
        assert not right(answer, "41")
        assert not right(answer, "7")

    def test_else_the_last_number(self):
        answer = "Tom had 40 apples, got 2, so he has 42 apples, 3 of them green"
        assert right(answer, "3")
        assert not right(answer, "42")
        assert right("Tom has 42 apples now .", "42")
        assert right("He makes $18.", "#### 18")
        assert right("48+24 = <<48+24=72>>72 clips.\n#### 72", "Natalia sold 48/2 = 24.\n#### 72")

    def test_a_number_in_a_formula_is_the_formula(self):
        assert right("so $x = 12$.", "12")
        assert right("so \\(x = 12\\).", "12")
        assert right("\\[ 3x = 36 \\Rightarrow x = 12 \\]", "12")
        assert right("about $\\frac{12}{2}$ of them", "6")
        assert not right("we get $2\\sqrt{3}$", "3")
        assert right("It costs $5 and then $15, both.", "15")  # no formula, but money

    def test_a_number_in_a_power_or_root_is_the_whole_word(self):
        assert right("it is 2^10.", "1024")
        assert not right("it is 2^10.", "10")
        assert right("it is sqrt(25)", "5")
        assert right("it is √25", "5")
        assert not right("it is √25", "25")
        assert right("5²", "25")
        assert not right("5²", "5")

    def test_words_around_a_boxed_number(self):
        for boxed in ("42 apples", "42 \\text{ cm}", "\\$42", "42^\\circ", "\\text{42}", "x = 42", "42.0", "+42"):
            assert right(f"\\boxed{{{boxed}}}", "42"), boxed
        assert not right("\\boxed{42x}", "7")

    @pytest.mark.parametrize(
        "answer", ["no idea", "x2", "fortytwo", "\\boxed{}", "\\boxed{?}", "\\boxed{\\frac{1}", "4 2"]
    )
    def test_none_or_another(self, answer):
        assert not right(answer, "42")


class TestWhatEqualsWhat:
    @pytest.mark.parametrize(
        ("truth", "given"),
        [
            ("1/2", "\\frac12"),
            ("\\frac{1}{2}", "0.5"),
            ("\\dfrac{3}{4}", "\\tfrac{3}{4}"),
            ("1,234", "1234"),
            ("2.50", "2.5"),
            ("50", "50\\%"),
            ("0.5", "50\\%"),
            ("12\\%", "12"),
            ("-7", "−7"),
            ("1e5", "100,000"),
            ("$42$", "42"),
            ("\\boxed{42}", "42"),
            ("2\\sqrt{3}", "\\sqrt{12}"),
            ("x^2+2x+1", "(x+1)^2"),
            ("\\pi/4", "\\frac{\\pi}{4}"),
            ("(1,2)", "(1, 2)"),
            ("[1,2)", "\\left[1, 2\\right)"),
            ("\\{1,2\\}", "2, 1"),
            ("x=5", "5"),
            ("5", "x=5"),
            ("3+2i", "2i + 3"),
            ("x < 3", "3 > x"),
            ("B", "\\text{B}"),
            ("10:30", "10:30"),
        ],
    )
    def test_equal(self, truth, given):
        assert right(f"So \\boxed{{{given}}}.", truth)

    @pytest.mark.parametrize(
        ("truth", "given"),
        [
            ("1/2", "\\frac13"),
            ("0.333", "1/3"),
            ("7", "-7"),
            ("2\\sqrt{3}", "\\sqrt{13}"),
            ("x^2", "x^3"),
            ("(1,2)", "(2, 1)"),
            ("x", "y"),
            ("B", "C"),
            ("50", "5\\%"),
        ],
    )
    def test_not_equal(self, truth, given):
        assert not right(f"So \\boxed{{{given}}}.", truth)

    def test_numbers_and_several_right_answers(self):
        assert right("it is −7", -7)
        assert right("2.5", 2.5)
        assert right("three", ["3", "three"])
        assert right("3", ["3", "three"])
        assert not right("4", ["3", "three"])

    def test_a_formula_without_a_box(self):
        assert right("The area is $\\pi r^2$ where r = 3.", "\\pi r^2")
        assert right("Answer: x + 1", "x+1")
        assert right("The answer is Monday.", "Monday")
        assert not right("The answer is Sunday.", "Monday")


def test_a_batch_of_plain_answers_asks_nobody(monkeypatch):
    monkeypatch.setattr(math_process, "same", lambda *_: pytest.fail("math-verify was asked about numbers"))
    rng = random.Random(0)
    started = time.perf_counter()
    scores = [right(f"Tom had {rng.randint(1, 9)} apples , so he has {k % 7} apples now .", "3") for k in range(1600)]
    assert sum(scores) == pytest.approx(1600 / 7, abs=1)
    assert time.perf_counter() - started < 5  # 0.15 s alone


class TestAskingMathVerify:
    def test_repeats_are_not_asked_again(self):
        same.cache_clear()
        for _ in range(3):
            assert right("\\boxed{\\sqrt{8}}", "2\\sqrt{2}")
        assert same.cache_info().misses == 1

    @pytest.mark.parametrize(
        "text",
        [
            "10^{10^{10}}",  # a power inside Python's C code, which no signal interrupts
            "9^{9^{9^{9}}}",
            "\\int_0^\\infty \\sin(\\sin(\\sin(x^x))) dx",
            "(" * 150 + "x" + ")" * 150,
            "\\frac{" * 60 + "x",
            "x^" * 100,
            "\\left(" * 50,
            "!" * 200,
            "\\text{" * 60,
            "\\sum_{n=1}^{\\infty} \\frac{1}{n^{n^n}}",
        ],
    )
    def test_hostile_formulas_take_bounded_time(self, text, monkeypatch):
        monkeypatch.setattr(math_process, "SECONDS", 0.5)
        assert not same("x^2", "x+1")  # it runs
        started = time.perf_counter()
        assert not right(f"\\boxed{{{text}}}", "x^2+7")
        assert time.perf_counter() - started < 15
        monkeypatch.setattr(math_process, "SECONDS", 20)  # a busy machine is slow
        assert same("2\\sqrt{3}", f"\\sqrt{{12}} + {len(text)} - {len(text)}")  # and it runs again

    def test_what_takes_too_long_leaves_less_time_for_the_next(self, monkeypatch):
        monkeypatch.setattr(math_process, "SECONDS", 1.0)
        asked = math_process._MathVerify()
        try:
            assert asked.ask("x^2", "x*x")
            assert not asked.ask("7", "10^{10^{10}}")
            assert not asked.ask("7", "10^{10^{10}}+1")
            assert asked._overruns == 2
            assert asked.ask("x^2", "x*x")
            assert asked._overruns == 0
        finally:
            asked.close()

    def test_in_threads(self):
        found = {}
        names = list(range(8))

        def run(name):
            found[name] = right(f"\\boxed{{\\sqrt{{{4 * name + 4}}}}}", f"2\\sqrt{{{name + 1}}}")

        threads = [threading.Thread(target=run, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == dict.fromkeys(names, True)

    def test_leaves_alarms_alone(self):
        import signal

        seen = []
        before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
        try:
            handler = signal.getsignal(signal.SIGALRM)
            signal.setitimer(signal.ITIMER_REAL, 600)
            same.cache_clear()
            assert right("\\boxed{\\sqrt{8}}", "2\\sqrt{2}")
            assert signal.getitimer(signal.ITIMER_REAL)[0] > 500
            assert signal.getsignal(signal.SIGALRM) is handler
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert not seen

    def test_a_killed_child_is_replaced(self):
        assert same("x+1", "1+x")
        child = math_process._asked(os.getpid())._child
        child.kill()
        child.wait()
        assert same("x+2", "2+x")

    def test_what_cannot_run_says_so(self, monkeypatch, tmp_path):
        asked = math_process._MathVerify()
        broken = tmp_path / "worker.py"
        broken.write_text((math_process._WORKER).read_text().replace("import math_verify", "import no_such_module"))
        monkeypatch.setattr(math_process, "_WORKER", broken)
        with pytest.raises(
            MathVerifyError, match=r"No module named 'no_such_module'.*pip install 'math-verify\[antlr4-13-2\]'"
        ):
            asked.ask("x", "y")
        monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
        with pytest.raises(MathVerifyError, match="cannot be started"):
            asked.ask("x", "y")
        asked.close()
