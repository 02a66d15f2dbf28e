"""Weights & Biases: real offline runs, read back from their files; and the saved view."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig
from transformers import TrainerCallback

from divmon import DiversityCallback, Ledger
from divmon.alerts import Alert, Example, Kept
from divmon.cli import main
from divmon.errors import InputError
from divmon.ledger import RunRecord
from divmon.sinks import wandb_alerts, wandb_table, wandb_values
from divmon.sinks.base import View
from divmon.sinks.wandb_rows import STEP, OpenRow
from divmon.sinks.wandb_text import cell, fenced, inert, inert_values
from divmon.workspace import specification, workspace
from tests import wandb_file
from tests.fakes import use_fakes
from tests.records import accuracy, measurement, prompts, summary
from tests.test_callback import KEYS, sft

HOSTILE = "\ud83d half \x00\x1b[31m \u202eright-to-left <script>alert(1)</script> ![x](javascript:1) ``` <!channel>"
WORDS = {"sea": "nature", "sky": "nature", "cat": "b/c.d e", "map": "", "wind": "nature"}
PROMPTS = [
    {
        "prompt": f"what of the {word}?",
        "category": category,
        "verifier": "constraints",
        "ground_truth": '{"kind": "max_words", "count": 3}',
    }
    for word, category in WORDS.items()
]


@pytest.fixture
def wandb_run(wandb_folder, monkeypatch):
    """Starts an offline run."""
    import wandb

    monkeypatch.setenv("WANDB_DATA_DIR", str(wandb_folder / "data"))
    return lambda **options: wandb.init(project="test", **options)


class TheUsersOwn(TrainerCallback):
    """Logs beside the trainer: with an explicit step, without one, and into the open row."""

    def on_step_end(self, args, state, control, **kwargs):
        import wandb

        wandb.log({"mine": float(state.global_step)}, step=state.global_step)
        wandb.log({"also": float(state.global_step)}, commit=False)


@dataclasses.dataclass(frozen=True)
class Tuned:
    """A run that was logged offline."""

    folder: Path
    record: RunRecord
    ledger: Ledger
    log: list[dict[str, Any]]

    def rows(self, key: str) -> list[dict[str, Any]]:
        return [row for row in wandb_file.history(self.folder) if key in row]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> Tuned:
    """SFT with LoRA at a rate that ruins the model, on prompts with categories and verifiers."""
    import wandb

    folder = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        use_fakes(patch)
        for name, value in (("MODE", "offline"), ("SILENT", "true"), ("DIR", folder), ("DATA_DIR", folder / "data")):
            patch.setenv(f"WANDB_{name}", str(value))
        wandb.teardown()
        callback = DiversityCallback(
            PROMPTS, every_n_steps=2, num_prompts=5, samples=5, max_new_tokens=8, alert_below=0.99
        )
        trainer = sft(
            folder / "run",
            [callback, TheUsersOwn()],
            report_to="wandb",
            max_steps=6,
            logging_steps=3,
            learning_rate=0.3,
            peft_config=LoraConfig(r=4, target_modules="all-linear"),
        )
        trainer.train()
        wandb.finish()
        wandb.teardown()
    ledger = Ledger.of(folder / "run")
    return Tuned(folder, ledger.read(), ledger, trainer.state.log_history)


class TestARealRun:
    def test_the_trainers_scalars(self, tuned):
        measured = tuned.rows("train/divmon/sbert")
        assert [row[STEP] for row in measured] == [0, 2, 4, 6]
        for row in measured:
            assert {f"train/{key}" for key in KEYS} <= set(row)
        ours = [row["divmon/sbert"] for row in tuned.log if "divmon/sbert" in row]
        assert [row["train/divmon/sbert"] for row in measured] == ours
        assert [row[STEP] for row in tuned.rows("train/loss")] == [3, 6]

    def test_intervals_validity_and_accuracy_are_the_ledgers(self, tuned):
        rows = tuned.rows("divmon/ead/low")
        assert [row[STEP] for row in rows] == [m.step for m in tuned.record.measurements]
        for row, found in zip(rows, tuned.record.measurements, strict=True):
            for name, of in found.metrics.items():
                bounds = [row[f"divmon/{name}/{end}"] for end in ("low", "high", "retained_low", "retained_high")]
                assert bounds == [*of.interval, *of.retained_interval]
            for field, value in dataclasses.asdict(found.validity).items():
                assert row[f"divmon/validity/{field}"] == value
            assert (row["divmon/accuracy/low"], row["divmon/accuracy/high"]) == found.accuracy.interval

    def test_categories(self, tuned):
        for row, found in zip(tuned.rows("divmon/ead/low"), tuned.record.measurements, strict=True):
            values = dict(zip(WORDS, found.metrics["ead"].per_prompt, strict=True))
            assert row["divmon/within/nature/ead"] == pytest.approx(
                (values["sea"] + values["sky"] + values["wind"]) / 3, abs=1e-12
            )
            assert row["divmon/within/b_c_d_e/ead"] == values["cat"]
            assert row["divmon/within/none/ead"] == values["map"]

    def test_what_is_seen_without_doing_anything(self, tuned):
        defined = wandb_file.defined(tuned.folder)
        keys = {key for row in tuned.rows("divmon/ead/low") for key in row if key.startswith("divmon/")}
        keys = {wandb_values.TABLE if key.startswith(wandb_values.TABLE) else key for key in keys}
        assert all(defined[key] == (STEP, wandb_values.is_hidden(key)) for key in keys)
        panels = sorted(key for key in keys if not defined[key][1])
        assert panels[0] == "divmon/completions"
        assert [key.split("/")[1] for key in panels[1:]] == ["validity"] * 10 + ["within"] * 12
        assert {key.rpartition("/")[2] for key in keys - set(panels)} == {
            "low",
            "high",
            "retained_low",
            "retained_high",
            "completions",
        }

    def test_the_completions_grow_by_increments(self, tuned):
        found = wandb_file.increments(tuned.folder, wandb_values.TABLE)
        assert len(found) == 4
        for rows, measured in zip(found, tuned.record.measurements, strict=True):
            kept = {row["input_id"]: row for row in tuned.ledger.completions(measured, tuned.record.run_id)}
            assert len(rows) == 5 * 4
            assert {row["prompt_id"] for row in rows} == set(kept)
            for row in rows:
                source, index = kept[row["prompt_id"]], row["index"]
                assert row["step"] == measured.step
                assert row["prompt"] == source["prompt"]
                assert row["category"] == source["category"]
                assert row["completion"].removeprefix("[no answer] ") == cell(source["outputs"][index], 600)
                assert row["baseline_distance"] == source["baseline_distance"][index]
                assert row["near_duplicate_of"] == source["near_duplicate_of"][index]
                assert row["near_duplicate"] == (row["near_duplicate_of"] is not None)
        assert [row["baseline_distance"] for row in found[0]] == [None] * 20
        assert any(row["baseline_distance"] > 0 for row in found[-1])
        last = tuned.rows("divmon/completions/path")[-1]
        assert last["divmon/completions/_type"] == "incremental-table-file"
        assert len(last["divmon/completions/previous_increments_paths"]) == 3

    def test_alerts_are_the_ledgers(self, tuned):
        sent, written = wandb_file.alerts(tuned.folder), tuned.record.alerts
        assert len(sent) == len(written) > 0
        for alert, line in zip(sent, written, strict=True):
            assert alert.level == "WARN"
            assert alert.title.startswith(f"Completions may rot at step {line['step']}: EAD")
            assert f"At step {line['step']} {line['why']}" in alert.text
            kept = line["metrics"]["ead"]
            assert f"- **EAD** {100 * kept['retained']:.0f}% [{100 * kept['interval'][0]:.0f}, " in alert.text
            assert len(line["examples"]) == alert.text.count("**Prompt**") == 2
            for example in line["examples"]:
                for text in (example["prompt"], example["before"], example["now"]):
                    assert fenced(text or "(no answer)", 300) in alert.text
            assert line["advice"] in alert.text

    def test_config(self, tuned):
        config = wandb_file.config(tuned.folder)
        ours, first = config["divmon"], tuned.record.measurements[0]
        assert config["learning_rate"] == 0.3
        assert ours["settings"]["samples"] == 5
        assert ours["settings"]["alert_below"] == 0.99
        assert ours["prompts"] == {"source": first.prompts.source, "digest": first.prompts.digest, "count": 5}
        assert ours["protocol"] == json.loads(json.dumps(first.protocol))
        assert ours["protocol"]["sentence_encoder"]["digest"] == "0" * 64
        assert ours["provenance"]["packages"] == first.provenance["packages"]
        assert (ours["baseline"]["run_id"], ours["baseline"]["step"]) == (tuned.record.run_id, 0)

    def test_summary(self, tuned):
        kept = wandb_file.summary(tuned.folder)
        for metric in ("ead", "sbert", "nli", "vendi"):
            retained = {m.step: m.metrics[metric].retained for m in tuned.record.measurements}
            worst = min(retained, key=lambda step: retained[step])
            assert kept[f"divmon/{metric}/retained_last"] == retained[6]
            assert kept[f"divmon/{metric}/retained_worst"] == retained[worst]
            assert kept[f"divmon/{metric}/retained_worst_step"] == worst

    def test_nothing_of_anybody_is_refused(self, tuned):
        assert wandb_file.refused(tuned.folder) == []
        assert [row["mine"] for row in tuned.rows("mine")] == [1, 2, 3, 4, 5, 6]
        assert [row["also"] for row in tuned.rows("also")] == [1, 2, 3, 4, 5, 6]
        assert [row["_step"] for row in tuned.rows("mine")] == [1, 2, 3, 4, 5, 6]

    def test_the_saved_view_names_logged_keys_only(self, tuned):
        logged = {key for row in wandb_file.history(tuned.folder) for key in row}
        spec = specification(workspace("team", "project"))
        panels = [
            panel for section in spec["spec"]["section"]["panelBankConfig"]["sections"] for panel in section["panels"]
        ]
        lines = [panel["config"] for panel in panels if panel["viewType"] == "Run History Line Plot"]
        for panel in lines:
            assert panel["xAxis"] in logged
            assert set(panel["metrics"]) <= logged, panel
            if "metricRegex" in panel:
                assert len([key for key in logged if re.fullmatch(panel["metricRegex"], key)]) == 3
        named = {key for panel in lines for key in panel["metrics"]}
        for metric in ("ead", "sbert", "nli", "vendi"):
            assert {f"train/divmon/{metric}", f"divmon/{metric}/low", f"divmon/{metric}/high"} <= named
            assert {f"train/divmon/{metric}_retained", f"divmon/{metric}/retained_low"} <= named
        tables = [panel for panel in panels if panel["viewType"] == "Weave"]
        assert len(tables) == 1
        assert f"{json.dumps(wandb_values.TABLE)}" in json.dumps(tables[0])
        assert f"{wandb_values.TABLE}/path" in logged


def completions(count: int, text: str = "it is {prompt} {index} at {step}", step: int = 0, **common: Any) -> list[dict]:
    """Rows of completions, K = 6, in two categories; the later a prompt, the further from the baseline."""
    return [
        {
            "task": "default",
            "input_id": f"p{place}",
            "key": f"k{place}",
            "category": "ab"[place % 2],
            "prompt": f"what of {place}?",
            "outputs": [text.format(prompt=place, index=index, step=step) for index in range(6)],
            "think_opened": False,
            "baseline_distance": [place / 100, None] * 3,
            "near_duplicate_of": [None, 0, None, None, 2, None],
        }
        | common
        for place in range(count)
    ]


def view(step: int = 0, history: int = 1, rows=(), alerts=(), **changes: Any) -> View:
    """A view of a measurement by hand, the last of ``history``."""
    now = measurement(step=step, **changes)
    before = [measurement(step=step - 1 - number) for number in range(history - 1)]
    return View(now, before[0] if before else now, (*before, now), tuple(rows), (), tuple(alerts), {"k": 1}, "")


def a_callback() -> Any:
    """What holds the module, as transformers' callback does."""
    import wandb

    return types.SimpleNamespace(_wandb=wandb)


