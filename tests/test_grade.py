"""``divmon grade`` on recorded runs: verdicts, votes, programs that are run, a judge's server, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

import divmon
from divmon import stats
from divmon.cli import main
from divmon.errors import InputError
from divmon.measurement import Measurement
from divmon.prompt import Prompt
from divmon.prompts import PromptSet
from divmon.quality import grading, verdicts
from divmon.quality.judged import Answers, checklist_score, win_rate
from divmon.quality.programs import FILE, ProgramLimits, Programs
from divmon.tasks import TASKS
from divmon.tasks.rows import rows_of
from divmon.verifiers.loose import instructions
from tests.chat_server import ANSWERS, error, judges
from tests.graded import record
from tests.test_judge import judge

pytestmark = pytest.mark.usefixtures("fake_encoders")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Where the judge's replies are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def run(capsys):
    """Run ``divmon grade`` in this process: exit status, stdout, stderr."""

    def run(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit:
            main(["grade", *map(str, arguments)])
        out, err = capsys.readouterr()
        return exit.value.code, out, err

    return run


def graded(folder, *arguments, run):
    """The document that the command prints, which is what it writes too."""
    status, out, err = run(folder, "--json", *arguments)
    assert status == 0, err
    document = json.loads(out)
    written = json.loads((Path(folder) / "divmon" / "grades.json").read_text(encoding="utf-8"))
    assert document | {"time": 0} == written | {"time": 0}
    return document


def sums(count=4):
    """Prompts of a user's own, with a verifier."""
    return PromptSet(
        tuple(
            Prompt(id=str(n), text=f"What is {n} + 1?", task="sums", verifier="math", ground_truth=str(n + 1))
            for n in range(count)
        ),
        source="sums.jsonl",
    )


def as_file(path, prompts):
    lines = [
        {"prompt": prompt.text, "task": prompt.task, "verifier": prompt.verifier, "ground_truth": prompt.ground_truth}
        for prompt in prompts
    ]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def right_and_wrong(prompts):
    """Of four completions of prompt n, n are right, in two forms; the wrong ones agree."""
    return [
        [f"It is {p.ground_truth}.", f"\\boxed{{{p.ground_truth}.0}}", f"{p.ground_truth}"][:n]
        + ["It is 99."] * (4 - n)
        for n, p in enumerate(prompts)
    ]


# --- verdicts ------------------------------------------------------------------------------------------------


