"""``divmon recipe check``: what it proves, what it finds wrong, and the arithmetic of its estimates."""

import dataclasses
import importlib.resources
import json
import random
from pathlib import Path

import pytest
import torch

from divmon.errors import InputError
from divmon.recipes.check import CHECKS, Finding, check_recipes
from divmon.recipes.configs import config_class
from divmon.recipes.estimate import Estimate, estimate
from divmon.recipes.hours import DECODE_S_PER_LAYER
from divmon.recipes.known import known_architecture, known_dataset
from divmon.recipes.mappings import mapping
from divmon.recipes.recipe import load_recipe
from divmon.recipes.row_checks import mapped
from divmon.recipes.shrink import shrunken_config, shrunken_model, standin_tokenizer
from divmon.recipes.sources import Source
from divmon.recipes.subject import GENERIC_TEMPLATE as PLAIN
from divmon.recipes.subject import Subject
from divmon.recipes.trial import trial_recipe
from divmon.shape import Shape

ROOT = Path(__file__).parent.parent
MODELS = ("allenai/OLMo-2-0425-1B", "allenai/Olmo-3-1025-7B")
DATASETS = json.loads(
    importlib.resources.files("divmon.data").joinpath("dolci/datasets.json").read_text(encoding="utf-8")
)
SFT = """
description: fixture
model: allenai/OLMo-2-0425-1B
chat_template: chat.jinja
data:
  - dataset: allenai/Dolci-Think-SFT-7B
    mapping: dolci-sft
sft: {max_steps: 4, per_device_train_batch_size: 2, learning_rate: 1.0e-3, assistant_only_loss: true}
"""
GRPO = """
description: fixture
model: allenai/Olmo-3-1025-7B
chat_template: chat.jinja
data:
  - dataset: allenai/Dolci-RL-Zero-Math-7B
    mapping: dolci-rl-zero-math
grpo: {max_steps: 4, per_device_train_batch_size: 2, gradient_accumulation_steps: 4, num_generations: 8}
rewards: [verifiable]
"""


@pytest.fixture
def written(tmp_path):
    def write(text, name="stage", template=PLAIN):
        (tmp_path / "chat.jinja").write_text(template, encoding="utf-8")
        path = tmp_path / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        return load_recipe(path)

    return write


def found(recipe, check):
    (finding,) = check_recipes([recipe], checks=[check])
    assert (finding.recipe, finding.check) == (f"{recipe.folder.name}/{recipe.name}", check)
    return finding


def refused(recipe, check):
    finding = found(recipe, check)
    assert not finding.ok, finding.detail
    return finding.detail


# What is known without the hub.


@pytest.mark.parametrize("model", MODELS)
def test_parameters_are_those_of_the_real_class(model):
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    config = dict(known_architecture(model))
    shape = Shape.of(config)
    with torch.device("meta"):
        real = AutoModelForCausalLM.from_config(CONFIG_MAPPING[config.pop("model_type")](**config))
    assert shape.parameters == real.num_parameters()
    # The published sizes: 1.48B and 7.3B.
    assert shape.parameters == {MODELS[0]: 1_484_916_736, MODELS[1]: 7_298_011_136}[model]


def test_grouped_heads_and_a_tied_head_are_counted():
    from transformers import AutoModelForCausalLM, Olmo3Config

    config = Olmo3Config(
        vocab_size=90, hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, tie_word_embeddings=True, sliding_window=8, pad_token_id=None, eos_token_id=None,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    )  # fmt: skip
    shape = Shape.of(config.to_dict())
    assert shape.parameters == AutoModelForCausalLM.from_config(config).num_parameters()
    assert shape.windows == (8, None, 8)
    # Keys and values of 2 bytes each, 2 heads of 4: 4 x 8 bytes a token and layer; of 20 tokens two layers keep 8.
    assert shape.cache(20) == 4 * 8 * (8 + 20 + 8)


