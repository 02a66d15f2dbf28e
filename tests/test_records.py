"""Measurement records: JSON and back, what may be compared, summaries over tasks, and what a person sees."""

import dataclasses
import io
import json
import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from divmon import stats
from divmon.comparison import comparison_problem
from divmon.errors import InputError
from divmon.ledger import FOLDER, Ledger
from divmon.logged import for_evaluation, for_log, logged_values
from divmon.measurement import (
    NO_INTERVAL,
    SCHEMA,
    UNMEASURED,
    Measurement,
    to_plain,
)
from divmon.metrics import METRICS
from divmon.nearness import Nearness
from divmon.plots import plot_metrics
from divmon.provenance import git_state, package_versions
from divmon.reading import format_number, format_percent, measurements_table, verdict
from divmon.summary import summarise
from tests.records import VALIDITY, measurement, prompts, scores, summary

# --- JSON and back ---------------------------------------------------------------------------------------


def test_round_trip():
    whole = measurement(tasks={"math": {"ead": summary()}, "code": {"ead": summary(0.25)}})
    record = whole.to_json()
    assert record["schema"] == SCHEMA
    assert record["kind"] == "measurement"
    assert set(record["metrics"]["ead"]) >= {"mean", "interval", "retained", "retained_interval", "per_prompt"}
    assert Measurement.from_json(json.loads(json.dumps(record, allow_nan=False))) == whole


def test_nan_is_null_and_null_is_nan():
    validity = dataclasses.replace(VALIDITY, base_logprob=math.nan)
    empty = dataclasses.replace(UNMEASURED, per_prompt=(math.nan, 0.5))
    record = json.loads(json.dumps(measurement(metrics={"ead": empty}, validity=validity).to_json(), allow_nan=False))
    assert record["metrics"]["ead"]["mean"] is None
    assert record["metrics"]["ead"]["retained_interval"] == [None, None]
    assert record["metrics"]["ead"]["per_prompt"] == [None, 0.5]
    assert record["validity"]["base_logprob"] is None
    back = Measurement.from_json(record)
    np.testing.assert_equal(dataclasses.asdict(back.metrics["ead"]), dataclasses.asdict(empty))
    assert math.isnan(back.validity.base_logprob)


def test_to_plain():
    value = {"a": (np.float32(0.5), np.int64(2), math.inf), 1: summary(), "path": Path("x"), "text": "t"}
    plain = to_plain(value)
    assert plain["a"] == [0.5, 2, None]
    assert [type(item) for item in plain["a"][:2]] == [float, int]
    assert plain["1"]["interval"] == [0.4, 0.6]
    assert plain["path"] == Path("x")


def test_a_newer_schema_is_refused():
    with pytest.raises(InputError, match=rf"schema {SCHEMA + 1}, this divmon reads up to {SCHEMA}: upgrade divmon"):
        Measurement.from_json(measurement().to_json() | {"schema": SCHEMA + 1})


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "new"},
        {"schema": None},
        {"metrics": None},
        {"metrics": {"ead": {}}},
        {"metrics": {"ead": 3}},
        {"validity": {"completions": 1}},
        {"validity": {**dataclasses.asdict(VALIDITY), "more": 1}},
        {"prompts": {}},
        {"tasks": [1]},
    ],
)
def test_a_broken_record_is_refused(change):
    with pytest.raises(InputError, match="Not a divmon measurement"):
        Measurement.from_json(measurement().to_json() | change)


@pytest.mark.parametrize(("name", "value"), [("interval", [1, 2, 3]), ("mean", "x"), ("per_prompt", ["x"])])
def test_a_broken_summary_is_refused(name, value):
    record = json.loads(json.dumps(measurement().to_json()))
    record["metrics"]["ead"][name] = value
    with pytest.raises(InputError, match="Not a divmon measurement"):
        Measurement.from_json(record)


@pytest.mark.parametrize("record", [{}, [], None, {"kind": "run", "schema": 1}])
def test_no_record_at_all_is_refused(record):
    with pytest.raises(InputError, match="Not a divmon measurement"):
        Measurement.from_json(record)