class TestVerified:
    def test_figures_by_hand(self, tmp_path, run):
        prompts = PromptSet.of("gsm8k:sample").take(4)
        folder = record(tmp_path / "base", prompts, right_and_wrong(prompts))
        document = graded(folder, run=run)
        found = document["tasks"]["gsm8k"]
        assert (document["step"], found["k"], found["prompts"], found["verifier"]) == (0, 4, 4, "math")
        # 0, 1, 2 and 3 of 4 are right; the vote of the third is a tie of two and two.
        assert found["accuracy_at_1"] == pytest.approx((0 + 1 + 2 + 3) / 16, abs=1e-12)
        assert found["accuracy_at_1_interval"] == list(stats.bootstrap_interval([0, 0.25, 0.5, 0.75]))
        assert found["first_completion"] == 0.75
        assert found["majority_at_k"] == pytest.approx((0 + 0 + 0.5 + 1) / 4, abs=1e-12)
        # pass@2 of 1, 2, 3 right of 4: 1 - 3/6, 1 - 1/6, 1.
        assert found["pass_at"] == {"1": 0.375, "2": pytest.approx((1 / 2 + 5 / 6 + 1) / 4, abs=1e-12), "4": 0.75}
        assert found["pass_at_interval"]["4"] == list(stats.bootstrap_interval([0, 1, 1, 1]))
        assert found["per_prompt"]["majority_at_k"] == [0.0, 0.0, 0.5, 1.0]
        assert found["keys"] == [prompt.key for prompt in prompts]

    def test_the_diversity_of_the_right_is_the_ledgers(self, tmp_path, run):
        prompts = PromptSet.of("gsm8k:sample").take(4)
        folder = record(tmp_path, prompts, right_and_wrong(prompts))
        found = graded(folder, run=run)["tasks"]["gsm8k"]
        right = divmon.load(folder).measurements[0].accuracy.right
        assert [math.isnan(value) for value in right["sbert"]] == [True, True, False, False]
        assert found["d_correct"] == stats.mean(right["sbert"]) > 0
        assert found["v_correct"] == stats.mean(right["vendi"]) > 1
        assert (found["d_correct_prompts"], found["per_prompt"]["d_correct"][0]) == (2, None)

    def test_the_ledgers_verdicts_are_not_made_again(self, tmp_path, run, monkeypatch):
        prompts = PromptSet.of("gsm8k:sample,truthfulqa:sample").take(4)
        folder = record(tmp_path, prompts, [["42", "no"]] * 4)
        monkeypatch.setattr(verdicts, "verify", lambda *_, **__: pytest.fail("it was verified again"))
        assert graded(folder, run=run)["tasks"]["truthfulqa"]["accuracy_at_1"] is not None

    def test_the_last_step_or_another(self, tmp_path, run):
        prompts = PromptSet.of("gsm8k:sample").take(4)
        right = [[prompt.ground_truth] * 4 for prompt in prompts]
        folder = record(tmp_path, prompts, right_and_wrong(prompts), right)
        assert [graded(folder, *step, run=run)["step"] for step in ([], ["--step", "0"])] == [10, 0]
        assert graded(folder, run=run)["tasks"]["gsm8k"]["accuracy_at_1"] == 1.0

    def test_instructions_strict_and_loose(self, tmp_path, run):
        prompts = PromptSet.of("ifeval:sample")
        texts = ["Sure!\n" + "word " * 40, "Sure!\nall small", "word, " * 50, "*word*\n- a\n- b", 'Here:\n"All"', ""]
        folder = record(tmp_path, prompts, [texts] * len(prompts))
        found = graded(folder, run=run)["tasks"]["ifeval"]
        checks = [instructions(prompt.ground_truth) for prompt in prompts]
        marks = {
            name: [[getattr(check(text), name) for text in texts] for check in checks] for name in ("strict", "loose")
        }
        for name, each in marks.items():
            flat = [mark for prompt in each for mark in prompt]
            assert found[name]["prompt"] == pytest.approx(sum(map(all, flat)) / len(flat), abs=1e-12)
            followed = sum(map(sum, flat)) / sum(map(len, flat))
            assert found[name]["instruction"] == pytest.approx(followed, abs=1e-12)
            low, high = found[name]["instruction_interval"]
            assert low <= followed <= high
        assert found["accuracy_at_1"] == pytest.approx(found["strict"]["prompt"], abs=1e-12)
        assert 0 < found["strict"]["prompt"] < found["loose"]["prompt"]
        assert found["majority_at_k"] is None

    def test_an_open_think_block_is_no_answer(self, tmp_path, run):
        prompts = PromptSet.of("gsm8k:sample").take(2)
        truth = [prompt.ground_truth for prompt in prompts]
        outputs = [[f"hm</think>{answer}", f"hm {answer}", f"hm</think>{answer}.0"] for answer in truth]
        folder = record(tmp_path, prompts, outputs, think_opened=True)
        found = graded(folder, run=run)["tasks"]["gsm8k"]
        assert (found["accuracy_at_1"], found["majority_at_k"]) == (pytest.approx(2 / 3), 1.0)


class TestGroundTruths:
    def test_own_prompts_have_the_ledgers_verdicts_and_with_the_file_a_vote(self, tmp_path, run):
        prompts = sums()
        folder = record(tmp_path / "run", prompts, right_and_wrong(prompts))
        status, out, err = run(folder, "--json")
        found = json.loads(out)["tasks"]["sums"]
        assert (status, found["accuracy_at_1"], found["pass_at"]["4"]) == (0, 0.375, 0.75)
        assert found["majority_at_k"] is None
        assert "sums: what is right is not known here for 4 of its prompts" in err
        assert err.count("\n") == 1
        document = graded(folder, "--prompts", as_file(tmp_path / "sums.jsonl", prompts), run=run)
        assert document["tasks"]["sums"]["majority_at_k"] == pytest.approx(0.375, abs=1e-12)
        assert document["notes"] == []

    def test_another_ground_truth_is_verified_anew(self, tmp_path, run):
        prompts = sums()
        folder = record(tmp_path / "run", prompts, right_and_wrong(prompts))
        others = [dataclasses.replace(prompt, ground_truth="99") for prompt in prompts]
        document = graded(folder, "--prompts", as_file(tmp_path / "other.jsonl", others), run=run)
        found = document["tasks"]["sums"]
        assert found["accuracy_at_1"] == pytest.approx(1 - 0.375, abs=1e-12)
        # Four, three and two completions say 99; they are the same text, which the ledger's encoder has no part in.
        assert found["per_prompt"]["d_correct"][:3] == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)

    def test_ledgers_without_verdicts_are_verified(self, tmp_path, run):
        prompts = PromptSet.of("gsm8k:sample").take(4)
        folder = record(tmp_path, prompts, right_and_wrong(prompts))
        before = graded(folder, run=run)["tasks"]["gsm8k"]
        ledger = divmon.load(folder).ledger
        rows = [row | {"verdicts": None} for row in divmon.load(folder).completions()]
        ledger.write_completions(ledger.completions_path(0), rows)
        after = graded(folder, run=run)["tasks"]["gsm8k"]
        # The diversity of the right is measured by the same (here: fake) encoder then.
        assert after["d_correct"] == pytest.approx(before["d_correct"], abs=1e-6)
        assert after | {"d_correct": 0, "v_correct": 0} != after
        for name in ("accuracy_at_1", "majority_at_k", "pass_at"):
            assert after[name] == before[name]

    def test_prompts_of_another_run_are_refused(self, tmp_path, run):
        folder = record(tmp_path / "run", sums(), right_and_wrong(sums()))
        status, out, err = run(folder, "--prompts", "gsm8k:sample")
        assert (status, out) == (2, "")
        assert "None of the 12 prompts of gsm8k" in err
        assert "is among the 4 that run was measured on" in err