@pytest.mark.parametrize("model", MODELS)
def test_adapters_are_those_of_peft(model):
    from peft import LoraConfig, get_peft_model
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    config = dict(known_architecture(model)) | {"num_hidden_layers": 2, "vocab_size": 64}
    config |= {"pad_token_id": None, "eos_token_id": None}
    shape = Shape.of(config)
    for targets in ("all-linear", ["q_proj", "down_proj"]):
        with torch.device("meta"):
            real = AutoModelForCausalLM.from_config(
                CONFIG_MAPPING[config["model_type"]](**{k: v for k, v in config.items() if k != "model_type"})
            )
            real = get_peft_model(real, LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
        assert shape.adapters(4, targets) == sum(p.numel() for p in real.parameters() if p.requires_grad)


def test_a_config_without_sizes_is_refused():
    with pytest.raises(InputError, match="without 'num_attention_heads'"):
        Shape.of({"hidden_size": 8})


@pytest.mark.parametrize("name", DATASETS)
def test_every_known_data_set_has_rows_of_its_schema(name):
    known = known_dataset(name)
    assert known.rows > 10_000
    assert known.tokens > 0
    assert known.basis
    assert len(known.fixture) >= 2
    # The schema names the columns that the fixture has.
    for column in known.fixture[0]:
        if known.fixture[0][column] is not None and column not in ("solution", "total_rollouts", "original_dataset"):
            assert column in DATASETS[name]["schema"] or "provenance" in DATASETS[name]["schema"], column


def test_unknown_names_are_unknown():
    assert known_architecture("somebody/else") is None
    assert known_dataset("somebody/else") is None


# Mappings.


def rows_of(name):
    return known_dataset(f"allenai/{name}").fixture


def test_sft_rows_keep_turns_source_and_calls():
    row = mapping("dolci-sft")(rows_of("Dolci-Instruct-SFT")[2])
    assert [turn["role"] for turn in row["messages"]] == ["system", "user", "assistant", "environment", "assistant"]
    assert row["messages"][0]["functions"].startswith("[{")
    assert row["messages"][2] == {
        "role": "assistant", "content": "", "functions": "", "function_calls": 'get_tide(place="Brest")',
    }  # fmt: skip
    assert row["source"] == "fixtures/tools"
    assert set(row) == {"messages", "source"}
    assert mapping("dolci-sft")(rows_of("Dolci-Think-SFT-7B")[0])["source"] == "fixtures/word-problems"


def test_rows_without_an_answer_or_too_long_are_left_out():
    sft = mapping({"dolci-sft": {"max_chars": 20}})
    turns = [{"role": "user", "content": "x" * 10}, {"role": "assistant", "content": "y" * 10}]
    assert sft({"messages": turns}) is not None
    assert sft({"messages": [*turns, {"role": "user", "content": "?"}, turns[1]]}) is None
    assert sft({"messages": turns[:1]}) is None
    assert sft({"messages": None}) is None


def test_dpo_rows_are_split_where_the_answers_part():
    row = mapping("dolci-dpo")(rows_of("Dolci-Instruct-DPO")[1])
    assert [turn["role"] for turn in row["prompt"]] == ["user", "assistant", "user"]
    assert [turn["role"] for turn in row["chosen"] + row["rejected"]] == ["assistant", "assistant"]
    assert all(set(turn) == {"role", "content"} for key in ("prompt", "chosen", "rejected") for turn in row[key])
    think = mapping("dolci-dpo")(rows_of("Dolci-Think-DPO-7B")[0])
    assert think["prompt"] == [{"role": "user", "content": "Is 91 a prime number?"}]
    assert "<think>" in think["chosen"][0]["content"]


def test_pairs_without_a_difference_or_a_prompt():
    dpo = mapping("dolci-dpo")
    user, good, bad = ({"role": r, "content": c} for r, c in (("user", "q"), ("assistant", "a"), ("assistant", "b")))
    assert dpo({"chosen": [user, good], "rejected": [user, good]}) is None
    assert dpo({"chosen": [good], "rejected": [bad]}) is None
    assert dpo({"prompt": "q", "chosen": [good], "rejected": [bad]})["prompt"] == [user]
    # Of the longer answer: 1 + 5 characters.
    longer = {"chosen": [user, good], "rejected": [user, bad | {"content": "bbbbb"}]}
    assert mapping({"dolci-dpo": {"max_chars": 6}})(longer) is not None
    assert mapping({"dolci-dpo": {"max_chars": 5}})(longer) is None


def test_rl_rows_name_divmons_verifiers():
    from divmon.verifiers import VERIFIERS, check_ground_truth

    made = [mapping("dolci-rl")(row) for row in rows_of("Dolci-Think-RL-7B")]
    assert [row["verifier"] for row in made] == [
        "math", "math", "constraints", "constraints", "code", "code", "code", "judge", "judge",
    ]  # fmt: skip
    assert all(isinstance(row["ground_truth"], str) for row in made)
    assert made[0]["prompt"] == [{"role": "user", "content": "Tom has 3 bags of 6 nuts. How many nuts has he?"}]
    assert [turn["role"] for turn in made[-1]["prompt"]] == ["system", "user", "assistant", "user"]
    assert made[-1]["ground_truth"] == ""
    for row in made:
        if row["verifier"] in VERIFIERS:
            check_ground_truth(row["verifier"], row["ground_truth"])
    few = mapping({"dolci-rl": {"verifiers": ["math"]}})
    assert sum(few(row) is not None for row in rows_of("Dolci-Think-RL-7B")) == 2


def test_the_right_answer_to_a_mapped_row_scores():
    from divmon.verifiers import verify

    made = [mapping("dolci-rl")(row) for row in rows_of("Dolci-Think-RL-7B")]
    assert verify("math", "<think>\n3 * 6\n</think>\n\nHe has 18 nuts.", made[0]["ground_truth"]) == 1
    assert verify("math", "17", made[0]["ground_truth"]) == 0
    assert verify("constraints", "stalls of fruit and a band", made[2]["ground_truth"]) == 1
    assert verify("constraints", "Stalls of fruit and a band", made[2]["ground_truth"]) == 0


def test_unknown_verifiers_and_missing_truths_are_left_out():
    rl = mapping("dolci-rl")
    row = {"prompt": "user: How many?", "ground_truth": ["3"], "dataset": ["math"]}
    assert rl(row)["ground_truth"] == "3"
    assert rl(row | {"ground_truth": 3, "dataset": "math"})["ground_truth"] == "3"
    assert rl(row | {"dataset": ["flan"]}) is None
    assert rl(row | {"dataset": None}) is None
    assert rl(row | {"ground_truth": []}) is None
    assert rl(row | {"prompt": "assistant: Yes."}) is None
    assert rl(row | {"prompt": None}) is None
    # A judge needs no reference.
    assert rl(row | {"dataset": ["general-quality"], "ground_truth": None})["ground_truth"] == ""


def test_only_a_text_that_begins_with_a_role_is_a_transcript():
    rl = mapping("dolci-rl")
    row = {"ground_truth": ["3"], "dataset": ["math"]}
    quoted = "Continue:\nuser: hello\nassistant: hi"
    assert rl(row | {"prompt": quoted})["prompt"] == [{"role": "user", "content": quoted}]
    turns = rl(row | {"prompt": "user: a\nb\nassistant: c\nuser: d\nassistant: "})["prompt"]
    assert [(turn["role"], turn["content"]) for turn in turns] == [("user", "a\nb"), ("assistant", "c"), ("user", "d")]


def test_rl_zero_puts_the_published_words_around_a_problem():
    row = mapping("dolci-rl-zero-math")(rows_of("Dolci-RL-Zero-Math-7B")[1])
    text = row["prompt"][0]["content"]
    assert text.startswith("Solve the following problem step by step. The last line of your response should be")
    assert text.endswith('Remember to put your answer on its own line after "Answer:"')
    assert "\n\nA square has area 49. What is its perimeter?\n\n" in text
    assert row["ground_truth"] == "28"
    braces = {"prompt": "Let f = {x}. Find {f}.", "ground_truth": "1"}
    assert "{x}" in mapping("dolci-rl-zero-math")(braces)["prompt"][0]["content"]
    assert "```" in mapping("dolci-rl-zero-code")(rows_of("Dolci-RL-Zero-Code-7B")[0])["prompt"][0]["content"]
    plain = mapping("dolci-rl-zero-if")(rows_of("Dolci-RL-Zero-IF-7B")[0])
    assert plain["prompt"][0]["content"].startswith("Describe a market")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("dolci-stf", "mapping: unknown key 'dolci-stf': did you mean 'dolci-sft'"),
        ({"dolci-sft": {"max_char": 3}}, "mapping dolci-sft: unknown key 'max_char': did you mean 'max_chars'"),
        ({"dolci-sft": {"max_chars": "many"}}, "max_chars: expected a whole number of at least 1, got 'many'"),
        ({"dolci-sft": {"max_chars": True}}, "max_chars: expected a whole number of at least 1, got True"),
        ({"dolci-sft": 3}, "mapping dolci-sft: expected a mapping of names to values, got 3"),
        ({"dolci-sft": {}, "dolci-dpo": {}}, "mapping: expected one name"),
        (None, "mapping: expected one name"),
    ],
)
def test_a_mapping_that_there_is_not(spec, message):
    with pytest.raises(InputError, match=message):
        mapping(spec)


