"""Every reporting backend gets the metrics at the right step: real runs, read back from their own files."""

from __future__ import annotations

import pytest

from divmon import DiversityCallback
from tests.test_callback import KEYS, SMALL, rows, sft

pytestmark = pytest.mark.usefixtures("fake_encoders")


def test_wandb_offline(tmp_path, monkeypatch):
    import wandb

    from tests.wandb_file import history

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    trainer = sft(tmp_path / "run", [DiversityCallback(every_n_steps=2, **SMALL)], report_to="wandb")
    trainer.train()
    wandb.finish()
    logged = history(tmp_path)
    measured = [row for row in logged if "train/divmon/sbert" in row]
    assert [row["train/global_step"] for row in measured] == [0, 2, 4]
    for row in measured:
        assert {f"train/{key}" for key in KEYS} <= set(row)
    assert [row["train/divmon/sbert"] for row in measured] == list(rows(trainer, "divmon/sbert").values())
    assert [row["train/global_step"] for row in logged if "train/loss" in row] == [1, 2, 3, 4]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's own, of NumPy
def test_tensorboard(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tensorboard"))
    trainer = sft(tmp_path / "run", [DiversityCallback(every_n_steps=2, **SMALL)], report_to="tensorboard")
    trainer.train()
    events = EventAccumulator(str(next((tmp_path / "tensorboard").glob("**/events*")).parent)).Reload()
    scalars = events.Scalars("train/divmon/vendi")
    assert [event.step for event in scalars] == [0, 2, 4]
    assert [event.value for event in scalars] == pytest.approx(list(rows(trainer, "divmon/vendi").values()))


def test_trainer_state_and_console(tmp_path, capsys):
    import json

    trainer = sft(tmp_path, [DiversityCallback(every_n_steps=2, **SMALL)], save_strategy="steps", save_steps=4)
    trainer.train()
    state = json.loads((tmp_path / "checkpoint-4" / "trainer_state.json").read_text())
    assert [row["step"] for row in state["log_history"] if "divmon/nli_retained" in row] == [0, 2, 4]
    assert capsys.readouterr().out.count("divmon/nli_retained") == 3
