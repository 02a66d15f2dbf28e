"""Prompt sets: what can be given, what a dataset's row says, and the order and digest of a set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from datasets import Dataset

from divmon.errors import InputError
from divmon.prompt import Prompt, normalise, prompt_of_row
from divmon.prompts import PromptSet

USER = {"role": "user", "content": "what is two plus three?"}
ANSWER = {"role": "assistant", "content": "it is five."}
SYSTEM = {"role": "system", "content": "be short"}
MORE = {"role": "user", "content": "and minus one?"}


def write(tmp_path, *lines):
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


class TestGiven:
    def test_strings_and_chats(self):
        found = PromptSet.of(["tell me", [SYSTEM, USER], [USER, ANSWER, MORE]])
        assert found.source == "list"
        assert [prompt.id for prompt in found] == ["0", "1", "2"]
        assert found.prompts[0].text == "tell me"
        assert found.prompts[0].chat
        assert [prompt.messages for prompt in found][1:] == [(SYSTEM, USER), (USER, ANSWER, MORE)]

    def test_a_chat_is_asked_up_to_its_last_answer(self):
        ends = [[USER, ANSWER], [USER, ANSWER, MORE], [USER, ANSWER, MORE, ANSWER], [USER]]
        prompts = [PromptSet.of([chat]).prompts[0].messages for chat in ends]
        assert prompts == [(USER,), (USER, ANSWER, MORE), (USER, ANSWER, MORE), (USER,)]

    def test_objects_keep_tools_and_categories(self):
        row = {"id": "a", "prompt": "go", "tools": '[{"name": "f"}]', "category": "code", "task": "t", "other": 1}
        prompt = PromptSet.of([row]).prompts[0]
        assert (prompt.id, prompt.text, prompt.chat, prompt.category, prompt.task) == ("a", "go", True, "code", "t")
        assert prompt.tools == ({"name": "f"},)
        continued = PromptSet.of([{"prompt": [USER, ANSWER]}]).prompts[0]
        assert continued.messages == (USER, ANSWER)

    def test_objects_keep_verifiers(self):
        truth = [{"kind": "max_words", "count": 3}]
        rows = [
            {"prompt": "a", "verifier": "math", "ground_truth": "42", "task": "m"},
            {"messages": [USER], "verifier": "constraints", "ground_truth": truth, "task": "i"},
            {"prompt": [USER, ANSWER], "verifier": None, "ground_truth": None, "task": "o"},
            "b",
        ]
        found = PromptSet.of(rows)
        assert [(prompt.verifier, prompt.ground_truth) for prompt in found] == [
            ("math", "42"),
            ("constraints", truth),
            ("", None),
            ("", None),
        ]
        assert found.verified_tasks == ("m", "i")
        # They do not tell prompts apart: the same prompt is sampled with the same noise.
        assert found.prompts[0].key == PromptSet.of(["a"]).prompts[0].key
        assert found.digest == PromptSet.of([row if row == "b" else {**row, "verifier": None} for row in rows]).digest
        assert found.take(2).prompts[0].ground_truth == "42"

    @pytest.mark.parametrize(
        ("row", "expected"),
        [
            (
                {"prompt": "a", "verifier": "maths", "ground_truth": 4},
                "prompt 0: Unknown verifier 'maths': did you mean",
            ),
            ({"prompt": "a", "id": "p", "verifier": "math"}, "prompt p: math: expected the right answer"),
            (
                Prompt(id="q", text="a", verifier="constraints", ground_truth=[]),
                "prompt q: constraints: expected at least",
            ),
        ],
    )
    def test_a_ground_truth_is_checked_at_once(self, row, expected):
        with pytest.raises(InputError, match=expected):
            PromptSet.of([row])

    def test_a_set_and_a_dataset(self):
        given = PromptSet.bundled()
        assert PromptSet.of(given) is given
        rows = PromptSet.of(Dataset.from_list([{"prompt": "one"}, {"prompt": "two"}]))
        assert [prompt.text for prompt in rows] == ["one", "two"]

    def test_duplicates_collapse_and_the_first_stays(self):
        found = PromptSet.of([{"prompt": "a", "task": "x"}, "b", {"prompt": "a", "task": "y"}])
        assert [(prompt.text, prompt.task) for prompt in found] == [("a", "x"), ("b", "default")]

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ([], "No prompt in list: give at least one"),
            (5, "expected a list of strings or chats, a JSONL file or a PromptSet, got int"),
            ({"prompt": "one"}, "expected a list of strings or chats, a JSONL file or a PromptSet, got dict"),
            (b"one", "got bytes"),
            ([3], "prompt 0: expected a string, a chat"),
            ([USER], "prompt 0: expected a string, a chat"),
            ([[]], "prompt 0: expected a string, a chat"),
            ([[{"content": "no role"}]], "prompt 0: expected a string, a chat .list of turns with role and content"),
            ([[ANSWER]], "prompt 0: expected a string, a chat"),
            ([{"question": "one"}], "or an object with 'prompt' or 'messages'"),
            ([{"prompt": "one", "tools": "{"}], "prompt 0: 'tools' is a string but not JSON"),
            (
                [{"prompt": "one", "checklist": "Is it?"}],
                "prompt 0: expected 'checklist' as a list of texts, got 'Is it",
            ),
            ([{"prompt": "one", "checklist": [1]}], "prompt 0: expected 'checklist' as a list of texts, got '\\[1\\]'"),
            ("what is this?", "Cannot read the prompts of 'what is this\\?'.*themselves are given as a list"),
        ],
    )
    def test_bad_values(self, given, expected):
        with pytest.raises(InputError, match=expected):
            PromptSet.of(given)

    def test_a_prompt_has_one_content(self):
        for contents in ({}, {"text": "a", "token_ids": (1,)}, {"messages": ()}, {"token_ids": ()}):
            with pytest.raises(InputError, match="prompt x: expected one of text, messages and token_ids"):
                Prompt(id="x", **contents)


class TestFile:
    def test_strings_objects_and_blank_lines(self, tmp_path):
        lines = [
            '"one"',
            "",
            '{"prompt": "two", "id": "b"}',
            '{"messages": [{"role": "user", "content": "three"}]}',
            "",
        ]
        for path in (write(tmp_path, *lines), str(write(tmp_path, *lines))):
            found = PromptSet.of(path)
            assert [(prompt.id, prompt.plain_text) for prompt in found] == [("1", "one"), ("b", "two"), ("4", "three")]
            assert found.source == "prompts.jsonl"

    def test_only_newlines_end_a_line(self, tmp_path):
        text = "one\u2028two\x85three\x0cfour"
        path = write(tmp_path, json.dumps(text, ensure_ascii=False), '"five"')
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
        assert [prompt.text for prompt in PromptSet.from_file(path)] == [text, "five"]

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("tell me", "line 3: expected a JSON string or object, got 'tell me' .Expecting value"),
            ("{'prompt': 1}", "line 3: expected a JSON string or object"),
            ("5", "line 3: prompt 3: expected a string"),
            ('{"text": "a"}', "line 3: prompt 3: expected a string.*or an object with 'prompt' or 'messages'"),
        ],
    )
    def test_a_bad_line_is_named_by_number(self, line, expected, tmp_path):
        with pytest.raises(InputError, match=expected):
            PromptSet.from_file(write(tmp_path, '"one"', "", line))

    def test_verifiers(self, tmp_path):
        path = write(tmp_path, '"one"', '{"prompt": "two", "verifier": "math", "ground_truth": "42"}')
        assert [(prompt.verifier, prompt.ground_truth) for prompt in PromptSet.of(path)] == [("", None), ("math", "42")]
        with pytest.raises(InputError, match="line 2: prompt 2: Unknown verifier 'x'"):
            PromptSet.of(write(tmp_path, '"one"', '{"prompt": "two", "verifier": "x", "ground_truth": "42"}'))

    def test_unreadable(self, tmp_path):
        (tmp_path / "latin").write_bytes(b'"\xe9"')
        for path in (tmp_path / "none.jsonl", tmp_path, tmp_path / "latin"):
            with pytest.raises(InputError, match="Cannot read the prompts of"):
                PromptSet.from_file(path)
        with pytest.raises(InputError, match=r"No prompt in prompts.jsonl"):
            PromptSet.from_file(write(tmp_path, ""))


class TestRows:
    def test_messages_up_to_the_last_answer(self):
        row = {
            "messages": [SYSTEM, USER, ANSWER, MORE, ANSWER],
            "tools": [{"name": "f"}],
            "chat_template_kwargs": {"a": 1},
        }
        prompt = prompt_of_row(row, "7")
        assert prompt.messages == (SYSTEM, USER, ANSWER, MORE)
        assert (prompt.id, prompt.tools, prompt.template_kwargs) == ("7", ({"name": "f"},), {"a": 1})
        assert prompt.plain_text == "what is two plus three?\n\nit is five.\n\nand minus one?"

    def test_a_prompt_column_is_the_whole_prompt(self):
        assert prompt_of_row({"prompt": [USER, ANSWER], "messages": [MORE]}, "0").messages == (USER, ANSWER)
        plain = prompt_of_row({"prompt": "go on"}, "0")
        assert (plain.text, plain.chat) == ("go on", False)

    def test_pairs_share_their_prompt(self):
        other = {"role": "assistant", "content": "six"}
        row = {"chosen": [SYSTEM, USER, ANSWER], "rejected": [SYSTEM, USER, other]}
        assert prompt_of_row(row, "0").messages == (SYSTEM, USER)

    @pytest.mark.parametrize(
        "row",
        [
            {},
            {"text": "once"},
            {"prompt": None, "messages": None},
            {"prompt": ["a", "b"]},
            {"prompt": {"a": 1}},
            {"messages": []},
            {"messages": [ANSWER]},
            {"conversations": [{"from": "human", "value": "hi"}]},
            {"chosen": "a b", "rejected": "a c"},
            {"chosen": [ANSWER], "rejected": [SYSTEM]},
        ],
    )
    def test_no_prompt(self, row):
        assert prompt_of_row(row, "0") is None

    def test_parts_are_read(self):
        content = [{"type": "image"}, {"type": "text", "text": "what "}, "is", {"type": "text", "text": None}]
        assert prompt_of_row({"prompt": [{"role": "user", "content": content}]}, "0").plain_text == "what is"

    def test_normalise(self):
        assert normalise("  Tell\n ME\tabout\u00a0it ") == "tell me about it"


class TestSet:
    def test_bundled_is_balanced_from_the_first_on(self):
        found = PromptSet.bundled()
        assert len(found) == 96
        assert set(Counter(prompt.category for prompt in found).values()) == {16}
        for count in (6, 7, 12, 32, 96):
            counts = Counter(prompt.category for prompt in PromptSet.bundled(count))
            assert sum(counts.values()) == count
            assert len(counts) == 6
            assert max(counts.values()) - min(counts.values()) <= 1
            assert PromptSet.bundled(count).prompts == found.take(count).prompts

    def test_take_is_shared_evenly(self):
        sizes = {"a": 5, "b": 1, "c": 3}
        prompts = [Prompt(id=f"{t}{i}", text=f"{t}{i}", task=t) for t, size in sizes.items() for i in range(size)]
        found = PromptSet(tuple(prompts))
        assert found.tasks == ("a", "b", "c")
        for count, expected in [
            (3, (1, 1, 1)),
            (5, (2, 1, 2)),
            (7, (3, 1, 3)),
            (9, (5, 1, 3)),
            (50, (5, 1, 3)),
            (2, (1, 1)),
        ]:
            taken = found.take(count)
            counts = Counter(prompt.task for prompt in taken)
            assert tuple(counts[task] for task in taken.tasks) == expected
        assert [prompt.id for prompt in found.take(5)] == ["a0", "a1", "b0", "c0", "c1"]
        assert [prompt.id for prompt in found.only({prompts[4].key, prompts[0].key})] == ["a0", "a4"]

    def test_keys_tell_prompts_apart(self):
        prompts = [
            Prompt(id="0", text="a"),
            Prompt(id="0", text="a", chat=False),
            Prompt(id="0", messages=({"role": "user", "content": "a"},)),
            Prompt(id="0", text="a", tools=({"name": "f"},)),
            Prompt(id="0", text="a", template_kwargs={"enable_thinking": False}),
            Prompt(id="0", token_ids=(1, 2)),
        ]
        assert len({prompt.key for prompt in prompts}) == len(prompts)
        assert Prompt(id="1", text="a", task="t", category="c").key == prompts[0].key
        forward, backward = PromptSet(tuple(prompts)), PromptSet(tuple(prompts[::-1]))
        assert forward.digest != backward.digest

    def test_the_digest_is_the_same_in_every_process(self):
        code = (
            "from divmon.prompt import Prompt\n"
            "from divmon.prompts import PromptSet\n"
            "def tool(x: int) -> int: ...\n"
            "class Thing: ...\n"
            "p = Prompt('0', text='a', tools=(tool, {'b': 1, 'a': Thing()}), template_kwargs={'z': 1, 'y': None})\n"
            "print(PromptSet((p, *PromptSet.bundled())).digest)"
        )
        digests = {
            subprocess.run(
                [sys.executable, "-c", code],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ | {"PYTHONHASHSEED": seed},
            ).stdout
            for seed in ("1", "2", "3")
        }
        assert len(digests) == 1
        assert len(digests.pop().strip()) == 32