class TestRows:
    """Whose rows W&B takes when a measurement is logged in between."""

    def log_steps(self, log, measured):
        """Three steps of a script that logs with the trainer's step; the second is measured."""
        import wandb

        for step in (1, 2, 3):
            wandb.log({"mine": step}, step=step)
            if step == 2:
                measured({"train/divmon/ead": 0.5, STEP: step})
            log({"train/loss": 1.0, STEP: step})

    def test_without_the_open_row_the_scripts_own_are_refused(self, wandb_run, wandb_folder):
        """The test below can fail."""
        import wandb

        wandb_run()
        self.log_steps(wandb.log, wandb.log)
        wandb.finish()
        assert len(wandb_file.refused(wandb_folder)) == 1
        assert [row["mine"] for row in wandb_file.history(wandb_folder) if "mine" in row] == [1, 2]

    def test_with_it_none_is(self, wandb_run, wandb_folder):
        import wandb

        wandb_run()
        row = OpenRow(wandb)
        self.log_steps(row.log, row.log)
        wandb.finish()
        assert wandb_file.refused(wandb_folder) == []
        rows = wandb_file.history(wandb_folder)
        assert [(r["_step"], r["mine"], r[STEP], "train/divmon/ead" in r) for r in rows] == [
            (1, 1, 1, False),
            (2, 2, 2, True),
            (3, 3, 3, False),
        ]

    def test_a_later_step_does_not_take_a_measurement_with_it(self, wandb_run, wandb_folder):
        import wandb

        wandb_run()
        row = OpenRow(wandb)
        row.log({"train/divmon/ead": 0.5, STEP: 2})
        row.add({"divmon/ead/low": 0.4, STEP: 2})
        row.log({"train/loss": 1.0, STEP: 10})
        row.log({"train/divmon/ead": 0.3, STEP: 20})
        row.log({"train/divmon/ead": 0.2, STEP: 30})
        row.log({"test/loss": 1.0})  # of a prediction: without a step
        wandb.finish()
        rows = wandb_file.history(wandb_folder)
        assert [row.get(STEP) for row in rows] == [2, 10, 20, 30, None]
        assert [(row.get("train/divmon/ead"), row.get("divmon/ead/low")) for row in rows[:2]] == [
            (0.5, 0.4),
            (None,) * 2,
        ]

    def test_rows_that_others_ended_are_not_ended_again(self, wandb_run, wandb_folder):
        import wandb

        wandb_run()
        row = OpenRow(wandb)
        row.log({"train/divmon/ead": 0.5, STEP: 2})
        wandb.log({"mine": 1}, step=1000)
        wandb.log({"mine": 2})
        row.log({"train/loss": 1.0, STEP: 3})
        wandb.finish()
        assert [row["_step"] for row in wandb_file.history(wandb_folder)] == [0, 1000, 1001]

    def test_it_takes_the_modules_place_once(self):
        callback = a_callback()
        module = callback._wandb
        row = OpenRow.of(callback)
        assert callback._wandb is row
        assert OpenRow.of(callback) is row
        assert row.Table is module.Table
        assert OpenRow.of(types.SimpleNamespace()).Table is module.Table


