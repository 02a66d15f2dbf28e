"""Every YAML file under recipes/ is a recipe that loads and checks; launcher settings are kept elsewhere."""

import re
from pathlib import Path

import pytest

from divmon.errors import InputError
from divmon.recipes.check import CHECKS, check_recipes
from divmon.recipes.estimate import estimate
from divmon.recipes.known import known_architecture
from divmon.recipes.recipe import lineage, load_recipe, load_recipes

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "recipes").rglob("*.yaml"))
LAUNCHERS = sorted((ROOT / "launchers").glob("*.yaml"))
HUB = [path for path in FILES if path.parent.name in ("olmo2-1b", "olmo3-7b")]


def name_of(path):
    return f"{path.parent.name}/{path.stem}"


def header_of(path):
    comments = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comments.append(line.removeprefix("#").strip())
    return comments


def field(path, name):
    """A field of the header, with the lines that go on from it."""
    comments = header_of(path)
    start = next((n for n, line in enumerate(comments) if line.startswith(f"{name}:")), None)
    assert start is not None, f"{path}: the header has no {name}:"
    found = [comments[start].removeprefix(f"{name}:").strip()]
    for line in comments[start + 1 :]:
        if not line or re.match(r"[A-Z]\w*:", line):
            break
        found.append(line)
    return found


def recipes_of(folder):
    return {recipe.name: recipe for recipe in load_recipes([ROOT / "recipes" / folder])}


def test_there_are_recipes_at_all_scales():
    assert len(FILES) >= 20
    assert {path.stem for path in HUB if path.parent.name == "olmo3-7b"} == {
        "base",
        *(f"{line}-{stage}" for line in ("think", "instruct") for stage in ("sft", "dpo", "rl")),
        *(f"rl-zero-{domain}" for domain in ("math", "code", "if", "general")),
    }
    assert {path.stem for path in HUB if path.parent.name == "olmo2-1b"} >= {"base", "think-rl", "instruct-rl"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_yaml_is_a_recipe_with_a_header(path):
    recipe = load_recipe(path)
    assert recipe.description
    place = path.relative_to(ROOT).as_posix()
    commands = field(path, "Command")
    assert any(re.search(rf"(divmon|-m divmon) recipe run {re.escape(place)} ", line) for line in commands), commands
    assert all("--output-dir" in line for line in commands if "recipe run" in line)
    assert re.search(r"\d+ (GPU|CPU)", field(path, "Hardware")[0])
    assert re.search(r"\b(s|seconds|min|minutes?|hours?)\b", field(path, "Time")[0])
    for launcher in re.findall(r"--config_file (\S+)", " ".join(commands)):
        assert (ROOT / launcher) in LAUNCHERS, launcher


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_recipe_checks(path):
    # The tiny recipes are run by tests of their own; the others never are, so a step of each is taken here.
    checks = CHECKS if path in HUB else [name for name in CHECKS if name != "step"]
    findings = check_recipes([load_recipe(path)], checks=checks)
    assert [finding.check for finding in findings] == list(checks)
    assert not [finding for finding in findings if not finding.ok]


@pytest.mark.slow
def test_every_recipe_takes_a_step():
    findings = check_recipes([load_recipe(path) for path in FILES], checks=["step"])
    assert len(findings) == len(FILES)
    assert not [finding for finding in findings if not finding.ok]


@pytest.mark.parametrize("path", HUB, ids=name_of)
def test_the_headers_time_is_the_estimate(path):
    recipe = load_recipe(path)
    found = estimate(recipe, known_architecture(lineage(recipe)[-1].model))
    said = float(re.match(r"about (\S+) hours \(an estimate.*never run\)", field(path, "Time")[0])[1])
    assert said == pytest.approx(found.total_hours, rel=0.05, abs=0.06)
    gpus = int(re.match(r"(\d+) GPU", field(path, "Hardware")[0])[1])
    assert gpus == recipe.hardware["gpus"]


@pytest.mark.parametrize("folder", ["olmo2-1b", "olmo3-7b"])
def test_the_lineages_are_the_published_ones(folder):
    recipes = recipes_of(folder)
    parents = {name: recipe.init_from for name, recipe in recipes.items() if not name.startswith("rl-zero")}
    assert parents == {
        "base": None,
        "think-sft": "base",
        "think-dpo": "think-sft",
        "think-rl": "think-dpo",
        "instruct-sft": "think-sft",  # not the base
        "instruct-dpo": "instruct-sft",
        "instruct-rl": "instruct-dpo",
    }
    assert {recipe.init_from for name, recipe in recipes.items() if name.startswith("rl-zero")} == {"base"}
    stripped = {name for name, recipe in recipes.items() if any(source.strip_thinking for source in recipe.data)}
    assert stripped == {"instruct-sft", "instruct-dpo"}
    # What is compared must be measured alike.
    monitors = [{k: v for k, v in r.monitor.items() if k != "every_n_steps"} for r in recipes.values()]
    assert all(monitor == monitors[0] for monitor in monitors)


def test_the_small_ones_stream_and_cap():
    for name, recipe in recipes_of("olmo2-1b").items():
        assert (recipe.lora is not None) == (name != "base")
        assert recipe.hardware["gpus"] == 1
        assert recipe.hardware["gpu_memory_gb"] == 24
        assert all(source.streaming and source.rows for source in recipe.data)


def test_the_published_hyperparameters_of_sft_and_dpo():
    """DESIGN.md's facts and Tables 47 and 48 of the report, in TRL's names; batches on the recipe's own GPUs."""
    recipes = recipes_of("olmo3-7b")
    for name, rate in (("think-sft", 5e-5), ("instruct-sft", 8e-5)):
        sft, gpus = recipes[name].sft, recipes[name].hardware["gpus"]
        assert (sft["learning_rate"], sft["num_train_epochs"], sft["max_length"]) == (rate, 2, 32768)
        rows = sft["per_device_train_batch_size"] * sft["gradient_accumulation_steps"] * gpus
        assert sft["packing"]
        assert rows * sft["max_length"] == 1_048_576
    for name, rate in (("think-dpo", 8e-8), ("instruct-dpo", 1e-6)):
        dpo, gpus = recipes[name].dpo, recipes[name].hardware["gpus"]
        assert (dpo["loss_type"], dpo["beta"], dpo["learning_rate"]) == ("sigmoid_norm", 5.0, rate)
        assert (dpo["max_length"], dpo["num_train_epochs"], dpo["lr_scheduler_type"]) == (16384, 1, "linear")
        assert (dpo["weight_decay"], dpo["per_device_train_batch_size"]) == (0.0, 1)
        assert dpo["gradient_accumulation_steps"] * gpus == 128  # 4 x 32 GPUs as published


def test_the_published_hyperparameters_of_rl():
    """DESIGN.md's facts and Table 49 of the report, in TRL's names; batches on the recipe's own GPUs."""
    recipes = recipes_of("olmo3-7b")
    expected = {"think-rl": (1400, 32768, 64), "instruct-rl": (4 * 450, 8192, 64)}  # instruct: four mini-batches
    names = [name for name, recipe in recipes.items() if recipe.grpo is not None]
    assert len(names) == 6
    for name in names:
        grpo, gpus = recipes[name].grpo, recipes[name].hardware["gpus"]
        steps, length, prompts = expected.get(name, (2000, 16384, 32))
        assert (grpo["beta"], grpo["epsilon"], grpo["epsilon_high"]) == (0.0, 0.2, 0.272)
        assert (grpo["learning_rate"], grpo["lr_scheduler_type"], grpo["temperature"]) == (1e-6, "constant", 1.0)
        assert (grpo["num_generations"], grpo["scale_rewards"], grpo["loss_type"]) == (8, "none", "dapo")
        assert (grpo["max_steps"], grpo["max_completion_length"]) == (steps, length)
        lasting = grpo.get("steps_per_generation", grpo["gradient_accumulation_steps"])
        assert grpo["per_device_train_batch_size"] * lasting * gpus == prompts * 8
        assert lasting // grpo["gradient_accumulation_steps"] == (4 if name == "instruct-rl" else 1)


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.name)
def test_launchers_are_no_recipes(path):
    with pytest.raises(InputError, match="unknown key"):
        load_recipe(path)


