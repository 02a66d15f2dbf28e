"""The rewards that reach beyond the process: ``code`` runs programs, ``judge`` asks a model (here a server's fake)."""

from __future__ import annotations

import logging
import pickle

import pytest
from datasets import Dataset

from divmon.errors import InputError
from divmon.rewards import REWARDS, reward_functions
from divmon.sandbox import SandboxError
from divmon.verifiers import OUTSIDE, VERIFIERS
from tests.chat_server import CODE, error, scores_length
from tests.test_callback import COMMON
from tests.test_code_verifier import HALF, PAIRS, RIGHT, TESTS
from tests.test_rewards import chat, one
from tests.tiny import QUESTIONS, tiny_llama, tiny_tokenizer


def scored(function, completions, prompts=None, **columns):
    logged = []
    found = function(
        prompts=prompts or ["q"] * len(completions),
        completions=completions,
        completion_ids=[[1]] * len(completions),
        log_metric=lambda *pair: logged.append(pair),
        **columns,
    )
    return found, logged


def test_names():
    assert set(OUTSIDE) < set(REWARDS)
    assert "code" in VERIFIERS


class TestCode:
    def test_without_consent_there_is_none(self, monkeypatch):
        monkeypatch.setattr("divmon.sandbox.isolation", lambda **_: pytest.fail("it was built"))
        for arguments in ({}, {"execute_code": False}):
            with pytest.raises(InputError, match="say that you want that with `execute_code: true`"):
                reward_functions({"code": arguments})
        with pytest.raises(InputError, match="code: execute_code: expected true or false, got 'yes'"):
            reward_functions({"code": {"execute_code": "yes"}})

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"threshold": 1.5}, "threshold: expected a share from 0 to 1, got 1.5"),
            ({"seconds": 0}, "seconds"),
            ({"workers": -1}, "code: workers: expected a whole number"),
            ({"treshold": 1}, "Unknown argument of code 'treshold': did you mean 'threshold'"),
        ],
    )
    def test_refusals(self, arguments, words):
        with pytest.raises(InputError, match=words):
            reward_functions({"code": {"execute_code": True} | arguments})

    def test_a_machine_without_a_sandbox_is_said_at_once(self, monkeypatch):
        def none(**_):
            raise SandboxError("no namespaces here")

        monkeypatch.setattr("divmon.sandbox.isolation", none)
        with pytest.raises(SandboxError, match="no namespaces here"):
            one("code", execute_code=True)

    def test_many_keep_their_order(self, sandbox):
        slow = RIGHT.replace("return", "__import__('time').sleep(0.3); return")
        columns = {"verifier": ["code"] * 5, "ground_truth": [TESTS, TESTS, TESTS, PAIRS, TESTS]}
        function = one("code", execute_code=True, threshold=0.0, workers=2)
        assert scored(function, [slow, HALF, "", RIGHT, RIGHT], **columns)[0] == [1.0, 0.5, 0.0, 0.0, 1.0]

    def test_scores_of_its_own_rows(self, sandbox):
        found, logged = scored(
            one("code", execute_code=True),
            [chat(RIGHT), HALF, chat(f"<think>{RIGHT}"), RIGHT, RIGHT, chat(None)],
            verifier=["code", "code", "code", "math", None, "code"],
            ground_truth=[TESTS, TESTS, TESTS, "4", None, TESTS],
        )
        assert found == [1.0, 0.0, 0.0, None, None, 0.0]
        assert logged == [("accuracy/code", score) for score in (1.0, 0.0, 0.0, 0.0)]

    def test_the_threshold_is_the_recipes(self, sandbox):
        columns = {"verifier": ["code"] * 3, "ground_truth": [TESTS] * 3}
        answers = [RIGHT, HALF, "I cannot."]
        for threshold, half in ((0.0, 0.5), (0.5, 0.5), (0.99, 0.0)):
            found, _ = scored(one("code", execute_code=True, threshold=threshold), answers, **columns)
            assert found == [1.0, half, 0.0]

    def test_a_think_block_that_the_prompt_opens(self, sandbox):
        columns = {"verifier": ["code"] * 2, "ground_truth": [TESTS] * 2}
        completions = [chat(f"{HALF}</think>{RIGHT}"), chat(RIGHT)]
        for think_opened, prompt in ((True, []), (False, "q <think>\n")):
            function = one("code", execute_code=True, think_opened=think_opened)
            assert scored(function, completions, prompts=[prompt] * 2, **columns)[0] == [1.0, 0.0]

    def test_tests_that_cannot_be_read_are_left_out_and_said_once(self, sandbox, caplog):
        function = one("code", execute_code=True)
        with caplog.at_level(logging.WARNING, "divmon"):
            for _ in range(2):
                found, _ = scored(function, [RIGHT] * 2, verifier=["code"] * 2, ground_truth=[3, TESTS])
                assert found == [None, 1.0]
        (said,) = caplog.messages
        assert "a row is left out of the reward 'code'. code: expected a list of tests" in said

    def test_data_without_the_columns(self, sandbox):
        with pytest.raises(InputError, match=r"reward 'code' needs the columns.*\(ground_truth is missing\)"):
            scored(one("code", execute_code=True), [RIGHT], verifier=["code"])

    def test_it_can_be_pickled(self, sandbox):
        function = one("code", execute_code=True, threshold=0.5)
        assert vars(pickle.loads(pickle.dumps(function))) == vars(function)