# Shrinking.


@pytest.mark.parametrize("model", MODELS)
def test_a_shrunken_model_keeps_its_architecture(model):
    tokenizer = standin_tokenizer()
    published = known_architecture(model)
    config = shrunken_config(published, tokenizer)
    random.seed(1)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    small = shrunken_model(config)
    assert torch.equal(before, torch.get_rng_state())
    assert small.num_parameters() < 500_000
    assert config.model_type == published["model_type"]
    assert type(small).__name__ == {"olmo2": "Olmo2ForCausalLM", "olmo3": "Olmo3ForCausalLM"}[config.model_type]
    assert config.num_attention_heads // config.num_key_value_heads == 1
    assert config.intermediate_size / config.hidden_size == pytest.approx(
        published["intermediate_size"] / published["hidden_size"], rel=0.01
    )
    if config.model_type == "olmo3":
        assert set(config.layer_types) == {"sliding_attention", "full_attention"}
        scaling = config.rope_parameters["full_attention"]
        assert (scaling["rope_type"], scaling["factor"]) == ("yarn", 8.0)
        assert scaling["original_max_position_embeddings"] * 8 == config.max_position_embeddings
        assert config.rope_parameters["sliding_attention"]["rope_type"] == "default"
    again = shrunken_model(config)
    assert all(torch.equal(a, b) for a, b in zip(small.parameters(), again.parameters(), strict=True))


