"""The report as a file: what stands in it, what is left out, what cannot act, and what is refused."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import divmon
from divmon.cli import main
from divmon.errors import InputError
from divmon.ledger import Ledger
from divmon.loaded import load
from divmon.measurement import Accuracy, Measurement
from divmon.nearness import answers_of
from divmon.quality.decomposition import decompose
from divmon.recording import header
from divmon.report import bounds, paper, write_report
from divmon.report.changes import changes_of
from divmon.report.runs import COMPLETIONS, grouped, metrics_of, read_runs
from divmon.report.text import cut, embedded, visible, without_folders
from tests.reports import HOSTILE, grade_run, hostile_report, make_run

ENCODER = {"name": "other", "digest": "2" * 64}


class Page(HTMLParser):
    """A page taken apart: its tags, text, data, and the parts that its policy speaks of."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.parts: dict[str, list[str]] = {"style": [], "script": [], "title": []}
        self.words: list[str] = []
        self._within = ""
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())
        self.data = json.loads(self.parts["script"][0])

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._within = tag

    def handle_endtag(self, tag):
        self._within = ""

    def handle_data(self, data):
        if self._within in self.parts:
            self.parts[self._within].append(data)
        else:
            self.words.append(data)


@pytest.fixture(scope="module")
def rich(tmp_path_factory) -> Path:
    """A run with everything: tasks, accuracy, an alert, a gap."""
    folder = tmp_path_factory.mktemp("rich") / "my-run"
    make_run(folder, steps=(0, 10, 20, 30), failed=20)
    return folder


@pytest.fixture(scope="module")
def rich_page(rich) -> Page:
    return Page(write_report(rich))


@pytest.fixture
def no_pictures(monkeypatch):
    """Pictures take most of a report's time, and have tests of their own."""
    monkeypatch.setattr("divmon.report.pictures.draw_pictures", lambda *_: [])


