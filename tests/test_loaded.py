"""A recorded run as a value: its data frames say what the ledger says."""

from __future__ import annotations

import dataclasses
import json
import math

import pandas as pd
import pytest

import divmon
from divmon import DiversityCallback, InputError
from divmon.frames import means, per_prompt, validity
from divmon.metrics import METRICS
from tests.fakes import use_fakes
from tests.records import accuracy, measurement, prompts, summary
from tests.test_callback import SMALL, sft

PROMPTS = [
    {"prompt": "what of the sea?", "id": "sea", "task": "match", "verifier": "match", "ground_truth": "the"},
    {"prompt": "what of the sky?", "id": "sky", "task": "match", "verifier": "match", "ground_truth": "a"},
    {"prompt": "what of the wind?", "id": "wind", "task": "open", "category": "weather"},
    {"prompt": "what of the hills?", "id": "hills", "task": "open"},
]
NUMBERS = ["mean", "low", "high", "retained", "retained_low", "retained_high", "change_p"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The output folder of a real training with three measurements."""

    output_dir = tmp_path_factory.mktemp("runs") / "mine"
    with pytest.MonkeyPatch.context() as patch:
        use_fakes(patch)
        callback = DiversityCallback(PROMPTS, every_n_steps=1, **(SMALL | {"num_prompts": 4}))
        sft(output_dir, [callback], max_steps=2).train()
    return output_dir


@pytest.fixture(scope="module")
def lines(folder):
    """The measurements as they stand in the ledger's file."""
    rows = [json.loads(line) for line in (folder / "divmon" / "measurements.jsonl").read_text("utf-8").splitlines()]
    return {row["step"]: row for row in rows if row["kind"] == "measurement"}


def number(value):
    return math.nan if value is None else value


def same(left, right):
    return left == right or (math.isnan(left) and math.isnan(right))


def test_a_run_is_found_by_any_of_its_places(folder):
    for path in (folder, folder / "divmon", folder / "divmon" / "measurements.jsonl", str(folder)):
        run = divmon.load(path)
        assert run.name == "mine"
        assert [found.step for found in run.measurements] == [0, 1, 2]
    assert run.baseline == run.measurements[0]
    assert run.at(2) is run.measurements[2]
    assert run.options["samples"] == 3
    assert repr(run) == f"<divmon.Run: 3 measurements at steps 0 to 2, in {folder / 'divmon'}>"


def test_the_frame_has_the_ledgers_values(folder, lines):
    frame = divmon.load(folder).frame()
    # Three steps of all tasks, of task match and of task open; accuracy for all and for match only.
    assert len(frame) == 3 * (3 * len(METRICS) + 2)
    assert not frame.duplicated(["step", "task", "metric"]).any()
    for row in frame.itertuples():
        line = lines[row.step]
        assert row.epoch == line["epoch"]
        if row.metric == "accuracy":
            found = line["accuracy"]["tasks"][row.task] if row.task else line["accuracy"]
            found = {"retained": None, "retained_interval": [None, None], **found}
        else:
            found = (line["tasks"][row.task] if row.task else line["metrics"])[row.metric]
        expected = [found["mean"], *found["interval"], found["retained"], *found["retained_interval"]]
        got = [getattr(row, name) for name in NUMBERS]
        assert all(same(*pair) for pair in zip(got, map(number, [*expected, found["change_p"]]), strict=True)), row


def test_the_values_of_each_prompt_are_the_ledgers(folder, lines):
    frame = divmon.load(folder).per_prompt()
    assert len(frame) == 3 * 4 * (len(METRICS) + 1)
    first = lines[0]
    for row in frame.itertuples():
        line = lines[row.step]
        place = line["prompts"]["ids"].index(row.prompt)
        for column in ("keys", "tasks", "categories"):
            name = {"keys": "key", "tasks": "task", "categories": "category"}[column]
            assert getattr(row, name) == line["prompts"][column][place]
        now, then = (
            (record["accuracy"] if row.metric == "accuracy" else record["metrics"][row.metric])["per_prompt"][place]
            for record in (line, first)
        )
        assert same(row.value, number(now))
        assert same(row.baseline, number(then))
    assert frame[(frame.prompt == "wind") & (frame.metric == "accuracy")].value.isna().all()
    assert (frame[frame.step == 0].dropna().value == frame[frame.step == 0].dropna().baseline).all()


def test_validity_has_a_row_for_each_step(folder, lines):
    frame = divmon.load(folder).validity()
    assert list(frame.step) == [0, 1, 2]
    for row in frame.itertuples():
        line = lines[row.step]
        assert all(same(getattr(row, name), number(value)) for name, value in line["validity"].items())
        assert row.sampling_seconds == line["seconds"]["sampling"]
    assert frame.base_logprob.isna().all()  # no adapter, no base
    assert (frame.completions == 12).all()


def test_the_kinds_of_the_columns_do_not_depend_on_the_values(folder):
    run = divmon.load(folder)
    for full, empty in (
        (run.frame(), means(())),
        (run.per_prompt(), per_prompt((), None)),
        (run.validity(), validity(())),
    ):
        assert list(full.columns) == list(empty.columns)
        assert (full.dtypes == empty.dtypes).all()
        assert len(empty) == 0
    kinds = run.frame().dtypes
    assert pd.api.types.is_integer_dtype(kinds["step"])
    assert all(kinds[name] == "float64" for name in NUMBERS)
    assert pd.api.types.is_string_dtype(kinds["metric"])


def test_what_must_not_be_compared_is_nan():
    then = measurement(baseline={}, accuracy=accuracy())
    other = {**then.protocol, "sentence_encoder": {"name": "other", "digest": "2" * 64}}
    checked = dataclasses.replace(accuracy(), verifiers=("math:00000000", *["math:ffffffff"] * 7))
    now = measurement(step=5, protocol=other, accuracy=checked)
    frame = per_prompt((now,), then).set_index(["metric", "prompt"]).baseline
    assert frame[["sbert", "vendi"]].isna().all()
    assert list(frame["ead"]) == list(then.metrics["ead"].per_prompt)
    # The second prompt's ground truth is another one now.
    assert frame["accuracy", "0"] == then.accuracy.per_prompt[0]
    assert math.isnan(frame["accuracy", "1"])


def test_prompts_that_the_baseline_lacks_are_nan():
    then = measurement(baseline={}, prompts=prompts(("",) * 9))
    now = measurement(prompts=dataclasses.replace(prompts(), keys=(*"0123456", "new")))
    assert per_prompt((now,), then).baseline.isna().all()
    assert per_prompt((now,), None).baseline.isna().all()


def test_a_metric_that_was_not_measured_is_nan():
    lost = summary(math.nan, math.nan, math.nan, math.nan)
    frame = means((measurement(metrics={"sbert": lost}),))
    assert frame[["mean", "low", "high", "retained"]].isna().all(axis=None)
    assert frame.dtypes["mean"] == "float64"


def test_completions_of_a_step(folder):
    run = divmon.load(folder)
    assert run.completions() == run.completions(2)
    assert run.completions(0) == run.baseline_completions
    assert [row["input_id"] for row in run.completions(1)] == [row["id"] for row in PROMPTS]
    assert len(run.completions(1)[0]["outputs"]) == 3
    with pytest.raises(InputError, match=r"no measurement at step 7; measured were 0, 1, 2"):
        run.completions(7)


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(InputError, match="No divmon ledger"):
        divmon.load(tmp_path)
    with pytest.raises(InputError, match=r"There is no folder .*nowhere"):
        divmon.load(tmp_path / "nowhere")
    for number in range(7):
        (tmp_path / f"run-{number}" / "divmon").mkdir(parents=True)
        (tmp_path / f"run-{number}" / "divmon" / "measurements.jsonl").write_text("")
    with pytest.raises(InputError, match=r"Folders in it have one: \S+/run-0, .*/run-4 and 2 more\.$"):
        divmon.load(tmp_path)
    (tmp_path / "measurements.jsonl").write_text("")
    with pytest.raises(InputError, match="no run was recorded"):
        divmon.load(tmp_path)


def test_a_run_that_only_started(tmp_path):
    line = {"schema": 1, "kind": "run", "run_id": "r", "step": 0, "options": {}}
    (tmp_path / "measurements.jsonl").write_text(json.dumps(line) + "\n")
    run = divmon.load(tmp_path)
    assert (len(run.frame()), run.baseline, run.completions(), run.baseline_completions) == (0, None, [], [])
    assert repr(run) == f"<divmon.Run: 0 measurements, in {tmp_path}>"
    assert "Nothing was measured." in str(run)
