"""The examples run as they stand there, on a tiny model and tiny data sets."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest

import divmon
from tests.fakes import use_fakes
from tests.tiny import QUESTIONS, dpo_dataset, sft_dataset, tiny_llama, tiny_tokenizer

EXAMPLES = Path(__file__).parent.parent / "examples"
TRAINING = ("sft", "dpo", "grpo")


@pytest.fixture(scope="module")
def patched():
    """Encoders without weights, and no screen control from progress bars."""

    with pytest.MonkeyPatch.context() as patch:
        use_fakes(patch)
        yield patch


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with two models and a data set for each trainer."""
    folder = tmp_path_factory.mktemp("examples")
    for seed, name in enumerate(("model", "other")):
        tiny_llama(seed).save_pretrained(folder / name)
        tiny_tokenizer().save_pretrained(folder / name)
    problems = [{"prompt": [{"role": "user", "content": text}], "solution": "$5$"} for text in QUESTIONS]
    for name, rows in (("sft", sft_dataset()), ("dpo", dpo_dataset()), ("grpo", problems)):
        (folder / name).mkdir()
        (folder / name / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture
def run(patched, place, monkeypatch, capsys):
    """Run an example from its command line; what it printed."""
    monkeypatch.chdir(place)

    def call(name: str, *arguments: str) -> str:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [f"{name}.py", *arguments])
            runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return call


def train(run, name: str, *arguments: str, model: str = "model") -> str:
    return run(
        name, "--model", model, "--dataset", name, "--max-steps", "2", "--output-dir", f"runs/{name}", *arguments
    )


@pytest.fixture
def trained(run, place):
    """The output of sft.py and then dpo.py, once for all tests that need their records.

    DPO starts from another model than SFT ended with: two steps change so small a model too little to tell.
    """
    if not (place / "runs" / "dpo").exists():
        (place / "sft.out").write_text(train(run, "sft"), encoding="utf-8")
        (place / "dpo.out").write_text(train(run, "dpo", "--baseline", "runs/sft", model="other"), encoding="utf-8")
    return {name: (place / f"{name}.out").read_text(encoding="utf-8") for name in ("sft", "dpo")}


def test_there_is_one_for_each_use():
    names = sorted(path.stem for path in EXAMPLES.glob("*.py"))
    assert names == ["compare_runs", "dpo", "grpo", "score_generations", "sft"]
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 65, path.name


def test_sft(trained, place):
    found = divmon.load(place / "runs" / "sft")
    assert [made.step for made in found.measurements] == [0, 1, 2]
    assert str(found.measurements[0].validity.base_logprob) != "nan"
    table = trained["sft"][trained["sft"].index("DiversityCallback: run") :]
    assert [line.split()[0] for line in table.splitlines()[2:5]] == ["0", "1", "2"]
    assert "Records: runs/sft/divmon" in table


def test_what_sft_leaves_for_the_next_stage(trained, place):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    merged = place / "runs" / "sft" / "merged"
    assert AutoTokenizer.from_pretrained(merged).chat_template
    before, after = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (place / "model", merged))
    assert before.keys() == after.keys()
    assert any(not before[name].equal(after[name]) for name in before)


def test_dpo_counts_from_the_sft_runs_baseline(trained, place, run):
    found = divmon.load(place / "runs" / "dpo")
    sft = divmon.load(place / "runs" / "sft")
    assert found.baseline.metrics == sft.baseline.metrics
    assert found.baseline.run_id == sft.run_id
    first = found.measurements[0].metrics["vendi"]
    assert first.retained == pytest.approx(first.mean / sft.baseline.metrics["vendi"].mean)
    assert first.retained != 1.0
    assert "EAD (lexical):" in trained["dpo"]


def test_the_lineage_of_both(trained, place, capsys, monkeypatch):
    from divmon.cli import main

    monkeypatch.chdir(place)
    capsys.readouterr()
    with pytest.raises(SystemExit, match="0"):
        main(["lineage", "runs/sft", "runs/dpo"])
    assert "| task | sft | dpo | retained |" in capsys.readouterr().out