class TestTable:
    def rows_of(self, count, step=0, **common):
        return list(wandb_table.table_rows(completions(count, step=step, **common), step))

    def test_the_same_prompts_are_followed_and_those_that_moved_most_added(self):
        rows = self.rows_of(12)
        chosen = dict.fromkeys((row["chosen"], row["prompt_id"]) for row in rows)
        followed = [name for why, name in chosen if why == "followed"]
        assert followed == ["p0", "p1", "p2", "p3", "p4", "p5"]  # of both categories in turn
        assert [name for why, name in chosen if why == "moved most"] == ["p11", "p10"]
        assert [row["index"] for row in rows] == [0, 1, 2, 3] * 8
        assert rows[1]["near_duplicate"] is True
        assert rows[1]["near_duplicate_of"] == 0

    def test_each_category_has_one_before_any_has_two(self):
        rows = completions(8)
        for place, row in enumerate(rows):
            row["category"] = "rare" if place == 7 else "common"
        assert [row["key"] for row in wandb_table.followed_prompts(rows)] == ["k0", "k7", "k1", "k2", "k3", "k4"]

    def test_without_a_baseline_none_moved(self):
        rows = completions(12, baseline_distance=None, near_duplicate_of=None)
        assert len(list(wandb_table.table_rows(rows, 0))) == 6 * 4

    def test_how_often(self):
        due = [place for place in range(200) if wandb_table.is_due(place)]
        assert due[:33] == [*range(32), 32]
        assert due[33:] == [*range(34, 64, 2), *range(64, 128, 4), *range(128, 200, 8)]
        assert len(due) == 73

    def test_two_hundred_measurements_are_seventy_four_increments(self, wandb_run):
        run = wandb_run(mode="disabled")
        run.config.update({"max_steps": 199})
        table = wandb_table.CompletionsTable.of(run)
        logged = [step for step in range(200) if table.increment(view(step, step + 1, completions(1, step=step)))]
        assert logged == [*(step for step in range(200) if wandb_table.is_due(step)), 199]  # the last in any case
        assert len(logged) == table.increments == 74

    def test_an_increment_stays_small(self, wandb_run, wandb_folder):
        import wandb

        run = wandb_run()
        text = "\u4e2d\u6587\ud83d" * 100_000
        rows = completions(40, text, prompt=text, category=text, task=text, input_id=text)
        run.log({wandb_values.TABLE: wandb_table.CompletionsTable.of(run).increment(view(rows=rows))})
        wandb.finish()
        (shown,) = wandb_file.increments(wandb_folder, wandb_values.TABLE)
        assert len(shown) == 32
        assert max(sum(len(str(value)) for value in row.values()) for row in shown) <= wandb_table.ROW_CHARACTERS
        (file,) = wandb_folder.glob("**/completions_*.table.json")
        assert file.stat().st_size < 32 * 6 * wandb_table.ROW_CHARACTERS  # a character that is not ASCII takes six

    def test_no_run_gets_more_than_w_and_b_shows(self, wandb_run):
        run = wandb_run(mode="disabled")
        table = wandb_table.CompletionsTable.of(run)
        warned = [table.increment(view(step, step + 1, completions(1), ["an alert"])) for step in range(150)]
        assert sum(found is not None for found in warned) == wandb_table.INCREMENTS - 1
        run.config.update({"max_steps": 150})
        assert table.increment(view(150, 151, completions(1))) is not None
        assert table.increment(view(151, 152, completions(1))) is None
        assert table.increments == wandb_table.INCREMENTS

    def test_a_second_trainer_goes_on_with_the_runs_table(self, wandb_run, wandb_folder):
        import wandb

        from divmon.sinks.wandb import WandbSink

        wandb_run()
        for step in (0, 4):
            WandbSink(a_callback()).measured(view(step, rows=completions(2, step=step)))
        wandb.finish()
        found = wandb_file.increments(wandb_folder, wandb_values.TABLE)
        assert [[row["step"] for row in rows] for rows in found] == [[0] * 8, [4] * 8]
        last = [row for row in wandb_file.history(wandb_folder) if "divmon/completions/path" in row][-1]
        assert len(last["divmon/completions/previous_increments_paths"]) == 1

    def test_a_resumed_run_goes_on_with_its_table(self, wandb_run, wandb_folder, monkeypatch):
        import wandb

        from divmon.sinks.wandb import WandbSink

        run = wandb_run()
        earlier = {"_type": "incremental-table-file", "increment_num": 4, "artifact_path": "new"}
        kept = {wandb_values.TABLE: earlier | {"previous_increments_paths": ["old"]}}
        # What WANDB_RESUME brings from the server, which is not to be had here.
        monkeypatch.setattr(wandb.Run, "resumed", property(lambda self: True))
        monkeypatch.setattr(type(run.summary), "get", lambda self, key, default=None: kept.get(key, default))
        WandbSink(a_callback()).measured(view(8, 3, completions(2, step=8)))
        wandb.finish()
        (row,) = [row for row in wandb_file.history(wandb_folder) if "divmon/completions/path" in row]
        assert row["divmon/completions/increment_num"] == 5
        assert row["divmon/completions/previous_increments_paths"] == ["old", "new"]


