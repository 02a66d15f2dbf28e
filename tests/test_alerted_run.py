"""Alerts, near-duplicates and a baseline's completions in real runs."""

from __future__ import annotations

import logging

import pytest

import divmon
from divmon import DiversityCallback, InputError, Ledger
from divmon.alerts import Alert, Example, Kept
from tests.test_callback import SMALL, sft
from tests.tiny import tiny_llama

pytestmark = pytest.mark.usefixtures("fake_encoders")
FALL = Alert("collapse", 2, {"sbert": Kept(0.4, (0.3, 0.5))}, 0.7, "", (Example("q", "one", "two"),), "Try less.")


@pytest.fixture
def falls(monkeypatch):
    """At step 2 of every run SBERT falls."""

    def alerts(history, baseline, threshold, rows=(), baseline_rows=()):
        assert history[0] is baseline
        assert len(rows) == len(baseline_rows) == SMALL["num_prompts"]
        return [FALL] if history[-1].step == 2 else []

    monkeypatch.setattr("divmon.trainer.run.alerts", alerts)


def test_an_alert_is_said_once_and_kept(falls, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        sft(tmp_path, [DiversityCallback(every_n_steps=1, **SMALL)]).train()
    said = [record.getMessage() for record in caplog.records if "collapse" in record.getMessage()]
    assert said == ["divmon: Diversity collapse at step 2: SBERT 40% [30, 50] retained, below 70%. Try less."]
    (kept,) = Ledger.of(tmp_path).read().alerts
    assert (kept["step"], kept["kind"], kept["metrics"]) == (
        2,
        "collapse",
        {"sbert": {"retained": 0.4, "interval": [0.3, 0.5]}},
    )
    assert kept["examples"] == [{"prompt": "q", "before": "one", "now": "two"}]


def test_an_alert_saves_a_checkpoint(falls, tmp_path):
    sft(tmp_path, [DiversityCallback(every_n_steps=1, on_alert="save", **SMALL)]).train()
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]


def test_an_alert_stops_training(falls, tmp_path):
    trainer = sft(tmp_path, [DiversityCallback(every_n_steps=1, on_alert="stop", **SMALL)])
    trainer.train()
    assert trainer.state.global_step == 2


def test_an_alert_of_an_evaluation_acts_too(falls, tmp_path):
    callback = DiversityCallback(every_n_steps=100, on_alert="stop", **SMALL)
    trainer = sft(
        tmp_path, [callback], eval_strategy="steps", eval_steps=2, eval_dataset=sft(tmp_path / "x").train_dataset
    )
    trainer.train()
    assert trainer.state.global_step == 2


def test_no_alerts_when_they_are_off(falls, tmp_path):
    trainer = sft(tmp_path, [DiversityCallback(every_n_steps=1, alert_below=None, on_alert="stop", **SMALL)])
    trainer.train()
    assert trainer.state.global_step == 4
    assert Ledger.of(tmp_path).read().alerts == ()


@pytest.mark.parametrize("wrong", [{"alert_below": 0}, {"alert_below": "0.7"}, {"on_alert": "email"}])
def test_settings_of_alerts_are_checked(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        DiversityCallback(**wrong)


def test_completions_are_compared_with_the_baselines(tmp_path):
    sft(tmp_path, [DiversityCallback(every_n_steps=4, **SMALL)], learning_rate=0.0).train()
    run = divmon.load(tmp_path)
    assert all(row["baseline_distance"] == [None] * SMALL["samples"] for row in run.completions(0))
    for row in run.completions(4):  # the same weights say the same
        found = [distance for distance in row["baseline_distance"] if distance is not None]
        assert found == pytest.approx([0.0] * len(found), abs=1e-6)


def test_a_baseline_of_another_run_brings_its_completions(tmp_path):
    sft(tmp_path / "first", [DiversityCallback(every_n_steps=4, **SMALL)]).train()
    sft(
        tmp_path / "second",
        [DiversityCallback(every_n_steps=4, baseline=tmp_path / "first", **SMALL)],
        model=tiny_llama(),
    ).train()
    first, second = divmon.load(tmp_path / "first"), divmon.load(tmp_path / "second")
    assert second.baseline_completions == first.completions(0)
    assert any(distance is not None for row in second.completions(0) for distance in row["baseline_distance"])


def test_a_resumed_run_still_knows_its_baselines_completions(tmp_path):
    settings = {"max_steps": 2, "save_strategy": "steps", "save_steps": 2}
    sft(tmp_path, [DiversityCallback(every_n_steps=2, **SMALL)], **settings).train()
    sft(tmp_path, [DiversityCallback(every_n_steps=2, **SMALL)], **(settings | {"max_steps": 4})).train(
        resume_from_checkpoint=str(tmp_path / "checkpoint-2")
    )
    run = divmon.load(tmp_path)
    assert [m.step for m in run.measurements] == [0, 2, 4]
    assert any(distance is not None for row in run.completions(4) for distance in row["baseline_distance"])
