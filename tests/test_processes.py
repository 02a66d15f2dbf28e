"""Several processes: a real two-process run on this machine's CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from divmon import Ledger

ROOT = Path(__file__).parent.parent


def launch(folder: Path, processes: int, script: str = "train_two.py", *more: str) -> list[dict]:
    """Run one of tests/scripts; what each process saw."""
    folder.mkdir()
    arguments = [f"tests/scripts/{script}", str(folder), "0.0", *more]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*launcher, *arguments] if processes > 1 else [sys.executable, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads((folder / f"seen-{index}.json").read_text()) for index in range(processes)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return launch(tmp_path_factory.mktemp("runs") / "one", 1)


@pytest.fixture(scope="module")
def folder_of_two(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "two"


@pytest.fixture(scope="module")
def two(folder_of_two):
    return launch(folder_of_two, 2)


def test_every_process_sees_the_same_values(two):
    assert [seen["processes"] for seen in two] == [2, 2]
    assert two[0]["per_prompt"] == two[1]["per_prompt"]
    assert two[0]["history"] == two[1]["history"]
    assert [row["step"] for row in two[0]["history"]] == [0, 2, 4]


def test_completions_do_not_depend_on_the_number_of_processes(one, two):
    # At a learning rate of 0 the weights are the same in both runs.
    assert two[0]["per_prompt"] == one[0]["per_prompt"]
    assert (one[0]["layout"]["processes"], two[0]["layout"]["processes"]) == (1, 2)


def test_only_the_first_process_writes(two, folder_of_two):
    kinds = [record["kind"] for record in Ledger.of(folder_of_two).records()]
    assert kinds == ["run", "measurement", "measurement", "measurement"]
    assert len(list((folder_of_two / "divmon" / "completions").iterdir())) == 3


def test_a_sharded_model_gives_the_same(tmp_path):
    """FSDP2: all processes must run the same forward passes, though one has six batches and the other four."""
    seen = launch(tmp_path / "fsdp", 2, script="sample_sharded.py")
    for one in seen:
        assert one["sharded"] == one["whole"]
        assert one["batches"] == 6


@pytest.mark.parametrize(("fault", "measured"), [("prompts", 0), ("disk", 3), ("scoring", 0)])
def test_what_fails_on_one_process_stops_none(fault, measured, two, tmp_path):
    """No process waits for ever for one that failed; training goes on, and all agree on what was measured."""
    seen = launch(tmp_path / fault, 2, "train_two.py", fault)
    assert [one["losses"] for one in seen] == [one["losses"] for one in two]
    assert [len(one["per_prompt"]) for one in seen] == [measured, measured]
