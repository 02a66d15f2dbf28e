"""The fifteen tasks: their records, their samples, their prompts, and what verifies them."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

import divmon
from divmon.errors import InputError
from divmon.prompts import PromptSet
from divmon.sampling.render import Renderer
from divmon.tasks import TASKS, asked_for, load_tasks, names_tasks, task_of
from divmon.tasks.rows import rows_of
from divmon.verifiers import OUTSIDE, check_ground_truth, verify
from tests.tiny import tiny_tokenizer

TABLES = Path(divmon.__file__).parent / "data" / "olmo3_paper_tables.json"
SHUFFLED = (7, 5, 2, 8, 9, 6, 11, 3, 4, 0, 1, 10)


def sample(name: str) -> list[dict]:
    return list(rows_of(TASKS[name], sample=True).rows)


def prompts(name: str, **options) -> dict[int, divmon.Prompt]:
    """The sample's prompts by place."""
    found = load_tasks(f"{name}:sample", **options).prompts
    return {int(prompt.id.partition("/")[2]): prompt for prompt in found}


class TestRecords:
    def test_names_numbers_and_categories_are_the_papers(self):
        paper = json.loads(TABLES.read_text(encoding="utf-8"))
        assert {name: task.count for name, task in TASKS.items()} == paper["num_prompts"]
        groups = {kind: {name for name, task in TASKS.items() if task.category == kind} for kind in paper["categories"]}
        assert groups == {kind: set(names) for kind, names in paper["categories"].items()}
        verified = {name for name, task in TASKS.items() if task.verifier}
        assert verified == {*paper["verifiable_tasks"], "cruxeval", "truthfulqa"}

    def test_nli_means_nothing_on_code_as_in_the_papers_table(self):
        paper = json.loads(TABLES.read_text(encoding="utf-8"))
        assert {name for name, task in TASKS.items() if "nli" not in task.without} == set(paper["nli"]["Base"])
        assert {name for name, task in TASKS.items() if "ast" not in task.without} == {"humaneval", "mbpp"}
        assert not {"ead", "sbert", "vendi"} & {metric for task in TASKS.values() for metric in task.without}

    @pytest.mark.parametrize("name", TASKS)
    def test_a_task_is_whole(self, name):
        task = TASKS[name]
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", task.dataset)
        assert 0 < task.max_new_tokens <= 32_768
        assert bool(task.verifier) == bool(task.ground_truth)
        # What the template asks for is among the columns, once they are arranged.
        row = sample(name)[0]
        assert set(task.fields) <= set(row)
        alone = {field: row[field] for field in task.fields}
        assert task.prompt(alone, 0).text

    @pytest.mark.parametrize("name", TASKS)
    def test_a_row_of_another_form_is_refused(self, name):
        task = TASKS[name]
        expected = rf"{name}/3: a row of {task.dataset} is not as expected .*columns should be {', '.join(task.fields)}"
        for broken in ({"other": 1}, dict.fromkeys(task.fields), sample(name)[0] | {task.fields[0]: None}):
            with pytest.raises(InputError, match=expected):
                task.prompt(broken, 3)