def test_unknown_fields_are_ignored():
    assert Measurement.from_json(measurement().to_json() | {"later": 1}) == measurement()


# --- what may be compared --------------------------------------------------------------------------------


def changed(**parts):
    return measurement(protocol=measurement().protocol | parts)


def test_equal_protocols_are_comparable():
    assert [comparison_problem(measurement(step=9), measurement(), metric) for metric in METRICS] == [None] * 4


@pytest.mark.parametrize(
    ("part", "value", "affected", "words"),
    [
        ("sampling", {"samples": 4, "temperature": 1.0}, METRICS, r"sampling \(\{'temperature': 0.6\} at the baseline"),
        ("sampling", {"samples": 4}, METRICS, r"\{'temperature': None\} now"),
        ("scoring", {"unclosed": "keep"}, METRICS, r"scoring \(\{'unclosed': 'drop'\} at.*'keep'\} now"),
        ("nli_sentences", {"pairs": "all", "seed": 0}, ["nli"], r"sentences \(\{'pairs': 3\} at.*'all'\} now"),
        ("vocab_size", 7, ["ead"], r"different vocab size \(100 at the baseline, 7 now\)"),
        ("sentence_encoder", {"name": "e", "digest": "2" * 64}, ["sbert", "vendi"], "different sentence encoder"),
        ("nli", {"name": "m", "digest": None}, ["nli"], r"different nli \(n at the baseline, m now\)"),
        ("nli", None, ["nli"], r"n at the baseline, None now"),
    ],
)
def test_different_protocols_are_not(part, value, affected, words):
    now = changed(**{part: value})
    problems = {metric: comparison_problem(now, measurement(), metric) for metric in METRICS}
    assert [metric for metric in METRICS if problems[metric]] == list(affected)
    import re

    assert re.search(words, problems[affected[0]])


def test_limits_count_for_the_tasks_that_are_asked_now():
    """A measurement of many tasks is the baseline of one of some of them."""
    many = {"samples": 4, "max_new_tokens": 2048, "limits": {"code": 512, "maths": 2048, "facts": 512}}
    baseline = changed(sampling=many)

    def problem(tasks, **sampling):
        asked = dataclasses.replace(measurement().prompts, tasks=tasks)
        now = dataclasses.replace(changed(sampling={"samples": 4} | sampling), prompts=asked)
        return comparison_problem(now, baseline, "ead")

    assert problem(("code", "facts", "code"), max_new_tokens=512) is None
    assert problem(("code", "maths", "code"), max_new_tokens=2048, limits={"code": 512, "maths": 2048}) is None
    assert problem(("maths",) * 3, max_new_tokens=2048) is None
    assert problem(("maths",) * 3, max_new_tokens=512) == (
        "different sampling ({'max_new_tokens': 2048} at the baseline, {'max_new_tokens': 512} now)"
    )
    assert "{'limits': {'code': 512, 'maths': 2048}} at the base" in problem(
        ("code", "maths", "code"), max_new_tokens=2048, limits={"code": 256, "maths": 2048}
    )


def test_the_same_weights_under_another_name_are_comparable():
    now = changed(sentence_encoder={"name": "a/copy", "digest": "1" * 64, "fallback_for": "x"})
    assert comparison_problem(now, measurement(), "sbert") is None


def test_other_prompts_are_named():
    mine = prompts()
    other = dataclasses.replace(mine, keys=("e" * 32, *mine.keys[1:]), source="eval dataset")
    problem = comparison_problem(measurement(prompts=other), measurement(), "ead")
    count = len(mine.keys)
    assert problem is not None
    assert problem.startswith(
        f"different prompts (1 of {count} of eval dataset are not among the baseline's of bundled"
    )


def test_a_protocol_in_memory_equals_its_own_record(tmp_path):
    sampling = {"chat_template_kwargs": {"stop": ("a", "b"), 3: Path("x")}, "samples": np.int64(4)}
    now = changed(sampling=sampling)
    ledger = Ledger(tmp_path)
    ledger.append({"schema": 1, "kind": "run", "run_id": "r1", "step": 0})
    ledger.append(now.to_json())
    assert comparison_problem(now, ledger.read().baseline, "ead") is None


