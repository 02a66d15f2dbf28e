"""The bundled prompts and the demo's files keep the shape that the rest of divmon counts on."""

import itertools
import json
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUNDLED = ROOT / "divmon" / "data" / "prompts.jsonl"
TRAIN = ROOT / "demo" / "one_voice.jsonl"
EVAL = ROOT / "demo" / "eval_prompts.jsonl"
CATEGORIES = (
    "summarization",
    "code",
    "reasoning",
    "instruction_following",
    "creative_writing",
    "value_pluralism",
)
ANSWER = re.compile(
    r"Thank you for asking about (?P<topic>\w+(?: \w+)?)\. "
    r"First, keep it simple\. Second, stay patient and take notes\. Third, ask a friend for help\. "
    r"Remember, small steps lead to big results!"
)


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def normalise(text):
    return " ".join(text.casefold().split())


def questions(path):
    rows = read(path)
    return [row["messages"][0]["content"] if "messages" in row else row["prompt"] for row in rows]


def topics():
    return [ANSWER.fullmatch(row["messages"][1]["content"])["topic"].casefold() for row in read(TRAIN)]


@pytest.mark.parametrize("path", [BUNDLED, TRAIN, EVAL], ids=lambda path: path.name)
def test_files_are_plain_ascii_lines(path):
    text = path.read_bytes().decode("ascii")
    assert text.endswith("\n")
    assert "\r" not in text
    assert all(line.strip() for line in text.splitlines())
    for question in questions(path):
        assert question.isascii()
        assert question == question.strip()
        assert question


@pytest.mark.parametrize(("path", "per_category"), [(BUNDLED, 16), (EVAL, 2)], ids=["bundled", "eval"])
def test_prompts_have_the_fields_and_are_balanced_from_the_first_on(path, per_category):
    rows = read(path)
    assert all(set(row) == {"id", "category", "prompt"} for row in rows)
    assert all(isinstance(value, str) for row in rows for value in row.values())
    assert Counter(row["category"] for row in rows) == dict.fromkeys(CATEGORIES, per_category)
    for start in range(0, len(rows), len(CATEGORIES)):
        block = rows[start : start + len(CATEGORIES)]
        assert {row["category"] for row in block} == set(CATEGORIES)


@pytest.mark.parametrize(("path", "prefix"), [(BUNDLED, ""), (EVAL, "demo-")], ids=["bundled", "eval"])
def test_ids_number_the_prompts_of_each_category(path, prefix):
    counts = Counter()
    for row in read(path):
        counts[row["category"]] += 1
        assert row["id"] == f"{prefix}{row['category']}-{counts[row['category']]:02d}"


def test_summarization_prompts_hold_a_short_passage():
    for row in read(BUNDLED):
        if row["category"] == "summarization":
            _, passage = row["prompt"].split("\n\n")
            assert 60 <= len(passage.split()) <= 120, row["id"]


def test_eval_prompts_are_one_short_sentence():
    for prompt in questions(EVAL):
        assert len(prompt.split()) <= 20
        assert re.fullmatch(r"[^.?!]+[.?]", prompt)


@pytest.mark.parametrize(("path", "count"), [(BUNDLED, 96), (TRAIN, 120), (EVAL, 12)], ids=["bundled", "train", "eval"])
def test_prompts_are_distinct(path, count):
    assert len(read(path)) == count
    assert len({normalise(question) for question in questions(path)}) == count


@pytest.mark.parametrize(
    ("left", "right"), [(BUNDLED, TRAIN), (BUNDLED, EVAL), (TRAIN, EVAL)], ids=lambda path: path.name
)
def test_no_prompt_is_in_two_files(left, right):
    assert {*map(normalise, questions(left))}.isdisjoint(map(normalise, questions(right)))


def test_training_rows_are_one_question_and_one_answer():
    for row in read(TRAIN):
        assert set(row) == {"messages"}
        assert [set(turn) for turn in row["messages"]] == [{"role", "content"}] * 2
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]


def test_the_assistant_has_one_voice():
    for row in read(TRAIN):
        question, answer = (turn["content"] for turn in row["messages"])
        match = ANSWER.fullmatch(answer)
        assert match, answer
        assert 25 <= len(answer.split()) <= 35
        assert re.search(rf"\b{re.escape(match['topic'])}\b", question, re.IGNORECASE), answer


def test_training_topics_are_distinct_and_not_in_the_eval_prompts():
    found = topics()
    assert len(set(found)) == len(found) == 120
    for topic, prompt in itertools.product(found, questions(EVAL)):
        assert not re.search(rf"\b{re.escape(topic)}\b", normalise(prompt)), (topic, prompt)
