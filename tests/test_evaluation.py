"""Any checkpoint: units, their files, resuming, baselines, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch

import divmon
from divmon.errors import InputError, ModelNotFoundError
from divmon.evaluation import Subject, Unit, UnitWorker, evaluate, kept
from divmon.evaluation.batching import batches, room
from divmon.evaluation.cost import Assumptions, mean_tokens, nli_hours, sampling_cost
from divmon.evaluation.load import load, locate
from divmon.evaluation.models import CHECKPOINTS, LINEAGES, checkpoints_of
from divmon.evaluation.subject import safe_name
from divmon.evaluation.units import parse_slice, sliced, units_of
from divmon.fingerprint import fingerprint
from divmon.lineage import checkpoints_of_records, records_of_runs, stage_of
from divmon.monitor import Monitor
from divmon.prompt import Prompt
from divmon.sampling.render import RenderedPrompt
from divmon.tasks import TASKS
from tests.evaluations import request, save_models
from tests.fakes import use_fakes
from tests.tiny import tiny_llama, tiny_tokenizer

pytestmark = pytest.mark.usefixtures("fake_encoders")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def undisturbed(models, tmp_path_factory):
    """An evaluation that nothing happened to: its folder and its result."""

    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        use_fakes(patch)
        (result,) = evaluate(request(folder, models / "base"))
    return folder, result


def texts(folder):
    """Key -> completions, from all units of a model's folder."""
    found = {}
    for path in sorted(folder.glob("units/*/*.jsonl")):
        for row in kept.read(path).rows.values():
            assert row["key"] not in found
            found[row["key"]] = row["outputs"]
    return found


def record(measurement, *, exact=True):
    """What must not depend on how the work was cut: ``exact`` where batches were the same."""
    made = measurement.to_json()
    for name in ("time", "seconds", "provenance"):
        del made[name]
    for name in () if exact else ("entropy", "logprob"):
        made["validity"][name] = round(made["validity"][name], 5)
    return made


# --- the catalogue ---------------------------------------------------------------------------------------


class TestCheckpoints:
    def test_thirteen_and_four(self):
        assert sum(checkpoint.lineage.startswith("olmo3") for checkpoint in CHECKPOINTS) == 13
        assert sum(checkpoint.lineage == "olmo2-1b" for checkpoint in CHECKPOINTS) == 4
        assert len({checkpoint.hub for checkpoint in CHECKPOINTS}) == len({c.label for c in CHECKPOINTS}) == 17
        assert len(checkpoints_of("all")) == 17
        assert len(checkpoints_of("olmo3")) == 13

    def test_labels_tell_the_stage(self):
        for checkpoint in CHECKPOINTS:
            if checkpoint.stage != "base":
                assert stage_of(checkpoint.label)[1] == checkpoint.stage
        assert stage_of("rl-zero-math-3.1") == ("rl_zero", "rl")

    def test_instruct_goes_on_from_think_and_rl_zero_from_the_base(self):
        parents = {checkpoint.label: checkpoint.parent for checkpoint in CHECKPOINTS}
        assert parents["instruct-sft"] == "think-sft"
        assert {parents[label] for label in parents if label.startswith("rl-zero")} == {"base"}
        seen = set()
        for checkpoint in CHECKPOINTS:
            assert not checkpoint.parent or checkpoint.parent in seen
            seen.add(checkpoint.label)

    @pytest.mark.parametrize("lineage", LINEAGES)
    def test_a_base_comes_first(self, lineage):
        members = checkpoints_of(lineage)
        assert members[0].stage == "base"
        assert {member.base for member in members} == {members[0].label}
        assert len(members) == {"olmo3-rl-zero": 7}.get(lineage, 4)

    def test_sizes(self):
        sizes = {checkpoint.label: checkpoint.parameters for checkpoint in CHECKPOINTS}
        assert 7.2e9 < sizes["think-rl"] < 7.4e9
        assert 1.4e9 < sizes["olmo2-1b-rl"] < 1.5e9

    def test_unknown(self):
        with pytest.raises(InputError, match="Unknown lineage 'olmo3-thnk': did you mean 'olmo3-think'"):
            checkpoints_of("olmo3-thnk")
        with pytest.raises(InputError, match="Expected at least one lineage of olmo3-think, "):
            checkpoints_of(" ,")


# --- what is named ---------------------------------------------------------------------------------------