def test_shrinking_keeps_every_kind_of_layer_and_the_grouping():
    config = shrunken_config(
        {
            "model_type": "olmo3", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 6,
            "num_attention_heads": 8, "num_key_value_heads": 2, "sliding_window": 16, "vocab_size": 10,
            "layer_types": ["full_attention", *["sliding_attention"] * 5],
        },
        standin_tokenizer(),
    )  # fmt: skip
    assert config.layer_types == ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
    assert (config.num_attention_heads, config.num_key_value_heads, config.sliding_window) == (4, 1, 16)


def test_an_architecture_that_there_is_not():
    with pytest.raises(InputError, match="model_type: unknown key 'olmo9'"):
        shrunken_config({**known_architecture(MODELS[0]), "model_type": "olmo9"}, standin_tokenizer())


def test_the_stand_in_tokenizer_reads_any_text():
    tokenizer = standin_tokenizer()
    text = "Ünï ☃ <think>\n1+1\n</think>\t<|im_end|>"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer(tokenizer.eos_token)["input_ids"]) == 1


# Estimates.


def stage(written, text=SFT, **hardware):
    return dataclasses.replace(written(text), hardware=hardware)


def test_memory_of_full_fine_tuning(written):
    """OLMo 2 1B: N = 1,484,916,736, L = 16, h = 2048, f = 8192, V = 100,352."""
    config = known_architecture(MODELS[0])
    memory = estimate(stage(written, gpus=1), config).memory
    assert memory["states"] == pytest.approx(16 * 1.484916736, abs=1e-9)
    # 2 rows of 1,024 tokens (TRL's default), checkpointed: 2 L h T + 2 T (12 h + 5 f).
    tokens = 2 * 1024
    assert memory["activations"] == pytest.approx((2 * 16 * 2048 * tokens + 2 * tokens * (12 * 2048 + 5 * 8192)) / 1e9)
    # 32,768 tokens of 4 x 2,048 x 16 bytes.
    assert memory["monitor"] == pytest.approx(32768 * 131072 / 1e9)
    assert memory["working"] == 1.5
    four = estimate(stage(written, gpus=4), config).memory
    assert four["states"] == pytest.approx(4 * 1.484916736, abs=1e-9)
    layer = 4 * 2048**2 + 3 * 2048 * 8192 + 4 * 2048
    head = 100352 * 2048
    assert four["working"] == pytest.approx(1.5 + (2 * (2 * layer + 2 * head) + 4 * head) / 1e9)
    assert four["monitor"] == pytest.approx(memory["monitor"] + 2 * 1.484916736)  # gathered
    half = dataclasses.replace(stage(written, gpus=1), model_args={"dtype": "bfloat16"})
    assert estimate(half, config).memory["states"] == pytest.approx(8 * 1.484916736, abs=1e-9)