class TestText:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("plain é 漢字 مرحبا 👍", "plain é 漢字 مرحبا 👍"),
            ("a\nb\tc\r\nd\re", "a\nb\tc\nd␍e"),
            ("\x1b[31m\x00\x7f", "␛[31m␀␡"),
            ("\x85", "[U+0085]"),
            ("\u202egnp.exe\u2069", "[U+202E]gnp.exe[U+2069]"),
            ("\u200b\ufeff\u00ad", "[U+200B][U+FEFF][U+00AD]"),
            ("\u2028\u2029", "[U+2028][U+2029]"),
            ("\ud83d", "[U+D83D]"),
            ("\U000e0041", "[U+E0041]"),
            ("\uffff", "[U+FFFF]"),
            ("👩\u200d👧", "👩\u200d👧"),
        ],
    )
    def test_nothing_hides(self, text, expected):
        assert visible(text) == expected
        assert visible(expected) == expected

    def test_marks_do_not_climb(self):
        assert cut("e" + "\u0301" * 50 + "x") == "e" + "\u0301" * 4 + "x"

    def test_a_cut_text_says_how_much_is_gone(self):
        assert cut("a" * 1_000_010, 10) == "a" * 10 + " […1,000,000 more characters]"
        assert cut("a" * 10, 10) == "a" * 10

    @pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
    def test_json_in_a_page_cannot_end_its_element(self, text):
        written = embedded({text[:50]: [text]})
        assert not set("<>&\u2028\u2029") & set(written)
        assert list(json.loads(written).values()) == [[visible(text)]]
        written.encode("utf-8")

    def test_numbers_are_short_and_strict(self):
        written = embedded({"a": [0.123456, 123456.7, math.nan, math.inf, -0.0, 1e-9, 3, True, None, np.float64(2.0)]})
        assert written == '{"a":[0.1235,123457,null,null,0,1e-09,3,true,null,2]}'

    @pytest.mark.parametrize(
        ("name", "expected"), [("/models/x", "x"), ("~/x", "x"), ("org/model", "org/model"), ("m", "m")]
    )
    def test_local_folders_stay_at_home(self, name, expected):
        assert without_folders(name) == expected

    @pytest.mark.parametrize(("count", "most"), [(5, 10), (10, 10), (1000, 10), (11, 10), (3, 2)])
    def test_thinning_keeps_the_ends(self, count, most):
        places = bounds.thinned(count, most, keep=[count // 2])
        assert places == sorted(set(places))
        assert len(places) <= most
        assert {0, count - 1} <= set(places)
        assert most < 3 or count // 2 in places


class TestOneRun:
    def test_it_asks_no_network(self, rich_page):
        links = [
            value for _, attributes in rich_page.tags for name, value in attributes.items() if name in ("src", "href")
        ]
        assert links
        assert all(link == "data:," or link.startswith("#") for link in links)
        assert not [tag for tag, _ in rich_page.tags if tag in ("img", "iframe", "object", "embed", "base", "form")]
        assert "url(" not in rich_page.parts["style"][0]
        assert "@import" not in rich_page.parts["style"][0]

    def test_the_policy_lets_only_its_own_style_and_script_in(self, rich_page):
        policy = next(attributes["content"] for tag, attributes in rich_page.tags if attributes.get("http-equiv"))
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        digests = {
            name: "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
            for name, text in (("style", rich_page.parts["style"][0]), ("script", rich_page.parts["script"][1]))
        }
        assert rules["default-src"] == "'none'"
        assert rules["style-src"] == digests["style"]
        assert rules["script-src"] == digests["script"]
        assert "unsafe" not in policy
        assert not [name for _, attributes in rich_page.tags for name in attributes if name.startswith("on")]
        assert not [attributes for _, attributes in rich_page.tags if "style" in attributes]

    def test_what_is_left(self, rich, rich_page):
        last = load(rich).measurements[-1]
        for metric, name in (("sbert", "SBERT"), ("vendi", "Vendi")):
            low, high = last.metrics[metric].retained_interval
            percent = f"{100 * last.metrics[metric].retained:.0f}%"
            assert f"{name} (" in rich_page.text
            assert (
                f"{percent} left (95% interval {100 * low:.0f}% to {100 * high:.0f}%): diversity was lost."
                in rich_page.text
            )
        assert "Accuracy: 74%, +20 points" in rich_page.text

    def test_curves_are_the_ledgers(self, rich, rich_page):
        run = load(rich)
        chart = rich_page.data["charts"]["sbert-0"]
        (line,) = chart["views"]["values"]["lines"]
        assert line["x"] == [0, 10, 30]
        assert line["y"] == pytest.approx([m.metrics["sbert"].mean for m in run.measurements], abs=1e-4)
        assert line["low"] == pytest.approx([m.metrics["sbert"].interval[0] for m in run.measurements], abs=1e-4)
        assert line["baseline"] == pytest.approx(run.measurements[0].metrics["sbert"].mean, abs=1e-4)
        (line,) = chart["views"]["kept"]["lines"]
        assert line["y"] == pytest.approx([m.metrics["sbert"].retained for m in run.measurements], abs=1e-4)

    def test_every_chart_has_a_table(self, rich_page):
        figures = [attributes["data-chart"] for _, attributes in rich_page.tags if "data-chart" in attributes]
        assert set(figures) == set(rich_page.data["charts"])
        assert len([tag for tag, _ in rich_page.tags if tag == "caption"]) >= len(figures)
        assert "SBERT retained 95% interval SBERT, 1 − mean cosine 95% interval 0 100%" in rich_page.text

    def test_alerts_and_gaps_are_on_the_time_line_and_in_words(self, rich_page):
        events = rich_page.data["charts"]["sbert-0"]["events"]
        assert [(event["x"], event["kind"]) for event in events] == [(30, "collapse"), (20, "gap")]
        assert "Diversity collapse at step 30" in rich_page.text
        assert "step 20: the measurement failed: OutOfMemoryError: no <b>memory</b>" in rich_page.text
        assert "Answer 0 to 0 at 0." in rich_page.text  # an example of the alert

    def test_where_it_went(self, rich_page):
        assert "task prompts EAD SBERT NLI Vendi accuracy chat 4" in rich_page.text
        assert "category prompts EAD SBERT NLI Vendi accuracy open 4" in rich_page.text

    def test_provenance(self, rich_page):
        for words in ("1" * 64, "temperature", "divmon", "nli_sentences", "questions.jsonl", "d" * 64):
            assert words in rich_page.text

    def test_the_prompts_that_lost_most_come_first_with_what_was_said(self, rich_page):
        prompts = rich_page.data["prompts"]
        assert [prompt["id"] for prompt in prompts["prompts"]] == [f"p{number}" for number in range(8)]
        assert prompts["said"]["columns"] == ["Baseline, step 0", "Step 30"]
        before, now = prompts["said"]["completions"]["0"]
        assert [completion["t"] for completion in before] == [f"Answer {n} to 0 at 0." for n in range(4)]
        assert [completion.get("n") for completion in now] == [None, 0, 0, 0]
        assert [completion["d"] for completion in now] == [0.25] * 4
        assert [completion.get("c") for completion in now] == [None, 1, None, None]

    def test_the_pictures(self, rich, rich_page):
        folder = rich / "divmon" / "report"
        assert sorted(path.name for path in folder.iterdir()) == [
            "changes.png",
            "metrics.png",
            "report.html",
            "retained.png",
        ]
        assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for path in folder.glob("*.png"))

    @pytest.mark.usefixtures("no_pictures")
    def test_thinking_is_told_from_the_answer(self, tmp_path):
        say = lambda step, prompt, sample: ["<think>\nHm.\n</think>\nYes.", "<think>never", "No.", ""][sample]  # noqa: E731
        make_run(tmp_path, say=say)
        before, _ = Page(write_report(tmp_path)).data["prompts"]["said"]["completions"]["0"]
        assert [(c["t"], c.get("r"), c.get("x")) for c in before] == [
            ("Yes.", "Hm.", None),
            ("<think>never", None, 1),
            ("No.", None, None),
            ("", None, 1),
        ]


@pytest.mark.usefixtures("no_pictures")
class TestChanges:
    def test_a_column_of_the_map_adds_up_to_what_was_lost(self, tmp_path):
        make_run(tmp_path, tasks=("one",))
        runs = read_runs([tmp_path])
        found = changes_of(runs, metrics_of(runs), grouped(runs, COMPLETIONS))
        retained = runs[0].last.metrics["sbert"].retained
        lost = (found.values["sbert"] - found.baseline["sbert"])[:, -1] / found.scales["sbert"]
        assert 1 + lost.mean() == pytest.approx(retained)
        assert np.all(np.diff(found.losses) >= 0)

    def test_a_prompt_that_was_not_measured_comes_last(self, tmp_path):
        make_run(tmp_path)
        path = tmp_path / "divmon" / "measurements.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            for summary in line.get("metrics", {}).values():
                summary["per_prompt"][0] = None
        path.write_text("\n".join(map(json.dumps, lines)) + "\n")
        data = Page(write_report(tmp_path)).data["prompts"]
        assert data["prompts"][-1]["id"] == "p0"
        assert data["values"]["sbert"][-1] == [None] * 3


@pytest.mark.usefixtures("no_pictures")
class TestPaper:
    def test_levels_are_the_published_averages(self):
        kept = {
            lineage: [round(100 * level.y) for level in levels]
            for lineage, levels in paper.kept_levels("sbert").items()
        }
        assert kept == {"think": [38, 33, 38], "instruct": [62, 39, 34], "rl_zero": [93]}
        values = paper.value_levels("sbert")["think"]
        assert [level.label for level in values] == ["base", "SFT", "DPO", "RL"]
        tables = json.loads((Path(divmon.__file__).parent / "data" / "olmo3_paper_tables.json").read_text())
        assert values[-1].y == pytest.approx(np.mean(list(tables["sbert"]["Think"].values())))

    def test_what_differs_is_said(self, rich_page):
        assert "SBERT encoder: e (the paper: all-mpnet-base-v2)" in rich_page.text
        assert "samples a prompt: 4 (the paper: 16)" in rich_page.text
        assert "temperature: 0.6" not in rich_page.text  # the same here as there

    @pytest.mark.parametrize(
        ("name", "lineage"), [("think-sft", "think"), ("rl-zero-math", "rl_zero"), ("mine", "instruct")]
    )
    def test_the_lineage_that_is_shown_first(self, name, lineage, tmp_path):
        make_run(tmp_path / name, steps=(0,))
        assert paper.likely_lineage(read_runs([tmp_path / name])) == lineage


@pytest.mark.usefixtures("no_pictures")
class TestMissing:
    def test_completions(self, tmp_path):
        make_run(tmp_path, completions=False)
        page = Page(write_report(tmp_path))
        assert "Step 20: no completions were kept." in page.text
        assert page.data["prompts"]["prompts"][0] == {"id": "p0", "task": "chat", "category": "open", "text": ""}

    def test_completions_that_cannot_be_read(self, tmp_path):
        make_run(tmp_path)
        folder = tmp_path / "divmon" / "completions"
        (folder / "step-00000000.jsonl.gz").write_bytes(b"no gzip")
        with gzip.open(folder / "step-00000020.jsonl.gz", "wt") as file:
            file.write('[1]\n{"outputs": [3]}\n{"outputs": ["x"], "task": "chat", "input_id": "p0", "prompt": null}\n')
        page = Page(write_report(tmp_path))
        assert "Baseline, step 0: the completions cannot be read" in page.text
        assert "Step 20: 2 rows of the completions cannot be read." in page.text
        assert page.data["prompts"]["said"]["completions"]["0"] == [[{"t": "x"}]]

    def test_neighbours_of_an_older_divmon(self, tmp_path):
        make_run(tmp_path, old=True)
        page = Page(write_report(tmp_path))
        _, now = page.data["prompts"]["said"]["completions"]["0"]
        assert [completion.get("n") for completion in now] == [None, 0, 0, 0]
        assert "only equal words count as alike" in page.text

    def test_accuracy(self, tmp_path):
        make_run(tmp_path, verified=False)
        page = Page(write_report(tmp_path))
        assert "No accuracy: no prompt has a verifier." in page.text
        assert "accuracy-0" not in page.data["charts"]

    def test_everything_but_the_baseline(self, tmp_path):
        make_run(tmp_path, steps=(0,))
        page = Page(write_report(tmp_path))
        assert "Only the baseline was measured: there is nothing to compare yet." in page.text
        assert page.data["prompts"]["said"]["columns"] == ["Step 0"]

    def test_a_baseline_alone_has_values_and_no_fraction(self, tmp_path):
        make_run(tmp_path, steps=(0,), prompts=16)
        path = write_report(tmp_path)
        page, last = Page(path), load(tmp_path).measurements[-1]
        assert "% left" not in page.text
        assert f"{last.metrics['sbert'].mean:.3f}" in page.text
        for metric in ("ead", "sbert", "nli", "vendi"):
            chart = page.data["charts"][f"{metric}-0"]
            assert list(chart["views"]) == ["values"]
            assert chart["names"] == ["all tasks", "chat", "maths"]
            points = chart["views"]["values"]["lines"]
            assert [line["x"] for line in points] == [[0], [1], [2]]
            assert points[2]["low"][0] == pytest.approx(last.tasks["maths"][metric].interval[0], abs=1e-4)
        assert "base-logprob-0" not in page.data["charts"]
        assert "Likelihood under the base" in page.text

    def test_runs_without_steps_stand_side_by_side(self, tmp_path):
        base = make_run(tmp_path / "base", steps=(0,), prompts=16)
        make_run(tmp_path / "sft", steps=(1,), prompts=16, baseline=base, run_id="r2")
        path = write_report([tmp_path / "base", tmp_path / "sft"], tmp_path / "report")
        page = Page(path)
        chart = page.data["charts"]["sbert-0"]
        assert chart["names"] == ["base", "sft"]
        assert [line["x"] for line in chart["views"]["values"]["lines"]] == [[0], [1]]
        assert [line["name"] for line in chart["views"]["kept"]["lines"]] == ["sft"]
        assert page.data["charts"]["entropy-0"]["names"] == ["base", "sft"]
        assert not re.search(r"lowest \d", page.text)

    def test_few_prompts_have_no_verdict(self, tmp_path):
        make_run(tmp_path, prompts=6)
        text = Page(write_report(tmp_path)).text
        assert "diversity was lost" not in text
        assert text.count("left (6 prompts: too few to tell)") == 4

    def test_everything_but_gaps(self, tmp_path):
        make_run(tmp_path, steps=(5,), failed=5)
        page = Page(write_report(tmp_path))
        assert "Nothing was measured. 1 measurement failed; the reasons are below." in page.text
        assert "step 5: the measurement failed" in page.text
        assert page.data["charts"] == {}
        assert page.data["prompts"] is None

    def test_numbers(self, tmp_path):
        make_run(tmp_path)
        path = tmp_path / "divmon" / "measurements.jsonl"

        def unmeasured(value, name=""):
            if isinstance(value, dict):
                return {key: unmeasured(item, key) for key, item in value.items()}
            if isinstance(value, list):
                return [unmeasured(item, name) for item in value]
            return None if isinstance(value, float) else value

        lines = [unmeasured(json.loads(line)) for line in path.read_text().splitlines()]
        path.write_text("\n".join(map(json.dumps, lines)) + "\n")
        page = Page(write_report(tmp_path))
        assert page.data["charts"] == {}
        assert "not comparable with the baseline" in page.text

    def test_a_baseline_that_cannot_be_compared(self, tmp_path):
        first = make_run(tmp_path / "a", steps=(0,))
        protocol = first.protocol | {"sentence_encoder": ENCODER}
        make_run(tmp_path / "b", baseline=dataclasses.replace(first, kind="baseline", protocol=protocol), run_id="b")
        page = Page(write_report(tmp_path / "b"))
        assert "SBERT (semantic): not comparable with the baseline." in page.text
        assert page.data["prompts"]["baseline"]["sbert"] == [None] * 8
        assert page.data["charts"]["sbert-0"]["views"]["values"]["lines"][0]["baseline"] is None


class TestSeveral:
    def test_alike_ones_share_their_plots(self, tmp_path):
        for name, kept in (("slow", 0.9), ("fast", 0.3)):
            make_run(tmp_path / name, kept=kept, run_id=name)
        page = Page(write_report([tmp_path / "slow", tmp_path / "fast"], tmp_path / "out"))
        lines = page.data["charts"]["sbert-0"]["views"]["kept"]["lines"]
        assert [(line["name"], line["style"]) for line in lines] == [("slow", 0), ("fast", 1)]
        assert "cannot be compared" not in page.text
        assert page.data["prompts"]["columns"] == ["slow", "fast"]
        assert page.data["prompts"]["said"]["columns"] == ["Baseline, step 0", "slow, step 20", "fast, step 20"]
        assert page.data["prompts"]["said"]["places"] == [None, 0, 1]
        assert (
            "run last step prompts EAD left SBERT left NLI left Vendi left accuracy alerts gaps slow 20 8" in page.text
        )
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "changes.png",
            "report.html",
            "retained.png",
        ]

    @pytest.mark.usefixtures("no_pictures")
    def test_what_cannot_be_compared_is_apart_and_says_why(self, tmp_path):
        first = make_run(tmp_path / "a")
        make_run(tmp_path / "b", run_id="b", protocol=first.protocol | {"sentence_encoder": ENCODER})
        make_run(tmp_path / "c", run_id="c", prompts=4)
        page = Page(write_report([tmp_path / "a", tmp_path / "b", tmp_path / "c"], tmp_path / "out"))
        charts = page.data["charts"]
        names = {
            key: [line["name"] for line in charts[key]["views"]["kept"]["lines"]]
            for key in charts
            if "kept" in charts[key]["views"]
        }
        assert names == {
            "ead-0": ["a", "b"],
            "ead-1": ["c"],
            "sbert-0": ["a"],
            "sbert-1": ["b"],
            "sbert-2": ["c"],
            "nli-0": ["a", "b"],
            "nli-1": ["c"],
            "vendi-0": ["a"],
            "vendi-1": ["b"],
            "vendi-2": ["c"],
        }
        assert "SBERT, Vendi: b set against a as the baseline: different sentence encoder" in page.text
        assert "EAD, SBERT, NLI, Vendi, Accuracy: c set against a as the baseline: different prompts" in page.text
        assert page.data["prompts"]["columns"] == ["a", "b"]
        assert all(row == [pytest.approx(row[0]), None] for row in page.data["prompts"]["values"]["sbert"])

    def test_accuracies_of_other_verifiers_are_apart(self, tmp_path):
        make_run(tmp_path / "a")
        make_run(tmp_path / "b", verifier="judge", run_id="b")
        runs = read_runs([tmp_path / "a", tmp_path / "b"])
        assert grouped(runs, "accuracy").groups == ((0,), (1,))
        assert "different verifiers" in grouped(runs, "accuracy").refusals[0]

    def test_names_are_told_apart(self, tmp_path):
        for parent in "xy":
            make_run(tmp_path / parent / "out")
        paths = [tmp_path / "x" / "out", tmp_path / "y" / "out"]
        assert [named.name for named in read_runs(paths)] == ["x/out", "y/out"]
        assert [named.name for named in read_runs([f"one={paths[0]}", f"one={paths[1]}"])] == ["x/one", "y/one"]

    def test_a_lineage(self, tmp_path):
        base = dataclasses.replace(make_run(tmp_path / "base", steps=(0,)), kind="baseline")
        for name, kept in (("think-dpo", 0.4), ("think-sft", 0.6), ("instruct-sft", 0.8)):
            make_run(tmp_path / name, kept=kept, baseline=base, run_id=name)
        paths = [tmp_path / name for name in ("think-dpo", "think-sft", "instruct-sft")]
        page = Page(write_report(paths, tmp_path / "out"))
        assert "At which stage it went" in page.text
        assert "6 runs" not in page.text
        chart = next(chart for chart in page.data["stages"] if chart["id"] == "stages-sbert")
        assert [(line["name"], line["x"], len(line["paper"]["x"])) for line in chart["lines"]] == [
            ("Think", [0, 1, 2], 4),
            ("Instruct", [0, 1], 4),
        ]
        assert page.data["charts"]["sbert-0"]["views"]["kept"]["lines"][0]["name"] == "think-sft"  # stage by stage
        assert (tmp_path / "out" / "stages.png").stat().st_size > 10_000
        write_report(paths[:1], tmp_path / "out")
        assert not (tmp_path / "out" / "stages.png").exists()

    @pytest.mark.usefixtures("no_pictures")
    def test_runs_named_as_stages_that_count_from_different_bases(self, tmp_path):
        make_run(tmp_path / "sft")
        make_run(tmp_path / "dpo", run_id="b", prompts=4)
        page = Page(write_report([tmp_path / "sft", tmp_path / "dpo"], tmp_path / "out"))
        assert "The runs are named after stages, but are no lineage: dpo counts from another base model" in page.text
        assert page.data["stages"] == []