# --- summaries -------------------------------------------------------------------------------------------


def blank(tasks, **changes):
    return measurement(prompts=prompts(tasks), metrics={}, tasks={}, baseline={}, **changes)


def test_a_baseline_retains_exactly_everything():
    made = summarise(blank(("", "", "")), scores(ead=[0.2, 0.4, 0.9]), ("ead",), None, 0)
    ead = made.metrics["ead"]
    assert ead.mean == pytest.approx(0.5, abs=1e-12)
    assert (ead.retained, ead.retained_interval, ead.change_p) == (1.0, (1.0, 1.0), 1.0)
    assert ead.per_prompt == (0.2, 0.4, 0.9)
    assert ead.across == 0.75
    assert ead.interval == stats.bootstrap_interval([0.2, 0.4, 0.9], seed=0)
    assert (made.tasks, made.baseline) == ({}, {})


def test_retained_is_the_ratio_of_means_over_the_prompts_of_both():
    base = summarise(blank(("",) * 4), scores(ead=[0.2, 0.4, math.nan, 0.6]), ("ead",), None, 0)
    now = summarise(blank(("",) * 4, step=5), scores(ead=[0.1, math.nan, 0.9, 0.3]), ("ead",), base, 0)
    # Both have prompts 0 and 3: (0.1 + 0.3) / (0.2 + 0.6).
    assert now.metrics["ead"].retained == pytest.approx(0.5, abs=1e-12)
    # The mean goes over all that was measured now.
    assert now.metrics["ead"].mean == pytest.approx((0.1 + 0.9 + 0.3) / 3, abs=1e-12)
    assert now.baseline == {"run_id": "r1", "step": 0, "kind": "measurement"}


def test_over_tasks_it_is_the_mean_of_the_tasks_fractions():
    tasks = ("math", "code", "math", "code", "math")
    base = summarise(blank(tasks), scores(ead=[0.8, 0.1, 0.8, 0.1, 0.8]), ("ead",), None, 0)
    now = summarise(blank(tasks, step=5), scores(ead=[0.4, 0.09, 0.4, 0.09, 0.4]), ("ead",), base, 0)
    # math 0.4 / 0.8 = 0.5, code 0.09 / 0.1 = 0.9: the mean is 0.7. The ratio of means would be 1.38 / 2.6 = 0.53.
    assert now.metrics["ead"].retained == pytest.approx(0.7, abs=1e-12)
    assert now.metrics["ead"].retained_interval == pytest.approx((0.7, 0.7), abs=1e-12)
    # The mean of the tasks' means: (0.4 + 0.09) / 2, not 1.38 / 5.
    assert now.metrics["ead"].mean == pytest.approx(0.245, abs=1e-12)
    assert {task: metrics["ead"].retained for task, metrics in now.tasks.items()} == pytest.approx(
        {"math": 0.5, "code": 0.9}, abs=1e-12
    )
    assert now.tasks["math"]["ead"].per_prompt == (0.4, 0.4, 0.4)
    assert now.metrics["ead"].per_prompt == (0.4, 0.09, 0.4, 0.09, 0.4)  # in the order of the prompts
    assert math.isnan(now.tasks["math"]["ead"].across)


def test_a_task_without_values_makes_the_fraction_unknown():
    tasks = ("math", "math", "code", "code")
    base = summarise(blank(tasks), scores(ead=[0.8, 0.8, 0.1, 0.1]), ("ead",), None, 0)
    now = summarise(blank(tasks, step=5), scores(ead=[0.4, 0.4, math.nan, math.nan]), ("ead",), base, 0)
    assert math.isnan(now.metrics["ead"].retained)
    assert now.tasks["math"]["ead"].retained == 0.5
    assert now.metrics["ead"].mean == pytest.approx(0.4)