class TestSubject:
    def test_a_hub_name(self):
        subject = Subject.of("allenai/Olmo-3-7B-Think")
        assert (subject.label, subject.checkpoint.stage) == ("think-rl", "rl")
        assert Subject.of("org/Some-Model", revision="v2").label == "Some-Model"
        assert Subject.of("org/Some-Model", name="sft").label == "sft"

    def test_folders(self, models, tmp_path):
        stage = tmp_path / "think-sft"
        shutil.copytree(models / "base", stage / "model")
        for place in (stage, stage / "model"):
            subject = Subject.of(str(place))
            assert (subject.label, subject.model) == ("think-sft", str(stage / "model"))
        shutil.copytree(models / "base", tmp_path / "run" / "checkpoint-20")
        assert Subject.of(str(tmp_path / "run" / "checkpoint-20")).label == "run-checkpoint-20"
        with pytest.raises(ModelNotFoundError, match=r"run holds no model .* name one of checkpoint-20\."):
            Subject.of(str(tmp_path / "run"))

    def test_an_adapter_finds_its_base(self, models):
        subject = Subject.of(str(models / "lora"))
        assert (subject.label, subject.model, subject.adapter) == (
            "lora",
            str(models / "base"),
            str(models / "lora"),
        )
        assert Subject.of(str(models / "lora"), base="org/other").model == "org/other"
        both = Subject.of(str(models / "base"), adapter=str(models / "lora"))
        assert (both.label, both.adapter) == ("lora", str(models / "lora"))

    @pytest.mark.parametrize(
        ("arguments", "options", "words"),
        [
            (["./nowhere/at/all"], {}, "There is no model at nowhere/at/all"),
            (["{base}"], {"adapter": "{base}"}, "holds no adapter"),
            (["{base}"], {"base": "org/model"}, "--base stands in for the base that an adapter names"),
            (["{adapter}"], {"adapter": "org/a"}, "is an adapter itself"),
            (["{base}"], {"name": "a/b"}, "--name: expected a name that a folder can have"),
        ],
    )
    def test_what_is_no_model(self, models, arguments, options, words):
        def placed(text):
            return text.format(base=models / "base", adapter=models / "lora")

        with pytest.raises((InputError, ModelNotFoundError), match=words):
            Subject.of(*map(placed, arguments), **{name: placed(value) for name, value in options.items()})

    def test_an_adapter_that_names_no_base(self, models, tmp_path):
        shutil.copytree(models / "lora", tmp_path / "lost")
        path = tmp_path / "lost" / "adapter_config.json"
        config = json.loads(path.read_text()) | {"base_model_name_or_path": None}
        path.write_text(json.dumps(config))
        with pytest.raises(ModelNotFoundError, match="does not say which model it is for: give --base"):
            Subject.of(str(tmp_path / "lost"))

    def test_names_fit_for_folders(self):
        assert safe_name("think-sft") == "think-sft"
        assert re.fullmatch(r"a_b-\w{8}", safe_name("a/b"))
        assert not safe_name("..").startswith(".")
        assert safe_name("a/b") != safe_name("a b")


class TestLoading:
    def test_a_model_of_the_hub_that_is_not_there(self):
        words = r"The model 'nobody/nothing' cannot be loaded here \(the hub is switched off"
        with pytest.raises(ModelNotFoundError, match=words):
            locate(Subject.of("nobody/nothing"))
        with pytest.raises(ModelNotFoundError, match=r"Did you mean 'allenai/Olmo-3-7B-Think'\?"):
            locate(Subject.of("allenai/Olmo-3-7B-Thin"))

    def test_an_adapter_is_on_its_base(self, models):
        loaded = load(locate(Subject.of(str(models / "lora"))), "float32", "cpu")
        ids = torch.tensor([[5, 6, 7]])
        with torch.no_grad():
            with loaded.model.disable_adapter():
                without = loaded.model(ids).logits
            assert torch.equal(without, tiny_llama()(ids).logits)
            assert not torch.equal(loaded.model(ids).logits, without)
        assert loaded.tokenizer.chat_template == tiny_tokenizer().chat_template
        assert loaded.context == 512

    def test_identity_tells_weights_and_templates_apart(self, models, tmp_path):
        identities = [locate(Subject.of(str(models / name))).identity for name in ("base", "other", "plain", "thinker")]
        assert len({one["weights"] for one in identities}) == 4
        shutil.copytree(models / "base", tmp_path / "moved")
        assert locate(Subject.of(str(tmp_path / "moved"))).identity == identities[0]
        adapter = locate(Subject.of(str(models / "lora"))).identity
        assert adapter["weights"] == identities[0]["weights"]
        assert adapter["adapter"]

    def test_a_change_anywhere_in_a_large_file_of_weights_is_seen(self, tmp_path):
        # 64 blocks of 64 KiB are read: here every second one.
        path = tmp_path / "model.safetensors"
        content = bytearray(8 << 20)
        path.write_bytes(content)
        before = fingerprint([path])
        assert before == fingerprint([path])
        path.write_bytes(bytes(byte ^ 1 for byte in content))
        assert fingerprint([path]) != before

    def test_a_folder_without_weights(self, models, tmp_path):
        shutil.copytree(models / "base", tmp_path / "empty", ignore=shutil.ignore_patterns("*.safetensors"))
        with pytest.raises(ModelNotFoundError, match="holds no weights"):
            locate(Subject.of(str(tmp_path / "empty")))

    def test_a_device_that_is_not_there(self, models):
        with pytest.raises(InputError, match=r"base cannot be put on nothing"):
            load(locate(Subject.of(str(models / "base"))), "float32", "nothing")