@pytest.mark.usefixtures("no_pictures")
class TestRightAnswers:
    """How much of the loss is only wrong answers going away, and what a majority vote gains."""

    TASKS = ("chat", "gsm8k")

    def test_the_parts_of_a_run(self, tmp_path):
        make_run(tmp_path / "run", prompts=20, tasks=self.TASKS, steps=(0, 10, 20))
        page = Page(write_report(tmp_path / "run"))
        run = load(tmp_path / "run")
        found = decompose(run.measurements[-1], run.baseline)
        low, high = found.genuine.interval
        assert "How much of the loss is only wrong answers going away?" in page.text
        assert f"{found.genuine.value:.3f} {low:.3f} to {high:.3f}" in page.text
        assert f"{found.total.value:.3f} {found.total.interval[0]:.3f} to" in page.text
        assert f"10 of 10 prompts, 60% → 80% right): {found.reading}" in page.text
        assert "The paper (Olmo 3 7B): 70% for Think, 65% for Instruct." in page.text
        lines = page.data["charts"]["loss-0"]["views"]["values"]["lines"]
        assert [line["name"] for line in lines] == ["loss", "among right answers too", "wrong answers"]
        assert lines[1]["x"] == [0, 10, 20]
        assert lines[1]["y"][0] == 0
        assert lines[1]["y"][2] == pytest.approx(found.genuine.value, rel=1e-3)
        assert lines[1]["high"][2] == pytest.approx(high, rel=1e-3)
        assert page.text.count("Vendi 3.65 → 2.02") == 1
        assert "What a majority vote gains" not in page.text

    def test_each_stage_of_a_lineage(self, tmp_path):
        base = dataclasses.replace(
            make_run(tmp_path / "base", prompts=20, tasks=self.TASKS, steps=(0,)), kind="baseline"
        )
        for name, kept in (("think-dpo", 0.3), ("think-sft", 0.6)):
            make_run(tmp_path / name, prompts=20, tasks=self.TASKS, kept=kept, baseline=base, run_id=name)
        page = Page(write_report([tmp_path / "think-dpo", tmp_path / "think-sft"], tmp_path / "out"))
        sft, dpo = (page.text.index(f"{name}, gsm8k (10 of 10 prompts") for name in ("think-sft", "think-dpo"))
        assert sft < dpo  # stage by stage
        charts = page.data["charts"]
        for part in ("total", "genuine", "quality-control"):
            lines = charts[f"loss-{part}-0"]["views"]["values"]["lines"]
            assert [(line["name"], line["style"]) for line in lines] == [("think-sft", 0), ("think-dpo", 1)]
        for name in ("think-sft", "think-dpo"):
            run = load(tmp_path / name)
            assert f"{decompose(run.measurements[-1], run.baseline).genuine.value:.3f}" in page.text

    def test_several_tasks_have_a_row_each_and_one_for_all(self, tmp_path):
        made = make_run(tmp_path / "made", prompts=20, steps=(0,))
        ledger = Ledger(tmp_path / "run" / "divmon")
        ledger.append(header("r1") | {"kind": "run", "step": 0, "options": {}})
        for step, right in ((0, 0.5), (5, 0.2)):
            found = Accuracy(0.5, per_prompt=(0.5,) * 20, verifiers=("math:0",) * 20, right={"sbert": (right,) * 20})
            baseline = {"run_id": "r1", "step": 0, "kind": "measurement"} if step else {}
            ledger.append(dataclasses.replace(made, step=step, accuracy=found, baseline=baseline).to_json())
        page = Page(write_report(tmp_path / "run"))
        for name, count in (("all tasks", 20), ("chat", 10), ("maths", 10)):
            assert f"{name} ({count} of {count} prompts, 50% → 50% right): No loss can be told over all" in page.text

    def test_other_verifiers_are_in_charts_of_their_own(self, tmp_path):
        make_run(tmp_path / "a", prompts=20)
        make_run(tmp_path / "b", prompts=20, verifier="judge", run_id="b")
        charts = Page(write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "out")).data["charts"]
        names = {key: [line["name"] for line in chart["views"]["values"]["lines"]] for key, chart in charts.items()}
        assert (names["loss-genuine-0"], names["loss-genuine-1"]) == (["a"], ["b"])
        assert charts["loss-genuine-1"]["title"] == "Among right answers too: b"

    def test_without_right_answers_there_is_no_such_section(self, tmp_path):
        for name, settings in (("a", {"verified": False}), ("b", {"steps": (0,)})):
            make_run(tmp_path / name, **settings)
            page = Page(write_report(tmp_path / name))
            assert "wrong answers going away" not in page.text
            assert page.data["votes"] is None

    def test_a_run_that_cannot_be_decomposed_says_why(self, tmp_path):
        make_run(tmp_path / "a", right=False)
        make_run(tmp_path / "b", run_id="b")
        page = Page(write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "out"))
        assert "a: no parts of a loss: SBERT of the right answers was not measured now." in page.text

    def test_a_majority_vote_beside_the_papers(self, tmp_path):
        make_run(tmp_path / "run", tasks=self.TASKS)
        grade_run(tmp_path / "run", gsm8k=(0.5, 0.75, 0.125), chat=(0.5, None, 0.3), own=(0.25, 0.2, 0.25))
        page = Page(write_report(tmp_path / "run"))
        points = page.data["votes"]["points"]
        assert len(points) == 48 + 2  # chat has no final answers to vote on
        assert [point["x"] for point in points] == sorted(point["x"] for point in points)
        mine = {point["task"]: point for point in points if point["style"] is not None}
        assert mine["GSM8K"] == {
            "name": "run",
            "task": "GSM8K",
            "shape": 2,
            "style": 0,
            "x": 0.125,
            "y": 0.25,
            "k": 16,
        }
        assert mine["own"]["shape"] == 3
        assert {
            "name": "Base, the paper",
            "task": "GSM8K",
            "shape": 2,
            "style": None,
            "x": 0.135,
            "y": 0.244,
            "k": 16,
        } in points
        assert "run GSM8K 0.125 +25.0 16" in page.text
        assert "Base (the paper) GSM8K 0.135 +24.4 16" in page.text
        assert "their correlation is 0.52 over all 48 points" in page.text

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("{", "its grades.json cannot be read (JSONDecodeError); grade it again."),
            ("[]", "its grades.json cannot be read (AttributeError); grade it again."),
            ('{"run_id": "r1"}', "its grades.json cannot be read (KeyError); grade it again."),
            (
                '{"run_id": "r1", "tasks": {"a": {"k": 1}}}',
                "its grades.json cannot be read (KeyError); grade it again.",
            ),
            ('{"run_id": "other", "tasks": {}}', "its grades.json is of another run; grade it again."),
        ],
    )
    def test_grades_that_cannot_be_read_are_a_note(self, text, why, tmp_path):
        make_run(tmp_path / "run")
        grade_run(tmp_path / "run").write_text(text)
        page = Page(write_report(tmp_path / "run"))
        assert f"run: {why}" in page.text
        assert page.data["votes"] is None

    def test_grades_of_an_earlier_step_say_so(self, tmp_path):
        make_run(tmp_path / "run")
        path = grade_run(tmp_path / "run", maths=(0.5, 0.75, 0.125))
        path.write_text(json.dumps(json.loads(path.read_text()) | {"step": 10}))
        page = Page(write_report(tmp_path / "run"))
        assert "run: its grades are of step 10, not of the last measurement." in page.text
        assert len(page.data["votes"]["points"]) == 49

    def test_hostile_names_of_tasks_are_text(self, tmp_path):
        make_run(tmp_path / "run", tasks=("chat", HOSTILE[2]), prompts=20)
        grade_run(tmp_path / "run", **{HOSTILE[2]: (0.5, 0.75, 0.1)})
        page = Page(write_report(tmp_path / "run"))
        assert [tag for tag, _ in page.tags].count("script") == 2
        assert any(point["task"] == cut(HOSTILE[2], bounds.MOST_OF_A_NAME) for point in page.data["votes"]["points"])


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory) -> Page:
    return Page(hostile_report(tmp_path_factory.mktemp("hostile")))