def test_the_peak_is_the_largest_of_what_does_not_happen_at_once():
    memory = {"states": 10.0, "working": 2.0, "vllm": 3.0, "activations": 4.0, "rollout": 9.0, "monitor": 8.0}
    assert Estimate(1, 1, memory, {}, None, None).memory_gb == 24.0
    assert Estimate(1, 1, memory, {}, None, None).total_hours is None


def test_hours_of_sft(written):
    """4 steps of 2 rows of at most 1,024 tokens; a forward is 2 (N - V h) + 4 q L s / 2 operations a token."""
    found = estimate(stage(written, gpus=2, tflops=100), known_architecture(MODELS[0]))
    assert found.steps == 4
    assert found.tokens == 4 * 2 * 2 * 1024
    forward = 2 * (1_484_916_736 - 100352 * 2048) + 4 * 2048 * 16 * 1024 / 2
    assert found.hours["training"] == pytest.approx(found.tokens * forward * 4 / (2 * 100e12) / 3600)
    assert found.total_hours == pytest.approx(sum(found.hours.values()))
    assert estimate(stage(written, gpus=2), known_architecture(MODELS[0])).hours == {}


def test_lora_needs_less(written):
    config = known_architecture(MODELS[0])
    full = stage(written, gpus=1, tflops=100)
    lora = dataclasses.replace(full, lora={"r": 8, "target_modules": "all-linear"}, model_args={"dtype": "bfloat16"})
    found = estimate(lora, config)
    assert found.trained == Shape.of(config).adapters(8, "all-linear")
    assert found.memory["states"] == pytest.approx((2 * found.parameters + 16 * found.trained) / 1e9)
    # 2 forwards and the checkpoint's, of 3 and 1.
    assert found.hours["training"] / estimate(full, config).hours["training"] == pytest.approx(3 / 4)


def test_generation_is_bound_by_bandwidth_or_by_launches(written):
    recipe = written(GRPO)
    config = known_architecture(MODELS[1])
    slow = dataclasses.replace(recipe, hardware={"gpus": 1, "tflops": 100, "bandwidth_tb_s": 1.0})
    # 8 completions of 256 tokens on average after prompts of 150; 14.6 GB of weights and 8 x 406 x 524,288 bytes.
    step = (2 * 7_298_011_136 + 8 * 524288 * (150 + 256)) / 1e12
    assert step < 32 * DECODE_S_PER_LAYER["transformers"]  # transformers' generate takes longer than that
    assert estimate(slow, config).hours["generation"] == pytest.approx(4 * 512 * 32 * 2.2e-3 / 3600)
    vllm = dataclasses.replace(slow, grpo={**recipe.grpo, "use_vllm": True})
    assert estimate(vllm, config).hours["generation"] == pytest.approx(4 * 512 * step / 3600)
    two = dataclasses.replace(vllm, hardware={**vllm.hardware, "generation_gpus": 2})
    assert estimate(two, config).hours["generation"] < estimate(vllm, config).hours["generation"]
    # In a memory that holds three completions of 256 tokens beside the weights, 8 take 8/3 waves.
    cache = 524288 * (150 + 256)
    memory = (2 * 7_298_011_136 + 3.5 * cache) / 0.85 / 1e9
    waves = dataclasses.replace(vllm, hardware={**vllm.hardware, "gpu_memory_gb": memory})
    step = (2 * 7_298_011_136 + 3 * cache) / 1e12
    expected = 4 * (512 + (8 / 3 - 1) * 256) * step / 3600
    assert estimate(waves, config).hours["generation"] == pytest.approx(expected)


def test_several_steps_share_a_generation(written):
    recipe = dataclasses.replace(written(GRPO), hardware={"gpus": 1, "tflops": 100})
    config = known_architecture(MODELS[1])
    once = estimate(recipe, config).hours["generation"]
    shared = dataclasses.replace(recipe, grpo={**recipe.grpo, "steps_per_generation": 8})
    assert estimate(shared, config).hours["generation"] == pytest.approx(once / 2)


