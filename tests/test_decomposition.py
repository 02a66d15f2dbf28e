"""A loss in two parts: the paper's table, the arithmetic, what it says in words, the log, and the command."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

import divmon
from divmon import DiversityCallback, stats
from divmon.cli import main
from divmon.errors import InputError
from divmon.ledger import Ledger
from divmon.logged import for_evaluation, for_log, logged_values
from divmon.measurement import NO_INTERVAL, Accuracy, Measurement
from divmon.metrics import METRICS
from divmon.quality import paper
from divmon.quality.decomposition import Decomposition, Estimate, decompose, decomposition_problem
from divmon.shown import Shown, as_text
from divmon.sinks import wandb_values
from divmon.sinks.grouped import grouped
from divmon.sinks.tensorboard import layout
from divmon.workspace import specification, workspace
from tests.fakes import use_fakes
from tests.records import accuracy, measurement, prompts, summary
from tests.test_callback import SMALL, rows, sft
from tests.tiny import HELD_OUT

NAN = math.nan


def measured(d_all, d_correct, right=None, tasks=None, verifiers=None, **changes) -> Measurement:
    """A measurement with the given SBERT of all and of the right completions; its Vendi is 1 + 10 times that."""
    count = len(d_all)
    metrics = {
        "sbert": dataclasses.replace(summary(), per_prompt=tuple(d_all)),
        "vendi": dataclasses.replace(summary(), per_prompt=tuple(1 + 10 * np.array(d_all))),
    }
    made = Accuracy(
        0.5,
        per_prompt=tuple(right or (0.5,) * count),
        verifiers=tuple(verifiers or ("math:0",) * count),
        right={"sbert": tuple(d_correct), "vendi": tuple(1 + 10 * np.array(d_correct))},
    )
    return measurement(metrics=metrics, accuracy=made, prompts=prompts(tasks or ("",) * count), **changes)


BASE = measured([0.4, 0.6, 0.5, 0.9], [0.3, 0.5, NAN, 0.4], [0.5, 0.25, 0.0, 0.5])
LATER = measured([0.2, 0.3, 0.1, 0.5], [0.2, 0.3, 0.1, NAN], [0.75, 0.5, 1.0, 0.0], step=10)


class TestPaper:
    @pytest.fixture(scope="class")
    @classmethod
    def document(cls):
        import contextlib
        import io

        with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit, match="0"):
            main(["decompose", "--paper", "--json"])
        return json.loads(out.getvalue())

    @pytest.mark.parametrize("model", ["Think-SFT", "Think-DPO", "Think", "Instruct-SFT", "Instruct"])
    def test_ifeval_is_highest_and_humaneval_lowest(self, document, model):
        shares = {task: document["shares"][model][task]["share"] for task in paper.tables()["verifiable_tasks"]}
        assert len(shares) == 6
        assert max(shares, key=shares.get) == "ifeval"
        assert min(shares, key=shares.get) == "humaneval"

    def test_think(self, document):
        shares = {task: round(part["share"], 2) for task, part in document["shares"]["Think"].items()}
        assert shares == {
            "ifeval": 0.95,
            "math_algebra": 0.71,
            "math_geometry": 0.71,
            "gsm8k": 0.70,
            "mbpp": 0.65,
            "humaneval": 0.04,
            "cruxeval": 1.11,  # above 1, and shown
        }

    def test_nothing_is_clipped(self, document):
        shares = document["shares"]
        assert shares["RL-Zero-Math"]["humaneval"]["share"] == pytest.approx(-3.4, abs=1e-9)  # 0.034 / -0.010
        assert shares["Instruct-SFT"]["cruxeval"]["share"] == pytest.approx(3.0, abs=1e-9)  # 0.063 / 0.021
        assert shares["RL-Zero-IF"]["humaneval"]["share"] is None  # no D_c: nothing was right
        assert len(shares) == 15

    def test_the_parts_are_the_columns(self, document):
        found = document["shares"]["Think"]["gsm8k"]
        assert (found["d_all"], found["d_correct"], found["accuracy"]) == ([0.172, 0.051], [0.135, 0.05], [0.52, 0.93])
        assert (found["total"], found["genuine"]) == (0.121, 0.085)
        assert found["quality_control"] == pytest.approx(0.036, abs=1e-12)

    def test_what_the_tables_rounding_leaves_open(self, document):
        found = document["shares"]["Think"]["humaneval"]
        # 0.013 and 0.294, each within 0.001: from 0.012 / 0.295 to 0.014 / 0.293.
        assert found["rounding"] == pytest.approx([0.012 / 0.295, 0.014 / 0.293], abs=1e-12)
        assert document["shares"]["RL-Zero-IF"]["math_geometry"]["rounding"] == [None, None]  # -0.001 may be 0
        assert "-13.00?" in paper.as_markdown()

    def test_figure_8(self, document):
        points = {(point["model"], point["task"]): point for point in document["majority_vote"]}
        assert len(points) == 48  # 16 models, three tasks with a majority vote and a D_c
        assert points["Base", "gsm8k"] == {
            "model": "Base",
            "task": "gsm8k",
            "d_correct": 0.135,
            "gain": pytest.approx(0.244, abs=1e-12),  # 80.4 - 56.0
            "k": 16,
        }
        assert points["Think", "gsm8k"]["gain"] == pytest.approx(0.004, abs=1e-12)
        pairs = np.array([[point["d_correct"], point["gain"]] for point in points.values()]).T
        centred = pairs - pairs.mean(axis=1, keepdims=True)
        by_hand = (centred[0] * centred[1]).sum() / np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
        assert paper.correlation(paper.votes()) == pytest.approx(by_hand, abs=1e-12)
        assert math.isnan(paper.correlation(paper.votes()[:2]))

    def test_as_markdown(self, capsys):
        with pytest.raises(SystemExit, match="0"):
            main(["decompose", "--paper"])
        lines = capsys.readouterr().out.splitlines()
        assert "| Think | 0.95 | 0.71 | 0.71 | 0.70 | 0.65 | 0.04 | 1.11 |" in lines
        think = "| Think | GSM8K | 52% | 93% | 0.172 | 0.051 | 0.135 | 0.050 | 0.121 | 0.085 | 0.036 | 0.70 |"
        assert think in lines
        assert next(line for line in lines if line.startswith("| Base |")).endswith("| 0.135 | +24.4 |")

    def test_the_documented_shares(self, document):
        page = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
        section = page.split("## Is it only wrong answers going away?")[1].split("\n## ")[0]
        table = [
            [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"
        ]
        assert table[0][1:] == list(paper.TASKS.values())
        assert len(table) == 2 + 6
        for model, *cells in table[2:]:
            assert cells == [f"{part['share']:.2f}" for part in document["shares"][model].values()], model
        votes = {task: tuple(v for v in paper.votes() if v.task == task) for task in ("gsm8k", "math_geometry")}
        assert f"correlation {paper.correlation(paper.votes()):.2f} over {len(paper.votes())} points" in section
        assert f"{paper.correlation(votes['gsm8k']):.2f} within GSM8K" in section
        assert f"{paper.correlation(votes['math_geometry']):.2f} within" in section


class TestArithmetic:
    def test_by_hand(self):
        found = decompose(LATER, BASE)
        # Prompts 0 and 1 have two right answers in both. D_a: (0.4 + 0.6) / 2 = 0.5, then (0.2 + 0.3) / 2 = 0.25;
        # D_c: (0.3 + 0.5) / 2 = 0.4, then 0.25. Lost: 0.25, of which 0.15 among right answers.
        assert (found.prompts, found.of) == (2, 4)
        assert found.d_all == pytest.approx((0.5, 0.25), abs=1e-12)
        assert found.d_correct == pytest.approx((0.4, 0.25), abs=1e-12)
        assert found.accuracy == pytest.approx((0.375, 0.625), abs=1e-12)
        assert found.total.value == pytest.approx(0.25, abs=1e-12)
        assert found.genuine.value == pytest.approx(0.15, abs=1e-12)
        assert found.quality_control.value == pytest.approx(0.10, abs=1e-12)
        assert found.share.value == pytest.approx(0.6, abs=1e-12)
        # Over all four: (0.4 + 0.6 + 0.5 + 0.9 - 0.2 - 0.3 - 0.1 - 0.5) / 4.
        assert found.whole.value == pytest.approx(0.325, abs=1e-12)
        assert found.tasks == {}

    def test_vendi_is_the_same_in_its_own_unit(self):
        found = decompose(LATER, BASE, "vendi")
        assert found.total.value == pytest.approx(2.5, abs=1e-12)
        assert found.share.value == pytest.approx(0.6, abs=1e-12)

    def test_intervals_are_the_paired_bootstrap(self):
        rng = np.random.default_rng(3)
        start, lost, less = rng.uniform(0.4, 0.6, 30), rng.uniform(0, 0.3, 30), rng.uniform(0, 0.1, 30)
        base, later = measured(start, start - 0.1), measured(start - lost, start - 0.1 - less, step=5)
        found = decompose(later, base)
        assert found.total.interval == pytest.approx(stats.bootstrap_interval(lost), abs=1e-9)
        assert found.genuine.interval == pytest.approx(stats.bootstrap_interval(less), abs=1e-9)
        assert found.quality_control.interval == pytest.approx(stats.bootstrap_interval(lost - less), abs=1e-9)
        assert found.whole.interval == pytest.approx(stats.bootstrap_interval(lost), abs=1e-9)
        # Written out naively with another generator: equal up to the noise of 2,000 resamples.
        naive = np.random.default_rng(9)
        ratios = []
        for _ in range(4000):
            chosen = naive.integers(0, 30, 30)
            ratios.append(less[chosen].mean() / lost[chosen].mean())
        assert found.share.interval == pytest.approx(tuple(np.quantile(ratios, [0.025, 0.975])), abs=0.015)
        assert found.share.interval[0] < found.share.value < found.share.interval[1]

    def test_an_unchanged_model_lost_exactly_nothing(self):
        found = decompose(BASE, BASE)
        for part in (found.total, found.genuine, found.quality_control):
            assert (part.value, part.interval) == (0.0, (0.0, 0.0))
        assert math.isnan(found.share.value)
        assert math.isnan(found.share.interval[0])

    def test_shares_are_not_clipped_and_have_no_interval_where_the_loss_may_be_none(self):
        above = decompose(measured([0.4] * 6, [0.1] * 6), measured([0.5] * 6, [0.3] * 6))
        assert above.share.value == pytest.approx(2.0, abs=1e-9)
        below = decompose(measured([0.4] * 6, [0.35] * 6), measured([0.5] * 6, [0.3] * 6))
        assert below.share.value == pytest.approx(-0.5, abs=1e-9)
        mixed = decompose(
            measured([0.1, 0.9, 0.1, 0.9, 0.1, 0.8], [0.1] * 6), measured([0.9, 0.1, 0.9, 0.1, 0.9, 0.2], [0.3] * 6)
        )
        assert mixed.total.interval[0] < 0 < mixed.total.interval[1]
        assert math.isfinite(mixed.share.value)
        assert mixed.share.interval == pytest.approx(NO_INTERVAL, nan_ok=True)

    def test_one_prompt_has_no_interval(self):
        found = decompose(measured([0.2], [0.1]), measured([0.5], [0.3]))
        assert found.genuine.value == pytest.approx(0.2, abs=1e-12)
        assert math.isnan(found.genuine.interval[0])

    def test_without_two_right_answers_in_both_nothing_is_known(self):
        found = decompose(measured([0.2, 0.2], [NAN, 0.1]), measured([0.5, 0.5], [0.3, NAN]))
        assert (found.prompts, found.of) == (0, 2)
        assert all(math.isnan(part.value) for part in (found.total, found.genuine, found.share))
        assert found.whole.value == pytest.approx(0.3, abs=1e-12)
        assert found.reading == "Too few to tell."

    def test_over_tasks_it_is_the_mean_of_those_that_have_such_prompts(self):
        tasks = ("a", "b", "a", "b", "c", "open")
        labels = ("math:0",) * 5 + ("",)
        base = measured([0.5, 0.8, 0.5, 0.8, 0.9, 0.9], [0.4, 0.6, 0.4, 0.6, NAN, NAN], tasks=tasks, verifiers=labels)
        later = measured(
            [0.4, 0.4, 0.4, 0.4, 0.1, 0.1], [0.3, 0.5, 0.3, 0.5, 0.1, NAN], tasks=tasks, verifiers=labels, step=1
        )
        found = decompose(later, base)
        # a loses 0.1, all of it among right answers; b 0.4, of which 0.1; c has no prompt with two right in both.
        assert list(found.tasks) == ["a", "b", "c"]
        assert found.tasks["a"].share.value == pytest.approx(1.0, abs=1e-9)
        assert found.tasks["b"].share.value == pytest.approx(0.25, abs=1e-9)
        assert math.isnan(found.tasks["c"].total.value)
        assert found.total.value == pytest.approx(0.25, abs=1e-12)
        assert found.genuine.value == pytest.approx(0.1, abs=1e-12)
        assert found.share.value == pytest.approx(0.4, abs=1e-9)  # of the means, not the mean of 1 and 0.25
        assert (found.prompts, found.of) == (4, 5)

    def test_prompts_are_paired_by_key(self):
        turned = dataclasses.replace(prompts(("", "")), keys=("1", "0"))
        later = dataclasses.replace(measured([0.3, 0.2], [0.3, 0.2], step=1), prompts=turned)
        assert decompose(later, BASE).total.value == pytest.approx(0.25, abs=1e-12)


class TestComparability:
    def test_only_prompts_that_were_verified_alike(self):
        labels = ("math:0", "math:1", "match:0", "math:0")
        found = decompose(measured([0.2] * 4, [0.1] * 4, verifiers=labels), measured([0.5] * 4, [0.3] * 4))
        assert (found.prompts, found.of) == (2, 2)

    def test_a_prompt_without_a_verdict_at_either_was_not_verified(self):
        """The sandbox was gone, say: its verifier is known, its verdict is not."""
        now = measured([0.2, 0.2, 0.9, 0.9], [0.1, 0.1, NAN, NAN], [0.5, 0.5, NAN, 0.0])
        found = decompose(now, measured([0.5] * 4, [0.3] * 4))
        assert (found.prompts, found.of) == (2, 3)
        assert decompose(now, measured([NAN, 0.5, 0.5, 0.5], [NAN, 0.3, 0.3, 0.3])).of == 2
        assert found.whole.value == pytest.approx(0.5 - 1.3 / 3, abs=1e-12)

    @pytest.mark.parametrize(
        ("now", "then", "why"),
        [
            ({"accuracy": None}, {}, "no completion was verified now"),
            ({}, {"accuracy": None}, "no completion was verified at the baseline"),
            ({"accuracy": accuracy()}, {}, "SBERT of the right answers was not measured now"),
            ({}, {"metrics": {}}, "SBERT of the right answers was not measured at the baseline"),
            ({"prompts": prompts(("",) * 3)}, {}, "a broken record: not every prompt has a value of SBERT"),
            ({"prompts": dataclasses.replace(prompts(("",) * 4), keys=tuple("wxyz"))}, {}, "different prompts"),
            ({"protocol": {"sampling": {"samples": 8}}}, {}, "different sampling"),
        ],
    )
    def test_why_there_is_none(self, now, then, why):
        pair = dataclasses.replace(LATER, **now), dataclasses.replace(BASE, **then)
        assert decompose(*pair) is None
        assert decomposition_problem(*pair).startswith(why)

    def test_other_verifiers(self):
        later = measured([0.2] * 4, [0.1] * 4, verifiers=("judge:0",) * 4)
        assert decomposition_problem(later, BASE) == "different verifiers or ground truth"
        assert decomposition_problem(LATER, BASE) is None

    def test_other_encoders_are_never_compared(self):
        other = BASE.protocol | {"sentence_encoder": {"name": "f", "digest": "2" * 64}}
        assert decompose(dataclasses.replace(LATER, protocol=other), BASE) is None

    def test_a_metric_without_parts(self):
        with pytest.raises(InputError, match="decomposed by sbert or vendi, got 'ead'"):
            decompose(LATER, BASE, "ead")

    def test_it_reads_back_from_the_ledger(self):
        again = Measurement.from_json(json.loads(json.dumps(LATER.to_json())))
        assert decompose(again, BASE).share == decompose(LATER, BASE).share


def parts(total, genuine, share=(0.5, 0.4, 0.6), rest=(0.1, 0.05, 0.2), right=(0.4, 0.6), prompts=40):
    """A decomposition whose parts are (value, low, high) each."""
    made = {
        name: Estimate(value, (low, high))
        for name, (value, low, high) in zip(
            ("total", "genuine", "share", "quality_control"), (total, genuine, share, rest), strict=True
        )
    }
    return Decomposition("sbert", **made, accuracy=right, prompts=prompts, of=50)


LOST, ROSE, OPEN = (0.2, 0.1, 0.3), (-0.2, -0.3, -0.1), (0.0, -0.1, 0.1)


class TestReading:
    @pytest.mark.parametrize(
        ("found", "words"),
        [
            (parts(LOST, LOST, (0.7, 0.6, 0.8)), "70% of the loss is there among right answers too: the model says"),
            (parts(LOST, LOST, (0.7, 0.6, 0.8)), "The rest is wrong answers going away."),
            (parts(LOST, LOST, (0.7, 0.6, 0.8), right=(0.6, 0.4)), "The rest is wrong answers growing alike."),
            (parts(LOST, LOST, (0.95, 0.9, 0.99)), "Nearly all of the loss (95%) is there among right answers too"),
            (parts(LOST, LOST, (0.04, 0.02, 0.06)), "Nearly all of the loss is wrong answers going away; 4% is there"),
            (parts(LOST, LOST, (1.0, 0.9, 1.1), OPEN), "As far as can be told, all of the loss is there among right"),
            (parts(LOST, LOST, (1.1, 1.05, 1.2), ROSE), "More than all of the loss (110%) is there among right"),
            (parts(LOST, OPEN, (0.0, -0.1, 0.1)), "Nearly all of the loss is wrong answers going away; among right"),
            (parts(LOST, OPEN, (0.3, -0.1, 0.7)), "whether right ones grew alike too cannot be told (-10% to 70% of"),
            (parts(LOST, OPEN, (0.5, -0.5, 1.5), OPEN), "how much of it among right answers cannot be told (-50% to"),
            (
                parts(LOST, ROSE, (-0.5, -0.9, -0.1)),
                "All of the loss is wrong answers going away: right answers became",
            ),
            (parts(OPEN, OPEN), "No loss can be told."),
            (parts(OPEN, LOST), "No loss can be told over all answers, yet the model says fewer different right"),
            (parts(OPEN, ROSE), "No loss can be told over all answers; right ones became more various."),
            (parts(ROSE, ROSE), "Diversity rose, among right answers too."),
            (parts(ROSE, OPEN), "Diversity rose; among right answers no change can be told"),
            (parts(ROSE, LOST), "Diversity rose although right answers grew alike"),
            (parts(LOST, LOST, prompts=7), "Too few to tell."),
        ],
    )
    def test_words(self, found, words):
        assert words in found.reading
        assert found.reading.endswith(".")

    def test_a_person_who_prints_a_run_reads_it(self):
        later = dataclasses.replace(LATER, baseline={"run_id": "r1", "step": 0, "kind": "measurement"})
        text = as_text(Shown("mine", measurements=(dataclasses.replace(BASE, baseline={}), later), baseline=BASE))
        said = "SBERT over 2 of 4 prompts with two right answers in both: Too few to tell."
        assert said in text
        assert said not in as_text(Shown("mine", measurements=(dataclasses.replace(BASE, baseline={}),), baseline=BASE))


class TestLogged:
    def test_beside_accuracy(self):
        values = logged_values(LATER, METRICS, verified=("",), baseline=BASE)
        assert list(values)[8:11] == ["accuracy", "sbert_genuine", "sbert_quality_control"]
        assert for_log(values)["divmon/sbert_genuine"] == pytest.approx(0.15, abs=1e-12)
        assert for_evaluation(values)["eval_divmon/sbert_quality_control"] == pytest.approx(0.10, abs=1e-12)

    def test_keys_do_not_depend_on_what_could_be_measured(self):
        tasks, verified = ("a", "b", "open"), ("a", "b")
        per_prompt = ("a", "b", "open", "a")
        labels = ("math:0", "math:0", "", "math:0")
        base, later = (
            dataclasses.replace(
                made,
                prompts=prompts(per_prompt),
                accuracy=dataclasses.replace(made.accuracy, verifiers=labels, tasks={"a": accuracy(), "b": accuracy()}),
            )
            for made in (BASE, LATER)
        )
        full = logged_values(later, METRICS, tasks, verified, base)
        for other in (
            logged_values(None, METRICS, tasks, verified),
            logged_values(later, METRICS, tasks, verified),
            logged_values(dataclasses.replace(later, accuracy=None), METRICS, tasks, verified, base),
        ):
            assert list(other) == list(full)
            assert math.isnan(other["sbert_genuine"])
            assert "divmon/sbert_genuine" not in for_log(other)
            assert math.isnan(for_evaluation(other)["eval_divmon/a/sbert_quality_control"])
        assert full["a/sbert_genuine"] == pytest.approx(0.1, abs=1e-12)  # prompt 0; 3 has no two right answers now
        assert full["b/sbert_genuine"] == pytest.approx(0.2, abs=1e-12)
        assert "open/sbert_genuine" not in full

    def test_not_without_verifier_or_sbert(self):
        assert not [key for key in logged_values(measurement(), METRICS, baseline=measurement()) if "genuine" in key]
        assert not [key for key in logged_values(LATER, ("ead",), baseline=BASE) if "genuine" in key]

    def test_intervals_for_the_sinks(self):
        values = wandb_values.logged(LATER, BASE)
        found = decompose(LATER, BASE)
        bounds = values["divmon/sbert_genuine/low"], values["divmon/sbert_genuine/high"]
        assert bounds == found.genuine.interval
        assert values["divmon/sbert_quality_control/high"] == found.quality_control.interval[1]
        assert wandb_values.is_hidden("divmon/sbert_genuine/low")
        assert grouped(LATER, BASE)["divmon/intervals/sbert_genuine_low"] == found.genuine.interval[0]
        assert not [key for key in wandb_values.logged(LATER) if "genuine" in key]

    def test_charts_of_the_sinks(self):
        tags = json.dumps(layout(LATER))
        assert "train/divmon/sbert_genuine" in tags
        assert "divmon/intervals/sbert_quality_control_high" in tags
        assert "genuine" not in json.dumps(layout(dataclasses.replace(LATER, accuracy=None)))
        assert "train/divmon/sbert_quality_control" in json.dumps(specification(workspace("team", "project")))


PROMPTS = [
    {
        "prompt": text,
        "task": "words" if number % 2 else "more",
        "verifier": "constraints",
        "ground_truth": [{"kind": "max_words", "count": 100 if number < 4 else 0}],
    }
    for number, text in enumerate(HELD_OUT)
]


@pytest.mark.usefixtures("fake_encoders")
class TestTraining:
    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, tmp_path_factory):
        from datasets import Dataset

        folder = tmp_path_factory.mktemp("decomposed")
        with pytest.MonkeyPatch.context() as patch:
            use_fakes(patch)
            callback = DiversityCallback(PROMPTS, every_n_steps=2, **(SMALL | {"num_prompts": 5, "samples": 4}))
            trainer = sft(folder, [callback], eval_dataset=Dataset.from_list([{"text": "a b c"}]))
            trainer.train()
            metrics = trainer.evaluate()
        return folder, trainer, metrics

    def test_it_is_logged_beside_the_metrics(self, run):
        folder, trainer, metrics = run
        record = Ledger.of(folder).read()
        for key in ("sbert_genuine", "sbert_quality_control"):
            logged = rows(trainer, f"divmon/{key}")
            assert sorted(logged) == [0, 2, 4]
            assert logged[0] == 0.0
            assert metrics[f"eval_divmon/{key}"] == logged[4]
        last = decompose(record.measurements[-1], record.baseline)
        assert rows(trainer, "divmon/sbert_genuine")[4] == last.genuine.value
        for task in ("words", "more"):
            assert rows(trainer, f"divmon/{task}/sbert_genuine")[4] == last.tasks[task].genuine.value
        # All completions of four prompts are right, of the fifth none, so that nothing of the loss is wrong answers.
        assert (last.prompts, last.of) == (4, 5)
        assert rows(trainer, "divmon/sbert_genuine")[4] != 0.0
        assert rows(trainer, "divmon/sbert_quality_control")[4] == pytest.approx(0.0, abs=1e-12)

    def test_the_frame(self, run):
        loaded = divmon.load(run[0])
        frame = loaded.decomposition()
        assert len(frame) == 3 * 2 * 3  # steps, metrics, all tasks and each
        row = frame.query("step == 4 and metric == 'sbert' and task == ''").iloc[0]
        found = decompose(loaded.measurements[-1], loaded.baseline)
        assert (row.total, row.genuine, row.quality_control) == (
            found.total.value,
            found.genuine.value,
            found.quality_control.value,
        )
        assert (row.genuine_low, row.genuine_high) == found.genuine.interval
        assert (row.d_correct_baseline, row.d_correct) == found.d_correct
        assert (row.prompts, row.of) == (4, 5)
        from divmon.frames import decomposition

        empty = decomposition((), None)
        assert (frame.dtypes == empty.dtypes).all()

    def test_the_command(self, run, capsys):
        with pytest.raises(SystemExit, match="0"):
            main(["decompose", str(run[0]), "--json"])
        document = json.loads(capsys.readouterr().out)
        (one,) = document["runs"]
        found = one["decomposition"]["sbert"]
        assert (one["step"], one["baseline"]["step"], found["prompts"], found["of"]) == (4, 0, 4, 5)
        assert found["genuine"]["value"] == rows(run[1], "divmon/sbert_genuine")[4]
        assert set(found["tasks"]) == {"words", "more"}
        assert found["reading"].startswith("Too few")
        with pytest.raises(SystemExit, match="0"):
            main(["decompose", f"mine | <b>={run[0]}"])
        text = capsys.readouterr().out
        assert text.startswith("## mine \\| &lt;b>, step 4, against step 0\n")
        assert "| all | 4 of 5 | 100% → 100% |" in text
        assert "- **words**: Too few to tell." in text
        assert "Over all 5 verified prompts" in text

    def test_another_run_as_the_baseline(self, run, capsys, tmp_path):
        ledger = tmp_path / "other" / "divmon" / "measurements.jsonl"
        ledger.parent.mkdir(parents=True)
        run_id = divmon.load(run[0]).run_id
        ledger.write_text(Ledger.of(run[0]).path.read_text().replace(f'"{run_id}"', '"another"'))
        with pytest.raises(SystemExit, match="0"):
            main(["decompose", str(run[0]), "--baseline", str(tmp_path / "other"), "--json"])
        (one,) = json.loads(capsys.readouterr().out)["runs"]
        assert one["baseline"]["step"] == 4
        assert one["decomposition"]["sbert"]["total"]["value"] == 0.0


class TestRefusals:
    def refused(self, capsys, *arguments):
        with pytest.raises(SystemExit, match="2"):
            main(["decompose", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err

    def test_arguments(self, capsys, tmp_path):
        assert "Name either the folders of runs" in self.refused(capsys)
        assert "Name either the folders of runs" in self.refused(capsys, tmp_path, "--paper")
        assert "--baseline goes with runs" in self.refused(capsys, "--paper", "--baseline", tmp_path)
        assert "No divmon ledger" in self.refused(capsys, tmp_path)

    def test_a_run_without_right_answers(self, capsys, tmp_path):
        ledger = Ledger(tmp_path / "run" / "divmon")
        ledger.append({"schema": 1, "kind": "run", "run_id": "r1", "step": 0, "options": {}})
        assert "a ledger without a measurement" in self.refused(capsys, tmp_path / "run")
        ledger.append(measurement(baseline={}).to_json())
        own = self.refused(capsys, tmp_path / "run")
        assert own == (
            "divmon: run is its own baseline, so nothing can be lost: name a run that counts from it, or give "
            "another run as --baseline.\n"
        )
        assert "is its own baseline" in self.refused(capsys, tmp_path / "run", "--baseline", tmp_path / "run")
        ledger.append(measurement(step=5).to_json())
        said = self.refused(capsys, tmp_path / "run")
        assert "run: the loss cannot be decomposed: no completion was verified now (give prompts a verifier" in said