@pytest.mark.usefixtures("cache")
class TestJudge:
    @pytest.fixture
    def cache(self, tmp_path, monkeypatch):
        monkeypatch.setattr("divmon.judge.judge.user_folder", lambda: tmp_path / "judge")

    @pytest.fixture
    def server(self, serve):
        return serve(scores_length)

    def judge(self, server, **arguments):
        return one("judge", model="judge-1", base_url=server.url, **arguments)

    def test_scores(self, server):
        found, logged = scored(self.judge(server), ["one", chat("one two three"), "word " * 30])
        assert found == [0.1, 0.3, 1.0]  # words of 10
        assert logged == [("judge/unjudged", 0.0)] * 3

    def test_only_its_own_rows_and_those_of_nobody_are_judged(self, server):
        verifiers = ["judge", "math", "code", "", None]
        found, logged = scored(
            self.judge(server, concurrency=1),
            ["one two"] * 5,
            prompts=[f"q{row}" for row in range(5)],
            verifier=verifiers,
            ground_truth=["the truth", "4", "tests", "unused", None],
            reference=["unused", "unused", "unused", "the reference", None],
        )
        assert found == [0.2, None, None, 0.2, 0.2]
        assert len(logged) == len(server.requests) == 3
        asked = [request[2]["messages"][1]["content"] for request in server.requests]
        assert ["the truth" in text for text in asked] == [True, False, False]
        assert ["the reference" in text for text in asked] == [False, True, False]
        assert not [text for text in asked if "unused" in text]

    def test_a_ground_truth_that_is_empty_is_no_reference(self, server):
        scored(self.judge(server), ["one"], verifier=["judge"], ground_truth=[""])
        messages = server.requests[0][2]["messages"]
        assert "reference" not in messages[0]["content"] + messages[1]["content"]

    def test_answers_that_are_not_there_are_not_asked_about(self, server):
        completions = [chat("<think>so"), chat("<think>so</think>one two"), [], chat("")]
        found, logged = scored(self.judge(server), completions)
        assert found == [0.0, 0.2, 0.0, 0.0]
        assert len(server.requests) == len(logged) == 1
        assert "so" not in server.requests[0][2]["messages"][1]["content"].split()
        opened, _ = scored(self.judge(server, think_opened=True), ["so</think>one", "so"])
        assert opened == [0.1, 0.0]

    def test_conversations_are_shown_turn_by_turn(self, server):
        turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
        scored(self.judge(server, concurrency=1), ["one", "one"], prompts=[turns, turns[1:]])
        first, second = (request[2]["messages"][1]["content"] for request in server.requests)
        assert "system: Be brief.\n\nuser: Why?" in first
        assert "\nWhy?\n" in second

    def test_no_verdict_is_none(self, serve):
        def reply(system, user, messages):
            return "Hard to say." if "first" in user else f"[[{CODE.search(system)[1]}: 7]]"

        found, logged = scored(self.judge(serve(reply)), ["first", "second"])
        assert found == [None, 0.7]
        assert logged == [("judge/unjudged", 1.0), ("judge/unjudged", 0.0)]

    def test_a_server_that_refuses_ends_no_training(self, serve, caplog):
        with caplog.at_level(logging.WARNING, "divmon"):
            found, _ = scored(self.judge(serve(lambda *_: error(401, "bad key"))), ["one", "two"])
        assert found == [None, None]
        assert "an answer is left unjudged" in caplog.text

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({}, "judge needs model"),
            ({"model": ""}, "model: expected the name"),
            ({"model": "m", "base_url": "localhost"}, "base_url: expected an address"),
            ({"model": "m", "criteria": 3}, "judge: criteria: expected a text, got 3"),
            ({"model": "m", "concurrency": 0}, "concurrency: expected a whole number"),
            ({"model": "m", "think_opened": 1}, "judge: think_opened: expected true or false"),
        ],
    )
    def test_refusals(self, arguments, words):
        with pytest.raises(InputError, match=words):
            reward_functions({"judge": arguments})

    def test_it_can_be_pickled(self, server):
        back = pickle.loads(pickle.dumps(self.judge(server)))
        assert scored(back, ["one two"])[0] == [0.2]

    def test_a_training_with_all_three(self, tmp_path, server, sandbox):
        """Rows of three kinds, each scored by its own reward; nothing is asked or run for the others."""
        from trl import GRPOConfig, GRPOTrainer

        kinds = [("constraints", '[{"kind": "max_words", "count": 1000}]'), ("code", "assert True"), ("judge", "")]
        rows = [
            {
                "prompt": [{"role": "user", "content": text}],
                "verifier": kinds[number % 3][0],
                "ground_truth": kinds[number % 3][1],
            }
            for number, text in enumerate(QUESTIONS[:6])
        ]
        spec = [
            "verifiable",
            {"code": {"weight": 2.0, "threshold": 0.0, "execute_code": True}},
            {"judge": {"model": "judge-1", "base_url": server.url}},
        ]
        functions, weights = reward_functions(spec)
        settings = {"num_generations": 2, "max_completion_length": 8, "reward_weights": weights, "max_steps": 3}
        trainer = GRPOTrainer(
            model=tiny_llama(),
            args=GRPOConfig(output_dir=str(tmp_path), **(COMMON | settings)),
            reward_funcs=functions,
            train_dataset=Dataset.from_list(rows),
            processing_class=tiny_tokenizer(),
        )
        trainer.train()
        history = [row for row in trainer.state.log_history if "reward" in row]
        assert len(history) == 3
        assert any("accuracy/constraints" in row for row in history)
        assert any("accuracy/code" in row for row in history)
        assert all(row.get("judge/unjudged", 0.0) == 0.0 for row in history)
        assert 0 < len(server.requests) <= 12
