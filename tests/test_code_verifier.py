"""Programs against their tests, in every form that data sets give them."""

import base64
import json
import pickle
import zlib

import pytest

from divmon.errors import InputError
from divmon.verifiers import check_ground_truth, code, code_tests, verify
from divmon.verifiers.code import assemble, extract_code, failures_allowed, same_output
from divmon.verifiers.code_tests import CodeTests, read_tests

RIGHT = "```python\ndef add(a, b):\n    return a + b\n```"
HALF = "```python\ndef add(a, b):\n    return a + b if a else 7\n```"
TESTS = ["assert add(1, 2) == 3", "assert add(0, 0) == 0", "assert add(-1, 1) == 0", "assert add(0, 1) == 1"]
PAIRS = [{"input": "1 2\n", "output": "3\n"}, {"input": "4 5\n", "output": "9"}]
HUMAN_EVAL = {
    "prompt": 'import math\n\ndef helper(x):\n    return x + 1\n\n\ndef twice(x):\n    """Two helpings."""\n',
    "entry_point": "twice",
    "test": "METADATA = {}\n\ndef check(candidate):\n    assert candidate(2) == 6\n    assert helper(1) == 2\n",
}
MBPP = {"test_list": ["assert area(1) == pi", "assert area(2) == 4 * pi"], "test_setup_code": "from math import pi"}


def score(completion, ground_truth, **options):
    return verify("code", completion, ground_truth, execute_code=True, **options)


def packed(content):
    return base64.b64encode(zlib.compress(pickle.dumps(content))).decode()


# ---------------------------------------------------------------------------------------------------------
# Scores
# ---------------------------------------------------------------------------------------------------------


def test_it_runs_nothing_unless_told(monkeypatch):
    monkeypatch.setattr(code, "run_tests", lambda *_, **__: pytest.fail("it ran"))
    monkeypatch.setattr(code, "run_python", lambda *_, **__: pytest.fail("it ran"))
    for truth in (TESTS, PAIRS, HUMAN_EVAL, MBPP):
        with pytest.raises(InputError, match="Nothing does so unless you say it: execute_code=True"):
            verify("code", RIGHT, truth)
        check_ground_truth("code", truth)
    with pytest.raises(InputError, match="execute_code=True"):
        verify("code", RIGHT, TESTS, execute_code="no")


def test_consent_is_no_part_of_a_ground_truths_memory(sandbox):
    assert score(RIGHT, TESTS) == 1.0
    with pytest.raises(InputError, match="execute_code=True"):
        verify("code", RIGHT, TESTS)


def test_shares_and_thresholds(sandbox):
    # HALF adds wrongly where a is 0: 2 of the 4 tests.
    assert score(RIGHT, TESTS) == 1.0
    assert score(HALF, TESTS) == 0.0
    assert score(HALF, TESTS, threshold=0.0) == 0.5
    assert score(HALF, TESTS, threshold=0.5) == 0.5
    assert score(HALF, TESTS, threshold=0.51) == 0.0
    assert score("I cannot.", TESTS, threshold=0.0) == 0.0


def test_reasoning_is_not_the_answer(sandbox):
    wrong = "```python\nadd = max\n```"
    assert score(f"<think>{wrong}</think>{RIGHT}", TESTS) == 1.0
    assert score(f"<think>{RIGHT}</think>{wrong}", TESTS) == 0.0
    assert score(f"<think>{RIGHT}", TESTS) == 0.0
    assert score(f"{wrong}</think>{RIGHT}", TESTS, opened_in_prompt=True) == 1.0
    assert score(RIGHT, TESTS, opened_in_prompt=True) == 0.0


@pytest.mark.parametrize(
    "fake",
    [
        "import os\nos._exit(0)",
        "import sys\nsys.exit(0)",
        "print('passed 4/4')\nraise SystemExit(0)",
        "class Yes:\n    def __eq__(self, other): return True\ndef add(a, b): return Yes()",
        "import builtins\nbuiltins.exec = lambda *a: None\nbuiltins.AssertionError = Warning\nadd = print",
        "def add(a, b):\n    raise SystemExit(0)",
        "assert_ = print\ndef add(a, b):\n    import sys\n    sys._getframe(1).f_trace = None\n    return None",
    ],
)
def test_fakes_get_nothing(sandbox, fake):
    assert score(f"```python\n{fake}\n```", TESTS, threshold=0.0, seconds=1.0) == 0.0


def test_standard_input_and_output(sandbox):
    program = "```python\nprint(sum(map(int, input().split())))\n```"
    assert score(program, PAIRS) == 1.0
    assert score("```\nprint(3)\n```", PAIRS) == 0.0
    assert score("```\nprint(3)\n```", PAIRS, threshold=0.0) == 0.5
    # Right output, then a failure: not right.
    assert score("```\nprint(3); raise ValueError\n```", PAIRS, threshold=0.0) == 0.0
    script = "def main():\n    print(sum(map(int, input().split())))\nif __name__ == '__main__':\n    main(); exit()"
    assert score(script, PAIRS) == 1.0


