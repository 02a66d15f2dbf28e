"""Tasks in a run: stop sequences, metrics that do not apply, training data, and the callback as a whole."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import re

import numpy as np
import pytest
import torch
from datasets import Dataset

from divmon import DiversityCallback, Ledger, lineage
from divmon.cli import main
from divmon.errors import InputError
from divmon.monitor import Monitor
from divmon.options import MonitorOptions
from divmon.prompt import Prompt
from divmon.prompts import PromptSet
from divmon.recipes.configs import monitor_settings
from divmon.recipes.recipe import load_recipe
from divmon.recipes.validate import prompts_file
from divmon.sampling.batches import pack
from divmon.sampling.generate import BatchGenerator
from divmon.sampling.render import Renderer
from divmon.sampling.sampler import sample
from divmon.sampling.settings import SamplingSettings
from divmon.sampling.stops import StopSequences, stop_position, tokens_to_stop
from divmon.scoring import Scorer, ScoringSettings
from divmon.tasks import TASKS
from divmon.trainer.data import overlap
from tests.fakes import FakeEncoder, FakeNli, use_fakes
from tests.recipes import MONITOR, STAGES, write_folder, write_recipe
from tests.test_callback import KEYS, SMALL, rows, sft
from tests.tiny import tiny_llama, tiny_tokenizer

SETTINGS = SamplingSettings(samples=6, max_new_tokens=40, seed=2)  # no think tags in the first prompt's
LETTERS = "abcdefgh"


class TestStopSequences:
    @pytest.mark.parametrize(
        ("text", "stop", "opened", "place"),
        [
            ("one\n\ntwo", ("\n\n",), False, 3),
            ("one\ntwo", ("\n\n",), False, None),
            ("a Q: b\nQ: c", ("\nQ:", "Q:"), False, 2),
            ("", ("\n",), False, None),
            ("\nlate", ("\n",), False, 0),
            ("one\ntwo", (), False, None),
            ("<think>a\nb</think>c\nd", ("\n",), False, 19),
            ("<think>a\nb", ("\n",), False, None),
            ("a\nb</think>c\nd", ("\n",), True, 12),
            ("a\nb", ("\n",), True, None),
        ],
    )
    def test_where_a_completion_ends(self, text, stop, opened, place):
        assert stop_position(text, stop, opened) == place

    def test_tokens_up_to_and_with_the_stop_sequence(self):
        def decode(tokens):
            return "".join("abc\n"[token] for token in tokens)

        assert tokens_to_stop([0, 3, 3, 1], decode, ("\n\n",)) == 3
        assert tokens_to_stop([0, 1, 2], decode, ("c",)) == 3
        assert tokens_to_stop([2], decode, ("c",)) == 1

    @pytest.fixture(scope="class")
    @classmethod
    def generated(cls):
        """Completions of two prompts without and with a stop sequence, under the same noise."""
        tokenizer, model = tiny_tokenizer(chat=False), tiny_llama()
        prompts = [Renderer(tokenizer).render(Prompt(id=text, text=text)) for text in ("what", "tell me of it")]
        # The first prompt's rows end before a letter, the second's run on: both kinds in one batch.
        stopping = [dataclasses.replace(prompts[0], stop=(*LETTERS, "the sea")), prompts[1]]
        batch = pack([len(prompt.token_ids) for prompt in prompts], 6, 40, 10_000)
        assert len(batch) == 1
        steps: list[int] = []
        with torch.no_grad():
            free = BatchGenerator(model, tokenizer, SETTINGS).run(batch[0], prompts)
            ended = BatchGenerator(model, tokenizer, SETTINGS).run(batch[0], stopping, steps.append)
            alone = BatchGenerator(model, tokenizer, SETTINGS).run(
                pack([len(stopping[0].token_ids)], 6, 40, 10_000)[0], stopping[:1], lambda done: steps.append(-done)
            )
        rows = list(batch[0].rows)
        return tokenizer, rows, free, ended, alone, steps

    def test_the_text_is_cut_and_nothing_else_changes(self, generated):
        _, rows, free, ended, _, _ = generated
        cut = 0
        for (prompt, _), before, after in zip(rows, free, ended, strict=True):
            if prompt == 1 or not set(LETTERS) & set(before.text):
                assert after == before
                continue
            cut += 1
            assert after.text == re.split(f"[{LETTERS}]", before.text)[0]
            assert after.token_ids == before.token_ids[: len(after.token_ids)]
            assert not after.truncated
        assert cut == 5

    def test_tokens_entropy_and_likelihood_are_those_up_to_the_stop_sequence(self, generated):
        tokenizer, rows, free, ended, _, _ = generated
        shortened = [
            pair
            for (prompt, _), *pair in zip(rows, free, ended, strict=True)
            if prompt == 0 and len(pair[0].token_ids) > len(pair[1].token_ids)
        ]
        assert shortened
        for before, after in shortened:
            decoded = tokenizer.decode(list(after.token_ids))
            assert set(LETTERS) & set(decoded)
            assert not set(LETTERS) & set(tokenizer.decode(list(after.token_ids[:-1]), skip_special_tokens=True))
            assert before.entropy != after.entropy
            assert 0 < after.entropy < math.log(324)

    def test_a_batch_whose_rows_have_all_ended_goes_no_further(self, generated):
        *_, alone, steps = generated
        needed = max(len(completion.token_ids) for completion in alone)
        drawn = -min(steps)
        assert needed <= drawn < needed + 8 < 40
        assert max(steps) == 40  # with the other prompt in the batch

    def test_completions_do_not_depend_on_the_batch(self, generated):
        _, rows, _, ended, alone, _ = generated
        together = [completion.text for (prompt, _), completion in zip(rows, ended, strict=True) if prompt == 0]
        assert [completion.text for completion in alone] == together

    def test_looking_costs_no_random_state_and_marks_only_rows_that_have_ended(self):
        texts = {0: "a", 1: "\n", 2: "b"}

        def decode(tokens):
            return "".join(texts[token] for token in tokens)

        stops = StopSequences([(("\n\n",), False), ((), False), (("\n\n",), False)], prompt_width=1, decode=decode)
        rows = torch.tensor([[1, 0, 1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 0, 1, 0, 1, 0, 1, 0]])
        assert stops(rows[:, :5], None).tolist() == [False, False, False]  # not yet looked
        assert stops(rows, None).tolist() == [True, False, False]

    def test_a_chat_model_ends_its_turn_by_itself(self):
        prompt = Prompt(id="a", text="tell me of it", stop=("e",))
        settings = SamplingSettings(samples=12, max_new_tokens=12)
        for chat in (False, True):
            tokenizer = tiny_tokenizer(chat)
            rendered = Renderer(tokenizer).render(prompt)
            (found,) = sample(tiny_llama(), tokenizer, [rendered], settings).prompts
            texts = [completion.text for completion in found.completions if "think>" not in completion.text]
            assert len(texts) > 4
            assert any("e" in text for text in texts) is chat


class TestMetricsThatDoNotApply:
    GROUPS = (["a b", "c d"], ["e f", "y = 2."], ["e f", "e f"])
    SETTINGS = ScoringSettings(vocab_size=100)

    def score(self, without=None):
        return Scorer(self.SETTINGS, FakeEncoder(), FakeNli()).score(self.GROUPS, without=without)

    def test_they_are_nan_on_their_prompts_and_the_others_stay(self):
        plain, some = self.score(), self.score([(), ("nli",), ("vendi", "ead")])
        for name, values in plain.per_prompt.items():
            left_out = {"nli": [1], "vendi": [2], "ead": [2], "sbert": []}[name]
            for place, value in enumerate(values):
                if place in left_out:
                    assert math.isnan(some.per_prompt[name][place])
                else:
                    assert some.per_prompt[name][place] == value
        # Across prompts: over the first answers of the others.
        alone = Scorer(self.SETTINGS, FakeEncoder(), FakeNli()).score([self.GROUPS[0], self.GROUPS[2]])
        assert some.across["nli"] == alone.across["nli"]
        assert some.across["nli"] != plain.across["nli"]
        assert some.across["sbert"] == plain.across["sbert"]
        assert some.validity == plain.validity

    def test_the_classifier_does_not_see_them(self):
        seen = []

        class Nli(FakeNli):
            def probabilities(self, pairs):
                seen.extend(pairs)
                return super().probabilities(pairs)

        Scorer(self.SETTINGS, FakeEncoder(), Nli()).score(self.GROUPS, without=[(), ("nli",), ()])
        assert seen
        assert not [pair for pair in seen if "=" in "".join(pair)]  # which stands in the second group only

    def test_the_encoder_is_still_called_once(self):
        calls = []

        class Encoder(FakeEncoder):
            def encode(self, texts):
                calls.append(list(texts))
                return super().encode(texts)

        Scorer(self.SETTINGS, Encoder(), FakeNli()).score(self.GROUPS, without=[("sbert",), (), ()])
        assert len(calls) == 1
        assert len(set(calls[0])) == len(calls[0])

    @pytest.fixture
    def no_nli(self, monkeypatch):
        from divmon import encoders

        def fail(*_, **__):
            pytest.fail("the classifier was loaded for nothing")

        monkeypatch.setitem(vars(encoders), "load_sentence_encoder", lambda *_, **__: FakeEncoder())
        monkeypatch.setitem(vars(encoders), "load_nli", fail)

    @pytest.mark.usefixtures("no_nli")
    def test_where_no_prompt_takes_a_metric_its_model_is_not_loaded(self):
        prompts = PromptSet.of_tasks("cruxeval:sample", per_task=2)
        options = MonitorOptions(samples=2, max_new_tokens=4)
        found = Monitor(prompts, options).measure(tiny_llama(), tiny_tokenizer(), run_id="r").measurement
        assert math.isnan(found.metrics["nli"].mean)
        assert np.isnan(found.metrics["nli"].per_prompt).all()
        assert len(found.metrics["nli"].per_prompt) == 2
        assert not math.isnan(found.metrics["sbert"].mean)


class TestTrainingData:
    @pytest.mark.parametrize("name", ["gsm8k", "alpaca"])
    def test_a_prompt_is_found_again_by_its_bare_words(self, name):
        prompts = PromptSet.of_tasks(f"{name}:sample")
        chosen = prompts.prompts[3]
        for text in (chosen.text, chosen.bare, chosen.bare.upper()):
            turns = [{"role": "user", "content": text}, {"role": "assistant", "content": "a"}]
            train = Dataset.from_list([{"messages": turns}])
            assert overlap(prompts, train, Renderer(tiny_tokenizer())).keys == {chosen.key}


@pytest.mark.usefixtures("fake_encoders")
class TestCallback:
    def test_a_task_by_name(self, tmp_path, caplog):
        callback = DiversityCallback(prompts="gsm8k", **SMALL)
        trainer = sft(tmp_path, [callback], max_steps=2)
        with caplog.at_level(logging.WARNING, logger="divmon"):
            trainer.train()
        for key in KEYS | {"divmon/accuracy"}:
            assert sorted(rows(trainer, key)) == [0, 1, 2], key
        first = callback.measurements[0]
        assert first.prompts.source == "gsm8k: a sample written for divmon"
        assert set(first.prompts.tasks) == {"gsm8k"}
        assert first.prompts.categories == ("reasoning",) * 3
        assert not first.tasks

    @pytest.fixture(scope="class")
    @classmethod
    def mixed(cls, tmp_path_factory):
        """A run on a task of words and one of code."""

        folder = tmp_path_factory.mktemp("mixed")
        with pytest.MonkeyPatch.context() as patch:
            use_fakes(patch)
            # With stop sequences, as a base model has them: no chat template is in force for these prompts.
            prompts = PromptSet.of_tasks(["gsm8k:sample", "cruxeval:sample"], per_task=6)
            callback = DiversityCallback(prompts, **(SMALL | {"num_prompts": 6}))
            trainer = sft(folder, [callback], eval_dataset=Dataset.from_list([{"text": "a b c"}]), max_steps=2)
            trainer.train()
            metrics = trainer.evaluate()
        return folder, callback, trainer, metrics

    def test_values_are_logged_per_task_and_averaged_over_the_tasks_that_have_them(self, mixed):
        _, callback, trainer, _ = mixed
        for name in ("ead", "sbert", "vendi"):
            each = [rows(trainer, f"divmon/{task}/{name}") for task in ("gsm8k", "cruxeval")]
            both = rows(trainer, f"divmon/{name}")
            for step in (0, 1, 2):
                assert both[step] == pytest.approx((each[0][step] + each[1][step]) / 2, abs=1e-12)
        assert not rows(trainer, "divmon/cruxeval/nli")
        assert not rows(trainer, "divmon/cruxeval/nli_retained")
        for suffix in ("nli", "nli_retained"):
            assert rows(trainer, f"divmon/{suffix}") == rows(trainer, f"divmon/gsm8k/{suffix}")
            assert sorted(rows(trainer, f"divmon/{suffix}")) == [0, 1, 2]
        assert sorted(rows(trainer, "divmon/cruxeval/accuracy")) == [0, 1, 2]
        assert "nli" not in callback.measurements[0].tasks["cruxeval"]

    def test_an_evaluation_has_every_key(self, mixed):
        metrics = mixed[3]
        assert math.isnan(metrics["eval_divmon/cruxeval/nli"])
        assert not math.isnan(metrics["eval_divmon/nli"])

    def test_the_ledger_reads_back_and_the_lineage_takes_the_tasks_that_have_values(self, mixed):
        folder = mixed[0]
        found = Ledger.of(folder).read()
        assert found.measurements[-1].tasks.keys() == {"gsm8k", "cruxeval"}
        assert found.measurements[-1].tasks["cruxeval"].keys() == {"ead", "sbert", "vendi"}
        base, checkpoints = lineage.checkpoints_of_records(lineage.records_of_runs([f"think-sft={folder}"]))
        assert set(base["nli"]) == {"gsm8k"}
        assert set(base["sbert"]) == {"gsm8k", "cruxeval"}
        parts = lineage.attribute(base, checkpoints)["nli"]["think"]["average"]
        assert not math.isnan(parts["retained"].percent)

    def test_a_misspelt_task_is_said_at_once(self):
        with pytest.raises(InputError, match="Unknown task 'gsm8': did you mean 'gsm8k'"):
            DiversityCallback(prompts="gsm8")


class TestRecipes:
    def load(self, tmp_path, prompts):
        write_folder(tmp_path, "base")
        return load_recipe(write_recipe(tmp_path, "base", STAGES["base"] | {"monitor": MONITOR | {"prompts": prompts}}))

    def test_a_recipe_may_name_tasks(self, tmp_path):
        recipe = self.load(tmp_path, "gsm8k:sample,ifeval:sample")
        assert prompts_file(recipe) is None
        assert PromptSet.of(monitor_settings(recipe)["prompts"]).tasks == ("gsm8k", "ifeval")

    def test_and_a_file_as_before(self, tmp_path):
        recipe = self.load(tmp_path, "prompts.jsonl")
        assert prompts_file(recipe) == (tmp_path / "prompts.jsonl").resolve() == monitor_settings(recipe)["prompts"]

    def test_a_misspelt_task(self, tmp_path):
        with pytest.raises(InputError, match="monitor, prompts: Unknown task 'gsm8': did you mean 'gsm8k'"):
            self.load(tmp_path, "gsm8")


class TestCommand:
    @pytest.fixture
    def divmon(self, capsys):
        def run(*arguments):
            with pytest.raises(SystemExit) as ended:
                main(list(arguments))
            return ended.value.code, *capsys.readouterr()

        return run

    def test_the_list_fits_a_terminal(self, divmon, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        status, out, err = divmon("tasks")
        lines = out.splitlines()
        assert (status, err) == (0, "")
        assert [line.split()[0] for line in lines[1:16]] == list(TASKS)
        assert all(len(line) <= 80 for line in lines)
        assert lines[4].split() == ["humaneval", "code", "164", "code", "(opt", "in)", "nli"]

    def test_one_is_explained_with_a_prompt(self, divmon):
        status, out, err = divmon("tasks", "GSM8K,cruxeval")
        assert (status, err) == (0, "")
        assert "data set: openai/gsm8k (main, test), 500 prompts, columns question, answer" in out
        assert r"without a chat template it stops before '\nQuestion:', '\n\nQuestion'" in out
        assert "at most 2,048 tokens" in out
        assert "    Question: " in out
        assert out.count("a prompt, of the sample that divmon ships:") == 2

    def test_json(self, divmon):
        status, out, _ = divmon("tasks", "--json")
        found = {task["name"]: task for task in json.loads(out)}
        assert status == 0
        assert list(found) == list(TASKS)
        assert found["mbpp"]["metrics"] == ["ead", "sbert", "vendi", "ast"]
        assert found["gsm8k"]["metrics"] == ["ead", "sbert", "nli", "vendi"]
        assert found["math_algebra"]["config"] == "algebra"

    def test_a_misspelt_one(self, divmon):
        status, out, err = divmon("tasks", "gsm8")
        assert (status, out, err) == (2, "", "divmon: Unknown task 'gsm8': did you mean 'gsm8k'?\n")
