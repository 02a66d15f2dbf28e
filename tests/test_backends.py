"""Every reporting backend gets what divmon measures at the right step: real runs, read back from their own stores."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from divmon import DiversityCallback, Ledger
from divmon.ledger import RunRecord
from divmon.measurement import Measurement
from divmon.sinks.base import Sinks
from divmon.sinks.grouped import grouped
from tests.test_callback import KEYS, SMALL, held_out_chats, rows, sft

pytestmark = pytest.mark.usefixtures("fake_encoders")

HOSTILE = (
    "<script>alert(1)</script> <img src=x onerror=alert(1)> [a](javascript:alert(1)) ![i](http://evil.test/i.png)",
    "```\n</code></pre><iframe src=//evil.test></iframe>\n~~~\n<b>bold</b>",
    "\x1b[31m red \u202e thgir \x02wzxhzdk:0\x03 \x00",
    "x" * 1_000_000,
)
ACTIVE = ("<script", "<img", "<a ", "<iframe", "<b>", "<i>")
HIDDEN = "\x1b\u202e\x02\x03\x00"
MOST_CHARACTERS = 40_000
"""What the modules say that the completions of a measurement come to."""


@pytest.fixture
def hostile(monkeypatch):
    """Every prompt's completions are `HOSTILE`, in the ledger too."""
    from divmon.trainer import run

    made = run.completion_rows

    def rows_of(outcome):
        for row in made(outcome):
            yield row | {"outputs": list(HOSTILE), "category": "<i>c</i>", "input_id": f"<b>{row['input_id']}</b>"}

    monkeypatch.setattr(run, "completion_rows", rows_of)


def watched(folder: Path, report_to: str, **settings: Any) -> tuple[Any, RunRecord]:
    """A trained trainer, and the ledger of its run; whatever a backend refuses raises, and any loss is an alert."""
    callback = DiversityCallback(every_n_steps=2, strict=True, alert_below=0.99, **(SMALL | {"samples": 4}))
    trainer = sft(folder, [callback], report_to=report_to, **settings)
    trainer.train()
    return trainer, ledger(folder)


def evaluated(folder: Path, report_to: str, **settings: Any) -> RunRecord:
    """The ledger of a run with an evaluation before training, and one after it."""
    callback = DiversityCallback(every_n_steps=2, strict=True, **SMALL)
    trainer = sft(folder, [callback], held_out_chats(), report_to=report_to, **settings)
    trainer.evaluate()
    trainer.train()
    trainer.evaluate()
    return ledger(folder)


def ledger(folder: Path) -> RunRecord:
    record = Ledger.of(folder).read()
    assert record is not None
    assert [measurement.step for measurement in record.measurements] == [0, 2, 4]
    return record


def alerts(folder: Path) -> dict[int, dict[str, Any]]:
    """The alerts of the ledger, by step."""
    lines = [json.loads(line) for line in (folder / "divmon/measurements.jsonl").read_text().splitlines()]
    found = {line["step"]: line["alert"] for line in lines if line["kind"] == "alert"}
    assert found
    return found


def own_keys(record: RunRecord) -> set[str]:
    """The keys of what is not in the trainer's own log."""
    found = {key for measurement in record.measurements for key in grouped(measurement)}
    assert {"divmon/intervals/ead_low", "divmon/intervals/vendi_retained_high", "divmon/validity/empty"} <= found
    assert "divmon/within/code/nli" in found
    return found


def of_key(measurements: list[Measurement], key: str) -> list[tuple[int, float]]:
    """Steps and values of one of them, by the ledger."""
    values = [(measurement.step, grouped(measurement)) for measurement in measurements]
    return [(step, found[key]) for step, found in values if key in found]


