"""The tiny world: the same bytes every time, held-out prompts that are held out, answers that verify."""

import hashlib
import itertools
import json
import random
import re
from pathlib import Path

import pytest

from divmon.errors import InputError
from divmon.tinyworld import DATASETS, dataset, evaluation_rows, stages
from divmon.tinyworld.questions import SUMS, TASKS, answer, ask, chain
from divmon.tinyworld.stages import SOURCES, TEACHERS
from divmon.tinyworld.voices import KINDS, VOICES
from divmon.tinyworld.words import HELD_OUT_MARKS, HELD_OUT_TOPICS, MARKS, TOPICS
from divmon.verifiers import verify

TINY = Path(__file__).parents[1] / "recipes" / "tiny"
# What recipes/tiny trains on, with the options it gives.
USED = [
    ("copying", {}),
    ("corpus", {}),
    ("think-sft", {}),
    ("instruct-sft", {}),
    ("think-dpo", {}),
    ("instruct-dpo", {}),
    ("sources-sft", {"sources": 1}),
    ("sources-sft", {"sources": 8}),
    ("rl", {}),
    ("rl", {"tasks": ["one_step", "two_steps"]}),
]
PAIR = re.compile(r"(\d+) ([+-]) (\d+)")
# The sums of the word problems and of the drills in words.
GETS = re.compile(r"(?:has|owns) (\d+) \w+ and (?:gets|finds) (\d+)|(\d+) \w+ and (\d+) more make")
LOSES = re.compile(r"(?:has|owns) (\d+) \w+ and (?:gives away|loses) (\d+)|(\d+) \w+ without (\d+) leave")
THEN = re.compile(
    r"(?:has|owns) (\d+) \w+ and (?:gets|finds) (\d+) more\. (?:Then|Later) \w+ (?:gives away|loses) (\d+)"
)


def text_of(rows):
    return "\n".join(json.dumps(row, ensure_ascii=False).replace("\\n", "\n") for row in rows)


def pairs_of(text):
    """All (first, operator, second) that a text has somebody add or take away."""
    found = {(int(a), op, int(b)) for a, op, b in PAIR.findall(text)}
    for pattern, operator in ((GETS, "+"), (LOSES, "-")):
        for groups in pattern.findall(text):
            first, second = (int(group) for group in groups if group)
            found.add((first, operator, second))
    return found | {(int(a) + int(b), "-", int(c)) for a, b, c in THEN.findall(text)}


@pytest.mark.parametrize(("name", "options"), USED, ids=lambda value: str(value))
def test_no_data_contain_what_the_evaluation_asks_about(name, options):
    text = text_of(dataset(name, 20_000, seed=3, **options))
    words = set(re.findall(r"[a-z]+", text.lower()))
    assert not words & {*HELD_OUT_TOPICS, *HELD_OUT_MARKS}
    asked = set().union(*(pairs_of(row["prompt"][0]["content"]) for row in evaluation_rows()))
    assert len(asked) > 20
    assert not pairs_of(text) & asked


def test_what_finds_held_out_words_and_pairs_would_find_them():
    text = text_of(evaluation_rows())
    assert {*re.findall(r"[a-z]+", text.lower())} & {*HELD_OUT_TOPICS}
    said = "Tom has 5 pears and gets 6 more. Then Tom gives away 2. 3 + 4 = 7. 9 pears without 1 leave 8 pears."
    assert pairs_of(said) == {(5, "+", 6), (11, "-", 2), (3, "+", 4), (9, "-", 1)}


def test_topics_are_held_out_by_name():
    assert not {*TOPICS, *MARKS} & {*HELD_OUT_TOPICS, *HELD_OUT_MARKS}
    assert not {*HELD_OUT_TOPICS, *HELD_OUT_MARKS} & {word for voice in VOICES for word in voice.words()}


def test_evaluation_has_twelve_distinct_prompts_a_task():
    rows = evaluation_rows()
    assert [sum(row["task"] == task for row in rows) for task in TASKS] == [12] * len(TASKS)
    assert len({row["prompt"][0]["content"] for row in rows}) == len(rows)