def test_a_kl_term_and_a_reference_model_cost(written):
    recipe = dataclasses.replace(written(GRPO), hardware={"gpus": 1, "tflops": 100})
    config = known_architecture(MODELS[1])
    free, with_kl = (
        estimate(r, config) for r in (recipe, dataclasses.replace(recipe, grpo={**recipe.grpo, "beta": 0.04}))
    )
    assert with_kl.memory["states"] - free.memory["states"] == pytest.approx(2 * 7.298011136)
    assert with_kl.hours["training"] / free.hours["training"] == pytest.approx(6 / 5)


@pytest.mark.parametrize("trainer", ["sft", "dpo", "grpo"])
def test_what_a_recipe_does_not_say_is_as_in_trl(written, trainer):
    recipe = dataclasses.replace(written(SFT), sft=None, hardware={"gpus": 2, "gpu_memory_gb": 80, "tflops": 100})
    fields = {field.name: field.default for field in dataclasses.fields(config_class(trainer))}
    said = {name: value for name, value in fields.items() if value is not dataclasses.MISSING}
    config = known_architecture(MODELS[0])
    for given in ({}, {"use_vllm": True} if trainer == "grpo" else {"packing": True}):
        found, expected = (
            estimate(dataclasses.replace(recipe, **{trainer: settings}), config) for settings in (given, said | given)
        )
        assert found == expected
        assert found.steps
        assert found.tokens


def test_the_published_runs_take_about_as_long():
    """At the report's 7,700 tokens a second and GPU (pretraining) Think-SFT takes 205 hours on 8 GPUs.

    The estimate is of longer rows, and activations are computed twice.
    """
    recipe = load_recipe(ROOT / "recipes" / "olmo3-7b" / "think-sft.yaml")
    found = estimate(recipe, known_architecture(MODELS[1]))
    assert found.tokens == pytest.approx(45.4e9, rel=0.01)
    assert 205 < found.hours["training"] < 320


# The command's checks, where they should fail.


def test_a_sound_recipe_passes_and_says_what_was_done(written):
    told = []
    findings = check_recipes([written(SFT)], progress=told.append)
    assert [finding.check for finding in findings] == list(CHECKS)
    assert not [finding for finding in findings if not finding.ok]
    assert len(told) == len(CHECKS)
    texts = {finding.check: finding.detail for finding in findings}
    assert "SFTConfig with 4 fields" in texts["config"]
    assert "stand-in" in texts["template"]
    assert "4 of 4 fixture rows" in texts["data"]
    assert "SFTTrainer on a shrunken Olmo2ForCausalLM" in texts["step"]
    assert "12 tokens generated" in texts["step"]
    assert texts["estimate"].startswith("estimated, not measured")


def test_what_no_check_foresees_is_a_finding_with_class_and_place(written, monkeypatch):
    def broken(*_):
        raise KeyError("lost")

    monkeypatch.setattr("divmon.recipes.trial.train_a_step", broken)
    step, estimated = check_recipes([written(SFT)], checks=["step", "estimate"])
    assert step == Finding(step.recipe, "step", False, f"KeyError in {__name__}: 'lost'")
    assert estimated.ok


def test_a_config_that_trl_refuses(written):
    detail = refused(written(GRPO.replace("num_generations: 8", "num_generations: 7")), "config")
    assert "divisible by num_generations" in detail


def test_batches_must_divide_on_the_recipes_own_gpus(written):
    # 8 completions on the one device that is here, 3 x 8 = 24 on three; 12 groups of 2 do not go into 16.
    text = GRPO.replace("num_generations: 8", "num_generations: 4, generation_batch_size: 16") + "hardware: {gpus: 3}\n"
    detail = refused(written(text.replace("gradient_accumulation_steps: 4, ", "")), "config")
    assert "on 3 GPUs 16 completions" in detail
    assert "of 6" in detail


def test_batches_of_nothing(written):
    detail = refused(written(SFT.replace("batch_size: 2", "batch_size: 0")), "estimate")
    assert "sft, per_device_train_batch_size: expected a whole number of at least 1, got 0" in detail


def test_an_unknown_field(written):
    detail = refused(written(SFT.replace("learning_rate", "learning_rat")), "config")
    assert "did you mean 'learning_rate'" in detail


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (PLAIN.replace("{% generation %}", "").replace("{% endgeneration %}", ""), "assistant_only_loss needs"),
        (PLAIN.replace(" + eos_token", ""), "the loss would be on"),
        (PLAIN.replace("'assistant: '", "'answer: '"), "a prompt must be the beginning"),
        (PLAIN.replace("{{ message['content'] }}", ""), "expected SYSTEM-WORDS, USER-WORDS"),
        ("{% for message in messages %}{{ message.nothing.more }}{% endfor %}", "UndefinedError"),
    ],
)
def test_a_template_that_does_not_do(written, template, message):
    assert message in refused(written(SFT, template=template), "template")