def test_accelerate_launch_takes_the_launchers():
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    assert [path.name for path in LAUNCHERS] == ["fsdp2.yaml", "zero3.yaml"]
    parser = launch_command_parser()
    fsdp, zero = (
        _validate_launch_command(parser.parse_args(["--config_file", str(path), "-m", "divmon", "recipe", "run", "x"]))[
            0
        ]
        for path in LAUNCHERS
    )
    environment = prepare_multi_gpu_env(fsdp)
    assert (fsdp.use_fsdp, fsdp.use_deepspeed, fsdp.num_processes, fsdp.mixed_precision) == (True, False, 8, "bf16")
    assert environment["FSDP_VERSION"] == "2"
    assert environment["FSDP_RESHARD_AFTER_FORWARD"] == "true"
    assert environment["FSDP_AUTO_WRAP_POLICY"] == "TRANSFORMER_BASED_WRAP"
    assert (zero.use_fsdp, zero.use_deepspeed, zero.zero_stage, zero.mixed_precision) == (False, True, 3, "bf16")
    assert (fsdp.training_script, fsdp.module) == ("divmon", True)


def test_no_yaml_outside():
    """All YAML of the repository is a recipe, a launcher or a tool's (hidden folders, the settings of mkdocs)."""
    found = [
        path for path in ROOT.rglob("*.y*ml") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    ]
    assert sorted(found) == sorted([*FILES, *LAUNCHERS, ROOT / "mkdocs.yml"])
