"""Recipe files: what they say, and what is refused with which words."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from divmon.errors import InputError
from divmon.recipes import configs
from divmon.recipes.configs import architecture_config, build_config, check_sections, lora_config, resolved_settings
from divmon.recipes.recipe import load_parent, load_recipe, load_recipes
from divmon.recipes.sources import Source
from tests.recipes import ARCHITECTURE, STAGES, TRAINING, write_folder, write_recipe


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "recipes")


def refused(folder, name, content, words):
    path = write_recipe(folder, name, content)
    with pytest.raises(InputError, match=words) as caught:
        check_sections(load_recipe(path))
    assert str(path) in str(caught.value)
    return str(caught.value)


class TestReading:
    def test_fields_are_the_keys(self, folder):
        recipe = load_recipe(folder / "think-sft.yaml")
        assert (recipe.name, recipe.description, recipe.init_from) == ("think-sft", "chats", "base")
        assert (recipe.trainer, recipe.settings) == ("sft", STAGES["think-sft"]["sft"])
        assert recipe.data == (Source(file="chats.jsonl"),)
        assert recipe.dpo is None
        assert recipe.path == (folder / "think-sft.yaml").resolve()
        assert recipe.text == recipe.path.read_text(encoding="utf-8")

    def test_numbers_and_words_are_those_of_yaml_1_2(self, tmp_path):
        """PyYAML by itself reads 5e-5 as a string, `no` as False and 1:30 as 90."""
        path = tmp_path / "a.yaml"
        path.write_text(
            "model: m\ndata: [{file: x}]\nsft:\n  learning_rate: 5e-5\n  save_strategy: no\n  packing: true\n"
            "  run_name: 1:30\n  max_steps: 1_000\n  weight_decay: 0.0\n  eos_token: on\n  optim_args: 2026-01-01\n"
        )
        assert load_recipe(path).sft == {
            "learning_rate": 5e-5,
            "save_strategy": "no",
            "packing": True,
            "run_name": "1:30",
            "max_steps": 1000,
            "weight_decay": 0.0,
            "eos_token": "on",
            "optim_args": "2026-01-01",
        }

    def test_an_empty_section_is_one_with_the_defaults(self, tmp_path):
        path = tmp_path / "a.yaml"
        path.write_text("model: m\ndata: [{file: x}]\nsft:\n")
        assert (load_recipe(path).trainer, load_recipe(path).sft) == ("sft", {})

    def test_options_of_a_world(self, tmp_path):
        path = tmp_path / "a.yaml"
        path.write_text("model: m\ndata:\n  - {world: rl, rows: 5, tasks: [format], strip_thinking: true}\nsft:\n")
        source = Source(world="rl", rows=5, strip_thinking=True, options={"tasks": ["format"]})
        assert load_recipe(path).data == (source,)

    def test_folders_hold_their_own_recipes_and_each_is_read_once(self, folder):
        write_recipe(folder / "ablations", "kl", STAGES["think-rl"] | {"init_from": "../think-dpo"})
        names = [recipe.name for recipe in load_recipes([folder, folder / "base.yaml"])]
        assert sorted(names) == sorted(STAGES)
        assert [recipe.name for recipe in load_recipes([folder / "ablations"])] == ["kl"]

    def test_all_below_a_folder_come_when_asked_for_its_own_first(self, folder):
        path = write_recipe(folder / "ablations", "a", STAGES["think-rl"] | {"init_from": "../think-dpo"})
        recipes = load_recipes([folder.parent, path], below=True)
        assert [recipe.label for recipe in recipes] == [
            *(f"recipes/{name}" for name in sorted(STAGES)),
            "ablations/a",
        ]
        (folder.parent / "none").mkdir()
        with pytest.raises(InputError, match=r"No recipe .* in the folder .*none"):
            load_recipes([folder.parent / "none"], below=True)

    def test_a_parent_is_a_name_or_a_relative_path(self, folder):
        path = write_recipe(folder / "ablations", "kl", STAGES["think-rl"] | {"init_from": "../think-dpo"})
        assert load_parent(load_recipe(path)).name == "think-dpo"
        assert load_parent(load_recipe(folder / "think-dpo.yaml")).path == (folder / "think-sft.yaml").resolve()
        assert load_parent(load_recipe(folder / "base.yaml")) is None

    def test_a_dot_in_a_name_is_part_of_it(self, folder):
        write_recipe(folder, "olmo-3.1", STAGES["base"])
        path = write_recipe(folder, "next", {"init_from": "olmo-3.1"})
        assert load_parent(load_recipe(path)).name == "olmo-3.1"

    def test_loading_needs_no_heavy_library(self, folder):
        code = (
            "import sys, json; from divmon.recipes.recipe import load_recipes; "
            f"load_recipes([{str(folder)!r}]); print(json.dumps(list(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert not {"torch", "transformers", "trl", "peft", "datasets"} & set(json.loads(done.stdout))


class TestRefused:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"tokeniser": "x"}, r"unknown key 'tokeniser': did you mean 'tokenizer'\?"),
            (
                {"data": [{"file": "chats.jsonl", "row": 3}]},
                r"data, source 1: unknown key 'row': did you mean 'rows'\?",
            ),
            ({"data": [{"file": "a", "world": "b"}]}, r"source 1: expected exactly one of dataset, file and world"),
            ({"data": [{"rows": 3}]}, r"exactly one of dataset, file and world, got none"),
            ({"data": [{"world": "rl"}]}, r"a world needs 'rows'"),
            ({"data": [{"file": "a", "rows": 0}]}, r"rows: expected a whole number of at least 1, got 0"),
            ({"data": [{"file": "a", "rows": True}]}, r"rows: expected a whole number of at least 1, got True"),
            ({"data": [{"file": "a", "split": "test"}]}, r"unknown key 'split'"),
            ({"data": [{"file": "a", "columns": {"prompt": 3}}]}, r"columns, prompt: expected a string, got 3"),
            ({"data": [{"file": "a", "strip_thinking": "yes"}]}, r"strip_thinking: expected true or false, got 'yes'"),
            ({"data": [{"file": "a", "mapping": "dolci-stf"}]}, r"mapping: unknown key 'dolci-stf': did you mean"),
            ({"data": {"file": "a"}}, r"data: expected a list of sources"),
            ({"data": []}, r"data: expected a list of sources"),
            ({"data": None}, r"a stage that trains needs 'data'"),
            ({"model": "m"}, r"expected exactly one of init_from, model, architecture .*got init_from, model"),
            ({"init_from": ""}, r"init_from: expected a string, got ''"),
            ({"dpo": {}}, r"expected at most one of sft, dpo, grpo, got sft, dpo"),
            ({"sft": 3}, r"sft: expected a mapping of names to values, got 3"),
            ({"sft": {"output_dir": "x"}}, r"sft, output_dir: the runner sets it, .*--output-dir"),
            ({"sft": {"seed": 1}}, r"sft, seed: the runner sets it, .*--seed"),
            ({"sft": {"push_to_hub": True}}, r"push_to_hub: the runner sets it.*nothing is uploaded"),
            ({"sft": {"hub_model_id": "x"}}, r"hub_model_id: the runner sets it.*nothing is uploaded"),
            ({"sft": {"model_init_kwargs": {}}}, r"model_init_kwargs: .*model_args"),
            ({"rewards": ["length"]}, r"sft: 'rewards' belongs to grpo"),
            ({"model_args": {"dtyp": "x"}}, r"model_args: unknown key 'dtyp': did you mean 'dtype'\?"),
            ({"hardware": {"gpu": 1}}, r"hardware: unknown key 'gpu': did you mean 'gpus'\?"),
            ({"hardware": {"tflops": "many"}}, r"hardware, tflops: expected a number above 0, got 'many'"),
            ({"hardware": {"gpus": 0}}, r"hardware, gpus: expected a number above 0, got 0"),
            ({"monitor": {"sample": 3}}, r"monitor: unknown key 'sample': did you mean 'samples'\?"),
            ({"monitor": {"samples": 1}}, r"monitor: samples: expected at least 2"),
            ({"monitor": {"baseline": "x"}}, r"monitor, baseline: the runner sets it.*root"),
            ({"monitor": {"prompts": "prompt.jsonl"}}, r"there is no file .*Did you mean .*prompts\.jsonl"),
            ({"monitor": {"every_n_steps": 0}}, r"every_n_steps: expected a whole number of at least 1"),
            ({"shipped": {"folder": "x", "sha256": "y"}}, r"shipped: goes with 'architecture'"),
        ],
    )
    def test_by_the_file_alone(self, folder, changes, words):
        refused(folder, "bad", STAGES["think-sft"] | changes, words)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"sft": {"max_seq_length": 3}}, r"sft: unknown key 'max_seq_length': did you mean 'max_length'\?"),
            ({"sft": {"per_device_train_batchsize": 3}}, r"did you mean 'per_device_train_batch_size'\?"),
            ({"sft": {"learning_rate": "fast"}}, r"sft, learning_rate: expected float, got 'fast'"),
            ({"sft": {"packing": "yes"}}, r"sft, packing: expected bool, got 'yes'"),
            ({"sft": {"max_steps": 2.5}}, r"sft, max_steps: expected int, got 2\.5"),
            ({"lora": {"rank": 3}}, r"lora: unknown key 'rank'"),
            ({"lora": {"lora_alfa": 3}}, r"lora: unknown key 'lora_alfa': did you mean 'lora_alpha'\?"),
            ({"sft": None, "dpo": {"bete": 1.0}}, r"dpo: unknown key 'bete': did you mean 'beta'\?"),
        ],
    )
    def test_fields_of_other_libraries(self, folder, changes, words):
        content = {key: value for key, value in (STAGES["think-sft"] | changes).items() if value is not None}
        refused(folder, "bad", content, words)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"hiden_size": 3}, r"architecture: unknown key 'hiden_size': did you mean 'hidden_size'\?"),
            ({"model_type": "olmo33"}, r"architecture, model_type: unknown key 'olmo33': did you mean 'olmo3'\?"),
            ({"model_type": None}, r"architecture, model_type: expected a string, got nothing"),
            ({"hidden_size": "wide"}, r"architecture: .*'hidden_size'"),
            ({"dtype": "float17"}, r"architecture: .*'float17'"),
            ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, r"architecture: .*'factor'"),
        ],
    )
    def test_an_architecture(self, folder, changes, words):
        refused(folder, "bad", STAGES["base"] | {"architecture": ARCHITECTURE | changes}, words)

    def test_an_architecture_without_tokenizer_or_training(self, folder):
        content = dict(STAGES["base"])
        del content["tokenizer"]
        refused(folder, "bad", content, "architecture needs 'tokenizer'")
        content = {key: value for key, value in STAGES["base"].items() if key not in ("sft", "data")}
        refused(folder, "bad", content, "neither a training section")

    def test_grpo_without_rewards(self, folder):
        content = {key: value for key, value in STAGES["think-rl"].items() if key != "rewards"}
        refused(folder, "bad", content, "grpo needs it")

    def test_data_without_training(self, folder):
        refused(folder, "bad", {"init_from": "base", "data": [{"file": "a"}]}, "'data' needs one of the sections")

    def test_a_key_twice(self, tmp_path):
        (tmp_path / "a.yaml").write_text("model: m\nmonitor: {}\nmodel: n\n")
        with pytest.raises(InputError, match=r"a\.yaml, line 3: not YAML \('model' stands twice\)"):
            load_recipe(tmp_path / "a.yaml")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("a: [", "line 1|line 2"),
            ("- a", "expected a mapping"),
            ("", "expected a mapping"),
            ("x: !!python/name:os", "not YAML"),
        ],
    )
    def test_what_is_no_recipe(self, tmp_path, text, words):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(InputError, match=words):
            load_recipe(tmp_path / "a.yaml")

    def test_paths_that_hold_none(self, folder, tmp_path):
        with pytest.raises(InputError, match=r"Did you mean .*think-sft\.yaml"):
            load_recipes([folder / "think-stf.yaml"])
        with pytest.raises(InputError, match=r"No recipe .*Its subfolders have some: name .*recipes"):
            load_recipes([tmp_path])

    def test_a_missing_parent(self, folder):
        path = write_recipe(folder, "next", {"init_from": "think-dop"})
        with pytest.raises(InputError, match=r"init_from: there is no .*Did you mean .*think-dpo\.yaml"):
            load_parent(load_recipe(path))


class TestConfigs:
    def test_fields_reach_the_real_classes(self, folder, tmp_path):
        for name, stage in STAGES.items():
            recipe = load_recipe(folder / f"{name}.yaml")
            if recipe.trainer is None:
                continue
            config = build_config(recipe, tmp_path / "run", seed=7)
            assert type(config).__name__ == f"{recipe.trainer.upper()}Config"
            for key in ("max_steps", "learning_rate", "per_device_train_batch_size"):
                assert getattr(config, key) == stage[recipe.trainer][key]
            assert (config.seed, config.data_seed) == (7, 7)
            assert config.output_dir == str(tmp_path / "run" / "checkpoints")
            assert config.report_to == []
        assert lora_config(load_recipe(folder / "lora-sft.yaml")).r == 4
        assert lora_config(load_recipe(folder / "base.yaml")) is None

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"num_generations": 3}, "num_generations"),
            ({"num_generations": 0}, "by zero"),
            ({"lr_scheduler_type": "slow"}, "not a valid SchedulerType"),
            ({"accelerator_config": {"no_such": 1}}, "no_such"),
            ({"accelerator_config": "none.json"}, "No such file"),
        ],
    )
    def test_what_the_class_refuses_is_said_with_the_file(self, folder, settings, words):
        recipe = load_recipe(write_recipe(folder, "bad", STAGES["think-rl"] | {"grpo": TRAINING | settings}))
        with pytest.raises(InputError, match=rf"bad\.yaml, grpo: .*{words}"):
            build_config(recipe, folder / "run")

    def test_what_peft_refuses(self, folder):
        lora = {"target_modules": "all-linear", "layers_to_transform": [1]}
        recipe = load_recipe(write_recipe(folder, "bad", STAGES["lora-sft"] | {"lora": lora}))
        with pytest.raises(InputError, match=r"bad\.yaml, lora: .*layers_to_transform"):
            lora_config(recipe)

    def test_a_fault_of_our_own_is_not_said_to_be_the_recipes(self, folder, monkeypatch):
        def broken(**_):
            raise NameError("a slip of the pen")

        monkeypatch.setattr(configs, "config_class", lambda _: broken)
        monkeypatch.setattr(configs, "check_sections", lambda _: None)
        with pytest.raises(NameError):
            build_config(load_recipe(folder / "think-sft.yaml"), folder / "run")

    def test_the_recipe_has_the_last_word_on_the_machine(self, folder):
        recipe = load_recipe(write_recipe(folder, "bf16", STAGES["think-sft"] | {"sft": {"bf16": True}}))
        assert resolved_settings(recipe, folder)["bf16"] is True

    def test_reporting(self, folder):
        recipe = load_recipe(write_recipe(folder, "a", STAGES["think-sft"] | {"sft": {"report_to": "tensorboard"}}))
        assert resolved_settings(recipe, folder)["report_to"] == "tensorboard"
        assert resolved_settings(recipe, folder, report_to="wandb")["report_to"] == "wandb"
        assert resolved_settings(load_recipe(folder / "base.yaml"), folder)["report_to"] == "none"

    def test_completions_are_not_printed(self, folder):
        recipe = load_recipe(folder / "think-rl.yaml")
        assert resolved_settings(recipe, folder)["num_completions_to_print"] == 0

    def test_smoke_is_short_whatever_the_recipe_says(self, folder, tmp_path):
        grpo = TRAINING | {"steps_per_generation": 4, "num_generations": 8, "per_device_train_batch_size": 16}
        content = STAGES["think-rl"] | {"grpo": grpo | {"max_completion_length": 4096, "warmup_steps": 50}}
        config = build_config(load_recipe(write_recipe(folder, "a", content)), tmp_path, smoke=True)
        assert (config.max_steps, config.num_generations, config.max_completion_length) == (2, 4, 24)
        assert (config.steps_per_generation, config.gradient_accumulation_steps) == (1, 1)

    def test_an_architecture_takes_defaults_and_keeps_what_is_given(self, folder):
        recipe = load_recipe(folder / "base.yaml")
        config = architecture_config(recipe, vocab_size=99, hidden_size=1, eos_token_id=5)
        assert (config.vocab_size, config.hidden_size, config.eos_token_id) == (99, 32, 5)