def test_the_template_of_a_parent_holds(written):
    written(SFT, "think-sft")
    child = SFT.replace("model: allenai/OLMo-2-0425-1B", "init_from: think-sft").replace(
        "chat_template: chat.jinja\n", ""
    )
    assert found(written(child, "next"), "template").detail.startswith("chat.jinja renders")
    alone = found(written(SFT.replace("chat_template: chat.jinja\n", ""), "alone"), "template")
    assert alone.ok
    assert "generic" in alone.detail


def test_a_mapping_that_leaves_nothing(written):
    text = SFT.replace("mapping: dolci-sft", "mapping: {dolci-sft: {max_chars: 3}}")
    assert "leaves out all of 4 rows" in refused(written(text), "data")


def test_a_data_set_of_which_no_rows_are_here(written):
    text = SFT.replace("Dolci-Think-SFT-7B", "Nobody-Knows")
    assert "no rows of its schema come with divmon" in refused(written(text), "data")


def test_rows_that_no_reward_scores(written):
    text = GRPO.replace("allenai/Dolci-RL-Zero-Math-7B", "allenai/Dolci-RL-Zero-General-7B")
    detail = refused(written(text.replace("dolci-rl-zero-math", "dolci-rl-zero-general")), "data")
    assert "the verifier 'judge' need the reward 'judge', and there is only verifiable" in detail


@pytest.mark.parametrize(
    ("rewards", "detail"),
    [
        ("[{judge: {model: m}}]", "rows for the judge"),
        ("[{length: {max_length: 8, margin: 4}}]", "rewards that look at the form alone"),
    ],
)
def test_rows_without_the_columns_of_verifiers(written, tmp_path, rewards, detail):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "q", "reference": "r"}\n' * 4, encoding="utf-8")
    text = GRPO.replace(
        "  - dataset: allenai/Dolci-RL-Zero-Math-7B\n    mapping: dolci-rl-zero-math", "  - file: rows.jsonl"
    )
    assert "need the column 'verifier', the rows have prompt, reference" in refused(written(text), "data")
    recipe = written(text.replace("[verifiable]", rewards))
    data, step = check_recipes([recipe], checks=["data", "step"])
    assert data.ok
    assert data.detail.startswith(detail)
    assert step.ok, step.detail


def test_rows_without_a_verifier_are_counted(written, tmp_path):
    rows = [
        {"prompt": "q", "verifier": "math", "ground_truth": "1"},
        {"prompt": "p", "verifier": "", "ground_truth": ""},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    text = GRPO.replace(
        "  - dataset: allenai/Dolci-RL-Zero-Math-7B\n    mapping: dolci-rl-zero-math", "  - file: rows.jsonl"
    )
    finding = found(written(text), "data")
    assert finding.ok
    assert "1 of 2 rows has no verifier" in finding.detail
    (tmp_path / "rows.jsonl").write_text(json.dumps(rows[1]) + "\n", encoding="utf-8")
    assert "no row has a verifier" in refused(written(text), "data")


def test_ground_truths_that_a_verifier_does_not_take(written, tmp_path):
    row = {"prompt": "q", "verifier": "constraints", "ground_truth": "no such form"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    text = GRPO.replace(
        "  - dataset: allenai/Dolci-RL-Zero-Math-7B\n    mapping: dolci-rl-zero-math", "  - file: rows.jsonl"
    )
    assert "no such form" in refused(written(text), "data")


def test_strip_thinking_is_checked(written):
    recipe = written(SFT.replace("mapping: dolci-sft", "mapping: dolci-sft\n    strip_thinking: true"))
    assert found(recipe, "data").ok
    # A block that is never closed cannot be stripped.
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "<think>so"}]
    with pytest.raises(InputError, match="strip_thinking left a <think> block"):
        mapped(recipe, Source(file="x", strip_thinking=True), [{"messages": turns}])


def test_lora_targets_must_exist(written):
    assert found(written(SFT + "lora: {r: 4, target_modules: [q_proj]}\n"), "step").ok
    detail = refused(written(SFT + "lora: {r: 4, target_modules: [w_proj]}\n"), "step")
    assert "w_proj" in detail


