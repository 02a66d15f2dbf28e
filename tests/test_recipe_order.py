"""``shuffle: false``: sources, and rows in each, reach the model in the order given."""

from __future__ import annotations

import datasets
import pytest
from trl.trainer.utils import RepeatSampler

from divmon.errors import InputError
from divmon.recipes.configs import build_config, resolved_settings
from divmon.recipes.data import StageData
from divmon.recipes.models import Weights
from divmon.recipes.plan import Plan, order
from divmon.recipes.recipe import load_recipe
from divmon.recipes.trainer import build_trainer
from tests.recipes import REWARDS, STAGES, TRAINING, write_folder, write_recipe, write_rows
from tests.tiny import tiny_llama, tiny_tokenizer

FIRST = [f"first{n}" for n in range(12)]
SECOND = [f"second{n}" for n in range(20)]
SOURCES = [{"file": "first.jsonl"}, {"file": "second.jsonl"}]
PACKED = {"packing": True, "packing_strategy": "wrapped", "max_length": 32}


def turns(text):
    return {
        "text": text,
        "prompt": [{"role": "user", "content": text}],
        "chosen": [{"role": "assistant", "content": "good"}],
        "rejected": [{"role": "assistant", "content": "bad"}],
    }


@pytest.fixture
def folder(tmp_path):
    folder = write_folder(tmp_path / "recipes", "base")
    # Of very different lengths: what sorts by them is seen.
    write_rows(folder / "first.jsonl", [turns(f"{text} {'x' * (5 * (n % 3))}") for n, text in enumerate(FIRST)])
    write_rows(folder / "second.jsonl", [turns(text) for text in SECOND])
    return folder


def recipe_of(folder, kind="sft", sources=SOURCES, shuffle=False, **settings):
    content = {"init_from": "base", "data": sources, "shuffle": shuffle, kind: TRAINING | settings}
    if kind == "grpo":
        content |= {"rewards": REWARDS}
    return load_recipe(write_recipe(folder, "stage", content))


def texts(data, column="text"):
    return [row[column].split()[0] for row in data]


def prompts(data):
    return [row["prompt"][0]["content"].split()[0] for row in data]


class TestData:
    def test_sources_and_rows_keep_their_order(self, folder):
        assert texts(StageData(recipe_of(folder), 3).build()) == FIRST + SECOND
        assert texts(StageData(recipe_of(folder, sources=SOURCES[::-1]), 3).build()) == SECOND + FIRST
        assert texts(StageData(recipe_of(folder, shuffle=True), 3).build()) != FIRST + SECOND

    def test_a_cap_takes_the_first_rows(self, folder):
        sources = [{"file": "second.jsonl", "rows": 3}, {"file": "first.jsonl", "rows": 2}]
        assert texts(StageData(recipe_of(folder, sources=sources), 3).build()) == SECOND[:3] + FIRST[:2]

    @pytest.mark.parametrize("hub", [{}, {"rows": 20}, {"streaming": True}, {"streaming": True, "rows": 20}])
    def test_hub_sets_keep_their_place_among_files(self, folder, tmp_path, monkeypatch, hub):
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        (folder / "hub").mkdir()
        write_rows(folder / "hub" / "train.jsonl", [turns(f"hub{n}") for n in range(40)])
        sources = [SOURCES[0], {"dataset": "hub", **hub}, SOURCES[1]]
        data = StageData(recipe_of(folder, sources=sources), 3).build()
        assert texts(data) == FIRST + [f"hub{n}" for n in range(hub.get("rows", 40))] + SECOND

    def test_it_is_part_of_what_a_stage_is(self, folder):
        hashes = []
        for shuffle in (False, True):
            stages = order([recipe_of(folder, shuffle=shuffle)], folder / "runs")
            hashes.append(Plan(stages, 0).content_hash(stages[-1]))
        assert hashes[0] != hashes[1]


class TestTrainers:
    @pytest.fixture
    def trainer(self, folder):
        def build(kind="sft", **settings):
            recipe = recipe_of(folder, kind, **settings)
            dataset, config = StageData(recipe, 0).build(), build_config(recipe, folder / "run")
            tiny_llama().save_pretrained(folder / "weights")
            weights = Weights(str(folder / "weights"))  # of DPO's reference model
            return build_trainer(recipe, config, tiny_llama(), tiny_tokenizer(), dataset, weights=weights)

        return build

    @pytest.mark.parametrize("packed", [{}, PACKED])
    def test_sft_reads_in_order(self, trainer, packed):
        made = trainer("sft", **packed)
        read = "".join(
            made.processing_class.decode([token for token in row.tolist() if token != 0])
            for batch in made.get_train_dataloader()
            for row in batch["input_ids"]
        )
        assert [text.split()[0] for text in read.split(made.processing_class.eos_token) if text] == FIRST + SECOND

    def test_sft_would_not_without_it(self, trainer):
        made = trainer("sft", shuffle=True, **PACKED)
        first = made.processing_class.decode(next(iter(made.get_train_dataloader()))["input_ids"][0])
        assert not first.startswith("first0")

    def test_dpo_reads_in_order(self, trainer):
        made = trainer("dpo", max_length=64)
        read = [
            made.processing_class.decode(row[row != 0]).removeprefix("<|user|>").split()[0]
            for batch in made.get_train_dataloader()
            for row in batch["input_ids"][: len(batch["input_ids"]) // 2]
        ]
        assert read == FIRST + SECOND

    def test_grpo_reads_in_order(self, trainer):
        made = trainer("grpo", max_completion_length=8, num_generations=4)
        sampler = made._get_train_sampler()
        assert isinstance(sampler, RepeatSampler)
        assert prompts(made.train_dataset) == FIRST + SECOND
        assert list(dict.fromkeys(sampler)) == list(range(len(FIRST + SECOND)))


class TestRefused:
    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            (
                {"train_sampling_strategy": "group_by_length"},
                r"train_sampling_strategy: 'group_by_length' does not",
            ),
            ({"shuffle_dataset": True}, r"sft, shuffle_dataset: True does not keep the order .* expected False"),
            ({"packing": True}, r"packing_strategy: expected 'wrapped' beside 'shuffle: false'"),
            ({"packing": True, "packing_strategy": "bfd_split"}, r"packing_strategy: expected 'wrapped'"),
        ],
    )
    def test_what_changes_the_order(self, folder, settings, words):
        with pytest.raises(InputError, match=words):
            recipe_of(folder, **settings)
        recipe_of(folder, shuffle=True, **settings)

    def test_the_same_said_twice_is_fine(self, folder):
        settings = {"train_sampling_strategy": "sequential", "shuffle_dataset": False}
        assert resolved_settings(recipe_of(folder, **settings), folder).items() >= settings.items()

    def test_a_stage_that_does_not_train(self, folder):
        with pytest.raises(InputError, match="'shuffle' needs one of the sections"):
            load_recipe(write_recipe(folder, "stage", {"init_from": "base", "shuffle": False}))
        with pytest.raises(InputError, match="shuffle: expected true or false, got 'no'"):
            load_recipe(write_recipe(folder, "stage", STAGES["base"] | {"shuffle": "no"}))