# TensorBoard's own, of NumPy.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestTensorBoard:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch) -> Path:
        monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tensorboard"))
        return tmp_path / "tensorboard"

    @staticmethod
    def events(folder: Path) -> Any:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        return EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0}).Reload()

    @staticmethod
    def texts(events: Any) -> dict[str, dict[int, str]]:
        tags = [tag for tag in events.Tags()["tensors"] if tag.startswith("divmon/")]
        return {
            tag.removesuffix("/text_summary"): {
                event.step: event.tensor_proto.string_val[0].decode() for event in events.Tensors(tag)
            }
            for tag in tags
        }

    def test_scalars_charts_and_texts(self, tmp_path, folder, hostile):
        from tensorboard.plugin_util import markdown_to_safe_html
        from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

        trainer, record = watched(tmp_path / "run", "tensorboard")
        events = self.events(folder)

        def scalars(tag: str) -> list[tuple[int, float]]:
            return [(event.step, event.value) for event in events.Scalars(tag)]

        for key in KEYS:
            assert scalars(f"train/{key}") == [(at, pytest.approx(value)) for at, value in rows(trainer, key).items()]
        for key in own_keys(record):
            assert scalars(key) == [(at, pytest.approx(value)) for at, value in of_key(record.measurements, key)]

        (event,) = events.Tensors("custom_scalars__config__")
        layout = Layout.FromString(event.tensor_proto.string_val[0])
        # TensorBoard shows the last chart first.
        assert [chart.title for chart in layout.category[0].chart] == ["Vendi", "NLI", "SBERT", "EAD"]
        margins = [series for part in layout.category for chart in part.chart for series in chart.margin.series]
        assert len(margins) == 8
        known = set(events.Tags()["scalars"])
        assert {tag for series in margins for tag in (series.value, series.lower, series.upper)} <= known

        texts = self.texts(events)
        completions = {tag: found for tag, found in texts.items() if tag.startswith("divmon/completions/")}
        assert len(completions) == 3
        assert all(list(found) == [0, 2, 4] for found in completions.values())
        for step in (0, 2, 4):
            assert sum(len(found[step]) for found in completions.values()) < MOST_CHARACTERS
        warned = alerts(tmp_path / "run")
        assert list(texts["divmon/alerts"]) == list(warned)
        for step, alert in warned.items():
            assert alert["title"] in texts["divmon/alerts"][step]
            assert " ".join(alert["advice"].split()) in " ".join(texts["divmon/alerts"][step].split())
        for text in [text for found in texts.values() for text in found.values()]:
            shown = markdown_to_safe_html(text)
            assert not [word for word in ACTIVE if word in shown]
            assert not set(HIDDEN) & set(shown)
            assert max(map(len, text.split("\n"))) <= 120
        for text in [text for found in completions.values() for text in found.values()]:
            shown = markdown_to_safe_html(text)
            assert shown.count("<pre>") == 2 + 4
            assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
            assert "red" in shown
        settings = texts["divmon/settings"]
        assert list(settings) == [0]
        assert f"run_id: {record.run_id}\n" in settings[0]
        assert "max_new_tokens: 6\n" in settings[0]

    def test_an_evaluation_before_training(self, tmp_path, folder):
        record = evaluated(tmp_path / "run", "tensorboard")
        found = [(event.step, event.value) for event in self.events(folder).Scalars("divmon/intervals/ead_low")]
        expected = of_key(record.measurements, "divmon/intervals/ead_low")
        assert found == [(step, pytest.approx(value)) for step, value in expected]