def test_output_that_is_wanted_may_be_long(sandbox):
    pair = {"input": "", "output": "x" * 200_000}
    assert score("print('x' * 200_000)", [pair]) == 1.0
    assert score("print('x' * 200_001)", [pair]) == 0.0


def test_humaneval(sandbox):
    assert score("    return helper(x) * 2\n", HUMAN_EVAL) == 1.0
    assert score("    return helper(x)\n", HUMAN_EVAL) == 0.0
    # An answer in full may leave out the prompt's helpers.
    full = "```python\ndef twice(x: int) -> int:\n    return 2 * helper(x)\n```"
    assert score(full, HUMAN_EVAL) == 1.0
    assert score("```python\ndef check(candidate): pass\ndef twice(x): return 0\n```", HUMAN_EVAL) == 0


def test_mbpp(sandbox):
    answer = "```python\nimport math\ndef area(r): return math.pi * r * r\n```"
    assert score(answer, MBPP) == 1.0
    assert score(answer, MBPP | {"test_setup_code": "", "test_imports": ["from math import pi"]}) == 1.0


def test_all_tests_together_have_a_limit(sandbox):
    slow = "import time\ndef add(a, b):\n    time.sleep(0.6)\n    return a + b"
    assert 0 < score(slow, TESTS * 5, threshold=0.0, total_seconds=1.0) <= 0.1


@pytest.mark.parametrize("threshold", [-0.1, 1.1, "1", True])
def test_thresholds_are_checked(threshold):
    with pytest.raises(InputError, match="threshold: expected a share from 0 to 1"):
        score(RIGHT, TESTS, threshold=threshold)


@pytest.mark.parametrize("limit", ["seconds", "total_seconds", "memory_mb"])
def test_limits_are_checked_before_anything_runs(monkeypatch, limit):
    monkeypatch.setattr(code, "run_tests", lambda *_, **__: pytest.fail("it ran"))
    with pytest.raises(InputError, match="expected a number of at least"):
        score(RIGHT, TESTS, **{limit: 0})


def test_rounding_of_thresholds():
    assert [failures_allowed(3, t) for t in (1.0, 2 / 3, 0.5, 0.0)] == [0, 1, 1, 3]
    assert failures_allowed(100, 0.99) == 1
    assert failures_allowed(10, 0.99) == 0


# ---------------------------------------------------------------------------------------------------------
# The program in an answer
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "program"),
    [
        ("x = 1", "x = 1"),
        ("```python\nx = 1\n```", "x = 1\n"),
        ("First\n```python\nx = 1\n```\nbetter:\n```py\nx = 2\n```\nDone.", "x = 2\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```Python3 title=a.py\nx = 1\n```", "x = 1\n"),
        # What the program prints, or another language, is not the program.
        ("```python\nx = 1\n```\nIt prints\n```\n3\n```", "x = 1\n"),
        ("```python\nx = 1\n```\n```bash\npython a.py\n```", "x = 1\n"),
        # Cut by a stop sequence or the token limit.
        ("Here:\n```python\nx = 1\n", "x = 1\n"),
        ("  ```python\n  x = 1\n  ```", "  x = 1\n"),
        # Fences inside a line are text.
        ('```python\nx = "```"\ny = 2\n```', 'x = "```"\ny = 2\n'),
        ("Use `x = 1`.", "Use `x = 1`."),
        ("```python\n```", ""),
    ],
)
def test_extract_code(answer, program):
    assert extract_code(answer) == program


def test_extraction_takes_linear_time():
    import time

    started = time.monotonic()
    for text in ("```" * 100_000, "```\n" * 100_000, "```python\n" * 50_000, "` " * 100_000):
        extract_code(text)
    assert time.monotonic() - started < 5


def test_assemble():
    tests = read_tests(HUMAN_EVAL)
    assert assemble("    return 1", tests) == HUMAN_EVAL["prompt"] + "    return 1"
    assert assemble("def twice(x): return 1", tests) == HUMAN_EVAL["prompt"] + "\n\ndef twice(x): return 1"
    assert assemble("def twice_more(x): return 1", tests).startswith(HUMAN_EVAL["prompt"] + "def")
    assert assemble("x", CodeTests(tests=("y",))) == "x"
    # What stood after a think block has lost the white space before its first line.
    assert assemble("y = 2\n    return x * y", tests) == HUMAN_EVAL["prompt"] + "    y = 2\n    return x * y"