class TestHostile:
    def test_no_element_is_theirs(self, hostile_page):
        page = hostile_page
        assert [tag for tag, _ in page.tags].count("script") == 2
        assert {"img", "iframe", "body"} & {tag for tag, _ in page.tags} == {"body"}
        assert page.source.count("<!--") == 0
        assert page.parts["title"] == [visible(HOSTILE[2])]
        assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]

    def test_no_character_hides(self, hostile_page):
        assert not re.search(
            "[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\u200b\ufeff\ud800-\udfff]", hostile_page.source
        )

    def test_what_was_said_is_still_there(self, hostile_page):
        page = hostile_page
        said = {
            c["t"]
            for columns in page.data["prompts"]["said"]["completions"].values()
            for column in columns
            for c in column
        }
        assert said == {cut(text, bounds.MOST_CHARACTERS) for text in HOSTILE}
        assert "A completion is cut at 1,200 characters" in page.text


@pytest.mark.usefixtures("no_pictures")
class TestBounds:
    def test_no_ledger_makes_a_page_too_large(self, tmp_path):
        """Every text is as long and as much escaped as can be: the file stays below the stated bound."""
        worst = "<\u202e" * 700
        for name in "ab":
            make_run(
                tmp_path / name,
                prompts=620,
                steps=(0, 1),
                samples=3,
                say=lambda step, prompt, sample: worst,
                asked=lambda number: worst,
                tasks=("one",),
                categories=[f"{number}{worst}" for number in range(620)],
                verified=False,
                run_id=name,
            )
        paths = [tmp_path / name for name in "ab"]
        path = write_report(paths, tmp_path / "out")
        assert 3_000_000 < path.stat().st_size < bounds.MOST_BYTES
        text = path.read_text()
        assert "the 600 of 620 prompts that lost most" in text
        assert 10 < int(re.search(r"Completions of (\d+) of 600 prompts are here", text)[1]) < 80

    def test_a_long_run_is_thinned_but_keeps_its_lowest_point(self, tmp_path):
        make_run(tmp_path, steps=tuple(range(230)), prompts=2, samples=2, verified=False, completions=False)
        data = Page(write_report(tmp_path)).data
        assert len(data["charts"]["sbert-0"]["views"]["kept"]["lines"][0]["x"]) == bounds.MOST_POINTS
        assert len(data["prompts"]["columns"]) == bounds.MOST_COLUMNS
        assert data["prompts"]["columns"][-1] == "229"

    def test_every_category_has_some_of_its_completions(self, tmp_path, monkeypatch):
        monkeypatch.setattr(bounds, "MOST_PROMPTS_WITH_COMPLETIONS", 8)
        monkeypatch.setattr(bounds, "MOST_OF_A_CATEGORY", 2)
        make_run(tmp_path, prompts=24, tasks=("one",), categories=["a"] * 12 + ["b"] * 12, verified=False)
        data = Page(write_report(tmp_path)).data["prompts"]
        carried = [data["prompts"][int(row)]["category"] for row in data["said"]["completions"]]
        assert (carried.count("a"), carried.count("b")) == (6, 2)