class TestText:
    def test_nothing_hides_or_acts(self):
        shown = inert(HOSTILE, 200)
        assert shown.startswith("[U+D83D] half ␀␛[31m [U+202E]right-to-left <script>")
        assert shown.encode("utf-8")

    def test_it_is_bounded(self):
        assert inert("x" * 10, 10) == "x" * 10
        assert inert("x" * 11, 10) == "xxxxxx […]"
        assert inert("\ud83d" * 10, 12) == "[U+D83D] […]"[:12]
        assert len(inert("\u202e" * 1_000_000, 100)) == 100

    def test_an_address_alone_is_no_link(self):
        assert cell("https://example.org/x", 50) == '"https://example.org/x"'
        assert cell("see https://example.org/x", 50) == "see https://example.org/x"

    def test_nothing_ends_a_block_of_code(self):
        block = fenced("a\n````\n# head\n```python\n<!channel> <@U1> <b>", 100)
        assert block.splitlines()[0] == block.splitlines()[-1] == "```"
        assert block.count("`" * 3) == 2
        assert "<!" not in block
        assert "<@" not in block
        assert "<b>" in block
        assert len(fenced("<!" * 1000, 100)) == 100 + 8

    def test_values(self):
        plain = {"a\x00": ["\ud83d", 1, None, {"b": 2.5}]}
        assert inert_values(plain, 10) == {"a␀": ["[U+D83D]", 1, None, {"b": 2.5}]}