def test_grpo_has_an_accuracy_beside(run, place):
    printed = train(run, "grpo")
    found = divmon.load(place / "runs" / "grpo")
    assert found.measurements[-1].accuracy is not None
    assert found.measurements[-1].prompts.source == "eval_dataset"
    assert len(found.measurements[-1].prompts.ids) == 2  # a quarter of eight
    assert "Accuracy:" in printed


def test_a_file_of_generations_agrees_with_the_run_that_made_it(trained, run, place):
    files = sorted((place / "runs" / "sft" / "divmon" / "completions").glob("step-*"))
    printed = run(
        "score_generations", str(files[-1]), "--baseline", str(files[0]), "--model", "model", "--csv", "values.csv"
    )
    last = divmon.load(place / "runs" / "sft").measurements[-1]
    lines = printed.splitlines()
    assert lines[0] == f"{len(last.prompts.ids)} prompts, {len(last.prompts.ids)} of them in the baseline"
    for line, (name, summary) in zip(lines[1:], last.metrics.items(), strict=True):
        metric, mean, low, high, kept, *interval = re.findall(r"[a-z]+(?= )|-?[\d.]+", line.replace("retained", ""))
        assert metric == name
        for shown, value in zip((mean, low, high), (summary.mean, *summary.interval), strict=True):
            assert float(shown) == pytest.approx(value, abs=6e-4)
        for shown, value in zip((kept, *interval), (summary.retained, *summary.retained_interval), strict=True):
            assert float(shown) == pytest.approx(100 * value, abs=0.06)
    values = pd.read_csv(place / "values.csv")
    assert list(values["ead"]) == pytest.approx(last.metrics["ead"].per_prompt)


def test_a_single_file(trained, run, place):
    file = next((place / "runs" / "sft" / "divmon" / "completions").glob("step-*"))
    printed = run("score_generations", str(file), "--model", "model")
    assert "retained" not in printed
    assert [line.split()[0] for line in printed.splitlines()[1:]] == ["ead", "sbert", "nli", "vendi"]


def test_two_runs(trained, run, place):
    printed = run("compare_runs", "runs/sft", "runs/dpo", "--metric", "vendi", "--csv", "both.csv")
    lines = printed.splitlines()
    ends = [divmon.load(place / "runs" / name).measurements[-1] for name in ("sft", "dpo")]
    for line, metric in zip(lines[:4], ("ead", "sbert", "nli", "vendi"), strict=True):
        first, second = (end.metrics[metric] for end in ends)
        assert line.startswith(f"{metric:6} retained {first.retained:.1%} and {second.retained:.1%}; ")
        assert f"{second.mean - first.mean:+.3f} [" in line
        assert f"over {len(ends[0].prompts.ids)} prompts" in line
    before = dict(zip(ends[0].prompts.ids, ends[0].metrics["vendi"].per_prompt, strict=True))
    after = dict(zip(ends[1].prompts.ids, ends[1].metrics["vendi"].per_prompt, strict=True))
    most = max(before, key=lambda name: abs(after[name] - before[name]))
    assert lines[6].split() == [most, f"{after[most] - before[most]:+.3f}"]
    both = pd.read_csv(place / "both.csv")
    assert len(both) == sum(len(divmon.load(place / "runs" / name).frame()) for name in ("sft", "dpo"))
    assert both["run"].nunique() == 2


def test_runs_that_cannot_be_compared(trained, run, place):
    if not (place / "runs" / "grpo").exists():
        train(run, "grpo")
    printed = run("compare_runs", "runs/sft", "runs/grpo")
    assert printed.count("cannot be compared: different prompts") == 4


@pytest.mark.parametrize("name", TRAINING)
def test_what_can_be_chosen_is_said(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    shown = capsys.readouterr().out
    for option in ("--model", "--dataset", "--max-steps", "--output-dir", "--report-to"):
        assert option in shown
    assert (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").count("# Choose:") >= 1