class TestMlflow:
    @pytest.fixture(autouse=True)
    def store(self, tmp_path, monkeypatch):
        """A store of files, the lightest of MLflow's: its default is a database, which takes more packages."""
        import mlflow

        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        monkeypatch.setenv("MLFLOW_MAX_LOG_PARAMS", "5")  # transformers' own; there are some 200
        mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
        yield
        while mlflow.active_run():
            mlflow.end_run()
        mlflow.set_tracking_uri(None)

    @staticmethod
    def run() -> Any:
        """The run that training was logged to; an evaluation after it begins another."""
        import mlflow

        (run,) = (run for run in mlflow.MlflowClient().search_runs(["0"]) if "loss" in run.data.metrics)
        return run

    @staticmethod
    def history(run: Any, key: str) -> list[tuple[int, float]]:
        import mlflow

        return [(found.step, found.value) for found in mlflow.MlflowClient().get_metric_history(run.info.run_id, key)]

    def test_metrics_parameters_tables_and_alerts(self, tmp_path, hostile):
        import mlflow

        trainer, record = watched(tmp_path / "run", "mlflow")
        run = self.run()
        for key in KEYS:
            assert self.history(run, key) == list(rows(trainer, key).items())
        for key in own_keys(record):
            assert self.history(run, key) == of_key(record.measurements, key)
        assert run.data.params["divmon/max_new_tokens"] == "6"
        assert run.data.params["divmon/run_id"] == record.run_id

        files = [f"divmon/completions/step-{step:08}.json" for step in (0, 2, 4)]
        listed = json.loads(run.data.tags["mlflow.loggedArtifacts"])
        assert listed == [{"path": file, "type": "table"} for file in files]
        for step, file in zip((0, 2, 4), files, strict=True):
            table = mlflow.load_table(file, run_ids=[run.info.run_id])
            assert set(table["step"]) == {step}
            assert list(table["index"]) == [0, 1, 2, 3] * 3
            first, second, third, long = table["completion"][:4]
            assert (first, second) == HOSTILE[:2]  # a table shows text as it is
            assert "red" in third
            assert not set(HIDDEN) & set(third)
            assert long.startswith("xxx")
            assert sum(map(len, [*table["completion"], *table["prompt"]])) < MOST_CHARACTERS

        warned = alerts(tmp_path / "run")
        assert run.data.tags["divmon.alert"] == list(warned.values())[-1]["title"]
        for step, alert in warned.items():
            text = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/divmon/alerts/step-{step:08}.md")
            assert alert["title"] in text

    def test_an_evaluation_before_training(self, tmp_path):
        record = evaluated(tmp_path / "run", "mlflow")
        key = "divmon/intervals/ead_low"
        assert self.history(self.run(), key) == of_key(record.measurements, key)

    def test_two_trainers_in_one_run(self, tmp_path):
        import mlflow

        with mlflow.start_run():
            _, first = watched(tmp_path / "a", "mlflow")
            _, second = watched(tmp_path / "b", "mlflow", learning_rate=1e-3)
        run, key = self.run(), "divmon/intervals/ead_low"
        assert run.data.params["divmon/run_id"] == first.run_id  # a parameter cannot be changed
        assert self.history(run, key)[3:] == of_key(second.measurements, key)

    def test_without_a_run(self):
        import mlflow

        from divmon.sinks.mlflow import MlflowSink

        MlflowSink(None).measured(None)
        assert mlflow.active_run() is None