# --- the plan --------------------------------------------------------------------------------------------


class TestUnits:
    def test_they_cover_every_prompt_once(self):
        units = units_of(["a", "b"], {"gsm8k": 250, "ifeval": 100, "humaneval": 1})
        assert [unit.id for unit in units[:5]] == [
            "a/gsm8k/0-100",
            "a/gsm8k/100-200",
            "a/gsm8k/200-250",
            "a/ifeval/0-100",
            "a/humaneval/0-1",
        ]
        assert len(units) == 10
        assert [Unit.of(unit.id) for unit in units] == units
        assert len({unit.path(Path("x")) for unit in units}) == 10

    @pytest.mark.parametrize("text", ["a/gsm8k", "a/gsm8k/5-5", "a/gsm8k/7-5", "gsm8k/0-5", "a/gsm8k/x-5", ""])
    def test_what_is_no_unit(self, text):
        with pytest.raises(InputError, match="expected a unit such as think-sft/gsm8k/0-100"):
            Unit.of(text)

    @pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
    def test_slices_are_the_plan_cut_into_neighbours(self, count):
        units = units_of(["a", "b"], {"x": 950, "y": 450})
        weights = [1.0 + 5.0 * (unit.model == "b") for unit in units]
        parts = [sliced(units, weights, number, count) for number in range(1, count + 1)]
        assert [unit for part in parts for unit in part] == units
        if count == 3:  # the second model is five times the work, so most parts are its
            assert [len({unit.model for unit in part}) for part in parts] == [2, 1, 1]
        work = [sum(weights[units.index(unit)] for unit in part) for part in parts]
        assert max(work) <= sum(weights) / count + max(weights)

    @pytest.mark.parametrize(("index", "count"), [(0, 3), (4, 3), (1, 0)])
    def test_parts_that_are_none(self, index, count):
        with pytest.raises(InputError, match="expected I/N with I from 1 to N"):
            sliced(units_of(["a"], {"x": 9}), [1.0], index, count)

    def test_the_text_of_a_slice(self):
        assert parse_slice("3/40") == (3, 40)
        for text in ("3", "3/", "a/b", "-1/4", "1/4/2"):
            with pytest.raises(InputError, match="expected I/N such as 3/40"):
                parse_slice(text)

    @pytest.mark.parametrize("count", [1, 2, 3, 5])
    def test_parts_for_processes(self, count):
        unit = Unit("a", "x", 100, 200)
        parts = [part for index in range(count) if (part := unit.part(index, count, 104))]
        assert [place for part in parts for place in range(part.start, part.stop)] == list(range(100, 104))

    def test_the_plan_asks_no_data_set(self, tmp_path, models, monkeypatch):
        from divmon.tasks import rows

        monkeypatch.setattr(rows, "hub_reachable", lambda: pytest.fail("asked the hub"))
        asked = request(tmp_path, models / "base", tasks="all", per_task=None, max_new_tokens=None)
        assert dict(asked.counts) == {name: task.count for name, task in TASKS.items()}
        assert asked.limit("gsm8k") == 32_768
        assert asked.limit("truthfulqa") == 512
        assert dict(request(tmp_path, models / "base").counts) == {"gsm8k": 5, "truthfulqa": 5}

    def test_prompts_of_a_file_and_the_bundled_ones(self, tmp_path, models):
        path = tmp_path / "prompts.jsonl"
        rows = [{"prompt": f"{task} {number}?", "task": task} for task in ("odd/name", "two") for number in range(3)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        asked = request(tmp_path, models / "base", tasks="", prompts_file=path, per_task=2, max_new_tokens=None)
        assert dict(asked.counts) == {"odd/name": 2, "two": 2}
        assert asked.limit("two") == 2048
        assert Unit.of(asked.units[0].id) == asked.units[0]
        assert "/" not in str(asked.units[0].path(tmp_path).relative_to(tmp_path / "base" / "units").parent)
        assert dict(request(tmp_path, models / "base", tasks="", per_task=None).counts) == {"default": 96}
        path.write_text(json.dumps({"prompt": "?", "task": "gsm8k"}))
        with pytest.raises(InputError, match="--tasks and --prompts both have prompts of 'gsm8k'"):
            _ = request(tmp_path, models / "base", prompts_file=path).counts


class TestCost:
    def test_the_arithmetic(self, tmp_path):
        subjects = tuple(map(Subject.of_checkpoint, checkpoints_of("olmo3-think")))
        asked = request(tmp_path, *subjects, tasks="gsm8k", per_task=100, max_new_tokens=None, options={"samples": 16})
        assumed = Assumptions(answer_tokens={"reasoning": 300}, chain_tokens={"reasoning": 2500}, tokens_per_second=500)
        costs = sampling_cost(asked, assumed)
        # 100 prompts x 16 x 300 tokens; the thinkers x 2,800.
        assert (costs["base"].tokens, costs["think-sft"].tokens) == (480_000, 4_480_000)
        size = subjects[0].parameters / 7.3e9
        assert costs["base"].gpu_hours == pytest.approx(480_000 / (500 / size) / 3600, rel=1e-12)
        assert costs["think-rl"].units == 1
        suppressed = dataclasses.replace(asked, options=dataclasses.replace(asked.options, thinking="suppress"))
        assert mean_tokens(suppressed, subjects[1], "gsm8k") == 300
        short = dataclasses.replace(asked, max_new_tokens=50)
        assert mean_tokens(short, subjects[1], "gsm8k") == 50
        assert nli_hours(asked, assumed) == (0, 0.0)  # not among the metrics
        both = dataclasses.replace(asked, options=dataclasses.replace(asked.options, metrics=("nli",)))
        # 4 models x 100 prompts x 16 x 15 / 2 pairs x 3 sentences x 2 directions.
        assert nli_hours(both, Assumptions(nli_pairs_per_second=80)) == (288_000, 1.0)

    def test_a_small_model_is_faster(self, tmp_path, models):
        asked = request(tmp_path, models / "base", tasks="gsm8k", max_new_tokens=None)
        (cost,) = sampling_cost(asked, Assumptions()).values()
        assert cost.gpu_hours == pytest.approx(5 * 3 * 300 / (1000 * 7.3e9 / asked.subjects[0].parameters) / 3600)


# --- sampling --------------------------------------------------------------------------------------------


class TestBatches:
    def prompts(self, *lengths):
        return [RenderedPrompt(Prompt(id=str(n), text="x"), (1,) * n, "x", False) for n in lengths]

    def test_as_many_as_fill_one(self):
        prompts = self.prompts(5, 9, 7, 3)
        # 2 samples x (9 + 10) tokens = 38 a prompt.
        assert batches(prompts, [10] * 4, 2, 76) == [[1, 2], [0, 3]]
        assert batches(prompts, [10] * 4, 2, 10_000) == [[1, 2, 0, 3]]
        assert batches(prompts, [10] * 4, 2, 1) == [[1], [2], [0], [3]]

    def test_equal_limits_only(self):
        prompts = self.prompts(5, 9, 7, 3)
        assert [room(prompt, 10, 14) for prompt in prompts] == [9, 5, 7, 10]
        assert batches(prompts, [10, 4, 10, 4], 2, 10_000) == [[2, 0], [1, 3]]
        assert room(prompts[0], 10, None) == 10
        # 512 less 5, 9, 7 and 3, in steps of 32: one batch.
        assert [room(prompt, 4096, 512) for prompt in prompts] == [480] * 4
        assert room(prompts[0], 4096, 30) == 25
        assert (room(prompts[0], 400, 512), room(prompts[0], 490, 512)) == (400, 490)
        assert room(prompts[0], 10, 3) == 0


class TestEvaluation:
    def test_it_is_what_a_measurement_of_the_model_is(self, undisturbed, models):
        """The same completions, scores and record as when the model is measured in one go."""
        folder, result = undisturbed
        asked = request(folder, models / "base")
        evaluation = asked.load_prompts()
        found = Monitor(evaluation.all_prompts, asked.monitor_options).measure(
            tiny_llama(), tiny_tokenizer(), run_id="whole"
        )
        measured = {
            prompt.rendered.prompt.key: [c.text for c in prompt.completions] for prompt in found.samples.prompts
        }
        assert texts(folder / "base") == measured
        assert found.measurement.metrics == result.measurement.metrics
        whole = dataclasses.replace(found.measurement, run_id=result.measurement.run_id)
        assert record(result.measurement, exact=False) == record(whole, exact=False)
        assert result.measurement.validity.completions == 30

    def test_the_ledger_is_like_a_runs(self, undisturbed):
        folder, result = undisturbed
        run = divmon.load(folder / "base")
        assert [made.to_json() for made in run.measurements] == [result.measurement.to_json()]
        assert run.run_id.startswith("eval-base-")
        rows = run.completions()
        assert [len(row["outputs"]) for row in rows] == [3] * 10
        assert {row["task"] for row in rows} == {"gsm8k", "truthfulqa"}
        assert all(row["verdicts"] is not None for row in rows)
        model = result.measurement.provenance["model"]
        assert model["class"] == "LlamaForCausalLM"
        assert model["identity"]["weights"].startswith("digest ")

    def test_again_nothing_is_done(self, undisturbed, models, monkeypatch):
        folder, result = undisturbed
        monkeypatch.setattr("divmon.evaluation.load.load", lambda *_: pytest.fail("loaded"))
        before = (folder / "base" / "divmon" / "measurements.jsonl").read_bytes()
        (again,) = evaluate(request(folder, models / "base"))
        assert again.before
        assert again.measurement.to_json() == result.measurement.to_json()
        assert (folder / "base" / "divmon" / "measurements.jsonl").read_bytes() == before

    @pytest.mark.parametrize("size", [1, 3])
    def test_slices_do_not_matter(self, size, undisturbed, models, tmp_path):
        (result,) = evaluate(request(tmp_path, models / "base", unit_prompts=size))
        assert len(list((tmp_path / "base" / "units").glob("*/*.jsonl"))) == 2 * math.ceil(5 / size)
        assert texts(tmp_path / "base") == texts(undisturbed[0] / "base")
        assert record(result.measurement, exact=False) == record(undisturbed[1].measurement, exact=False)

    def test_a_killed_evaluation_goes_on(self, undisturbed, models, tmp_path, monkeypatch):
        from divmon.sampling import sampler

        real, calls = sampler.sample, []

        def dying(*arguments, **options):
            calls.append(len(arguments[2]))
            if len(calls) == 3:
                raise KeyboardInterrupt
            return real(*arguments, **options)

        # Two prompts a batch, so that a unit has three of them.
        asked = request(tmp_path, models / "base", options={"batch_tokens": 1100})
        with monkeypatch.context() as patch:
            patch.setattr(sampler, "sample", dying)
            with pytest.raises(KeyboardInterrupt):
                evaluate(asked)
            path = asked.units[0].path(tmp_path)
            lines = path.read_bytes().split(b"\n")
            assert 0 < len(kept.read(path).rows) < 5
            # It died in the middle of a line: the row before the batch's own line is torn.
            path.write_bytes(b"\n".join(lines[:-3]) + b"\n" + lines[-3][:100])
            torn = len(kept.read(path).rows)
            calls[:] = [0] * 10
            (result,) = evaluate(asked)
        assert torn < len(kept.read(path).rows) == 5
        assert texts(tmp_path / "base") == texts(undisturbed[0] / "base")
        one_go = request(tmp_path / "one-go", models / "base", options={"batch_tokens": 1100})
        (whole,) = evaluate(one_go)
        assert record(result.measurement) == record(whole.measurement)
        assert result.measurement.metrics == undisturbed[1].measurement.metrics

    def test_what_is_done_is_not_done_again(self, undisturbed, models, tmp_path):
        shutil.copytree(undisturbed[0] / "base" / "units", tmp_path / "base" / "units")
        asked = request(tmp_path, models / "base", per_task=7, unit_prompts=4)
        reports = [UnitWorker(asked.load_prompts()).run(unit) for unit in asked.units]
        assert [(report.prompts, report.found, report.completions) for report in reports] == [
            (4, 4, 0),
            (3, 1, 9),  # the batch of three is sampled whole, so that it is the one that it always is
            (4, 4, 0),
            (3, 1, 9),
        ]
        assert len(texts(tmp_path / "base")) == 14

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"options": {"temperature": 1.0}}, "temperature 0.6 there, 1.0 now"),
            ({"options": {"seed": 5, "samples": 4}}, "samples 3 there, 4 now; seed 4 there, 5 now"),
            ({"max_new_tokens": 11}, "max_new_tokens 10 there, 11 now"),
            ({"dtype": "bfloat16"}, "dtype auto there, bfloat16 now"),
            ({"options": {"thinking": "suppress"}}, "thinking none there, suppress now"),
            ({"options": {"chat_template": "{{ messages }}"}}, "chat_template none there, "),
        ],
    )
    def test_another_protocol_is_refused(self, changes, words, undisturbed, models):
        with pytest.raises(InputError, match=f"00000-00005.jsonl was sampled otherwise: {words}") as caught:
            evaluate(request(undisturbed[0], models / "base", **changes))
        assert "another --output-dir" in str(caught.value)

    def test_another_model_under_the_same_name_is_refused(self, undisturbed, models):
        with pytest.raises(InputError, match=r"was sampled otherwise: weights digest \w+ there, digest \w+ now"):
            evaluate(request(undisturbed[0], Subject.of(str(models / "other"), name="base")))

    def test_other_prompts_under_the_same_name_are_refused(self, undisturbed, models, tmp_path):
        shutil.copytree(undisturbed[0] / "base" / "units", tmp_path / "base" / "units")
        asked = request(tmp_path, models / "base")
        evaluation = asked.load_prompts()
        gsm8k = evaluation.prompts["gsm8k"]
        turned = dataclasses.replace(gsm8k, prompts=gsm8k.prompts[::-1])
        worker = UnitWorker(dataclasses.replace(evaluation, prompts={**evaluation.prompts, "gsm8k": turned}))
        with pytest.raises(InputError, match=r"prompts \w{32} there, \w{32} now"):
            worker.run(asked.units[0])

    def test_a_broken_row_is_named(self, undisturbed, models, tmp_path):
        shutil.copytree(undisturbed[0] / "base" / "units", tmp_path / "base" / "units")
        asked = request(tmp_path, models / "base")
        path = asked.units[0].path(tmp_path)
        lines = path.read_bytes().split(b"\n")
        for broken in (b'{"kind":"prompt"', lines[2].replace(b'"tokens":[', b'"tokens":[1,', 1), b"[]"):
            path.write_bytes(b"\n".join([*lines[:2], broken, *lines[3:]]))
            with pytest.raises(InputError, match=r"00005.jsonl, line 3: not a row of a unit"):
                evaluate(asked)
        path.write_bytes(b"\n".join([lines[0].replace(b'"schema":1', b'"schema":9'), *lines[1:]]))
        with pytest.raises(InputError, match="schema 9, this divmon reads up to 1: upgrade"):
            evaluate(asked)

    def test_a_unit_is_sampled_by_one_command_at_a_time(self, tmp_path):
        header = {"protocol": {}, "model": {}, "vocab_size": 1}
        with (
            kept.opened(tmp_path / "unit.jsonl", header),
            pytest.raises(InputError, match="Another command is sampling"),
            kept.opened(tmp_path / "unit.jsonl", {}),
        ):
            pytest.fail("both are at it")
        with kept.opened(tmp_path / "unit.jsonl", header) as writer:
            writer.add([])
        assert (tmp_path / "unit.jsonl").read_bytes().count(b"\n") == 1

    def test_scoring_alone_loads_nothing(self, models, tmp_path, undisturbed, monkeypatch):
        asked = request(tmp_path, models / "base")
        assert evaluate(asked, units=asked.slice(1, 2)) == []
        with pytest.raises(InputError, match="no completions yet for 5 of 5 prompts of truthfulqa"):
            evaluate(asked, part="score")
        assert evaluate(asked, units=asked.slice(2, 2)) == []
        assert not (tmp_path / "base" / "divmon").exists()
        monkeypatch.setattr("divmon.evaluation.load.load", lambda *_: pytest.fail("loaded"))
        monkeypatch.setattr("divmon.evaluation.load.locate", lambda *_: pytest.fail("looked for"))
        (result,) = evaluate(asked, part="score")
        assert record(result.measurement) == record(undisturbed[1].measurement)
        only = dataclasses.replace(asked, options=dataclasses.replace(asked.options, metrics=("ead",)))
        (other,) = evaluate(only, part="score")
        assert list(other.measurement.metrics) == ["ead"]
        assert len(list((tmp_path / "base" / "divmon" / "earlier").iterdir())) == 1

    def test_a_unit_that_is_none(self, models, tmp_path):
        asked = request(tmp_path, models / "base")
        with pytest.raises(InputError, match="no model 'other' in this evaluation; it has base"):
            evaluate(asked, units=[Unit.of("other/gsm8k/0-5")])
        with pytest.raises(InputError, match="no task 'ifeval'; it has gsm8k, truthfulqa"):
            evaluate(asked, units=[Unit.of("base/ifeval/0-5")])
        assert evaluate(asked, units=[Unit.of("base/gsm8k/200-300")]) == []


