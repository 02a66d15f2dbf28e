"""Recipes under ``accelerate launch`` with two processes on this machine's CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from divmon import Ledger
from divmon.recipes.state import read_state, write_state
from tests.recipes import MONITOR, STAGES, weights, write_folder, write_recipe

ROOT = Path(__file__).parent.parent
# accelerate starts one process on a CPU whatever --num_processes says, unless told of several GPUs.
LAUNCH = "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no -m divmon recipe run"
NAMES = ("base", "lora-sft", "rl-zero-math", "base-again")


def launch(recipes: Path, runs: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-m", "accelerate.commands.launch", *LAUNCH.split(), str(recipes)]
    return subprocess.run(
        [*command, "--output-dir", str(runs)], env=environment, capture_output=True, text=True, timeout=240
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    recipes = write_folder(folder / "recipes", "base")
    monitor = MONITOR | {"metrics": ["ead"]}  # needs no encoder
    stages = STAGES | {"base-again": {"init_from": "base"}}
    for name in NAMES:
        write_recipe(recipes, name, stages[name] | {"monitor": monitor})
    return recipes, folder / "runs", launch(recipes, folder / "runs")


def test_all_stages_ran_in_both_and_one_spoke(done):
    _, runs, process = done
    assert process.returncode == 0, process.stderr[-4000:]
    for name in NAMES:
        state = read_state(runs / name)
        assert (state["status"], state["processes"]) == ("complete", 2)
        assert process.stdout.count(f"] {name}: ") == 1
        assert process.stdout.count(f"  {name}: EAD") == 1
    assert "Warning" not in process.stderr


def test_one_wrote(done):
    _, runs, _ = done
    for name in ("lora-sft", "rl-zero-math"):
        kinds = [record["kind"] for record in Ledger.of(runs / name).records()]
        assert kinds == ["run", "baseline", "measurement", "measurement"]
    base, again = (Ledger.of(runs / name).read().measurements[-1] for name in ("base", "base-again"))
    assert base.metrics["ead"].per_prompt == again.metrics["ead"].per_prompt


def test_again_it_skips_and_goes_on(done):
    recipes, runs, _ = done
    before = weights(runs / "lora-sft")
    state = read_state(runs / "lora-sft")
    write_state(runs / "lora-sft", state | {"status": "running", "trained": False})
    process = launch(recipes, runs)
    assert process.returncode == 0, process.stderr[-4000:]
    assert process.stdout.count("complete already, skipped") == len(NAMES) - 1
    assert "lora-sft: SFT from base, resumed from checkpoint-4" in process.stdout
    assert weights(runs / "lora-sft") == before


def test_a_failure_is_said_once_and_ends_all(done, tmp_path):
    recipes, _, _ = done
    path = write_recipe(recipes / "broken", "base", {"model": "nobody/nothing"} | {"monitor": {"metrics": ["ead"]}})
    process = launch(path, tmp_path / "runs")
    assert process.returncode != 0
    assert process.stderr.count("divmon: Stage 'base' failed") == 1
    assert read_state(tmp_path / "runs" / "base")["status"] == "interrupted"