class TestNames:
    def test_case_and_punctuation_do_not_count(self):
        for name in ("math_algebra", "MATH-Algebra", " Math Algebra ", "mathalgebra"):
            assert task_of(name).name == "math_algebra"
        assert task_of("TL;DR").name == "tldr"
        assert task_of("CNN/DailyMail").name == "cnn_dailymail"

    def test_lists_samples_and_all(self):
        asked = asked_for(["gsm8k, ifeval:sample", "tldr"])
        assert [(each.task.name, each.sample) for each in asked] == [
            ("gsm8k", False),
            ("ifeval", True),
            ("tldr", False),
        ]
        assert [each.task.name for each in asked_for("all")] == list(TASKS)
        assert all(each.sample for each in asked_for("all:sample"))

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            ("gsm8", "Unknown task 'gsm8': did you mean 'gsm8k'?"),
            ("gsm8k,ifevl", "Unknown task 'ifevl': did you mean 'ifeval'?"),
            ("gsm8k:smaple", "'gsm8k:smaple': expected the name of a task, or the name and \":sample\""),
            ("gsm8k,GSM8K", "gsm8k given twice"),
            ([], "at least one task"),
            ("", "Unknown task '': known are tldr, cnn_dailymail"),
        ],
    )
    def test_mistakes(self, names, expected):
        with pytest.raises(InputError, match=re.escape(expected)):
            asked_for(names)

    def test_a_string_is_tasks_or_a_file(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert names_tasks("gsm8k")
        assert names_tasks("gsm8k,ifeval:sample")
        for text in ("./gsm8k", "data/gsm8k", "gsm8k.jsonl", "gsm8", "a prompt", "", "x" * 5000):
            if text == "gsm8":
                with pytest.raises(InputError, match="did you mean 'gsm8k'"):
                    names_tasks(text)
                Path("gsm8").write_text('"a prompt"')
            assert not names_tasks(text), text
        Path("gsm8k").write_text('"a prompt of a file"')
        assert PromptSet.of("./gsm8k").prompts[0].text == "a prompt of a file"
        assert PromptSet.of(Path("gsm8k")).source == "gsm8k"
        assert PromptSet.of("gsm8k").tasks == ("gsm8k",)

    def test_a_list_of_names_is_no_list_of_prompts(self):
        with pytest.raises(InputError, match="these are names of tasks: write 'gsm8k,ifeval' in one string"):
            PromptSet.of(["gsm8k", "ifeval"])
        assert [prompt.text for prompt in PromptSet.of(["gsm8k", "what is it?"])] == ["gsm8k", "what is it?"]

    def test_what_is_neither_says_how_tasks_are_found(self):
        with pytest.raises(InputError, match=r"tasks by name \(`divmon tasks` lists them"):
            PromptSet.of("tell me a story")


class TestSamples:
    @pytest.mark.parametrize("name", TASKS)
    def test_a_dozen_items_become_prompts(self, name):
        rows, found = sample(name), prompts(name)
        assert len(rows) == 12
        assert sorted(found) == list(range(12))
        assert len({prompt.key for prompt in found.values()}) == 12
        for place, prompt in found.items():
            assert prompt.id == f"{name}/{place}"
            assert (prompt.task, prompt.category) == (name, TASKS[name].category)
            assert prompt.bare.strip() in prompt.text or name == "alpaca"
            assert prompt.verifier == TASKS[name].verifier
            if prompt.verifier:
                check_ground_truth(prompt.verifier, prompt.ground_truth)

    def test_they_stand_in_where_there_is_no_hub_and_say_so_once(self, caplog):
        with caplog.at_level(logging.WARNING):
            found = PromptSet.of("gsm8k,tldr")
        assert found.source == "gsm8k, tldr: a sample written for divmon"
        assert len(caplog.messages) == 1
        assert re.match(
            r"divmon: gsm8k, tldr: a few items written for divmon stand in for the data sets, because the hub is "
            "switched off .*not the benchmark",
            caplog.messages[0],
        )

    def test_nothing_is_said_of_a_sample_that_was_asked_for(self, caplog):
        with caplog.at_level(logging.WARNING):
            assert PromptSet.of("gsm8k:sample").source == "gsm8k: a sample written for divmon"
        assert not caplog.messages

    def test_no_global_random_state_moves(self):
        import random

        import numpy as np

        before = random.getstate(), np.random.get_state()[1].tolist()
        load_tasks("all:sample")
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before


class TestChoice:
    def test_fewer_are_the_first_of_more_and_a_seed_chooses(self):
        ids = [prompt.id for prompt in load_tasks("gsm8k:sample").prompts]
        assert [prompt.id for prompt in load_tasks("gsm8k:sample", per_task=5).prompts] == ids[:5]
        other = [prompt.id for prompt in load_tasks("gsm8k:sample", seed=1).prompts]
        assert other != ids
        assert sorted(other) == sorted(ids)
        # What lighteval does with a split: random.Random(42) shuffles it.
        assert ids == [f"gsm8k/{place}" for place in SHUFFLED]

    def test_the_default_seed_is_the_papers(self):
        assert [p.id for p in PromptSet.of_tasks("tldr:sample")] == [
            p.id for p in load_tasks("tldr:sample", seed=42).prompts
        ]

    @pytest.mark.parametrize("number", [0, -1, 2.5, True, "3"])
    def test_numbers_that_are_none(self, number):
        with pytest.raises(InputError, match="per_task: expected a whole number of at least 1"):
            load_tasks("gsm8k:sample", per_task=number)


class TestTemplates:
    """What the model is given, word for word: the paper's."""

    @pytest.mark.parametrize(
        ("name", "row", "text", "bare"),
        [
            (
                "tldr",
                {"subreddit": "pets", "title": "Cat", "post": "It sits."},
                "SUBREDDIT: pets\nTITLE: Cat\nPOST: It sits.\nTL;DR:",
                "It sits.",
            ),
            ("cnn_dailymail", {"article": "News."}, "ARTICLE: News.\nTL;DR:", "News."),
            ("xsum", {"document": "News."}, "ARTICLE: News.\nTL;DR:", "News."),
            ("gsm8k", {"question": "How many?", "answer": "#### 3"}, "Question: How many?\n\nAnswer:", "How many?"),
            (
                "math_geometry",
                {"problem": "Find $x$.", "solution": r"\boxed{1}"},
                "Problem: Find $x$.\n\nSolution:",
                "Find $x$.",
            ),
            (
                "truthfulqa",
                {"question": "Why?", "correct_answers": ["So"], "incorrect_answers": ["No"]},
                "Q: Why?\nA:",
                "Why?",
            ),
            (
                "mbpp",
                {"text": "Write f.", "test_list": ["assert f()"], "test_setup_code": ""},
                '"""\nWrite f.\n"""\n',
                "Write f.",
            ),
            (
                "cruxeval",
                {"code": "def f(x):\n    return {x}", "input": "'{a}'", "output": "{'{a}'}"},
                "Given the following Python function:\n\n```python\ndef f(x):\n    return {x}\n```\n\n"
                "What is the output of `f('{a}')`?\n\nAnswer:",
                "def f(x):\n    return {x}",
            ),
            (
                "alpaca",
                {"instruction": "Add.", "input": "1, 2"},
                "Below is an instruction that describes a task, paired with an input that provides further context. "
                "Write a response that appropriately completes the request.\n\n"
                "### Instruction:\nAdd.\n\n### Input:\n1, 2\n\n### Response:\n",
                "Add.\n1, 2",
            ),
            (
                "alpaca",
                {"instruction": "Sing.", "input": ""},
                "Below is an instruction that describes a task. "
                "Write a response that appropriately completes the request.\n\n"
                "### Instruction:\nSing.\n\n### Response:\n",
                "Sing.\n",
            ),
            ("writingprompts", {"prompt": " [ WP ] A door . \n"}, "[ WP ] A door .\n\n", "[ WP ] A door ."),
            ("prism", {"opening_prompt": " Why? ", "included_in_balanced_subset": True}, "Why?", "Why?"),
            (
                "wildbench",
                {
                    "conversation_input": [
                        {"role": "user", "content": " Plan it. "},
                        {"role": "user", "content": "Now"},
                    ],
                    "checklist": ["Is it now?"],
                },
                "Plan it.",
                "Plan it.",
            ),
        ],
    )
    def test_words(self, name, row, text, bare):
        prompt = TASKS[name].prompt(row, 0)
        assert (prompt.text, prompt.bare) == (text, bare)

    def test_a_checklist_is_that_of_the_turn_that_is_asked(self):
        turns = [{"role": "user", "content": "Plan it."}, {"role": "user", "content": "Now"}]
        rows = [{"conversation_input": turns[:n], "checklist": ["Is it a plan?", "Is it short?"]} for n in (1, 2)]
        alone, longer = (TASKS["wildbench"].prompt(row, 0) for row in rows)
        assert (alone.checklist, longer.checklist) == (("Is it a plan?", "Is it short?"), ())
        assert alone.key == longer.key  # what a judge looks for is no part of the question
        assert all(prompt.checklist for prompt in load_tasks("wildbench:sample").prompts)
        assert not any(prompt.checklist for prompt in load_tasks("prism:sample").prompts)

    def test_plain_for_base_models_and_a_user_turn_for_the_rest(self):
        prompt = prompts("gsm8k")[0]
        plain = Renderer(tiny_tokenizer(chat=False)).render(prompt)
        chat = Renderer(tiny_tokenizer()).render(prompt)
        assert plain.text == prompt.text
        assert plain.stop == ("\nQuestion:", "\n\nQuestion")
        assert chat.text == f"<|user|>{prompt.text}\n<|assistant|>"
        assert chat.stop == ()

    def test_stop_sequences_are_part_of_a_prompts_identity_and_verifiers_are_not(self):
        with_stop = divmon.Prompt(id="a", text="x", stop=("\n",))
        assert with_stop.key != divmon.Prompt(id="a", text="x").key
        same = divmon.Prompt(
            id="b", text="x", stop=("\n",), without=("nli",), bare="y", verifier="math", ground_truth=1
        )
        assert same.key == with_stop.key

    def test_prisms_filter(self):
        keep = TASKS["prism"].keep
        kept = {
            "Should cities ban cars?": True,
            "Hello": False,
            "hey!!": False,
            "Hi, should I move?": True,
            "  ": False,
            "почему небо голубое?": False,
            "Is a café better?": True,
        }
        for text, expected in kept.items():
            assert keep({"opening_prompt": text, "included_in_balanced_subset": True}) is expected, text
            assert not keep({"opening_prompt": text, "included_in_balanced_subset": False})


def answers(name: str) -> dict[int, tuple[str, str]]:
    """A right and a wrong answer to each item of a sample."""
    rows = sample(name)
    if name in ("gsm8k", "math_algebra", "math_geometry"):
        solution = "answer" if name == "gsm8k" else "solution"
        return {place: (row[solution], "It is 123456.") for place, row in enumerate(rows)}
    if name == "truthfulqa":
        return {place: (row["best_answer"], row["incorrect_answers"][0]) for place, row in enumerate(rows)}
    if name == "cruxeval":
        others = [rows[place - 1]["output"] for place in range(len(rows))]
        return {place: (f" `{row['output']}`.", f" {others[place]}") for place, row in enumerate(rows)}
    if name == "humaneval":
        return {place: (row["canonical_solution"], "    return 'no'\n") for place, row in enumerate(rows)}
    if name == "mbpp":
        return {place: (f"```python\n{row['code']}\n```", "def other():\n    pass") for place, row in enumerate(rows)}
    return dict(enumerate(IFEVAL))


IFEVAL = [
    (
        "The masts come out of the mist one after the other and the gulls begin. A man in a yellow coat opens the ice "
        "house and the first boat turns its bow towards the bar while the town is still asleep.",
        "Grey water, grey sky.",
    ),
    ("please wash the pans you burn. thank you.", "Please wash the pans."),
    ("* It keeps you safe.\n* It is cheap.\n* It is quiet.\n* It is cold.", "* It keeps you safe.\n* It is quiet."),
    ("<<The Kettle>>\nThe counter is of copper and the windows are white with steam.", "A shop of copper and steam."),
    ("Put the lamp out. Sleep well and let the night be.", "Sleep well and let the night be. Good night!"),
    ("Wind from the west. Rain by noon.", "Wind. Rain. Hail. Then sun at last."),
    ('"Owls hear well. They fly without a sound."', "Owls hear well."),
    ('```json\n{"flour": 250, "eggs": 3}\n```', "Flour and eggs."),
    ("Wheel after wheel after wheel: ride it home.", "The cheap wheel, the good wheel, the best wheel."),
    ("Come to [address] on [date] at [time].\n\nP.S. Bring chairs.", "Come to [address] on [date]."),
    ("It lifts boats.\n***\nIt needs water.", "It lifts boats and needs water."),
    ("Should a town keep its old trees? Yes, every one.", "Yes, every one."),
]


class TestVerifiers:
    @pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.verifier not in ("", *OUTSIDE)])
    def test_right_answers_pass_and_wrong_ones_do_not(self, name):
        found = prompts(name)
        for place, (right, wrong) in answers(name).items():
            prompt = found[place]
            assert verify(prompt.verifier, right, prompt.ground_truth) == 1.0, (place, right)
            assert verify(prompt.verifier, wrong, prompt.ground_truth) == 0.0, (place, wrong)

    @pytest.mark.usefixtures("sandbox")
    @pytest.mark.parametrize("name", ["humaneval", "mbpp"])
    def test_programs_are_run_where_that_is_asked_for(self, name):
        found = prompts(name)
        for place, (right, wrong) in list(answers(name).items())[:3]:
            truth = found[place].ground_truth
            assert verify("code", right, truth, execute_code=True) == 1.0, place
            assert verify("code", wrong, truth, execute_code=True) == 0.0, place

    @pytest.mark.parametrize("name", ["humaneval", "mbpp", "cruxeval"])
    def test_every_program_of_the_sample_does_what_its_item_says(self, name):
        """These are divmon's own sources, so they may be run here."""
        for row in sample(name):
            scope: dict = {}
            if name == "humaneval":
                program = f"{row['prompt']}{row['canonical_solution']}\n{row['test']}\ncheck({row['entry_point']})"
            elif name == "mbpp":
                program = "\n".join([row["code"], *row["test_list"]])
            else:
                program = f"{row['code']}\nassert f({row['input']}) == {row['output']}"
            exec(program, scope)

    def test_a_constraint_that_nothing_verifies_leaves_the_prompt_without_a_verifier(self):
        row = {
            "prompt": "Answer in Finnish.",
            "instruction_id_list": ["language:response_language"],
            "kwargs": [{"language": "fi"}],
        }
        prompt = TASKS["ifeval"].prompt(row, 0)
        assert (prompt.verifier, prompt.ground_truth) == ("", None)
        assert PromptSet((prompt,)).verified_tasks == ()
