"""Accuracy in measurements: from prompts with a verifier to the record, the log and what a person reads."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import math

import numpy as np
import pytest
from rich.console import Console

import divmon
from divmon import Ledger, stats
from divmon.comparison import comparison_problem
from divmon.errors import InputError
from divmon.logged import for_evaluation, for_log, logged_values
from divmon.measurement import NO_INTERVAL, Accuracy, Measurement
from divmon.metrics import METRICS
from divmon.monitor import Monitor
from divmon.options import MonitorOptions
from divmon.prompt import Prompt
from divmon.prompts import PromptSet
from divmon.reading import measurements_table, verdict
from divmon.summary import accuracy_of, summarise
from divmon.verifiers import verify
from tests.fakes import FakeEncoder
from tests.graded import sampled
from tests.records import accuracy, measurement, prompts, scores, summary
from tests.tiny import HELD_OUT, tiny_llama, tiny_tokenizer

NAN = math.nan


def blank(tasks, **changes):
    return measurement(prompts=prompts(tasks), metrics={}, tasks={}, baseline={}, **changes)


def measured(shares, verifiers=None, tasks=None, baseline=None, **changes):
    """A measurement with the accuracy of the given shares."""
    tasks = tasks or ("",) * len(shares)
    verifiers = verifiers or ["" if math.isnan(share) else "math:00000000" for share in shares]
    made = blank(tasks, **changes)
    return dataclasses.replace(made, accuracy=accuracy_of(made, shares, verifiers, baseline, 0))


# --- the summary -----------------------------------------------------------------------------------------


def test_mean_and_interval_over_the_prompts_that_have_a_verifier():
    found = measured([0.25, NAN, 0.75, 0.5]).accuracy
    assert found.mean == pytest.approx(0.5, abs=1e-12)
    assert found.interval == stats.bootstrap_interval([0.25, 0.75, 0.5], seed=0)
    np.testing.assert_equal(found.per_prompt, (0.25, NAN, 0.75, 0.5))
    assert found.verifiers == ("math:00000000", "", "math:00000000", "math:00000000")
    assert found.tasks == {}


def test_a_baseline_has_not_changed_at_all():
    found = measured([0.25, 0.75, 0.5]).accuracy
    assert (found.change, found.change_interval, found.change_p) == (0.0, (0.0, 0.0), 1.0)


def test_the_change_is_the_paired_difference():
    base = measured([0.5, 0.75, 0.25, NAN])
    found = measured([0.25, 0.25, NAN, 0.5], baseline=base, step=5).accuracy
    # Both have prompts 0 and 1: (-0.25 - 0.5) / 2.
    assert found.change == pytest.approx(-0.375, abs=1e-12)
    assert found.change_interval == stats.bootstrap_interval([-0.25, -0.5], seed=0)
    assert found.change_p == stats.change([0.25, 0.25], [0.5, 0.75]).p_value
    assert found.mean == pytest.approx(1 / 3, abs=1e-12)  # over all that were verified now


def test_a_baseline_of_nothing_right_is_a_baseline():
    base = measured([0.0, 0.0, 0.0])
    found = measured([0.5, 0.25, 0.75], baseline=base).accuracy
    assert found.change == pytest.approx(0.5, abs=1e-12)
    assert found.change_interval[0] > 0


def test_over_tasks_it_is_the_mean_of_the_tasks():
    tasks = ("math", "if", "open", "math", "math")
    base = measured([0.5, 0.2, NAN, 0.5, 0.5], tasks=tasks)
    found = measured([1.0, 0.4, NAN, 1.0, 0.7], tasks=tasks, baseline=base).accuracy
    # math (1 + 1 + 0.7) / 3 = 0.9, if 0.4; open has no verifier. Changes: 0.4 and 0.2.
    assert found.mean == pytest.approx(0.65, abs=1e-12)
    assert found.change == pytest.approx(0.3, abs=1e-12)
    assert list(found.tasks) == ["math", "if"]
    assert found.tasks["math"].mean == pytest.approx(0.9, abs=1e-12)
    assert found.tasks["math"].per_prompt == (1.0, 1.0, 0.7)
    assert found.tasks["if"].change == pytest.approx(0.2, abs=1e-12)
    assert found.tasks["if"].interval == NO_INTERVAL  # one prompt
    assert found.tasks["if"].verifiers == ("math:00000000",)


def test_a_task_that_the_baseline_lacks_makes_the_change_unknown():
    tasks = ("math", "math", "if", "if")
    base = measured([0.5, 0.5, NAN, NAN], tasks=tasks)
    found = measured([1.0, 1.0, 1.0, 1.0], tasks=tasks, baseline=base).accuracy
    assert math.isnan(found.change)
    assert all(map(math.isnan, found.change_interval))
    assert found.tasks["math"].change == 0.5


def test_without_a_verifier_there_is_none():
    assert measured([NAN, NAN]).accuracy is None


def test_what_must_not_be_compared_is_not():
    base = measured([0.5, 0.5, 0.5], ["math:0", "math:0", "match:0"])
    found = measured([1.0, 1.0, 1.0], ["math:0", "math:1", "math:0"], baseline=base).accuracy
    assert found.change == 0.5  # the first alone: the others have another ground truth or verifier now
    assert stats.NO_INTERVAL == NO_INTERVAL
    assert all(map(math.isnan, found.change_interval))
    other = base.protocol | {"sampling": {"samples": 8, "temperature": 0.6}}
    assert math.isnan(measured([1.0, 1.0, 1.0], baseline=base, protocol=other).accuracy.change)
    without = dataclasses.replace(base, accuracy=None)
    assert math.isnan(measured([1.0, 1.0, 1.0], baseline=without).accuracy.change)
    encoders = base.protocol | {"sentence_encoder": {"name": "f", "digest": "2" * 64}}
    assert comparison_problem(measured([1.0] * 3, protocol=encoders), base, "accuracy") is None


def test_prompts_that_the_run_left_out_are_paired_by_key():
    base = measured([0.25, 0.5, 0.75])
    part = dataclasses.replace(blank(("", "")), prompts=dataclasses.replace(prompts(("", "")), keys=("2", "0")))
    found = accuracy_of(part, [1.0, 1.0], ["math:00000000"] * 2, base, 0)
    assert found.change == pytest.approx((0.25 + 0.75) / 2, abs=1e-12)


def test_metrics_know_nothing_of_it():
    made = dataclasses.replace(blank(("", "")), accuracy=accuracy())
    whole = summarise(made, scores(ead=[0.2, 0.4]), ("ead",), None, 0)
    assert list(whole.metrics) == ["ead"]
    assert whole.accuracy == accuracy()
    assert "accuracy" not in METRICS


# --- the record ------------------------------------------------------------------------------------------


def test_round_trip():
    tasks = {"math": accuracy(0.3), "if": accuracy(0.5)}
    right = {"sbert": (0.25, 0.5), "vendi": (1.5, 2.0)}
    for found in (None, accuracy(), dataclasses.replace(accuracy(), tasks=tasks, right=right)):
        whole = measurement(accuracy=found)
        record = json.loads(json.dumps(whole.to_json(), allow_nan=False))
        assert Measurement.from_json(record) == whole


def test_nan_is_null():
    found = Accuracy(0.5, per_prompt=(NAN, 0.5), verifiers=("", "math:0"), right={"sbert": (NAN, 0.5)})
    record = json.loads(json.dumps(measurement(accuracy=found).to_json(), allow_nan=False))["accuracy"]
    assert (record["change"], record["interval"], record["per_prompt"]) == (None, [None, None], [None, 0.5])
    assert record["right"] == {"sbert": [None, 0.5]}
    read = Measurement.from_json(measurement(accuracy=found).to_json()).accuracy
    np.testing.assert_equal(read.right["sbert"], (NAN, 0.5))


@pytest.mark.parametrize("change", [{"accuracy": {}}, {"accuracy": {"mean": 0.5}}, {"accuracy": 0.5}])
def test_a_broken_record_is_refused(change):
    with pytest.raises(InputError, match="Not a divmon measurement"):
        Measurement.from_json(measurement().to_json() | change)


def test_the_field_is_required():
    record = measurement().to_json()
    del record["accuracy"]
    with pytest.raises(InputError, match=r"Not a divmon measurement .KeyError: 'accuracy'"):
        Measurement.from_json(record)


# --- the log ---------------------------------------------------------------------------------------------


def test_it_is_logged_where_there_is_one():
    assert "accuracy" not in logged_values(measurement(), METRICS)
    values = logged_values(measurement(accuracy=accuracy()), METRICS)
    assert for_log(values)["divmon/accuracy"] == 0.4
    assert for_evaluation(values)["eval_divmon/accuracy"] == 0.4
    assert not [key for key in values if key.startswith("accuracy_")]
    assert list(values)[8:11] == ["accuracy", "sbert_genuine", "sbert_quality_control"]


def test_tasks_have_their_own():
    tasks = {name: {"ead": summary()} for name in ("math", "open")}
    found = dataclasses.replace(accuracy(), tasks={"math": accuracy(0.3)})
    values = logged_values(measurement(accuracy=found, tasks=tasks), ("ead",), ("math", "open"))
    assert (values["accuracy"], values["math/accuracy"]) == (0.4, 0.3)
    assert "open/accuracy" not in values
    assert "math/accuracy" not in logged_values(measurement(accuracy=found), ("ead",), ("math",))


def test_a_failed_measurement_has_the_keys_that_were_to_be_expected():
    tasks, verified = ("math", "open"), ("math",)
    expected = logged_values(
        measurement(accuracy=dataclasses.replace(accuracy(), tasks={"math": accuracy()})), ("ead",), tasks
    )
    for broken in (None, measurement()):
        values = logged_values(broken, ("ead",), tasks, verified)
        assert list(values) == list(expected)
        assert math.isnan(values["accuracy"])
        assert math.isnan(values["math/accuracy"])
        assert not [key for key in for_log(values) if "accuracy" in key]
        assert math.isnan(for_evaluation(values)["eval_divmon/math/accuracy"])


# --- what a person reads ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (accuracy(), "Accuracy: 40%, -20 points (95% interval -30 to -10): it fell."),
        (accuracy(0.8, 0.2, 0.1, 0.3), "Accuracy: 80%, +20 points (95% interval +10 to +30): it rose."),
        (accuracy(0.8, 0.01, -0.1, 0.3), "Accuracy: 80%, +1 points (95% interval -10 to +30): no change can be told."),
        (accuracy(0.8, 0.2, NAN, NAN), "Accuracy: 80%, +20 points (no interval)."),
        (accuracy(0.8, NAN, NAN, NAN), "Accuracy: 80%, not comparable with the baseline."),
    ],
)
def test_verdict(found, line):
    last = measurement(step=10, metrics={"ead": summary()}, accuracy=found)
    assert verdict([measurement(baseline={}, metrics={"ead": summary()}), last])[1] == line
    assert len(verdict([measurement(baseline={}), dataclasses.replace(last, accuracy=None)])) == 1


def rendered(table):
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    return out.getvalue()


def test_table_at_80_columns():
    rows = [measurement(step=step, accuracy=accuracy(step / 120000)) for step in (0, 60000, 120000)]
    rows[1] = dataclasses.replace(rows[1], accuracy=None)
    text = rendered(measurements_table(rows))
    assert " acc " in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    cells = [line.split() for line in text.splitlines() if line.split()[:1] in (["0"], ["60000"], ["120000"])]
    assert [row[9] for row in cells] == ["0%", "-", "100%"]
    assert "acc" not in rendered(measurements_table([measurement()]))


# --- a measurement ---------------------------------------------------------------------------------------

SHORT = {"samples": 4, "max_new_tokens": 8}
HOLDS, FAILS = [{"kind": "max_words", "count": 100}], [{"kind": "min_words", "count": 100}]


def with_verifiers(**tasks):
    """A prompt for each held-out question: the first holds, the second fails, the third has no verifier."""
    truths = [HOLDS, FAILS, None, HOLDS, FAILS]
    return [
        {
            "prompt": text,
            "verifier": truth and "constraints",
            "ground_truth": truth,
            "task": tasks.get("task", "default"),
        }
        for text, truth in zip(HELD_OUT, truths, strict=True)
    ]


@pytest.mark.usefixtures("fake_encoders")
class TestMonitor:
    def test_from_the_prompts_to_the_ledger(self, tmp_path):
        first = divmon.measure(tiny_llama(), tiny_tokenizer(), with_verifiers(), output_dir=tmp_path, **SHORT)
        np.testing.assert_equal(first.accuracy.per_prompt, (1.0, 0.0, NAN, 1.0, 0.0))
        assert first.accuracy.mean == 0.5
        assert first.accuracy.change == 0.0
        later = divmon.measure(
            tiny_llama(), tiny_tokenizer(), with_verifiers(), baseline=first, step=5, output_dir=tmp_path, **SHORT
        )
        assert (later.accuracy.change, later.accuracy.change_interval) == (0.0, (0.0, 0.0))
        np.testing.assert_equal(Ledger.of(tmp_path).read().measurements[1].to_json(), later.to_json())

    def test_the_diversity_of_the_right_completions(self, tmp_path):
        """D_c and V_c are SBERT and Vendi of the completions whose verdict is 1, written out here once more."""
        settings = SHORT | {"samples": 6, "max_new_tokens": 12}

        def rows_of(name, prompts):
            measured = divmon.measure(tiny_llama(), tiny_tokenizer(), prompts, output_dir=tmp_path / name, **settings)
            return measured, {row["key"]: row for row in divmon.load(tmp_path / name).completions()}

        _, plain = rows_of("plain", HELD_OUT)
        assert all(row["verdicts"] is None for row in plain.values())
        # At most as many words as some of the completions have: some hold and some do not.
        middle = [sorted(len(text.split()) for text in row["outputs"])[3] for row in plain.values()]
        prompts = [
            {"prompt": text, "verifier": "constraints", "ground_truth": [{"kind": "max_words", "count": count}]}
            for text, count in zip(HELD_OUT, middle, strict=True)
        ]
        prompts[3]["ground_truth"], prompts[4]["verifier"] = FAILS, None
        found, rows = rows_of("verified", prompts)
        counts = []
        for place, key in enumerate(found.prompts.keys):
            row, right = rows[key], found.accuracy.right
            if place == 4:
                assert row["verdicts"] is None
            texts = [text for text, verdict in zip(row["outputs"], row["verdicts"] or (), strict=False) if verdict == 1]
            counts.append(len(texts))
            if len(texts) < 2:
                assert math.isnan(right["sbert"][place])
                assert math.isnan(right["vendi"][place])
                continue
            assert found.accuracy.per_prompt[place] == pytest.approx(len(texts) / 6, abs=1e-12)
            gram = (embedded := FakeEncoder().encode(texts)) @ embedded.T
            pairs = [gram[i, j] for i in range(len(texts)) for j in range(i)]
            assert right["sbert"][place] == pytest.approx(1 - sum(pairs) / len(pairs), abs=1e-5)
            weights = np.clip(np.linalg.eigvalsh(gram / len(texts)), 1e-12, None)
            assert right["vendi"][place] == pytest.approx(math.exp(-(weights * np.log(weights)).sum()), abs=1e-3)
        assert counts[3:] == [0, 0]
        assert sum(2 <= count < 6 for count in counts) >= 2, counts
        assert found.metrics["sbert"].per_prompt[0] != found.accuracy.right["sbert"][0]

    def test_without_an_embedding_metric_right_answers_have_no_diversity(self):
        found = divmon.measure(tiny_llama(), tiny_tokenizer(), with_verifiers(), metrics=("ead",), **SHORT)
        assert found.accuracy.mean == 0.5
        assert found.accuracy.right == {}

    def test_tasks_have_their_own_right_completions(self):
        rows = with_verifiers()
        for place, row in enumerate(rows):
            row["task"] = "b" if place else "a"
        found = divmon.measure(tiny_llama(), tiny_tokenizer(), rows, **SHORT).accuracy
        np.testing.assert_equal(found.tasks["a"].right["sbert"], found.right["sbert"][:1])
        np.testing.assert_equal(found.tasks["b"].right["vendi"], found.right["vendi"][1:])
        assert math.isfinite(found.right["sbert"][0])
        assert math.isnan(found.right["sbert"][1])  # none is right

    def test_nothing_else_of_the_measurement_changes(self):
        plain = divmon.measure(tiny_llama(), tiny_tokenizer(), HELD_OUT, **SHORT)
        found = divmon.measure(tiny_llama(), tiny_tokenizer(), with_verifiers(), **SHORT)
        assert plain.accuracy is None
        assert (found.prompts.digest, found.metrics, found.validity) == (
            plain.prompts.digest,
            plain.metrics,
            plain.validity,
        )
        assert "missing" in found.provenance
        assert not found.provenance["missing"]

    def test_a_think_block_that_the_template_opens(self):
        tokenizer = tiny_tokenizer()
        template = tokenizer.chat_template.replace("<|assistant|>{% endif %}", "<|assistant|><think>{% endif %}")
        rows = with_verifiers()
        open_ = divmon.measure(tiny_llama(), tokenizer, rows, chat_template=template, **SHORT)
        assert open_.accuracy.mean < 0.1  # a random model hardly ever writes the closing tag
        closed = divmon.measure(tiny_llama(), tokenizer, rows, chat_template=template, thinking="suppress", **SHORT)
        assert closed.accuracy.mean > 0.4

    def test_a_verifier_that_cannot_be_used_leaves_the_rest_alone(self, caplog):
        """An evaluation set may name verifiers of somebody else's."""
        odd = Prompt(id="odd", text="what?", verifier="elsewhere", ground_truth="x")
        good = Prompt(id="good", text="why?", verifier="constraints", ground_truth=HOLDS)
        monitor = Monitor(PromptSet((odd, good)), MonitorOptions(**SHORT))
        with caplog.at_level(logging.WARNING, "divmon"):
            for step in (0, 1):
                found = monitor.measure(tiny_llama(), tiny_tokenizer(), run_id="r", step=step).measurement
        np.testing.assert_equal(found.accuracy.per_prompt, (NAN, 1.0))
        assert "Unknown verifier 'elsewhere'" in found.provenance["missing"]["accuracy"]
        (said,) = [message for message in caplog.messages if "accuracy" in message]
        assert said.startswith(
            "divmon: accuracy is not measured on prompt odd and its like. Unknown verifier 'elsewhere'"
        )
        assert found.metrics["ead"].mean > 0

    def test_programs_and_judges_are_left_to_rewards(self, caplog, tmp_path):
        """Prompts of an RL data set: those that would need consent count as prompts without a verifier."""
        truths = {"constraints": HOLDS, "code": "no tests at all", "judge": ""}
        rows = [
            {"prompt": text, "task": name, "verifier": name, "ground_truth": truth}
            for text, (name, truth) in zip(HELD_OUT[:3], truths.items(), strict=True)
        ]
        assert PromptSet.of(rows).verified_tasks == ("constraints",)
        with caplog.at_level(logging.WARNING, "divmon"):
            monitor = Monitor(PromptSet.of(rows), MonitorOptions(**SHORT))
            for step in (0, 1):
                found = monitor.measure(tiny_llama(), tiny_tokenizer(), run_id="r", step=step).measurement
        np.testing.assert_equal(found.accuracy.per_prompt, (1.0, NAN, NAN))
        assert (found.accuracy.verifiers[1:], list(found.accuracy.tasks)) == (("", ""), ["constraints"])
        assert not found.provenance["missing"]
        assert [message for message in caplog.messages if "accuracy" in message] == [
            "divmon: accuracy is not measured on 2 of 3 prompts, whose verifier is code or judge: a measurement asks "
            "no judge, and runs programs only with execute_code=True (--execute-code). Everything else is "
            "measured on them."
        ]
        alone = divmon.measure(tiny_llama(), tiny_tokenizer(), rows[1:], output_dir=tmp_path, **SHORT)
        assert alone.accuracy is None

    def test_programs_are_run_where_it_is_said(self, sandbox):
        rows = [{"prompt": HELD_OUT[0], "task": "code", "verifier": "code", "ground_truth": ["assert True"]}]
        monitor = Monitor(PromptSet.of(rows), MonitorOptions(**SHORT, execute_code=True))
        assert monitor.verified_tasks == ("code",)
        outcome = monitor.measure(tiny_llama(), tiny_tokenizer(), run_id="r")
        (verdicts,) = outcome.verdicts
        for completion, right in zip(outcome.samples.prompts[0].completions, verdicts, strict=True):
            assert right == verify("code", completion.text, ["assert True"], execute_code=True)
        assert outcome.measurement.accuracy.verifiers[0].startswith("code:")

    def test_programs_run_side_by_side_and_one_that_is_there_twice_once(self, monkeypatch):
        import threading

        from divmon.verification import Verification

        monkeypatch.setattr("divmon.sandbox.pool.default_workers", lambda: 2)
        together, ran = threading.Barrier(2, timeout=20), []

        def verify(verifier, text, *_, **__):
            ran.append(text)
            together.wait()  # passes only with two at a time
            return float(text == "a")

        monkeypatch.setattr("divmon.verification.verify", verify)
        rows = [{"prompt": HELD_OUT[0], "task": "code", "verifier": "code", "ground_truth": ["assert True"]}]
        found = Verification(PromptSet.of(rows), {"execute_code": True})
        assert found.verdicts(sampled(PromptSet.of(rows), [["a", "b", "a", "b"]]).prompts) == [(1.0, 0.0, 1.0, 0.0)]
        assert sorted(ran) == ["a", "b"]

    def test_a_fault_that_passed_is_no_fault(self, monkeypatch, caplog):
        from divmon.verification import Verification

        rows = [{"prompt": HELD_OUT[0], "task": "t", "verifier": "constraints", "ground_truth": HOLDS}]
        found, texts = Verification(PromptSet.of(rows)), sampled(PromptSet.of(rows), [["a", "b"]]).prompts

        def broken(*_, **__):
            raise InputError("not now")

        for number in range(2):
            with monkeypatch.context() as patch:
                patch.setattr("divmon.verification.verify", broken)
                assert (found.verdicts(texts), found.fault) == ([None], "not now"), number
        assert (found.verdicts(texts), found.fault) == ([(1.0, 1.0)], "")
        assert caplog.text.count("accuracy is not measured") == 1

    def test_a_weaker_sandbox_alone_means_nothing(self):
        with pytest.raises(InputError, match="with execute_code only"):
            MonitorOptions(allow_weaker_sandbox=True)
        with pytest.raises(InputError, match="execute_code: expected true or false, got 'yes'"):
            MonitorOptions(execute_code="yes")