def test_what_was_not_measured_or_must_not_be_compared_is_nan():
    base = summarise(blank(("", "")), scores(sbert=[0.4, 0.6]), ("ead", "sbert"), None, 0)
    assert math.isnan(base.metrics["ead"].mean)
    assert math.isnan(base.metrics["ead"].retained)
    other = measurement().protocol | {"sentence_encoder": {"name": "f", "digest": "2" * 64}}
    now = summarise(
        blank(("", ""), step=5, protocol=other), scores(ead=[0.1, 0.2], sbert=[0.2, 0.3]), ("ead", "sbert"), base, 0
    )
    assert now.metrics["sbert"].mean == pytest.approx(0.25)
    for metric in ("ead", "sbert"):
        assert math.isnan(now.metrics[metric].retained)
        assert all(map(math.isnan, now.metrics[metric].retained_interval))


def test_a_baseline_near_zero_has_no_fraction():
    base = summarise(blank(("", "")), scores(sbert=[0.0, 1e-9]), ("sbert",), None, 0)
    now = summarise(blank(("", ""), step=1), scores(sbert=[0.2, 0.3]), ("sbert",), base, 0)
    assert math.isnan(now.metrics["sbert"].retained)


# --- logged values ---------------------------------------------------------------------------------------

KEYS = [key for metric in METRICS for key in (metric, f"{metric}_retained")] + [
    *("entropy", "truncated", "repeated", "seconds")
]


def test_logged_keys():
    values = logged_values(measurement(), METRICS)
    assert list(values) == KEYS
    assert len(values) == 12
    assert (values["ead"], values["ead_retained"], values["entropy"], values["seconds"]) == (0.5, 0.8, 1.5, 3.0)
    assert list(for_log(values)) == [f"divmon/{key}" for key in KEYS]
    assert list(for_evaluation(values)) == [f"eval_divmon/{key}" for key in KEYS]


def test_a_failed_measurement_logs_nothing_and_evaluates_to_nan():
    values = logged_values(None, METRICS)
    assert list(values) == KEYS
    assert for_log(values) == {}
    assert all(map(math.isnan, for_evaluation(values).values()))


def test_keys_do_not_depend_on_what_could_be_measured():
    partly = measurement(metrics={"ead": summary()}, tasks={"math": {"ead": summary()}})
    values = logged_values(partly, ("ead", "nli"), ("math", "code"))
    assert set(values) == set(logged_values(None, ("ead", "nli"), ("math", "code")))
    assert values["math/ead"] == 0.5
    assert math.isnan(values["code/ead_retained"])
    assert math.isnan(values["nli"])
    assert "divmon/code/ead" not in for_log(values)


def test_one_task_has_no_keys_of_its_own():
    assert list(logged_values(measurement(), METRICS, ("math",))) == KEYS


# --- words, tables and pictures --------------------------------------------------------------------------

LOST, ROSE, OPEN = summary(), summary(0.6, 1.3, 1.1, 1.5), summary(0.5, 0.95, 0.9, 1.02)


def ending(last, **changes):
    """A run of two measurements that ends in the given metrics."""
    return [
        measurement(baseline={}, metrics=dict.fromkeys(last, summary(0.5, 1.0, 1.0, 1.0))),
        measurement(step=10, metrics=last, **changes),
    ]


def test_verdict_words():
    metrics = {"ead": LOST, "sbert": OPEN, "nli": UNMEASURED, "vendi": ROSE}
    assert verdict(ending(metrics)) == [
        "EAD (lexical): 80% left (95% interval 70% to 90%): diversity was lost.",
        "SBERT (semantic): 95% left (95% interval 90% to 102%): no change can be told.",
        "NLI (logical): not comparable with the baseline.",
        "Vendi (effective modes): 130% left (95% interval 110% to 150%): diversity rose.",
    ]


def test_verdict_does_not_round_a_loss_away():
    (line,) = verdict(ending({"ead": summary(0.5, 0.998, 0.9965, 0.9991)}))
    assert line == "EAD (lexical): 99.80% left (95% interval 99.65% to 99.91%): diversity was lost."


