"""The tables and claims of the tiny reproduction, from ledgers with known values."""

import csv
import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from divmon.errors import InputError
from divmon.ledger import Ledger
from divmon.metrics import METRICS
from tests import records

SCRIPTS = Path(__file__).parents[1] / "scripts"
# SBERT in percent of base at each stage; EAD keeps 90 everywhere.
KEPT = {
    "base": 100,
    "think-sft": 40,
    "think-dpo": 36,
    "think-rl": 38,
    "instruct-sft": 60,
    "instruct-dpo": 40,
    "instruct-rl": 35,
    "rl-zero-math": 95,
    "rl-zero-if": 90,
    "rl-zero-general": 88,
    "think-rl-kl": 37,
    "instruct-rl-kl": 36,
    "sft-1-source": 20,
    "sft-2-sources": 30,
    "sft-8-sources": 50,
    "think-sft-suppressed": 40,
    "think-dpo-suppressed": 36,
    "think-rl-suppressed": 39,
}
ACCURACY = {"think-rl": 0.8, "think-rl-suppressed": 0.5}
# Word problems, of which everything stays, must not count.
TASKS = ("format",) * 4 + ("story",) * 4 + ("one_step",) * 4


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(SCRIPTS))
    try:
        spec = importlib.util.spec_from_file_location("tiny_results", SCRIPTS / "tiny_results.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPTS))
    return module


def measured(stage, kept):
    """SBERT of the format prompts is 0.4 at the base, of the stories 0.8: equal percentages, unequal values."""
    values = tuple((0.4 if task == "format" else 0.8) * (1 + 0.1 * n) for n, task in enumerate(TASKS))
    share = {name: (kept if name == "sbert" else 90) / 100 if stage != "base" else 1.0 for name in METRICS}
    metrics = {
        name: dataclasses.replace(
            records.summary(),
            per_prompt=tuple(
                value * (1.0 if task == "one_step" else share[name]) for task, value in zip(TASKS, values, strict=True)
            ),
        )
        for name in METRICS
    }
    right = ACCURACY.get(stage, 0.6)
    accuracy = dataclasses.replace(
        records.accuracy(right),
        per_prompt=(right,) * len(TASKS),
        verifiers=("math:0",) * len(TASKS),
        tasks={task: records.accuracy(right) for task in dict.fromkeys(TASKS)},
    )
    return records.measurement(run_id=stage, prompts=records.prompts(TASKS), metrics=metrics, accuracy=accuracy)


def seed_folder(folder, number, smoke=False, **changes):
    base = measured("base", 100)
    for stage, kept in (KEPT | {key.replace("_", "-"): value for key, value in changes.items()}).items():
        ledger = Ledger(folder / stage / "divmon")
        ledger.append({"schema": 1, "kind": "run", "run_id": stage, "step": 0})
        if stage != "base":
            ledger.append(base.to_json() | {"kind": "baseline"})
        ledger.append(measured(stage, kept).to_json())
        (folder / stage / "stage.json").write_text(json.dumps({"seed": number, "smoke": smoke}))
    return folder


def run(script, monkeypatch, out, *folders):
    monkeypatch.setattr(sys, "argv", ["tiny_results.py", *map(str, folders), "--output-dir", str(out)])
    script.main()
    claims = {claim["claim"]: claim for claim in json.loads((out / "claims.json").read_text())["claims"]}
    return claims, (out / "results.md").read_text()


def test_claims_tables_and_figure(script, monkeypatch, tmp_path):
    one = seed_folder(tmp_path / "one", 0)
    two = seed_folder(tmp_path / "two", 1, think_sft=70)
    claims, text = run(script, monkeypatch, tmp_path / "out", one, two)
    assert {name: claim["verdict"] for name, claim in claims.items()} == {
        "1": "mixed",  # in the second seed Think-SFT keeps more
        "2": "mixed",  # and so Think-DPO takes more
        "3": "holds",
        "4a": "holds",
        "4b": "holds",
        "5a": "holds",
        "5b": "fails",
        "6a": "holds",
        "6b": "holds",
        "7a": "holds",
        "7b": "holds",
    }
    margins = {name: [seed["margin"] for seed in claim["seeds"]] for name, claim in claims.items()}
    assert margins["1"] == pytest.approx([20, -10])
    assert margins["2"] == pytest.approx([16, -14])
    assert margins["3"] == pytest.approx([6, 6])
    assert margins["7a"] == pytest.approx([2.8, 2.8])
    assert margins["7b"] == pytest.approx([30, 30])
    assert claims["1"]["seeds"][0]["low"] == pytest.approx(20)  # every prompt keeps the same share: no spread
    assert "| think-sft | 90 | 55 (40-70) |" in text
    assert "| think | dpo | -19 (-34 to -4) | -4 |" in text
    rows = list(csv.DictReader((tmp_path / "out" / "stages.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 2 * len(KEPT)
    assert float(rows[1]["sbert_percent"]) == pytest.approx(40)
    by_task = {task: float(rows[1][f"sbert_percent_{task}"]) for task in dict.fromkeys(TASKS)}
    assert by_task == pytest.approx({"format": 40, "story": 40, "one_step": 100})
    assert (tmp_path / "out" / "lineages.png").read_bytes()[:4] == b"\x89PNG"
    # The results are to be shared: no folder of the machine is in them.
    for path in (tmp_path / "out").glob("*.*"):
        assert b"/some/where" not in path.read_bytes()


def test_seeds_of_different_kinds(script, monkeypatch, tmp_path):
    one = seed_folder(tmp_path / "one", 0)
    with pytest.raises(InputError, match="A seed is there twice: 0, 0"):
        run(script, monkeypatch, tmp_path / "out", one, one)
    other = seed_folder(tmp_path / "two", 1)
    (other / "think-rl" / "stage.json").write_text(json.dumps({"seed": 7, "smoke": False}))
    with pytest.raises(InputError, match="has stages of the seeds 1, 7"):
        script.Seed(other)


def test_folders_that_do_not_count(script, tmp_path):
    with pytest.raises(InputError, match="smoke run"):
        script.Seed(seed_folder(tmp_path / "smoke", 0, smoke=True))
    with pytest.raises(InputError, match=r"stage\.json cannot be read"):
        script.Seed(tmp_path / "none")


def test_a_stage_that_is_missing_is_named(script, tmp_path):
    folder = seed_folder(tmp_path / "seed", 0)
    (folder / "think-rl-kl" / "divmon" / "measurements.jsonl").unlink()
    with pytest.raises(InputError, match="think-rl-kl"):
        script.Seed(folder)


def test_claims_are_those_that_the_readme_lists(script):
    readme = (SCRIPTS.parent / "recipes" / "README.md").read_text(encoding="utf-8")
    listed = readme.split("## The claims")[1].split("###")[0]
    numbers = {claim.name.rstrip("ab") for claim in script.CLAIMS}
    assert numbers == {str(n) for n in range(1, 8)}
    assert all(f"\n{number}. " in listed for number in numbers)