@pytest.mark.usefixtures("no_pictures")
class TestRefusals:
    @pytest.mark.parametrize(
        ("make", "expected"),
        [
            (lambda tmp: [], "No run: name the output folder of at least one"),
            (lambda tmp: [tmp / "nowhere"], "There is no folder .*nowhere"),
            (lambda tmp: [tmp / "a", tmp / "a" / "divmon"], "divmon is named twice"),
            (lambda tmp: [tmp / "a"] * 15, "at most 14 runs, got 15"),
        ],
    )
    def test_runs(self, make, expected, tmp_path):
        make_run(tmp_path / "a", steps=(0,))
        with pytest.raises(InputError, match=expected):
            write_report(make(tmp_path))

    def test_lists_that_do_not_fit(self, tmp_path):
        first = make_run(tmp_path, steps=(0,))
        short = dataclasses.replace(first.metrics["sbert"], per_prompt=(0.5,))
        Ledger(tmp_path / "divmon").append(dataclasses.replace(first, step=1, metrics={"sbert": short}).to_json())
        with pytest.raises(InputError, match="step 1 does not hold a value for each prompt"):
            write_report(tmp_path)

    def test_steps_that_are_no_numbers(self, tmp_path):
        make_run(tmp_path, steps=(0,))
        Ledger(tmp_path / "divmon").append(header("r1") | {"kind": "gap", "step": "x", "error": "e"})
        with pytest.raises(InputError, match="expected whole numbers as steps, got 'x'"):
            write_report(tmp_path)

    def test_a_place_that_cannot_be_written(self, tmp_path):
        make_run(tmp_path / "a", steps=(0,))
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match=r"The report cannot be written to .*file"):
            write_report(tmp_path / "a", tmp_path / "file")

    def test_an_earlier_report_stays_whole_until_the_new_one_is(self, tmp_path, monkeypatch):
        make_run(tmp_path, steps=(0,))
        path = write_report(tmp_path)
        before = path.read_bytes()

        def refuse(*_):
            raise OSError("no space")

        monkeypatch.setattr("divmon.report.write.os.replace", refuse)
        with pytest.raises(InputError, match="no space"):
            write_report(tmp_path, title="New")
        assert path.read_bytes() == before