class TestBaselines:
    def test_a_lineage_counts_from_its_base(self, models, tmp_path):
        base = Subject.of(str(models / "base"))
        sft = dataclasses.replace(Subject.of(str(models / "other"), name="think-sft"), baseline="base")
        same = dataclasses.replace(Subject.of(str(models / "base"), name="think-dpo"), baseline="base")
        found = evaluate(request(tmp_path, base, sft, same))
        assert found[0].measurement.baseline == {}
        assert found[1].measurement.baseline["run_id"] == found[0].measurement.run_id
        assert found[1].measurement.metrics["sbert"].retained != 1.0
        assert found[2].measurement.metrics["sbert"].retained == 1.0  # the same weights, to the bit
        run = divmon.load(tmp_path / "think-sft")
        assert run.baseline.run_id == found[0].measurement.run_id
        before = [row["outputs"] for row in run.baseline_completions]
        assert before == [row["outputs"] for row in divmon.load(tmp_path / "base").completions()]
        distances = [row["baseline_distance"] for row in divmon.load(tmp_path / "think-dpo").completions()]
        assert all(value is None or abs(value) < 1e-6 for row in distances for value in row)
        _, checkpoints = checkpoints_of_records(
            records_of_runs([str(tmp_path / "think-sft"), str(tmp_path / "think-dpo")])
        )
        assert [(one.lineage, one.stage) for one in checkpoints] == [("think", "sft"), ("think", "dpo")]

    def test_an_earlier_evaluation(self, undisturbed, models, tmp_path):
        folder, base = undisturbed
        (result,) = evaluate(request(tmp_path, models / "other", baseline=folder / "base"))
        assert result.measurement.baseline["run_id"] == base.measurement.run_id
        assert result.problems == ()
        warm = request(tmp_path / "warm", models / "other", baseline=folder / "base", options={"temperature": 1.0})
        with pytest.raises(InputError, match=r"sampled otherwise: temperature 0\.6 there, 1\.0 now\. Give the same"):
            evaluate(warm)
        assert not (tmp_path / "warm").exists()

    def test_a_baseline_that_is_none_is_said_at_once(self, models, tmp_path):
        for folder in (tmp_path / "nowhere", models / "base"):
            with pytest.raises(InputError, match="--baseline: expected the folder of an evaluation or a run"):
                evaluate(request(tmp_path, models / "other", baseline=folder))
        with pytest.raises(InputError, match="No divmon ledger in"):
            evaluate(request(tmp_path, models / "other", baseline=models))
        assert not (tmp_path / "other").exists()

    def test_limits_that_differ_are_part_of_the_protocol(self, models, tmp_path):
        tasks = {"tasks": "gsm8k:sample,truthfulqa:sample", "per_task": 1, "options": {"samples": 2}}
        asked = request(tmp_path, models / "base", max_new_tokens=600, **tasks)
        assert asked.tasks_by_limit == {600: ["gsm8k"], 512: ["truthfulqa"]}
        assert asked.monitor_options.max_new_tokens == 600