# --- programs ------------------------------------------------------------------------------------------------


def programs(task, count=3):
    """The first prompts of a sample, and for each the right program in the sample itself."""
    prompts = PromptSet.of(f"{task}:sample").take(count)
    rows = rows_of(TASKS[task], sample=True).rows
    solved = []
    for prompt in prompts:
        row = rows[int(prompt.id.split("/")[1])]
        code = row["prompt"] + row["canonical_solution"] if task == "humaneval" else row["code"]
        solved.append(f"Here:\n```python\n{code}\n```")
    return prompts, solved


class TestPrograms:
    def test_nothing_is_run_unless_it_is_said(self, tmp_path, run, monkeypatch):
        monkeypatch.setattr("divmon.sandbox.suite.run_task", lambda *_: pytest.fail("a program was run"))
        prompts, solved = programs("humaneval")
        folder = record(tmp_path, prompts, [[answer, "pass"] for answer in solved])
        status, out, err = run(folder, "--json")
        found = json.loads(out)["tasks"]["humaneval"]
        assert (status, found["accuracy_at_1"], found["prompts"], found["all_prompts"]) == (0, None, 0, 3)
        assert found["pass_at"] == {}
        assert "humaneval: the answers to 3 prompts are programs, and no program is run unless you say so" in err
        assert run(folder)[1].startswith("Nothing could be graded.")

    @pytest.mark.parametrize("task", ["humaneval", "mbpp"])
    def test_programs_pass_or_do_not(self, tmp_path, run, sandbox, task):
        prompts, solved = programs(task, 2)
        folder = record(tmp_path, prompts, [[answer, answer + "\n", "def nothing(): pass", ""] for answer in solved])
        found = graded(folder, "--execute-code", run=run)["tasks"][task]
        assert (found["accuracy_at_1"], found["majority_at_k"], found["prompts"]) == (0.5, None, 2)
        assert found["pass_at"] == {"1": 0.5, "2": pytest.approx(5 / 6), "4": 1.0}
        # The right ones are one text but for a line end; their diversity is measured with the run's encoder.
        assert found["d_correct"] == pytest.approx(0.0, abs=1e-6)
        assert found["v_correct"] == pytest.approx(1.0, abs=1e-4)
        # The same program is run once, and one that is not there not at all.
        assert len((folder / "divmon" / FILE).read_text(encoding="utf-8").splitlines()) == 2 * 2

    def test_what_was_run_is_not_run_again(self, tmp_path, run, sandbox, monkeypatch):
        prompts, solved = programs("mbpp", 2)
        folder = record(tmp_path, prompts, [[answer, "x = 1"] for answer in solved])
        first = graded(folder, "--execute-code", run=run)
        monkeypatch.setattr("divmon.sandbox.suite.run_task", lambda *_: pytest.fail("a program was run again"))
        again = graded(folder, "--execute-code", "--workers", "2", run=run)
        assert again["tasks"] == first["tasks"]

    def test_an_interrupted_grading_goes_on(self, tmp_path, sandbox):
        file = tmp_path / "verdicts.jsonl"
        jobs = [([f"def f(): return {n}" for n in range(4)], ["assert f() < 2"])]

        def stop(done, total):
            if done == 2:
                raise KeyboardInterrupt

        first = Programs(file, workers=1)
        with pytest.raises(KeyboardInterrupt):
            first.verdicts(jobs, stop)
        kept = file.read_bytes()
        assert kept.count(b"\n") == first.ran == 2
        file.write_bytes(kept + b'{"program": "torn')  # and a line that was cut short
        second, told = Programs(file, workers=1), []
        assert second.verdicts(jobs, lambda *counts: told.append(counts)) == [(1.0, 1.0, 0.0, 0.0)]
        assert (second.ran, told) == (2, [(1, 2), (2, 2)])
        third = Programs(file)
        assert third.verdicts(jobs) == [(1.0, 1.0, 0.0, 0.0)]
        assert third.ran == 0

    def test_other_tests_or_limits_are_another_matter(self, tmp_path, sandbox):
        file, answers = tmp_path / "verdicts.jsonl", ["def f(): return 1"]
        assert Programs(file).verdicts([(answers, ["assert f() == 1"])]) == [(1.0,)]
        assert Programs(file).verdicts([(answers, ["assert f() == 2"])]) == [(0.0,)]
        other = Programs(file, limits=ProgramLimits(seconds=5.0))
        assert other.verdicts([(answers, ["assert f() == 1"])]) == [(1.0,)]
        assert other.ran == 1

    def test_hostile_answers_harm_nothing_and_are_wrong(self, tmp_path, sandbox):
        victim = tmp_path / "victim"
        victim.mkdir()
        (victim / "precious").write_text("precious")
        loop = "while True: pass"
        answers = [
            f"import shutil\nshutil.rmtree({str(victim)!r}, ignore_errors=True)\nf = lambda: 0",
            f"open({str(victim / 'new')!r}, 'w')",
            loop,
            "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
            "x = bytearray(1 << 34)",
            "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos.kill(1, 9)",
            "while True: print('x' * 100_000)",
            "import socket\nsocket.create_connection(('127.0.0.1', 80))",
            "import os\nprint(os.environ['HOME_OF_THE_USER'])",
        ]
        asked = Programs(
            tmp_path / "verdicts.jsonl", limits=ProgramLimits(seconds=0.3, total_seconds=0.6, memory_mb=128)
        )
        found = asked.verdicts([([f"```python\n{answer}\n```" for answer in answers], ["assert f() == 1"])])
        assert found == [(0.0,) * len(answers)]
        assert [path.name for path in victim.iterdir()] == ["precious"]

    def test_a_machine_without_namespaces(self, tmp_path, run, monkeypatch):
        from divmon.sandbox import run as sandboxes

        prompts, solved = programs("mbpp", 1)
        folder = record(tmp_path, prompts, [[solved[0], "x = 1"]])
        faults = {"namespaces": "unshare: Operation not permitted.", "landlock": "none."}
        monkeypatch.setattr(sandboxes, "_fault", lambda level: faults.get(level, ""))
        status, out, err = run(folder, "--execute-code")
        assert (status, out) == (2, "")
        assert re.search(r"does not give: unshare: Operation not permitted.*--allow-weaker-sandbox\.\n$", err)
        monkeypatch.undo()
        status, out, err = run(folder, "--allow-weaker-sandbox")
        assert (status, out) == (2, "")
        assert "it goes with --execute-code" in err

    def test_the_second_flag_accepts_less(self, tmp_path, monkeypatch, run):
        from divmon.sandbox import run as sandboxes
        from tests.conftest import available

        available("seccomp")
        prompts, solved = programs("mbpp", 1)
        folder = record(tmp_path, prompts, [[solved[0], "x = 1"]])
        monkeypatch.setattr(sandboxes, "_fault", lambda level: "" if level == "seccomp" else "none.")
        found = graded(folder, "--execute-code", "--allow-weaker-sandbox", run=run)["tasks"]["mbpp"]
        assert found["accuracy_at_1"] == 0.5

    def test_tests_that_nobody_can_read_are_said(self, tmp_path, run, sandbox):
        prompts = PromptSet((Prompt(id="0", text="Write f.", task="own", verifier="code", ground_truth={"x": 1}),))
        folder = record(tmp_path / "run", prompts, [["def f(): pass", "x"]])
        status, out, err = run(
            folder, "--json", "--execute-code", "--prompts", as_file(tmp_path / "own.jsonl", prompts)
        )
        assert (status, json.loads(out)["tasks"]["own"]["accuracy_at_1"]) == (0, None)
        assert "own: code: expected a list of tests" in err

    def test_another_encoder_than_the_runs_measures_nothing(self, tmp_path, run, sandbox, monkeypatch, caplog):
        from divmon import encoders
        from divmon.protocols import ModelIdentity
        from tests.fakes import FakeEncoder

        prompts, solved = programs("mbpp", 1)
        folder = record(tmp_path, prompts, [[solved[0], solved[0] + "\n"]])
        other = FakeEncoder()
        other.identity = ModelIdentity("fake/encoder", "9" * 64, "shipped")
        monkeypatch.setitem(vars(encoders), "load_sentence_encoder", lambda *_, **__: other)
        found = graded(folder, "--execute-code", run=run)["tasks"]["mbpp"]
        assert (found["accuracy_at_1"], found["d_correct"]) == (1.0, None)
        assert "the measurement's encoder fake/encoder is needed. its weights are other ones now" in caplog.text