class TestCommand:
    def run(self, capsys, *arguments):
        with pytest.raises(SystemExit) as stopped:
            main(["report", *map(str, arguments)])
        output = capsys.readouterr()
        return stopped.value.code, output.out, output.err

    def test_it_says_where_the_report_is(self, rich, capsys, tmp_path):
        status, output, error = self.run(capsys, rich, "--output-dir", tmp_path / "r", "--title", "Mine <b>")
        assert (status, error) == (0, "")
        assert output.splitlines()[0].startswith(f"{tmp_path / 'r' / 'report.html'}  the report (0.")
        assert str(tmp_path / "r" / "metrics.png") in output
        assert Page(tmp_path / "r" / "report.html").parts["title"] == ["Mine <b>"]

    def test_names_may_be_given(self, rich, capsys, tmp_path):
        status, _, _ = self.run(capsys, f"mine={rich}", "--output-dir", tmp_path)
        assert status == 0
        assert Page(tmp_path / "report.html").parts["title"] == ["Output diversity: mine"]

    def test_several_go_into_the_current_folder(self, capsys, tmp_path, monkeypatch):
        for name in "ab":
            make_run(tmp_path / name, steps=(0, 1))
        monkeypatch.chdir(tmp_path)
        assert self.run(capsys, "a", "b")[0] == 0
        assert (tmp_path / "report" / "report.html").is_file()

    def test_an_error_is_one_line(self, capsys, tmp_path):
        status, output, error = self.run(capsys, tmp_path)
        assert (status, output) == (2, "")
        assert error.startswith("divmon: No divmon ledger in ")
        assert error.count("\n") == 1


