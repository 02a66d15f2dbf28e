"""Stage attribution: the paper's tables, the arithmetic, and real ledgers."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import divmon
from divmon.cli import main
from divmon.errors import InputError
from divmon.ledger import RunRecord
from divmon.lineage import (
    AVERAGE,
    Checkpoint,
    attribute,
    checkpoints_of_records,
    paper_attribution,
    records_of_runs,
    stage_of,
    stand_ins,
)
from divmon.lineage_report import as_csv, as_json, as_markdown, plot
from tests.records import measurement
from tests.tiny import HELD_OUT, tiny_llama, tiny_tokenizer

TABLES = json.loads((Path(divmon.__file__).parent / "data" / "olmo3_paper_tables.json").read_text(encoding="utf-8"))


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["lineage", *map(str, arguments)])
    output = capsys.readouterr()
    return stopped.value.code, output.out, output.err


class TestPaper:
    def test_table_18_within_a_point_in_every_cell(self, capsys):
        status, output, _ = run(capsys, "--paper", "--json")
        assert status == 0
        sbert = json.loads(output)["attribution"]["sbert"]
        cells = 0
        for task, lineages in TABLES["stage_attribution_percent"].items():
            for lineage, parts in lineages.items():
                for name, published in parts.items():
                    assert abs(sbert[lineage][task][name] - published) < 1, (task, lineage, name)
                    cells += 1
        assert cells == 16 * 9

    def test_averages_exactly_when_rounded(self):
        averages = {
            lineage: [round(part.percent) for part in tasks[AVERAGE].values()]
            for lineage, tasks in paper_attribution()["sbert"].items()
        }
        assert averages == {"think": [-62, -4, 4, 38], "instruct": [-38, -23, -5, 34], "rl_zero": [93]}

    def test_published_means_have_no_interval(self):
        part = paper_attribution()["sbert"]["think"][AVERAGE]["sft"]
        assert math.isnan(part.interval[0])


def values(**tasks):
    return {"sbert": {task: np.array(row, dtype=float) for task, row in tasks.items()}}


class TestArithmetic:
    def test_parts_add_up(self):
        base = values(a=[0.4, 0.6], b=[0.2, 0.2])
        chain = [
            Checkpoint("think", "rl", "r", values(a=[0.2, 0.3], b=[0.1, 0.1])),
            Checkpoint("think", "sft", "s", values(a=[0.3, 0.3], b=[0.1, 0.3])),
            Checkpoint("think", "dpo", "d", values(a=[0.1, 0.3], b=[0.1, 0.2])),
        ]
        parts = attribute(base, chain)["sbert"]["think"]
        # Task a: means .5, .3, .2, .25: -40, -20, +10, 50 left. Task b: .2, .2, .15, .1: 0, -25, -25, 50 left.
        expected = {
            "a": {"sft": -40, "dpo": -20, "rl": 10, "retained": 50},
            "b": {"sft": 0, "dpo": -25, "rl": -25, "retained": 50},
            AVERAGE: {"sft": -20, "dpo": -22.5, "rl": -7.5, "retained": 50},
        }
        for task, row in expected.items():
            assert {name: part.percent for name, part in parts[task].items()} == pytest.approx(row, abs=1e-12)

    def test_rl_zero_is_the_mean_of_its_checkpoints(self):
        base = values(a=[0.4, 0.4])
        zero = [Checkpoint("rl_zero", "rl", name, values(a=[x, x])) for name, x in (("m", 0.4), ("c", 0.2))]
        parts = attribute(base, zero)["sbert"]["rl_zero"]["a"]
        assert {name: part.percent for name, part in parts.items()} == {"retained": pytest.approx(75)}

    def test_intervals_are_paired(self):
        # Every prompt keeps exactly half, however much the prompts differ: the paired interval has no width.
        row = np.linspace(0.1, 0.9, 20)
        parts = attribute(values(a=row), [Checkpoint("x", "sft", "s", values(a=row / 2))])["sbert"]["x"]["a"]
        assert parts["retained"].interval == pytest.approx((50, 50))
        assert parts["sft"].interval == pytest.approx((-50, -50))

    def test_interval_covers_noise(self):
        rng = np.random.default_rng(0)
        row = rng.uniform(0.2, 0.8, 40)
        noisy = row * rng.uniform(0.3, 0.7, 40)
        part = attribute(values(a=row), [Checkpoint("x", "sft", "s", values(a=noisy))])["sbert"]["x"][AVERAGE][
            "retained"
        ]
        low, high = part.interval
        assert low < part.percent < high
        assert 2 < high - low < 15

    def test_unmeasured_prompts_are_left_out_of_all_stages(self):
        base = values(a=[0.4, math.nan, 0.2])
        part = attribute(base, [Checkpoint("x", "sft", "s", values(a=[0.2, 0.9, math.nan]))])["sbert"]["x"]["a"]
        assert part["retained"].percent == pytest.approx(50)

    @pytest.mark.parametrize(
        ("checkpoints", "expected"),
        [
            ([Checkpoint("x", "ppo", "p", values(a=[1, 1]))], "p: expected a stage of sft, dpo, rl, got 'ppo'"),
            ([Checkpoint("x", "sft", name, values(a=[1, 1])) for name in "st"], "Lineage 'x' has a stage twice: s, t"),
            ([Checkpoint("x", "sft", "s", values(b=[1, 1]))], "s has no sbert of task 'a'"),
            ([Checkpoint("x", "sft", "s", values(a=[1]))], "expected 2 prompts of task 'a', got 1"),
        ],
    )
    def test_errors(self, checkpoints, expected):
        with pytest.raises(InputError, match=expected):
            attribute(values(a=[1, 1]), checkpoints)

    @pytest.mark.parametrize(
        ("label", "expected"),
        [
            ("think-sft", ("think", "sft")),
            ("Instruct_DPO", ("instruct", "dpo")),
            ("rl", ("lineage", "rl")),
            ("rl-zero-math", ("rl_zero", "rl")),
        ],
    )
    def test_names_tell_the_stage(self, label, expected):
        assert stage_of(label) == expected

    def test_a_name_without_a_stage(self):
        with pytest.raises(InputError, match=r"'final' tells no stage: .*sft=FOLDER, think-dpo=FOLDER"):
            stage_of("final")


def test_encoders_that_stood_in_are_named_beside_the_papers_figures():
    protocol = measurement().protocol | {"nli": {"name": "a/stand-in", "digest": None, "fallback_for": "the/real"}}
    records = [
        ("sft", RunRecord("r1", measurement(), (measurement(step=1, protocol=protocol),), (), {})),
        ("dpo", RunRecord("r2", measurement(), (measurement(step=1),), (), {})),
    ]
    assert stand_ins(records) == ["a/stand-in stood in for the/real: its values cannot be compared with the paper's."]


SETTINGS = {"samples": 4, "max_new_tokens": 8}


@pytest.fixture
def runs(tmp_path, fake_encoders):
    """Three stages measured against one base, as three scripts would."""
    base = divmon.measure(
        tiny_llama(0), tiny_tokenizer(), HELD_OUT, run_id="base", output_dir=tmp_path / "base", **SETTINGS
    )
    for seed, stage in enumerate(("think-sft", "think-dpo", "think-rl"), 1):
        divmon.measure(
            tiny_llama(seed),
            tiny_tokenizer(),
            HELD_OUT,
            baseline=base,
            run_id=stage,
            step=9,
            output_dir=tmp_path / stage,
            **SETTINGS,
        )
    return [tmp_path / stage for stage in ("think-sft", "think-dpo", "think-rl")]


class TestRuns:
    def test_report_of_ledgers(self, runs, tmp_path, capsys):
        status, output, _ = run(capsys, *runs, "--json", "--output-dir", tmp_path / "report")
        assert status == 0
        document = json.loads(output)
        parts = document["attribution"]["sbert"]["think"]["average"]
        assert parts["sft"] + parts["dpo"] + parts["rl"] == pytest.approx(parts["retained"] - 100)
        last = divmon.Ledger.of(runs[2]).read()
        means = [m.metrics["sbert"].mean for m in (last.measurements[-1], last.baseline)]
        assert parts["retained"] == pytest.approx(100 * means[0] / means[1])
        assert document["paper"]["sbert"]["think"]["average"]["sft"] == pytest.approx(-62.18, abs=0.01)
        low, high = document["intervals"]["sbert"]["think"]["average"]["retained"]
        assert low <= parts["retained"] <= high
        files = {path.name: path for path in (tmp_path / "report").iterdir()}
        assert sorted(files) == ["lineage.csv", "lineage.json", "lineage.md", "lineage.png"]
        assert json.loads(files["lineage.json"].read_text()) == document
        rows = list(csv.DictReader(io.StringIO(files["lineage.csv"].read_text())))
        row = next(r for r in rows if (r["metric"], r["task"], r["part"]) == ("sbert", "average", "retained"))
        assert float(row["percent"]) == pytest.approx(parts["retained"])
        assert "the paper's average" in files["lineage.md"].read_text()
        assert files["lineage.png"].read_bytes()[:4] == b"\x89PNG"

    def test_runs_with_other_sampling_are_refused(self, runs, tmp_path, capsys):
        base = divmon.measure(tiny_llama(0), tiny_tokenizer(), HELD_OUT, temperature=1.0, **SETTINGS)
        other = {"baseline": base, "run_id": "x", "output_dir": tmp_path / "think-x-rl", "temperature": 1.0}
        divmon.measure(tiny_llama(1), tiny_tokenizer(), HELD_OUT, step=1, **other, **SETTINGS)
        status, output, error = run(capsys, runs[0], f"think-rl={tmp_path / 'think-x-rl'}")
        assert (status, output) == (2, "")
        assert "of think-rl cannot be compared with the base of think-sft: different sampling" in error
        assert "temperature" in error

    def test_runs_with_another_base_are_refused(self, runs, tmp_path):
        base = divmon.measure(tiny_llama(7), tiny_tokenizer(), HELD_OUT, **SETTINGS)
        where = tmp_path / "rl"
        divmon.measure(
            tiny_llama(1), tiny_tokenizer(), HELD_OUT, baseline=base, run_id="r", step=1, output_dir=where, **SETTINGS
        )
        with pytest.raises(InputError, match="think-rl counts from another base model than think-sft"):
            checkpoints_of_records(records_of_runs([str(runs[0]), f"think-rl={where}"]))

    def test_the_base_may_stand_among_them(self, runs, tmp_path, capsys):
        alone = run(capsys, *runs, "--json")
        assert run(capsys, tmp_path / "base", *runs, "--json") == alone
        (tmp_path / "base").rename(tmp_path / "start")
        assert run(capsys, *runs, f"base={tmp_path / 'start'}", "--json") == alone
        status, output, error = run(capsys, f"base={runs[0]}", runs[1])
        assert (status, output) == (2, "")
        assert "base (run think-sft) is not the base that the others count from (run base): leave it out" in error
        assert "No run after the base" in run(capsys, f"base={tmp_path / 'start'}")[2]

    def test_a_missing_folder_is_said_before_a_name(self, tmp_path, capsys):
        status, output, error = run(capsys, tmp_path / "nowhere")
        assert (status, output) == (2, "")
        assert error.startswith(f"divmon: There is no folder {tmp_path / 'nowhere'}")

    def test_few_prompts_are_marked_and_said_once(self, runs, capsys):
        output = run(capsys, f"sft={runs[0]}")[1]
        assert len(HELD_OUT) < 8
        assert "| task | sft | retained |" in output
        assert re.search(r"\| average \| [+-]\d+ † \| \d+ † \|", output)
        assert output.count("too few to tell") == 1
        assert output.endswith("† Fewer than 8 prompts: too few to tell.\n")

    def test_nothing_named(self, capsys):
        status, output, error = run(capsys)
        assert (status, output) == (2, "")
        assert error == "divmon: Name either the run folders of a lineage or --paper.\n"


class TestFormats:
    def test_markdown_and_csv_of_the_paper(self, tmp_path):
        paper = paper_attribution()
        markdown = as_markdown(paper)
        assert "| average | -62 | -4 | +4 | 38 | -38 | -23 | -5 | 34 | 93 |" in markdown
        # Fifteen tasks and the average, nine parts each; NLI leaves out the three code tasks.
        assert len(as_csv(paper).splitlines()) == 1 + (3 * 16 + 13) * 9
        assert "NaN" not in json.dumps(as_json(paper))
        assert plot(paper, tmp_path / "paper.png").stat().st_size > 20_000