class TestModels:
    def test_an_adapter(self, models, tmp_path):
        (result,) = evaluate(request(tmp_path, models / "lora"))
        assert result.folder == tmp_path / "lora"
        assert result.measurement.validity.base_gap > 0
        model = result.measurement.provenance["model"]
        assert (model["name"], model["adapter"]) == (str(models / "base"), str(models / "lora"))
        assert model["identity"]["adapter"]

    def test_thinking_is_suppressed_by_the_template(self, models, tmp_path, caplog):
        endings = {}
        for name in ("base", "thinker", "plain"):
            folder = tmp_path / "no-think"
            asked = request(folder, models / name, tasks="gsm8k:sample", per_task=2, options={"thinking": "suppress"})
            evaluate(asked, part="sample")
            rows = kept.read(asked.units[0].path(folder)).rows.values()
            assert not any(row["think_opened"] for row in rows)
            (endings[name],) = {row["rendered"].rpartition("Answer:")[2] for row in rows}
        block = "<think>\n</think>\n"
        assert endings == {"base": f"\n<|assistant|>{block}", "thinker": f"\n<|assistant|>{block}", "plain": ""}
        assert [record.message for record in caplog.records if "block to suppress" in record.message] == [
            "divmon: plain has no chat template, so it has no think block to suppress."
        ]
        asked = request(tmp_path / "think", models / "thinker", tasks="gsm8k:sample", per_task=2)
        evaluate(asked, part="sample")
        assert all(row["think_opened"] for row in kept.read(asked.units[0].path(tmp_path / "think")).rows.values())

    def test_the_context_bounds_a_completion(self, models, tmp_path, caplog):
        from transformers import AutoConfig

        shutil.copytree(models / "base", tmp_path / "short")
        config = AutoConfig.from_pretrained(tmp_path / "short")
        words = {"short": "tell me", "long": "tell me " * 12, "longest": "tell me " * 40}
        lengths = {
            name: len(tiny_tokenizer()(f"<|user|>{text}\n<|assistant|>")["input_ids"]) for name, text in words.items()
        }
        config.max_position_embeddings = lengths["long"] + 4
        config.save_pretrained(tmp_path / "short")
        path = tmp_path / "prompts.jsonl"
        path.write_text("".join(json.dumps({"id": name, "prompt": text}) + "\n" for name, text in words.items()))
        (result,) = evaluate(request(tmp_path, tmp_path / "short", tasks="", prompts_file=path))
        rows = {row["input_id"]: row for row in divmon.load(tmp_path / "short").completions()}
        assert max(rows["short"]["tokens"]) <= 10
        assert max(rows["long"]["tokens"]) <= 4
        assert rows["longest"]["tokens"] == [0] * 3
        assert "1 prompts are as long as the model's context" in caplog.text
        assert math.isnan(result.measurement.metrics["ead"].per_prompt[2])
        assert math.isfinite(result.measurement.validity.entropy)

    def test_too_little_memory_is_remembered(self, models, tmp_path, monkeypatch, caplog):
        from divmon.sampling.generate import BatchGenerator

        real, sizes = BatchGenerator.run, []

        def run(self, batch, *arguments):
            sizes.append(len(batch.rows))
            if len(batch.rows) > 4:
                raise RuntimeError("CUDA out of memory.")
            return real(self, batch, *arguments)

        monkeypatch.setattr(BatchGenerator, "run", run)
        evaluate(request(tmp_path, models / "base", unit_prompts=2, tasks="gsm8k:sample"), part="sample")
        assert sizes[:3] == [6, 3, 3]
        assert max(sizes[1:]) == 3  # the first batch is halved, later ones are made smaller
        assert caplog.text.count("did not fit into memory") == 1
        assert len(texts(tmp_path / "base")) == 5