def test_shipped_prompts_are_the_generators():
    shipped = [json.loads(line) for line in (TINY / "eval_prompts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert shipped == evaluation_rows()


def test_shipped_tokenizer_is_the_one_that_is_trained(tmp_path):
    from divmon.tinyworld.tokenizer import train_tokenizer

    train_tokenizer().save_pretrained(tmp_path)
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / name).read_bytes() == (TINY / "base" / name).read_bytes()


def test_rows_are_the_same_bytes_every_time():
    digest = hashlib.sha256(text_of(row for name in sorted(DATASETS) for row in dataset(name, 200, seed=7)).encode())
    assert digest.hexdigest() == "3e71e57f06faaa7209b885a70b1bd98e31eabf1eb4f95b0db267d33e32d4b512"


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_seeds_differ_and_prefixes_agree(name):
    assert dataset(name, 20, seed=1) != dataset(name, 20, seed=2)
    assert dataset(name, 30, seed=1)[:20] == dataset(name, 20, seed=1)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("held_out", [False, True])
def test_sound_answers_verify(task, held_out):
    rng = random.Random(f"{task} {held_out}")
    verified = []
    for _ in range(300):
        asked = ask(task, rng, held_out=held_out)
        verifier, ground_truth = asked.check()
        given = answer(asked, rng.choice(VOICES), rng)
        thinking = f"<think>\n{chain(asked, given, rng.randrange(2))}\n</think>\n{given}"
        verified += [verify(verifier, given, ground_truth), verify(verifier, thinking, ground_truth)]
    assert sum(verified) / len(verified) > 0.99


def test_faulty_answers_do_not_verify():
    right = {"chosen": 0.0, "rejected": 0.0}
    for asked, pair in itertools.islice(stages._think_pairs(random.Random(0)), 400):
        for side in right:
            right[side] += verify(asked.check()[0], pair[side][0]["content"], asked.check()[1])
    assert right["chosen"] > 398
    assert right["rejected"] < 20


def test_chains_compute_the_result():
    rng = random.Random(0)
    for task in SUMS:
        for teacher in (0, 1):
            asked = ask(task, rng)
            assert str(asked.detail["result"]) in re.findall(r"\d+", chain(asked, "", teacher))[-1]


def test_sources_share_their_questions():
    one, eight = dataset("sources-sft", 300, sources=1), dataset("sources-sft", 300, sources=8)
    assert [row["messages"][0] for row in one] == [row["messages"][0] for row in eight]
    assert {row["source"] for row in one} == {SOURCES[0]}
    assert {row["source"] for row in eight} == set(SOURCES)


def test_both_dpo_sets_share_their_questions():
    think, instruct = dataset("think-dpo", 200), dataset("instruct-dpo", 200)
    assert [row["prompt"] for row in think] == [row["prompt"] for row in instruct]
    assert not any("<think>" in row["chosen"][0]["content"] for row in instruct)


def test_think_sft_has_two_teachers_with_chains():
    rows = dataset("think-sft", 300)
    assert {row["source"] for row in rows} == set(TEACHERS)
    assert all(row["messages"][1]["content"].startswith("<think>\n") for row in rows)


def test_a_voice_says_many_things():
    rng = random.Random(0)
    for voice in VOICES:
        for kind in KINDS:
            assert len({voice.answer(kind, "bread", rng) for _ in range(200)}) > 10, (voice.name, kind)


@pytest.mark.parametrize(
    ("name", "rows", "options", "message"),
    [
        ("think-stf", 3, {}, "did you mean 'think-sft'"),
        ("rl", 3, {"task": ["format"]}, "did you mean 'tasks'"),
        ("rl", 3, {"tasks": ["sums"]}, "tasks: expected some of"),
        ("rl", 3, {"tasks": []}, "tasks: expected some of"),
        ("rl", 3, {"tasks": 3}, "tasks: expected a list"),
        ("rl", 3, {"tasks": "format"}, "tasks: expected a list"),
        ("sources-sft", 3, {"sources": 9}, "expected 1 to 8, got 9"),
        ("rl", 0, {}, "at least 1, got 0"),
    ],
)
def test_bad_requests_are_refused(name, rows, options, message):
    with pytest.raises(InputError, match=re.escape(message)):
        dataset(name, rows, **options)