@pytest.mark.usefixtures("no_pictures")
def test_a_damaged_ledger_gives_a_report_or_one_clear_error(tmp_path):
    """Whatever field of a record is replaced, there is a page or an `InputError`."""
    first = make_run(tmp_path / "a", steps=(0, 1), prompts=3, samples=2)
    path = tmp_path / "a" / "divmon" / "measurements.jsonl"
    lines = path.read_text().splitlines()
    pages = errors = 0
    for field in [known.name for known in dataclasses.fields(Measurement)]:
        for other in (None, [], "x"):
            record = json.loads(lines[-1] if '"measurement"' in lines[-1] else lines[2]) | {field: other}
            path.write_text("\n".join([*lines[:2], json.dumps(record)]) + "\n")
            try:
                Page(write_report(tmp_path / "a"))
                pages += 1
            except InputError:
                errors += 1
    assert first.step == 0
    assert pages > 10
    assert errors > 10


@pytest.mark.usefixtures("fake_encoders")
def test_a_real_run(tmp_path):
    from divmon import DiversityCallback
    from tests.test_callback import SMALL, sft, trained

    trained(sft(tmp_path, [DiversityCallback(**SMALL, every_n_steps=2)]))
    page = Page(write_report(tmp_path))
    run = load(tmp_path)
    assert page.data["charts"]["sbert-0"]["views"]["values"]["lines"][0]["x"] == [m.step for m in run.measurements]
    assert page.data["prompts"]["said"]["columns"] == ["Baseline, step 0", "Step 4"]
    texts = [c["t"] for c in page.data["prompts"]["said"]["completions"]["0"][1]]
    rows = {row["input_id"]: row for row in run.completions()}
    row = rows[page.data["prompts"]["prompts"][0]["id"]]
    answers = [text if answer is None else answer for text, answer in zip(row["outputs"], answers_of(row), strict=True)]
    assert texts == [cut(answer, bounds.MOST_CHARACTERS) for answer in answers]