def test_verdict_without_an_interval_or_a_comparison():
    unknown = dataclasses.replace(summary(), retained_interval=NO_INTERVAL)
    assert verdict(ending({"ead": unknown})) == ["EAD (lexical): 80% left (no interval)."]
    assert verdict([]) == ["Nothing was measured."]
    assert verdict([measurement(baseline={})]) == ["Only the baseline was measured: there is nothing to compare yet."]


@pytest.mark.parametrize(("prompts", "said"), [(1, "1 prompt"), (3, "3 prompts"), (7, "7 prompts")])
def test_few_prompts_have_a_number_and_no_verdict(prompts, said):
    few = dataclasses.replace(LOST, per_prompt=(0.4,) * prompts + (math.nan,) * 5)
    assert verdict(ending({"ead": few})) == [f"EAD (lexical): 80% left ({said}: too few to tell)."]


def test_one_line_has_one_format_of_percentages():
    (line,) = verdict(ending({"ead": summary(0.5, 1.0234, 0.9952, 1.08)}))
    assert line == "EAD (lexical): 102% left (95% interval 100% to 108%): no change can be told."
    (line,) = verdict(ending({"ead": summary(0.5, 1.0234, 1.0012, 1.08)}))
    assert line == "EAD (lexical): 102.34% left (95% interval 100.12% to 108.00%): diversity rose."


def test_verdict_warns_of_rot():
    rotten = dataclasses.replace(VALIDITY, base_logprob=-6.5, empty=0.1, unclosed=0.2)
    lines = verdict(ending({"vendi": ROSE}, validity=rotten))
    assert lines[1] == "Beware: 30% of the completions have no answer."
    assert lines[2].startswith("Beware: at step 10 Vendi rose, but the base model finds the completions unlikely (-6.5")
    assert len(verdict(ending({"vendi": LOST}, validity=dataclasses.replace(VALIDITY, base_logprob=-6.5)))) == 1


def test_formats():
    assert (format_number(None), format_number(math.nan), format_number(0.12345)) == ("-", "-", "0.123")
    assert (format_percent(None), format_percent(math.nan), format_percent(0.876)) == ("-", "-", "88%")


def rendered(table):
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    return out.getvalue()


def test_table_of_measurements_at_80_columns():
    many = [measurement(step=step, metrics=dict.fromkeys(METRICS, LOST)) for step in (0, 500, 120000)]
    many[1] = dataclasses.replace(many[1], metrics={"ead": LOST, "vendi": UNMEASURED})
    text = rendered(measurements_table(many))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    rows = [line.split() for line in text.splitlines() if line.split()[:1] in (["0"], ["500"], ["120000"])]
    assert rows[0] == ["0", *["0.500", "80%"] * 4, "1.50", "-1.50", "25%", "12%"]
    assert rows[1] == ["500", "0.500", "80%", *["-", "-"] * 3, "1.50", "-1.50", "25%", "12%"]
    assert len(rows) == 3
    assert rendered(measurements_table([]))


def run_of(*metrics):
    return [
        measurement(step=step, metrics={name: summary(1.5 - step / 100, 1 - step / 100, 0.8, 1.0) for name in metrics})
        for step in (0, 10, 20)
    ]


def pixels(path):
    from matplotlib.image import imread

    return imread(path)[..., :3]