def an_alert(**changes: Any) -> Alert:
    known = Alert(
        kind="collapse",
        step=40,
        metrics={name: Kept(0.45, (0.4, 0.5)) for name in ("ead", "sbert")},
        threshold=0.7,
        why="",
        examples=(Example("what?", "", "this"), Example(HOSTILE * 20, HOSTILE, HOSTILE)),
        advice="Read some completions.",
    )
    return dataclasses.replace(known, **changes)


class TestSink:
    def test_a_collapse_and_hostile_text_reach_the_file(self, wandb_run, wandb_folder):
        import wandb

        from divmon.sinks.wandb import WandbSink

        wandb_run()
        record = dataclasses.replace(prompts(), source=HOSTILE, categories=(HOSTILE, "b") * 4, tasks=("x",) * 8)
        hostile = completions(3, category=HOSTILE, prompt=HOSTILE, outputs=[HOSTILE] * 6)
        now = view(40, 2, hostile, [an_alert()], prompts=record, provenance={"git": HOSTILE})
        WandbSink(a_callback()).measured(now)
        wandb.finish()
        ((rows),) = wandb_file.increments(wandb_folder, wandb_values.TABLE)
        assert {row["completion"] for row in rows} == {inert(HOSTILE, 600)}
        (alert,) = wandb_file.alerts(wandb_folder)
        assert alert.title == "Diversity collapse at step 40: EAD, SBERT"
        assert alert.text.startswith(
            "At step 40 the 95% interval of what is retained of the baseline lies below 70%:\n\n"
            "- **EAD** 45% [40, 50]\n- **SBERT** 45% [40, 50]\n\n**Prompt**\n\n```\nwhat?\n```\n\n**Before**"
        )
        assert alert.text.endswith("**What to try.** Read some completions.")
        assert alert.text.count("```") == 12
        assert len(alert.text) < 3000
        assert wandb_file.config(wandb_folder)["divmon"]["prompts"]["source"] == inert(HOSTILE, 1000)

    def test_a_title_is_as_short_as_w_and_b_wants(self):
        every = dict.fromkeys(("ead", "sbert", "nli", "vendi"), Kept(0.1, (0.0, 0.2)))
        for kind in ("collapse", "rot"):
            assert len(wandb_alerts.title(an_alert(kind=kind, step=10**9, metrics=every))) < 64

    def test_without_a_run_it_is_quiet(self):
        import wandb

        from divmon.sinks.wandb import WandbSink

        assert wandb.run is None
        WandbSink(a_callback()).measured(view(rows=completions(2), alerts=[an_alert()]))

    def test_a_disabled_run(self, wandb_run):
        import wandb

        from divmon.sinks.wandb import WandbSink

        run = wandb_run(mode="disabled")
        WandbSink(a_callback()).measured(view(rows=completions(2), alerts=[an_alert()]))
        assert run.config["divmon"]["settings"] == {"k": 1}
        wandb.finish()

    def test_a_new_run_of_the_same_process_is_described_too(self, wandb_run, wandb_folder):
        import wandb

        from divmon.sinks.wandb import WandbSink

        sink = WandbSink(a_callback())
        for name in ("one", "two"):
            wandb_run(dir=str(wandb_folder / name))
            sink.measured(view(3, 2, completions(2)))
            wandb.finish()
        for name in ("one", "two"):
            folder = wandb_folder / name
            assert "divmon" in wandb_file.config(folder)
            assert wandb_file.defined(folder)["divmon/ead/low"] == (STEP, True)
            assert len(wandb_file.increments(folder, wandb_values.TABLE)) == 1