def test_a_step_with_a_reference_model(written):
    assert found(written(GRPO.replace("max_steps: 4", "max_steps: 4, beta: 0.04")), "step").ok
    dpo = SFT.replace("Dolci-Think-SFT-7B", "Dolci-Think-DPO-7B").replace("dolci-sft", "dolci-dpo")
    dpo = dpo.replace("sft:", "dpo:").replace(", assistant_only_loss: true", "")
    finding = found(written(dpo), "step")
    assert finding.ok
    assert "DPOTrainer" in finding.detail


def test_a_step_that_trains_nothing(written):
    detail = refused(written(SFT.replace("1.0e-3", "0.0")), "step")
    assert "none of the" in detail


def test_a_model_that_is_not_known(written):
    text = SFT.replace("allenai/OLMo-2-0425-1B", "somebody/else")
    for check in ("step", "estimate"):
        assert "somebody/else is not among those that divmon knows" in refused(written(text), check)


def test_too_little_memory(written):
    fits = written(SFT + "hardware: {gpus: 1, gpu_memory_gb: 80, tflops: 100}\n")
    assert found(fits, "estimate").ok
    small = written(SFT + "hardware: {gpus: 1, gpu_memory_gb: 24}\n")
    assert "more than 92%" in refused(small, "estimate")


def test_a_circle_of_recipes(written):
    text = SFT.replace("model: allenai/OLMo-2-0425-1B", "init_from: {other}")
    written(text.replace("{other}", "second"), "first")
    assert "circle" in refused(written(text.replace("{other}", "first"), "second"), "estimate")


def test_a_stage_that_only_measures(written):
    text = "description: fixture\nmodel: allenai/Olmo-3-1025-7B\nchat_template: chat.jinja\n"
    findings = check_recipes([written(text)])
    assert not [finding for finding in findings if not finding.ok]
    assert findings[3].detail == "a shrunken Olmo3ForCausalLM: 12 tokens generated"


def test_what_a_trial_changes(written):
    small = trial_recipe(written(GRPO.replace("max_steps: 4", "max_steps: 4, use_vllm: true, beta: 0.04")))
    assert (small.grpo["max_steps"], small.grpo["use_vllm"], small.grpo["use_cpu"]) == (1, False, True)
    assert small.grpo["beta"] == 0.04
    assert small.rewards == ("verifiable",)
    mixed = dataclasses.replace(small, rewards=({"judge": {"model": "m"}}, {"verifiable": {"weight": 2}}, "code"))
    assert trial_recipe(mixed).rewards == ({"verifiable": {"weight": 2}},)
    assert trial_recipe(dataclasses.replace(small, rewards=("code",))).rewards == ("format_think",)


def test_checks_need_no_net_and_leave_the_recipe_folder_alone(written, tmp_path, monkeypatch):
    import socket

    def refuse(*_, **__):
        raise AssertionError("the net was asked for")

    recipe = written(GRPO)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert not [finding for finding in check_recipes([recipe]) if not finding.ok]
    assert sorted(tmp_path.rglob("*")) == before


class TestMeasured:
    """``scripts/measure_recipes.py``, as far as it goes without a GPU."""

    @pytest.fixture
    def script(self, monkeypatch):
        import importlib

        monkeypatch.syspath_prepend(str(ROOT / "scripts"))
        return importlib.import_module("measure_recipes")

    @pytest.mark.parametrize(("name", "columns"), [("think-sft", ["messages"]), ("think-dpo", ["chosen", "rejected"])])
    def test_rows_are_as_long_as_the_recipe_lets_them_be(self, script, name, columns):
        subject = Subject(load_recipe(ROOT / "recipes" / "olmo2-1b" / f"{name}.yaml"))
        rows = script.long_rows(subject, 3)
        assert len(rows) == 3
        for row in rows:
            for column in columns:
                assert len(subject.tokenizer.apply_chat_template(row[column], return_dict=True)["input_ids"]) >= 4096

    def test_a_cpu_is_refused(self, script, monkeypatch, capsys):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr("sys.argv", ["measure_recipes.py", "recipes/olmo2-1b"])
        with pytest.raises(SystemExit, match="2"):
            script.main()
        assert "there is no GPU here" in capsys.readouterr().err
