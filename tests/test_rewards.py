"""Rewards by name: what they score, in every form TRL gives completions in, and inside its real trainer."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest
from datasets import Dataset

from divmon.errors import InputError
from divmon.rewards import reward_functions
from divmon.rewards.common import completion_text
from divmon.verifiers import math_process
from divmon.verifiers.math_process import MathVerifyError
from tests.test_callback import COMMON
from tests.tiny import QUESTIONS, tiny_llama, tiny_tokenizer


def chat(*contents, **more):
    return [{"role": "assistant", "content": content, **more} for content in contents]


def one(name, **arguments):
    (function,), _ = reward_functions({name: arguments})
    return function


def verified(completions, verifier, ground_truth, reward=None, prompts=None, **more):
    function = reward or one("verifiable")
    return function(
        prompts=prompts or ["q"] * len(completions),
        completions=completions,
        completion_ids=[[1]] * len(completions),
        verifier=verifier,
        ground_truth=ground_truth,
        trainer_state=None,
        log_extra=lambda *_: None,
        **more,
    )


class TestSpec:
    def test_names(self):
        functions, weights = reward_functions(["verifiable", "format_think"])
        assert [function.__name__ for function in functions] == ["verifiable", "format_think"]
        assert weights == [1.0, 1.0]

    def test_weights_and_arguments(self):
        spec = {
            "verifiable": None,
            "format_think": {"weight": 0.2},
            "length": {"max_length": 10, "margin": 4, "weight": 1},
        }
        functions, weights = reward_functions(spec)
        assert weights == [1.0, 0.2, 1.0]
        assert (functions[2].max_length, functions[2].margin) == (10, 4)
        mixed, weights = reward_functions(["verifiable", {"length": {"max_length": 10, "margin": 4, "weight": 0.5}}])
        assert [function.__name__ for function in mixed] == ["verifiable", "length"]
        assert weights == [1.0, 0.5]
        assert reward_functions("verifiable")[1] == [1.0]

    @pytest.mark.parametrize(
        ("spec", "expected"),
        [
            (["verifable"], "Unknown reward 'verifable': did you mean 'verifiable'"),
            ([], "No reward: name at least one of verifiable, code, judge, format_think, length"),
            (None, "rewards: expected names, or {name: {weight: ..., arguments}}, got None"),
            ([3], "rewards: expected names.*got 3"),
            ([{}], "rewards: expected names.*got {}"),
            ({"verifiable": 0.5}, "verifiable: expected {weight: ..., arguments}, got 0.5"),
            (["verifiable", {"verifiable": {}}], "'verifiable' is named twice"),
            ({"verifiable": {"weigth": 1}}, "Unknown argument of verifiable 'weigth': did you mean 'weight'"),
            ({"verifiable": {"weight": "1"}}, "verifiable: weight: expected a number, got '1'"),
            ({"verifiable": {"weight": float("nan")}}, "expected a number, got nan"),
            ({"verifiable": {"think_opened": "yes"}}, "verifiable: think_opened: expected true or false, got 'yes'"),
            ({"length": {"margin": 3}}, "length needs max_length"),
            (
                {"length": {"max_length": 10, "margin": 0}},
                "length: margin: expected a whole number of at least 1, got 0",
            ),
            ({"length": {"max_length": 10.5, "margin": 1}}, "length: max_length: expected a whole number"),
            ({"length": {"max_length": 10, "margin": 11}}, r"margin \(11\) is more than max_length \(10\)"),
        ],
    )
    def test_refusals(self, spec, expected):
        with pytest.raises(InputError, match=expected):
            reward_functions(spec)

    def test_they_can_be_pickled(self):
        spec = {"verifiable": {"think_opened": True}, "format_think": {}, "length": {"max_length": 10, "margin": 4}}
        for function in reward_functions(spec)[0]:
            back = pickle.loads(pickle.dumps(function))
            assert (back.__name__, vars(back)) == (function.__name__, vars(function))


class TestVerifiable:
    def test_by_the_columns_of_each_row(self):
        logged: list[tuple[str, float]] = []
        found = verified(
            ["It is 4.", "It is 5.", "a b", "anything", "anything"],
            ["math", "math", "constraints", None, ""],
            ["4", "4", '[{"kind": "max_words", "count": 2}]', None, "4"],
            log_metric=lambda *pair: logged.append(pair),
        )
        assert found == [1.0, 0.0, 1.0, None, None]
        # A value a completion, which TRL averages: 0.5 for math, 1 for constraints.
        assert logged == [("accuracy/math", 1.0), ("accuracy/math", 0.0), ("accuracy/constraints", 1.0)]

    def test_conversations(self):
        tool = {"role": "tool", "name": "sum", "content": "5"}
        completions = [
            chat("It is 4."),
            [*chat("let me see"), tool, *chat("It is 4.")],
            [*chat("It is 4."), tool],
            chat([{"type": "text", "text": "It is 4."}]),
            chat("It is 4.", reasoning_content="2 and 3 is 5"),
            chat("", reasoning_content="It is 4."),
            chat(None),
            [tool],
            [],
        ]
        found = verified(completions, ["math"] * len(completions), ["4"] * len(completions))
        assert found == [1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]

    def test_a_think_block_that_the_prompt_opens(self):
        done, cut = "2 and 2</think>It is 4.", "2 and 2 is 4"
        by_argument = one("verifiable", think_opened=True)
        assert verified([chat(done), chat(cut)], ["math"] * 2, ["4"] * 2, by_argument) == [1.0, 0.0]
        by_prompt = verified([done, cut], ["math"] * 2, ["4"] * 2, prompts=["q <think>\n"] * 2)
        assert by_prompt == [1.0, 0.0]
        assert verified([cut], ["math"], ["4"]) == [1.0]

    @pytest.mark.parametrize("text", ["\\boxed{" * 1000, "\x00\ud800", "<think>" * 1000, "9" * 100_000, "\\frac{1}{0}"])
    def test_what_a_model_writes_never_raises(self, text):
        assert verified([text, chat(text)], ["math", "match"], ["4", "4"]) == [0.0, 0.0]

    def test_an_odd_row_is_left_out_and_said_once(self, caplog):
        reward = one("verifiable")
        with caplog.at_level(logging.WARNING, "divmon"):
            for _ in range(2):
                found = verified(["4", "4", "4"], ["math", "maths", "math"], [None, "4", "4"], reward)
                assert found == [None, None, 1.0]
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == 2
        assert "left out of the reward 'verifiable'. math: expected the right answer" in said[0]
        assert "did you mean 'math'" in said[1]

    def test_what_is_amiss_with_the_machine_is_no_matter_of_a_row(self, monkeypatch):
        def broken(*_):
            raise MathVerifyError("math-verify does not work here")

        monkeypatch.setattr(math_process, "same", broken)
        with pytest.raises(MathVerifyError, match="does not work here"):
            verified(["x+1"], ["math"], ["x+2"])

    def test_data_without_the_columns(self):
        for columns, lacking in (({}, "verifier"), ({"verifier": ["math"]}, "ground_truth")):
            with pytest.raises(InputError, match=rf"needs the columns 'verifier'.*\({lacking} is missing\)"):
                one("verifiable")(prompts=["q"], completions=["4"], completion_ids=[[1]], **columns)


class TestFormatThink:
    @pytest.mark.parametrize(
        ("text", "score"),
        [
            ("<think>a</think>b", 1),
            ("  <think>\na\n</think>\n\nb", 1),
            ("<think></think>b", 1),
            ("b", 0),
            ("", 0),
            ("<think>a", 0),
            ("<think>a</think>", 0),
            ("<think>a</think> \n", 0),
            ("a</think>b", 0),
            ("b <think>a</think> b", 0),
            ("<think>a</think>b<think>c</think>d", 0),
            ("<think>a</think>b</think>c", 0),
            ("<think><think>a</think>b", 0),
            ("<think>a</think>b<think>", 0),
            ("</think><think>b", 0),
        ],
    )
    def test_scores(self, text, score):
        for completion in (text, chat(text)):
            assert one("format_think")(prompts=["q"], completions=[completion], completion_ids=[[1]]) == [score]

    @pytest.mark.parametrize(
        ("text", "score"), [("a</think>b", 1), ("<think>a</think>b", 0), ("b", 0), ("a</think>", 0)]
    )
    def test_opened_by_the_prompt(self, text, score):
        opened = one("format_think", think_opened=True)
        assert opened(prompts=[[]], completions=[chat(text)]) == [score]
        assert one("format_think")(prompts=["q<think>"], completions=[text]) == [score]

    def test_reasoning_that_a_parser_took_out(self):
        completions = [chat("b", reasoning_content="a"), chat("", thinking="a"), chat("b", reasoning_content="")]
        for arguments in ({}, {"think_opened": True}):
            assert one("format_think", **arguments)(prompts=["q"] * 3, completions=completions) == [1.0, 0.0, 0.0]


class TestLength:
    def test_scores_by_hand(self):
        lengths = [0, 6, 7, 8, 10, 11, 99]
        found = one("length", max_length=10, margin=4)(completion_ids=[[1] * length for length in lengths], prompts=[])
        # Free up to 6; from there a quarter a token, to -1 at 10.
        assert found == [0.0, 0.0, -0.25, -0.5, -1.0, -1.0, -1.0]

    def test_it_is_trls_own(self):
        from trl.rewards import get_soft_overlong_punishment

        ids = [[1] * length for length in range(40)]
        theirs = get_soft_overlong_punishment(max_completion_len=30, soft_punish_cache=7)(ids)
        assert one("length", max_length=30, margin=7)(completion_ids=ids) == pytest.approx(theirs)


def test_the_text_of_a_completion():
    assert completion_text("a") == "a"
    assert completion_text(chat("a", "b")) == "b"
    assert completion_text(chat("b", reasoning_content="a")) == "<think>a</think>b"
    assert completion_text(chat("<think>a</think>b", thinking="a")) == "<think>a</think>b"
    for nothing in (None, 3, [], [{"role": "user", "content": "a"}], ["a"]):
        assert completion_text(nothing) == ""


class TestInTrl:
    def rows(self, conversational: bool) -> Dataset:
        """Rows with a verifier and without; half of the ground truths hold for any completion."""
        truths = ['[{"kind": "max_words", "count": 1000}]', '[{"kind": "min_words", "count": 1000}]', None, None]
        verifiers = ["constraints", "constraints", "", None]
        return Dataset.from_list(
            [
                {
                    "prompt": [{"role": "user", "content": text}] if conversational else text,
                    "verifier": verifiers[number % 4],
                    "ground_truth": truths[number % 4],
                }
                for number, text in enumerate(QUESTIONS)
            ]
        )

    def trainer(self, tmp_path, dataset, spec):
        from trl import GRPOConfig, GRPOTrainer

        functions, weights = reward_functions(spec)
        settings: dict[str, Any] = {"num_generations": 2, "max_completion_length": 8, "reward_weights": weights}
        config = GRPOConfig(output_dir=str(tmp_path), **(COMMON | settings))
        return GRPOTrainer(
            model=tiny_llama(),
            args=config,
            reward_funcs=functions,
            train_dataset=dataset,
            processing_class=tiny_tokenizer(),
        )

    @pytest.mark.parametrize("conversational", [True, False])
    def test_a_training(self, tmp_path, conversational):
        spec = {"verifiable": None, "length": {"weight": 0.5, "max_length": 8, "margin": 4}, "format_think": None}
        trainer = self.trainer(tmp_path, self.rows(conversational), spec)
        trainer.train()
        history = [row for row in trainer.state.log_history if "reward" in row]
        assert len(history) == 4
        for row in history:
            assert row["rewards/format_think/mean"] == 0
            assert -1 <= row["rewards/length/mean"] <= 0
        # Two prompts a step, one in four of which holds: an accuracy wherever one of them has a verifier.
        accuracies = [row["accuracy/constraints"] for row in history if "accuracy/constraints" in row]
        assert accuracies
        assert {*accuracies} <= {0.0, 0.5, 1.0}
        scored = [row for row in history if "accuracy/constraints" in row]
        assert all(row["rewards/verifiable/mean"] == row["accuracy/constraints"] for row in scored)

    def test_data_without_a_verifier_stop_it_at_once(self, tmp_path):
        trainer = self.trainer(tmp_path, self.rows(True).remove_columns("verifier"), ["verifiable"])
        with pytest.raises(InputError, match=r"lack \(verifier is missing\)"):
            trainer.train()