class TestValues:
    def test_what_was_not_measured_is_absent(self):
        lost = summary(math.nan, math.nan, math.nan, math.nan)
        values = wandb_values.logged(measurement(metrics={"ead": summary(), "nli": lost}))
        assert values["divmon/ead/low"] == pytest.approx(0.4)
        assert not [key for key in values if "nli" in key or "accuracy" in key or "within" in key]
        history = [measurement(step=step, metrics={"nli": lost}) for step in (0, 1)]
        assert wandb_values.summarised(history) == {}

    def test_tasks_have_their_own(self):
        now = measurement(tasks={"a/b": {"ead": summary()}, "a b": {"ead": summary(0.7)}}, accuracy=accuracy())
        now = dataclasses.replace(now, accuracy=dataclasses.replace(now.accuracy, tasks={"a b": accuracy(0.3)}))
        values = wandb_values.logged(now)
        assert values["divmon/task/a_b/ead/low"] == pytest.approx(0.4)
        assert values["divmon/task/a_b_2/ead/low"] == pytest.approx(0.6)
        assert values["divmon/task/a_b_2/accuracy/high"] == pytest.approx(0.4)
        assert all(wandb_values.is_hidden(key) for key in values if "/task/" in key)

    def test_the_largest_categories_only(self):
        names = tuple(f"c{number}" for number in range(20) for _ in range(1 + (number == 19)))
        record = dataclasses.replace(prompts(tuple("x" for _ in names)), categories=names)
        now = measurement(prompts=record, metrics={"ead": dataclasses.replace(summary(), per_prompt=(0.5,) * 21)})
        within = [key for key in wandb_values.logged(now) if "within" in key]
        assert len(within) == wandb_values.MOST_CATEGORIES
        assert within[0] == "divmon/within/c19/ead"

    def test_names_in_keys(self):
        parts = wandb_values.key_parts(["", "none", "a.b", "a/b", "x" * 100, "a.b"])
        assert list(parts.values()) == ["none", "none_2", "a_b", "a_b_2", "x" * 40]

    def test_the_worst_and_the_last(self):
        def at(step, retained):
            return measurement(step=step, metrics={"ead": summary(retained=retained)})

        history = [at(0, 1.0), at(1, 0.4), at(2, math.nan), at(3, 0.6)]
        assert wandb_values.summarised(history) == {
            "divmon/ead/retained_last": 0.6,
            "divmon/ead/retained_worst": 0.4,
            "divmon/ead/retained_worst_step": 1,
        }