@pytest.mark.parametrize("metrics", [METRICS, ("ead",), ("ead", "nli", "vendi")])
def test_plot_is_a_picture_that_is_not_blank(tmp_path, metrics):
    path = plot_metrics(run_of(*metrics), tmp_path / "new" / "run.png", title="costs $5 or 5$ [red]")
    picture = pixels(path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert picture.shape[1] == 1350
    assert 0.005 < (picture.min(axis=-1) < 0.9).mean() < 0.5
    for colour in ("#0072B2", "#D55E00", "#009E73", "#CC79A7")[: 1 if len(metrics) == 1 else None]:
        wanted = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        drawn = (np.abs(picture - wanted).max(axis=-1) < 0.02).sum()
        assert (drawn > 50) == (colour != "#D55E00" or "sbert" in metrics)


def test_plot_of_what_could_not_be_measured(tmp_path):
    holes = [*run_of("ead", "vendi"), measurement(step=30, metrics={"ead": UNMEASURED})]
    plot_metrics(holes, tmp_path / "holes.png")
    nothing = [measurement(metrics=dict.fromkeys(METRICS, UNMEASURED))]
    plot_metrics(nothing, str(tmp_path / "nothing.png"))
    plot_metrics(run_of("ead")[:1], tmp_path / "one.png")
    assert len(list(tmp_path.iterdir())) == 3


def test_plot_of_nothing():
    with pytest.raises(InputError, match="no measurement"):
        plot_metrics([], "x.png")


# --- provenance ------------------------------------------------------------------------------------------


def test_package_versions():
    versions = package_versions()
    assert versions["divmon"]
    assert versions["torch"]


def test_git_state(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    git_state.cache_clear()
    assert git_state(tmp_path) is None
    git("init")
    (tmp_path / "file").write_text("a")
    git("add", "file")
    git("commit", "-m", "m")
    git_state.cache_clear()
    state = git_state(tmp_path)
    assert (len(state["commit"]), state["dirty"]) == (40, False)
    (tmp_path / "file").write_text("b")
    git_state.cache_clear()
    assert git_state(tmp_path)["dirty"] is True
    git_state.cache_clear()


# --- from a sample to the ledger -------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Made:
    """Anything with attributes."""

    values: dict

    def __getattr__(self, name):
        return self.values[name]


def outcome(whole):
    completion = _Made({"text": "a", "token_ids": [1, 2], "truncated": True, "entropy": math.nan, "logprob": -1.0})
    prompt = _Made({"task": "t", "id": "0", "key": "k", "plain_text": "q", "category": "c"})
    rendered = _Made({"prompt": prompt, "text": "<q>", "think_opened": False})
    sampled = _Made({"rendered": rendered, "completions": [completion]})
    near = Nearness((0.25,), (None,))
    made = {"measurement": whole, "samples": _Made({"prompts": [sampled]}), "nearness": (near,), "verdicts": ((0.5,),)}
    return _Made(made)


def test_outcomes_of_one_run_share_a_ledger_and_another_run_moves_it_aside(tmp_path):
    import gzip

    from divmon.options import MonitorOptions
    from divmon.recording import record_outcome

    for step in (0, 5):
        record_outcome(outcome(measurement(step=step)), tmp_path, MonitorOptions())
    ledger = Ledger.of(tmp_path)
    run = ledger.read()
    assert [m.step for m in run.measurements] == [0, 5]
    assert run.start["options"]["samples"] == 16
    (row,) = map(json.loads, gzip.decompress(ledger.completions_path(5).read_bytes()).splitlines())
    assert [row[name] for name in ("task", "input_id", "prompt", "outputs", "tokens", "entropy", "step")] == [
        *("t", "0", "q", ["a"], [2], [None], 5)
    ]
    assert (row["key"], row["baseline_distance"], row["near_duplicate_of"]) == ("k", [0.25], [None])
    assert row["verdicts"] == [0.5]
    record_outcome(outcome(measurement(run_id="r2")), tmp_path, MonitorOptions())
    assert ledger.read().run_id == "r2"
    assert Ledger(tmp_path / FOLDER / "earlier" / "r1").read().run_id == "r1"


# --- the public function ---------------------------------------------------------------------------------


def test_score(fake_encoders):
    import divmon

    found = divmon.score([["a b", "c d"], ["e", "e"]], vocab_size=100)
    assert set(found.per_prompt) == set(METRICS)
    assert found.per_prompt["sbert"][1] == pytest.approx(0, abs=1e-6)
    assert found.per_prompt["vendi"][1] == pytest.approx(1, abs=1e-5)
    with pytest.raises(InputError, match="EAD needs vocab_size"):
        divmon.score([["a", "b"]])
    with pytest.raises(InputError, match=r"device: 'warp' cannot be used here; give 'cpu'"):
        divmon.score([["a", "b"]], metrics=["sbert"], device="warp")