class TestTrackio:
    @pytest.fixture(autouse=True)
    def store(self, tmp_path, monkeypatch):
        """Trackio reads where its store is when it is imported, and TRL imports it."""
        import trackio

        modules = [module for name, module in sys.modules.items() if name.split(".")[0] == "trackio"]
        for module in modules:
            for name, place in (("TRACKIO_DIR", ""), ("MEDIA_DIR", "media"), ("ARTIFACTS_DIR", "artifacts")):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, tmp_path / "trackio" / place)
        yield
        if trackio.context_vars.current_run.get() is not None:
            trackio.finish()
        trackio.context_vars.current_project.set(None)

    @staticmethod
    def logs() -> list[dict[str, Any]]:
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        found = [SQLiteStorage.get_logs("divmon", run.name, run_id=run.id) for run in trackio.Api().runs("divmon")]
        (logs,) = (rows for rows in found if any("train/loss" in row for row in rows))
        return logs

    def test_metrics_tables_and_reports(self, tmp_path, hostile):
        import trackio

        trainer, record = watched(tmp_path / "run", "trackio", project="divmon")
        logs = self.logs()

        def history(key: str) -> list[tuple[int, Any]]:
            return [(row["train/global_step"], row[key]) for row in logs if key in row]

        for key in KEYS:
            assert history(f"train/{key}") == list(rows(trainer, key).items())
        for key in own_keys(record):
            own = key.replace("divmon/", "train/divmon_")
            assert history(own) == of_key(record.measurements, key)
        tables = history("divmon/completions")
        assert [step for step, _ in tables] == [0, 2, 4]
        for step, table in tables:
            assert table["_type"] == "trackio.table"
            shown = table["_value"]
            assert {row["step"] for row in shown} == {step}
            assert [row["index"] for row in shown] == [0, 1, 2, 3] * 3
            assert [bool(row["prompt"]) for row in shown] == [True, False, False, False] * 3
            assert tuple(row["completion"] for row in shown[:2]) == HOSTILE[:2]  # a table shows text as it is
            assert "red" in shown[2]["completion"]
            assert not set(HIDDEN) & set(shown[2]["completion"])
            assert sum(len(row["completion"]) + len(row["prompt"]) for row in shown) < MOST_CHARACTERS
        ((step, settings),) = history("divmon/settings")
        assert step == 0
        assert "- **max_new_tokens** 6\n" in settings["_value"]
        warned = alerts(tmp_path / "run")
        found = {alert["step"]: alert["title"] for alert in trackio.Api().alerts("divmon")}
        assert found == {step: alert["title"] for step, alert in warned.items()}
        reports = dict(history("divmon/alerts"))
        assert list(reports) == list(warned)
        for report in reports.values():
            assert "- **Now** <script>alert(1)</script> " in report["_value"]  # Trackio escapes it
            assert "`" not in report["_value"]

    def test_an_evaluation_before_training(self, tmp_path):
        record = evaluated(tmp_path / "run", "trackio", project="divmon")
        key = "train/divmon_intervals/ead_low"
        found = [(row["train/global_step"], row[key]) for row in self.logs() if key in row]
        assert found == of_key(record.measurements, "divmon/intervals/ead_low")

    def test_without_a_run(self):
        import trackio

        from divmon.sinks.trackio import TrackioSink

        TrackioSink(None).measured(None)
        assert trackio.context_vars.current_run.get() is None


def test_a_backend_that_fails_costs_only_itself(tmp_path, monkeypatch, caplog):
    from divmon.sinks import tensorboard

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tensorboard"))
    monkeypatch.setattr(tensorboard, "grouped", fail)
    trainer = sft(tmp_path / "run", [DiversityCallback(every_n_steps=2, **SMALL)], report_to="tensorboard")
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert caplog.text.count("could not be shown in full in TensorBoard (OSError: ") == 1
    assert list(rows(trainer, "loss")) == [1, 2, 3, 4]
    ledger(tmp_path / "run")


def test_a_backend_whose_library_lacks_a_name_costs_only_itself(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tensorboard"))
    monkeypatch.setitem(sys.modules, "divmon.sinks.tensorboard", None)  # as if it could not be imported
    trainer = sft(tmp_path / "run", [DiversityCallback(every_n_steps=2, **SMALL)], report_to="tensorboard")
    with caplog.at_level(logging.WARNING):
        trainer.train()
    assert caplog.text.count("TensorBoard gets the scalars only: what divmon shows beside them cannot be made") == 1
    assert [sink.name for sink in Sinks.of(trainer).sinks] == ["the console"]
    ledger(tmp_path / "run")


def test_trackios_markdown_finds_no_bold():
    from divmon.sinks.trackio import in_line

    assert "**" not in in_line("***x*** **y**")


def test_without_a_backend(tmp_path, monkeypatch, capsys):
    backends = {f"divmon.sinks.{name}" for name in ("wandb", "tensorboard", "mlflow", "trackio", "text")}
    for name in backends:
        monkeypatch.delitem(sys.modules, name, raising=False)
    watched(tmp_path, "none", save_strategy="steps", save_steps=4)
    assert not backends & set(sys.modules)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"divmon", "checkpoint-4"}
    state = json.loads((tmp_path / "checkpoint-4" / "trainer_state.json").read_text())
    assert [row["step"] for row in state["log_history"] if "divmon/nli_retained" in row] == [0, 2, 4]
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in shown if line.startswith("step ")] == ["0", "2", "4"]