# --- a judge -------------------------------------------------------------------------------------------------


def open_prompts(count=3):
    return PromptSet.of("wildbench:sample,alpaca:sample").take(2 * count)


def words(prompts, *counts):
    """Completions of so many words each."""
    return [[" ".join(["word"] * count) for count in counts] for _ in prompts]


class TestJudge:
    def by(self, server, *more):
        return ["--judge-url", server.url, "--judge-model", "judge-1", *more]

    def test_against_the_baseline(self, tmp_path, run, serve):
        server, prompts = serve(judges), open_prompts()
        before, after = words(prompts, 3, 1), words(prompts, 1, 2)
        after[0][0] = "one two three four"  # the first prompt's answer wins, the others lose
        folder = record(tmp_path, prompts, before, after)
        document = graded(folder, *self.by(server), run=run)
        found = document["tasks"]["wildbench"]
        assert found["win_rate"] == pytest.approx(1 / 3, abs=1e-12)
        assert found["per_prompt"]["win_rate"] == [1.0, 0.0, 0.0]
        assert found["win_rate_interval"] == list(stats.bootstrap_interval([1.0, 0.0, 0.0]))
        assert found["win_rate_facts"] == {"pairs": 3, "unjudged": 0, "consistent": 1.0, "longer": 1.0}
        assert document["against"] == {"name": "baseline", "run_id": "r1", "step": 0}
        assert (document["judge"]["model"], document["judge"]["samples"]) == ("judge-1", 1)
        assert document["tasks"]["alpaca"]["win_rate"] == 0.0
        # Each pair was asked in both orders: six pairs, six answers held against checklists, three checklists written.
        assert len(server.requests) == 6 * 2 + 6 + 3
        texts = [request[2]["messages"][1]["content"] for request in server.requests]
        orders = [[len(text.split()) for _, text in ANSWERS.findall(shown)] for shown in texts]
        pairs = [tuple(order) for order in orders if len(order) == 2]
        assert sorted(pairs) == sorted(pair[::-1] for pair in pairs)

    def test_checklists_of_the_data_and_of_the_judge(self, tmp_path, run, serve):
        server, prompts = serve(judges), open_prompts()
        folder = record(tmp_path, prompts, words(prompts, 1))
        document = graded(folder, *self.by(server), run=run)
        own, written = document["tasks"]["wildbench"], document["tasks"]["alpaca"]
        # An answer of one word meets one item: of the sample's own two or three, and of the judge's two.
        items = [len(prompt.checklist) for prompt in prompts if prompt.task == "wildbench"]
        assert own["per_prompt"]["checklist"] == pytest.approx([1 / count for count in items], abs=1e-12)
        assert own["checklist_facts"] == {"written": 0, "unjudged": 0}
        assert (written["checklist"], written["checklist_facts"]["written"]) == (0.5, 3)
        # The run is its own baseline: there is nothing to compare with.
        assert "win_rate" not in own
        assert document["against"] == {}
        assert any("alpaca: there is nothing to compare with" in note for note in document["notes"])

    def test_more_samples_and_another_run(self, tmp_path, run, serve):
        server, prompts = serve(judges), open_prompts()
        ours = record(tmp_path / "ours", prompts, words(prompts, 2, 2, 9))
        theirs = record(tmp_path / "theirs", prompts, words(prompts, 1, 3, 1), run_id="r2")
        document = graded(ours, *self.by(server), "--against", theirs, "--judge-samples", "2", run=run)
        assert document["tasks"]["alpaca"]["win_rate"] == 0.5  # the first wins, the second loses
        assert document["tasks"]["alpaca"]["win_rate_facts"]["pairs"] == 6
        assert document["against"] == {"name": "theirs", "run_id": "r2", "step": 0}

    def test_what_was_asked_is_not_asked_again(self, tmp_path, run, serve):
        server, prompts = serve(judges), open_prompts()
        folder = record(tmp_path, prompts, words(prompts, 3), words(prompts, 2))
        first = graded(folder, *self.by(server), run=run)
        asked = len(server.requests)
        again = graded(folder, *self.by(server), run=run)
        assert again["tasks"] == first["tasks"]
        assert len(server.requests) == asked
        assert again["judge"]["cached"] == asked
        server.reply = lambda *_: error(500)  # not even a server is needed
        assert graded(folder, *self.by(server), run=run)["tasks"] == first["tasks"]

    def test_each_run_counts_its_own_questions(self, tmp_path, run, serve):
        server, prompts = serve(judges), open_prompts()
        folders = [
            record(tmp_path / name, prompts, words(prompts, 3), words(prompts, 2), run_id=name) for name in ("r1", "r2")
        ]
        status, out, _ = run(*folders, "--json", *self.by(server))
        first, second = (document["judge"] for document in json.loads(out)["runs"])
        assert status == 0
        assert (first["asked"], second["cached"]) == (len(server.requests),) * 2
        assert not second.get("asked")

    def test_a_judge_that_stops_halfway_is_gone_on_with(self, tmp_path, run, serve):
        server, prompts = serve(judges), open_prompts()
        folder = record(tmp_path, prompts, words(prompts, 3), words(prompts, 2))
        served = []

        def reply(*arguments):
            served.append(arguments)
            return judges(*arguments) if len(served) <= 8 else error(401, "no more credit")

        server.reply = reply
        status, out, err = run(folder, "--json", *self.by(server))
        assert status == 2
        document = json.loads(out)  # graded as far as it went, and written
        assert json.loads((folder / "divmon" / "grades.json").read_text())["tasks"] == document["tasks"]
        assert re.search(r"divmon: \d+ of \d+ questions to the judge got no reply", err)
        assert "The same command asks them again, and only them." in err
        server.reply, before = judges, len(server.requests)
        complete = graded(folder, *self.by(server), run=run)
        assert complete["judge"]["cached"] == 8
        assert len(server.requests) - before == 6 * 2 + 6 + 3 - 8
        assert complete["tasks"]["alpaca"]["win_rate"] == 0.0

    def test_the_key_comes_from_the_environment_and_goes_nowhere(self, tmp_path, run, serve, monkeypatch, cache):
        monkeypatch.setenv("JUDGE_KEY", "sk-secret-1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-2")
        server, prompts = serve(judges), open_prompts(1)
        folder = record(tmp_path / "run", prompts, words(prompts, 3), words(prompts, 2))
        graded(folder, *self.by(server, "--judge-key-env", "JUDGE_KEY"), run=run)
        assert {request[1]["Authorization"] for request in server.requests} == {"Bearer sk-secret-1"}
        files = [path for root in (folder, cache) for path in root.rglob("*") if path.is_file()]
        assert len(files) > 5
        assert not [path for path in files if b"secret" in path.read_bytes()]
        status, out, err = run(folder, *self.by(server, "--judge-key-env", "sk-secret-3"))
        assert (status, out) == (2, "")
        assert "expected the name of an environment variable" in err
        assert "secret" not in err

    def test_answers_that_are_not_there_are_not_asked_about(self, serve):
        server = serve(judges)
        prompts = [
            Answers("q", (None, "a b"), ("a", None), ("Is it?",)),
            Answers("q", (None,), (None,), ("Is it?",)),
            Answers("q", ("a",), (), ("Is it?", "Or not?")),
        ]
        asked = judge(server)
        won = win_rate(asked, prompts)
        # Nothing loses against something and ties with nothing; the third has nothing to be compared with.
        assert won.per_prompt[:2] == (0.5, 0.5)
        assert math.isnan(won.per_prompt[2])
        assert (won.pairs, won.rate.prompts, asked.counts) == (3, 2, {})
        assert (math.isnan(won.consistent), math.isnan(won.longer)) == (True, True)
        assert checklist_score(asked, prompts).per_prompt == (0.5, 0.0, 0.5)
        assert asked.counts == {"asked": 2}

    def test_biases_are_shown(self, serve):
        """A judge that looks at the place, and one that prefers what is short."""
        from tests.chat_server import CODE

        prompts = [Answers(f"q{n}", ("a b c" if n % 2 else "a",), ("x y",)) for n in range(4)]
        first = win_rate(judge(serve(lambda system, *_: f"[[{CODE.search(system)[1]}: 1]]")), prompts)
        assert (first.rate.value, first.consistent, math.isnan(first.longer)) == (0.5, 0.0, True)

        def shorter(system, user, messages):
            left, right = (len(text) for _, text in ANSWERS.findall(user))
            return f"[[{CODE.search(system)[1]}: {1 if left < right else 2}]]"

        found = win_rate(judge(serve(shorter)), prompts)
        assert (found.rate.value, found.consistent, found.longer) == (0.5, 1.0, 0.0)

    def test_pairs_without_a_verdict_are_counted(self, serve):
        prompts = [Answers("q", ("a b",), ("x",), ("Is it?",)), Answers("p", ("a",), ("x y",))]
        asked = judge(serve(lambda *_: "Hard to say."))
        won, score = win_rate(asked, prompts), checklist_score(asked, prompts)
        assert (won.pairs, won.unjudged, score.unjudged, score.written) == (0, 2, 2, 0)
        assert math.isnan(won.rate.value)
        assert math.isnan(score.score.value)

    def test_tasks_with_a_verifier_are_not_judged(self, tmp_path, run, serve):
        server = serve(judges)
        prompts = PromptSet.of("gsm8k:sample,humaneval:sample").take(4)
        folder = record(tmp_path, prompts, [["1", "2"]] * 4)
        document = graded(folder, *self.by(server), run=run)
        assert server.requests == []
        assert document["judge"] == {}

    def test_a_reference_is_shown(self, tmp_path, run, serve):
        server = serve(judges)
        rows = [
            {
                "prompt": "Why?",
                "task": "own",
                "verifier": "judge",
                "ground_truth": "The reference.",
                "checklist": ["A?"],
            }
        ]
        path = tmp_path / "own.jsonl"
        path.write_text(json.dumps(rows[0]), encoding="utf-8")
        folder = record(tmp_path / "run", PromptSet.of(path), [["a"]], [["a b"]])
        document = graded(folder, *self.by(server, "--prompts", str(path)), run=run)
        assert (document["tasks"]["own"]["win_rate"], document["tasks"]["own"]["checklist"]) == (1.0, 1.0)
        shown = [request[2]["messages"][1]["content"] for request in server.requests]
        assert sum("\nThe reference.\n" in text for text in shown) == 2  # both orders

    def test_without_a_judge_it_says_what_is_missing(self, tmp_path, run):
        prompts = open_prompts(1)
        folder = record(tmp_path, prompts, words(prompts, 3))
        status, out, err = run(folder)
        assert (status, out.splitlines()[0]) == (0, "Nothing could be graded.")
        assert "wildbench: no verifier stands behind it: --judge-url and --judge-model name a judge." in err

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            (["--judge-url", "http://localhost:1/v1"], "go with --judge-model"),
            (["--judge-model", "m", "--judge-url", "localhost"], "base_url: expected an address"),
            (["--judge-model", "m", "--judge-samples", "0"], "--judge-samples: expected at least 1, got 0"),
            (["--workers", "-1"], "--workers: expected at least 0, got -1"),
            (["--step", "7"], "no measurement at step 7; measured were 0"),
            (["--against", "nowhere"], "There is no folder nowhere"),
            (["--prompts", "gsm8q"], "did you mean 'gsm8k'"),
        ],
    )
    def test_refusals(self, tmp_path, run, options, match):
        folder = record(tmp_path, sums(), right_and_wrong(sums()))
        status, out, err = run(folder, *options)
        assert (status, out) == (2, "")
        assert match in err
        assert not (folder / "divmon" / "grades.json").exists()


