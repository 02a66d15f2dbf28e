"""The README's Python runs as it stands there, but for the number of steps and completions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_callback import rows
from tests.tiny import HELD_OUT, tiny_llama, tiny_tokenizer

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_there_are_two_examples():
    assert len(BLOCKS) == 2


@pytest.mark.usefixtures("fake_encoders")
def test_the_ten_lines_on_the_real_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = BLOCKS[0]
    for shown, short in (
        (
            'output_dir="runs/sft", max_steps=100',
            'output_dir="runs/sft", max_steps=1, report_to="none", use_cpu=True, bf16=False',
        ),
        ("DiversityCallback()", "DiversityCallback(num_prompts=2, samples=2, max_new_tokens=4)"),
        ('"demo/', f'"{ROOT.as_posix()}/demo/'),
    ):
        assert code.count(shown) == 1
        code = code.replace(shown, short)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert sorted(rows(names["trainer"], "divmon/vendi")) == [0, 1]
    assert (tmp_path / "runs" / "sft" / "divmon" / "measurements.jsonl").is_file()


@pytest.mark.usefixtures("fake_encoders")
def test_measuring_without_a_trainer(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"model": tiny_llama(), "tokenizer": tiny_tokenizer(), "prompts": HELD_OUT}
    exec(compile(BLOCKS[1], "README.md", "exec"), names)
    assert re.match(r"0\.\d+ 1\.0 \(1\.0, 1\.0\)", capsys.readouterr().out)


def test_every_logged_key_is_explained():
    from tests.test_callback import KEYS

    table = README.split("## What is logged")[1].split("\n## ")[0]
    for key in KEYS:
        assert f"`{key}`" in table or (key.endswith("_retained") and "`divmon/<metric>_retained`" in table)


def test_named_files_and_options_exist():
    import dataclasses

    from divmon import MonitorOptions

    for path in re.findall(r"\]\(([\w/.]+)\)", README):
        assert (ROOT / path).exists(), path
    known = {field.name for field in dataclasses.fields(MonitorOptions)} | {"prompts", "baseline", "strict"}
    for option in re.findall(r"[(`](\w+)=(?=[\w\"])", README.split("## Use")[1].split("## What is logged")[0]):
        assert option in known | {"metric_for_best_model", "model", "output_dir", "step"}, option