def test_pictures_of_runs_without_steps(tmp_path, monkeypatch):
    """Values side by side, and nothing over steps or against a baseline where there is neither."""
    from divmon.report import pictures

    drawn, draw = {}, pictures.plot_side_by_side
    monkeypatch.setattr(
        pictures,
        "plot_side_by_side",
        lambda panels, path, title: drawn.update({path.name: panels}) or draw(panels, path, title),
    )
    base = make_run(tmp_path / "base", steps=(0,), prompts=16)
    alone = write_report(tmp_path / "base")
    assert sorted(file.name for file in alone.parent.iterdir()) == ["metrics.png", "report.html"]
    make_run(tmp_path / "sft", steps=(1,), prompts=16, baseline=base, run_id="r2")
    both = write_report([tmp_path / "base", tmp_path / "sft"], tmp_path / "report")
    names = {file.name for file in both.parent.iterdir()}
    assert names == {"metrics.png", "retained.png", "changes.png", "report.html"}
    last = [load(tmp_path / name).measurements[-1].metrics["sbert"] for name in ("base", "sft")]
    assert [bar.name for bar in drawn["metrics.png"][1].bars] == ["base", "sft"]
    assert [(bar.value, bar.interval) for bar in drawn["metrics.png"][1].bars] == [(m.mean, m.interval) for m in last]
    assert [bar.name for bar in drawn["retained.png"][1].bars] == ["sft"]
    assert drawn["retained.png"][1].bars[0].value == 100 * last[1].retained