# --- what a person sees --------------------------------------------------------------------------------------


class TestShown:
    def test_grading_needs_no_torch(self):
        """No model has a part in it, so it starts like a light command."""
        code = "import sys, divmon.quality.grading; print({'torch', 'transformers', 'datasets'} & set(sys.modules))"
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert result.stdout == "set()\n"

    def test_tables(self, tmp_path, run, serve, monkeypatch):
        monkeypatch.setenv("COLUMNS", "120")
        prompts = PromptSet.of("gsm8k:sample,ifeval:sample,alpaca:sample").take(9)
        outputs = [[prompt.ground_truth, "1"] if prompt.task == "gsm8k" else ["a b", "A,"] for prompt in prompts]
        folder = record(tmp_path / "run", prompts, outputs, outputs)
        status, out, _ = run(folder, "--judge-model", "judge-1", "--judge-url", serve(judges).url)
        assert status == 0
        lines = [re.split(r" {2,}", line.strip()) for line in out.splitlines()]
        rows = [line for line in lines if line[0] in ("gsm8k", "ifeval", "alpaca")]
        assert ["gsm8k", "3", "2", "50% (50 to 50)", "50%", "100%"] in rows
        means = next(line for line in lines if line[0] == "mean of the tasks")
        first = [line for line in rows if line[0] in ("gsm8k", "ifeval")][:2]
        share = sum(float(line[3].split("%")[0]) for line in first) / 2
        assert means[1:3] == ["6", "2"]
        document = json.loads((folder / "divmon" / "grades.json").read_text())
        tasks = [document["tasks"][name] for name in ("gsm8k", "ifeval")]
        assert document["over_tasks"]["accuracy_at_1"] == pytest.approx(sum(t["accuracy_at_1"] for t in tasks) / 2)
        assert document["over_tasks"]["pass_at"].keys() == tasks[0]["pass_at"].keys()
        assert float(means[3].split("%")[0]) == pytest.approx(share, abs=1)
        assert [row[0] for row in rows] == ["gsm8k", "ifeval", "ifeval", "alpaca"]
        assert rows[3][1:3] == ["50% (50 to 50)", "100%"]  # the same answers: ties in both orders
        assert "Judged by judge-1, each pair in both orders; wins are against baseline, step 0: 50% is even." in out
        assert f"Written: {folder}/divmon/grades.json" in out.replace("\n", "")

    def test_a_judge_that_could_not_be_asked_judged_nothing(self, tmp_path, run, monkeypatch):
        monkeypatch.setattr("divmon.judge.chat.time.sleep", lambda seconds: None)  # between its attempts
        prompts = PromptSet.of("alpaca:sample").take(2)
        folder = record(tmp_path / "run", prompts, [["a b", "A,"]] * 2, [["a", "b"]] * 2)
        status, out, err = run(folder, "--judge-model", "judge-1", "--judge-url", "http://127.0.0.1:9/v1")
        assert status != 0
        assert "alpaca" in out
        assert "Judged by" not in out
        assert "got no reply" in err

    def test_a_judge_that_no_task_needs_is_said(self, tmp_path, run):
        prompts = PromptSet.of("gsm8k:sample").take(2)
        folder = record(tmp_path / "run", prompts, [["1", "2"]] * 2)
        status, out, err = run(folder, "--judge-model", "judge-1", "--judge-url", "http://127.0.0.1:9/v1")
        assert status == 0
        assert "mean of the tasks" not in out
        assert "--judge-model judge-1: no task here needs a judge." in err

    def test_several_runs(self, tmp_path, run):
        prompts = sums()
        folders = [record(tmp_path / name, prompts, right_and_wrong(prompts), run_id=name) for name in ("one", "two")]
        status, out, _ = run(*folders, "--json")
        assert (status, [document["run"] for document in json.loads(out)["runs"]]) == (0, ["one", "two"])
        assert all((folder / "divmon" / "grades.json").is_file() for folder in folders)
        assert re.search(r"^one 0  +sums  ", run(*folders)[1], flags=re.MULTILINE)

    def test_the_table_of_sixteen_fits_a_terminal(self, tmp_path, run, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        prompts = sums()
        folder = record(tmp_path, prompts, [[*pair, *["7"] * 14] for pair in right_and_wrong(prompts)])
        header, row = run(folder)[1].splitlines()[:2]
        assert " ".join(header.split()) == "task prompts K accuracy@1 majority pass@2 pass@4 pass@8 pass@16"
        assert len(row.rstrip()) <= 80
        assert "…" not in header + row

    def test_names_cannot_steer_a_terminal(self, tmp_path, run):
        task = "evil\x1b[2J[bold]x"
        prompts = PromptSet((Prompt(id="0", text="q", task=task, verifier="match", ground_truth="a"),))
        folder = record(tmp_path, prompts, [["a", "b"]])
        status, out, err = run(folder)
        assert status == 0
        assert "\x1b" not in out + err
        assert "evil\\x1b[2J[bold]x" in out

    def test_completions_that_are_not_there(self, tmp_path, run):
        folder = record(tmp_path, sums(), right_and_wrong(sums()))
        for path in (folder / "divmon" / "completions").iterdir():
            path.unlink()
        status, out, err = run(folder)
        assert (status, out) == (2, "")
        assert "the completions of step 0 are not there to be graded" in err

    def test_nothing_measured(self, tmp_path):
        folder = record(tmp_path, sums(), right_and_wrong(sums()))
        loaded = divmon.load(folder)
        empty = dataclasses.replace(loaded, record=dataclasses.replace(loaded.record, measurements=()))
        with pytest.raises(InputError, match="nothing was measured in it"):
            grading.grade(empty)
        assert isinstance(loaded.measurements[0], Measurement)