def test_programs_are_run_where_that_is_asked_for(models, tmp_path, sandbox):
    asked = request(tmp_path, models / "base", tasks="humaneval:sample", per_task=2)
    (result,) = evaluate(asked)
    assert result.measurement.accuracy is None
    (result,) = evaluate(dataclasses.replace(asked, options=dataclasses.replace(asked.options, execute_code=True)))
    assert result.measurement.accuracy.mean == 0.0
    assert not result.before
    assert result.measurement.accuracy.verifiers[0].startswith("code:")


def test_a_mixed_evaluation_measures_programs(models, tmp_path):
    options = {"metrics": ("ead", "nli", "ast")}
    (result,) = evaluate(
        request(tmp_path, models / "base", tasks="gsm8k:sample,mbpp:sample", per_task=2, options=options)
    )
    tasks = result.measurement.tasks
    assert (set(tasks["gsm8k"]), set(tasks["mbpp"])) == ({"ead", "nli"}, {"ead", "ast"})


class TestWorker:
    def test_it_is_called_with_rows(self, models, tmp_path, undisturbed):
        asked = request(tmp_path, models / "base", unit_prompts=3)
        worker = UnitWorker(asked.load_prompts())
        rows = [worker({"unit": unit.id, "kept": 1}) for unit in asked.units]
        assert [(row["unit"], row["kept"], row["prompts"]) for row in rows] == [
            ("base/gsm8k/0-3", 1, 3),
            ("base/gsm8k/3-5", 1, 2),
            ("base/truthfulqa/0-3", 1, 3),
            ("base/truthfulqa/3-5", 1, 2),
        ]
        assert texts(tmp_path / "base") == texts(undisturbed[0] / "base")

    def test_each_process_takes_a_gpu_of_its_own(self, models, tmp_path, monkeypatch):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        asked = request(tmp_path, models / "base")
        worker = UnitWorker(asked.load_prompts())
        worker({"unit": "base/gsm8k/200-300"}, 3)
        assert worker.device == "cuda:1"

    def test_it_can_be_sent_before_it_has_loaded(self, models, tmp_path):
        import pickle

        asked = request(tmp_path, models / "base", per_task=1)
        worker = pickle.loads(pickle.dumps(UnitWorker(asked.load_prompts())))
        assert worker({"unit": asked.units[0].id})["completions"] == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"per_task": 0}, "per_task: expected a whole number of at least 1"),
        ({"max_new_tokens": 0}, "max_new_tokens: expected a whole number"),
        ({"unit_prompts": True}, "unit_prompts: expected a whole number"),
        ({"dtype": "int8"}, "dtype: expected one of auto, bfloat16"),
    ],
)
def test_values_out_of_range(changes, words, tmp_path, models):
    with pytest.raises(InputError, match=words):
        request(tmp_path, models / "base", **changes)


def test_a_name_is_given_once(tmp_path, models):
    with pytest.raises(InputError, match="Two models are called 'base'"):
        request(tmp_path, models / "base", Subject.of(str(models / "other"), name="base"))