@pytest.mark.parametrize(
    ("given", "wanted", "same"),
    [
        ("3\n", "3", True),
        (" 1 2 \n3\n\n", "1 2\n3", True),
        ("1 2", "1  2", True),  # as numbers
        ("1.0", "1", True),
        ("0.30", "0.3", True),
        ("a  b", "a b", False),
        ("1\n2", "1 2", False),
        ("", "", True),
        ("", "0", False),
        ("nan", "nan", True),
        ("snan 1", "snan 2", False),
        ("1e999999999999999999999", "2", False),
        ("Yes", "YES", False),
    ],
)
def test_same_output(given, wanted, same):
    assert same_output(given, wanted) is same


# ---------------------------------------------------------------------------------------------------------
# Ground truths
# ---------------------------------------------------------------------------------------------------------

ASSERTS = CodeTests(tests=tuple(TESTS))
INPUTS = CodeTests(pairs=(("1 2\n", "3\n"), ("4 5\n", "9")))


@pytest.mark.parametrize(
    ("truth", "tests"),
    [
        (TESTS, ASSERTS),
        (json.dumps(TESTS), ASSERTS),
        ([json.dumps(TESTS)], ASSERTS),  # as in Dolci-RL-Zero-Code
        (repr(TESTS), ASSERTS),
        (packed(TESTS), ASSERTS),
        ([packed(TESTS)], ASSERTS),
        (packed(json.dumps(TESTS)), ASSERTS),  # as in LiveCodeBench
        (PAIRS, INPUTS),
        ([json.dumps(PAIRS)], INPUTS),
        ([packed(PAIRS)], INPUTS),
        (PAIRS[0], CodeTests(pairs=INPUTS.pairs[:1])),
        ([{"input": ["1", "2"], "output": ["3"], "fn_name": None}], CodeTests(pairs=(("1\n2", "3"),))),
        (["assert add(1, 2) == 3"], CodeTests(tests=("assert add(1, 2) == 3",))),
        ("assert add(1, 2) == 3", CodeTests(tests=("assert add(1, 2) == 3",))),
        (MBPP, CodeTests(tests=tuple(f"from math import pi\n{test}" for test in MBPP["test_list"]))),
        (json.dumps(MBPP), CodeTests(tests=tuple(f"from math import pi\n{test}" for test in MBPP["test_list"]))),
        ({"test_list": ["assert a(1)"]}, CodeTests(tests=("assert a(1)",))),
        ({"test_list": ["assert a(1)"], "test_imports": "import b"}, CodeTests(tests=("import b\nassert a(1)",))),
    ],
)
def test_forms(truth, tests):
    assert read_tests(truth) == tests


def test_the_form_of_humaneval():
    tests = read_tests(HUMAN_EVAL)
    assert (tests.prompt, tests.entry_point) == (HUMAN_EVAL["prompt"], "twice")
    assert tests.tests == (f"{HUMAN_EVAL['test']}\n\ncheck(twice)\n",)


@pytest.mark.parametrize(
    "truth",
    [
        None,
        [],
        "",
        3,
        {"answer": 3},
        [1, 2],
        [{"input": "1"}],
        ["assert x(1)", {"input": 1, "output": 2}],
        "[not json",
        "bm90IHBpY2tsZQ==",
        packed([]),
        packed(3),
        {"test": "def check(c): pass", "entry_point": "a b"},
        {"test_list": []},
        {"test_list": "assert x(1)"},
        {"test_list": [1, 2]},
        base64.b64encode(zlib.compress(b"ch\x00no pickle")).decode(),
        base64.b64encode(zlib.compress(b"\x80\x04K\x01K\x01K\x02s.")).decode(),  # a pickle that raises a TypeError
    ],
)
def test_other_forms_are_refused(truth):
    with pytest.raises(InputError, match=r"^code: expected|^Expected JSON"):
        read_tests(truth)


def test_functions_to_call_are_named_as_unsupported():
    with pytest.raises(InputError, match="fn_name"):
        read_tests([{"input": "1", "output": "2", "fn_name": "f"}])


class Command:
    def __reduce__(self):
        return pytest.fail, ("it ran",)


def test_a_packed_ground_truth_cannot_run_code():
    hostile = base64.b64encode(zlib.compress(b"cos\nsystem\n(S'echo harmed'\ntR.")).decode()
    for text in (hostile, packed(Command()), packed([print])):
        with pytest.raises(InputError, match="not plain data"):
            read_tests(text)


def test_a_packed_ground_truth_has_a_limit(monkeypatch):
    monkeypatch.setattr(code_tests, "_MOST_BYTES", 1000)
    with pytest.raises(InputError, match="more than 1000 bytes"):
        read_tests(packed(["assert x(1)" + " " * 5000]))