def command(*arguments: str) -> Any:
    """The exit status of ``divmon``."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code


class TestWorkspace:
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the library's own, of pydantic, at import
    def test_the_dry_run_is_what_saving_sends(self, monkeypatch, capsys):
        import wandb_workspaces.workspaces.internal as library

        sent = {}

        def receive(api, query, variables):
            sent.update(variables)
            return {"upsertView": {"view": {"id": "id", "name": "nw-abc-v"}, "inserted": True}}

        monkeypatch.setattr(
            "wandb.Api", lambda: types.SimpleNamespace(client=types.SimpleNamespace(app_url="https://a.b"))
        )
        monkeypatch.setattr(library, "execute_graphql", receive)
        arguments = ["wandb-workspace", "--entity", "team", "--project", "project", "--name", "mine"]
        assert command(*arguments, "--dry-run") == 0
        dry = json.loads(capsys.readouterr().out)
        assert sent == {}
        assert command(*arguments) == 0
        assert capsys.readouterr().out == "https://a.b/team/project?nw=abc\n"
        assert dry.pop("spec") == json.loads(sent["spec"])
        assert dry == {key: sent[key] for key in ("entityName", "projectName", "displayName", "type")}
        assert dry["displayName"] == "mine"

    def test_a_refusal_is_a_sentence(self, monkeypatch, capsys):
        def refuse():
            raise ConnectionError("no route")

        monkeypatch.setattr("wandb.Api", refuse)
        assert command("wandb-workspace", "--entity", "team", "--project", "project") == 2
        said = capsys.readouterr().err
        assert "not saved in team/project (ConnectionError: no route): log in (wandb login)" in said

    def test_without_the_library_it_says_how_to_get_it(self, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
        assert command("wandb-workspace", "--entity", "team", "--project", "project", "--dry-run") == 2
        assert "pip install 'divmon[workspace]'" in capsys.readouterr().err

    def test_a_name_that_w_and_b_does_not_take(self):
        with pytest.raises(InputError, match="takes no emoji or symbols"):
            workspace("team", "project", "collapse \U0001f4c9")
