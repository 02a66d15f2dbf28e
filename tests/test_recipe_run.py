"""Running recipes on tiny models: every kind of stage, order, what is skipped, resumed and run again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from divmon import Ledger
from divmon.errors import InputError
from divmon.lineage import attribute, checkpoints_of_records, records_of_runs
from divmon.recipes import work as running
from divmon.recipes.options import RunOptions
from divmon.recipes.plan import Plan, order
from divmon.recipes.progress import StageProgress, duration, summary
from divmon.recipes.recipe import load_recipe, load_recipes
from divmon.recipes.run import run_recipes
from divmon.recipes.stage import StageError
from divmon.recipes.state import read_state, write_state
from tests.fakes import use_fakes
from tests.recipes import (
    ARCHITECTURE,
    MONITOR,
    STAGES,
    TRAINING,
    run_paths,
    weights,
    write_folder,
    write_recipe,
)
from tests.tiny import tiny_llama, tiny_tokenizer

pytestmark = pytest.mark.usefixtures("fake_encoders")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """All stages, run once: the recipes' folder, the run folders, what was reported."""

    folder = tmp_path_factory.mktemp("done")
    recipes = write_folder(folder / "recipes")
    with pytest.MonkeyPatch.context() as patch:
        use_fakes(patch)
        seen = run_paths(recipes, folder / "runs")
    return recipes, folder / "runs", seen


@pytest.fixture
def runs(done, tmp_path):
    """A copy of the run folders, and of the recipes."""
    recipes, folder, _ = done
    shutil.copytree(recipes, tmp_path / "recipes")
    shutil.copytree(folder, tmp_path / "runs")
    return tmp_path / "recipes", tmp_path / "runs"


def kinds(folder: Path) -> list[str]:
    return [f"{record['kind']} {record['step']}" for record in Ledger.of(folder).records()]


class TestStages:
    def test_all_ran_parents_first(self, done):
        _, _, seen = done
        assert sorted(seen.names) == sorted(STAGES)
        assert [name for name, _ in seen.ended] == seen.names
        for name, stage in STAGES.items():
            if "init_from" in stage:
                assert seen.names.index(stage["init_from"]) < seen.names.index(name)
        what = dict(seen.begun)
        assert what["base"] == "SFT from random weights"
        assert what["think-rl"] == "GRPO from think-dpo"
        assert what["think-sft-again"].startswith("measures ")

    def test_each_left_a_model_that_loads_and_a_complete_state(self, done):
        _, runs, _ = done
        for name, stage in STAGES.items():
            state = read_state(runs / name)
            assert (state["status"], state["name"], state["root"]) == ("complete", name, "base")
            if name == "think-sft-again":
                assert not (runs / name / "model").exists()
                assert state["weights"] == str(runs / "think-sft" / "model")
                continue
            assert state["steps"] == stage[next(kind for kind in ("sft", "dpo", "grpo") if kind in stage)]["max_steps"]
            AutoModelForCausalLM.from_pretrained(runs / name / "model")
            assert not list((runs / name / "model").glob("*.bin"))
            assert AutoTokenizer.from_pretrained(runs / name / "model").chat_template == tiny_tokenizer().chat_template
            assert not (runs / name / "error.txt").exists()

    def test_training_changed_the_weights(self, done):
        _, runs, _ = done
        trained = [name for name in STAGES if name != "think-sft-again"]
        assert len({weights(runs / name) for name in trained}) == len(trained)

    def test_the_architecture_is_the_recipes(self, done):
        _, runs, _ = done
        config = AutoModelForCausalLM.from_pretrained(runs / "base" / "model").config
        assert {key: getattr(config, key) for key in ARCHITECTURE} == ARCHITECTURE
        tokenizer = tiny_tokenizer()
        assert (config.vocab_size, config.eos_token_id) == (len(tokenizer), tokenizer.eos_token_id)

    def test_steps_losses_and_rewards_were_reported(self, done):
        _, runs, seen = done
        assert {total for _, total, _ in seen.steps} == {4}
        assert max(done for done, _, _ in seen.steps) == 4
        assert {name for _, _, values in seen.steps for name in values} == {"loss", "reward"}
        rows = [json.loads(line) for line in (runs / "think-rl" / "train.jsonl").read_text().splitlines()]
        assert [row["step"] for row in rows if "reward" in row] == [1, 2, 3, 4]

    def test_each_ended_with_a_line_of_figures(self, done):
        _, _, seen = done
        lines = dict(seen.ended)
        assert "EAD" in lines["base"]
        assert "%" not in lines["base"].split(" tokens")[0]
        for name in ("think-sft", "think-rl", "think-sft-again"):
            assert "SBERT" in lines[name]
            assert "%)" in lines[name]

    def test_the_adapter_is_kept_and_merged(self, done):
        _, runs, _ = done
        from peft import PeftModel

        base = AutoModelForCausalLM.from_pretrained(runs / "base" / "model")
        adapted = PeftModel.from_pretrained(base, runs / "lora-sft" / "adapter").eval()
        merged = AutoModelForCausalLM.from_pretrained(runs / "lora-sft" / "model").eval()
        ids = torch.tensor([[5, 9, 70, 130]])
        with torch.no_grad():
            expected, found = adapted(ids).logits, merged(ids).logits
            with adapted.disable_adapter():
                before = adapted(ids).logits
        assert torch.allclose(found, expected, atol=1e-4)
        assert not torch.allclose(found, before, atol=1e-2)

    def test_nothing_was_printed(self, tmp_path, capfd):
        recipes = write_folder(tmp_path / "recipes", "base", "rl-zero-math")
        write_recipe(
            recipes,
            "rl-zero-math",
            STAGES["rl-zero-math"]
            | {"grpo": STAGES["rl-zero-math"]["grpo"] | {"log_completions": True, "max_steps": 1}},
        )
        run_paths(recipes, tmp_path / "runs")
        assert capfd.readouterr() == ("", "")


class TestMonitoring:
    def test_all_count_from_the_root_which_is_measured_once(self, done):
        _, runs, _ = done
        assert kinds(runs / "base") == ["run 0", "measurement 0"]
        base = Ledger.of(runs / "base").read().baseline
        for name in STAGES:
            if name != "base":
                record = Ledger.of(runs / name).read()
                assert record.baseline.metrics == base.metrics
                assert record.baseline.run_id == base.run_id
                assert record.measurements[-1].metrics["ead"].retained > 0
        assert kinds(runs / "think-sft") == ["run 0", "baseline 0", "measurement 0", "measurement 4"]

    def test_the_runs_are_a_lineage(self, done):
        _, runs, _ = done
        names = ("think-sft", "think-dpo", "think-rl", "rl-zero-math")
        found = attribute(*checkpoints_of_records(records_of_runs([str(runs / name) for name in names])))
        assert set(found["ead"]) == {"think", "rl_zero"}

    def test_a_stage_begins_where_its_parent_ended(self, done):
        _, runs, _ = done
        last = Ledger.of(runs / "think-sft").read().measurements[-1]
        first = Ledger.of(runs / "think-dpo").read().measurements[0]
        assert first.metrics["ead"].per_prompt == last.metrics["ead"].per_prompt

    def test_a_stage_that_only_measures_finds_the_same(self, done):
        _, runs, _ = done
        last = Ledger.of(runs / "think-sft").read().measurements[-1]
        again = Ledger.of(runs / "think-sft-again").read().measurements[-1]
        assert again.metrics == last.metrics

    def test_what_cannot_be_compared_with_the_root_is_said(self, runs):
        recipes, folder = runs
        suppressed = MONITOR | {"thinking": "suppress"}
        path = write_recipe(recipes, "suppressed", {"init_from": "think-sft", "monitor": suppressed})
        seen = run_paths(path, folder)
        assert "suppressed: ead, sbert cannot be compared with the baseline: different sampling" in seen.notes[-1]
        assert "%)" not in dict(seen.ended)["suppressed"].split(" tokens")[0]

    def test_a_monitor_that_failed_in_training_is_made_up_for(self, tmp_path, monkeypatch, caplog):
        recipes = write_folder(tmp_path / "recipes", "base", "think-sft")
        run_paths(recipes / "base.yaml", tmp_path / "runs")
        from divmon.trainer.run import MonitoredRun

        def broken(*_, **__):
            raise OSError("no encoder today")

        monkeypatch.setattr(MonitoredRun, "measure", broken)
        run_paths(recipes / "think-sft.yaml", tmp_path / "runs")
        assert "was not measured" in caplog.text
        record = Ledger.of(tmp_path / "runs" / "think-sft").read()
        assert [m.step for m in record.measurements] == [4]
        assert record.measurements[0].metrics["ead"].retained > 0

    def test_what_is_only_measured_keeps_the_completions_that_it_is_compared_with(self, done):
        _, folder, _ = done
        ledger, root = Ledger.of(folder / "think-sft-again"), Ledger.of(folder / "base")
        run = ledger.read()
        kept = list(ledger.completions(run.baseline, run.run_id))
        assert [row["outputs"] for row in kept] == [
            row["outputs"] for row in root.completions(root.read().baseline, root.read().run_id)
        ]
        (row, *_) = ledger.completions(run.measurements[-1], run.run_id)
        assert all(0 <= distance <= 2 for distance in row["baseline_distance"])

    def test_a_chain_that_begins_with_training_counts_from_its_own_start(self, tmp_path):
        recipes = write_folder(tmp_path / "recipes", "base")
        tiny_llama().save_pretrained(recipes / "start")
        tiny_tokenizer().save_pretrained(recipes / "start")
        content = {key: value for key, value in STAGES["think-sft"].items() if key != "init_from"}
        write_recipe(recipes, "sft", content | {"model": "start"})
        write_recipe(recipes, "dpo", STAGES["think-dpo"] | {"init_from": "sft"})
        run_paths([recipes / "sft.yaml", recipes / "dpo.yaml"], tmp_path / "runs")
        first = Ledger.of(tmp_path / "runs" / "sft").read().measurements[0]
        assert first.step == 0
        baseline = Ledger.of(tmp_path / "runs" / "dpo").read().baseline
        assert (baseline.run_id, baseline.metrics) == (first.run_id, first.metrics)

    def test_a_hub_like_base_is_only_measured(self, tmp_path):
        recipes = write_folder(tmp_path / "recipes", "think-sft")
        tiny_llama().save_pretrained(recipes / "start")
        tiny_tokenizer(chat=False).save_pretrained(recipes / "start")
        (recipes / "template.jinja").write_text(tiny_tokenizer().chat_template)
        write_recipe(recipes, "base", {"model": "start", "chat_template": "template.jinja"})
        seen = run_paths(recipes, tmp_path / "runs")
        assert seen.names == ["base", "think-sft"]
        assert not (tmp_path / "runs" / "base" / "model").exists()
        # The base's chat template went on to the stage.
        saved = AutoTokenizer.from_pretrained(tmp_path / "runs" / "think-sft" / "model")
        assert saved.chat_template == tiny_tokenizer().chat_template
        record = Ledger.of(tmp_path / "runs" / "think-sft").read()
        assert record.baseline.run_id == Ledger.of(tmp_path / "runs" / "base").read().run_id


class TestShipped:
    @pytest.fixture
    def recipes(self, done, tmp_path):
        recipes, runs, _ = done
        shutil.copytree(recipes, tmp_path / "recipes")
        shutil.copytree(runs / "base" / "model", tmp_path / "recipes" / "shipped")
        digest = hashlib.sha256((tmp_path / "recipes" / "shipped" / "model.safetensors").read_bytes()).hexdigest()
        shipped = {"folder": "shipped", "sha256": digest}
        write_recipe(tmp_path / "recipes", "base", STAGES["base"] | {"shipped": shipped})
        return tmp_path / "recipes"

    def test_it_is_taken_instead_of_training(self, done, recipes, tmp_path):
        seen = run_paths([recipes / "base.yaml", recipes / "think-sft.yaml"], tmp_path / "runs")
        assert dict(seen.begun)["base"] == "measures the shipped copy"
        assert not (tmp_path / "runs" / "base" / "model").exists()
        assert weights(tmp_path / "runs" / "think-sft") == weights(done[1] / "think-sft")

    def test_from_scratch_trains_it(self, done, recipes, tmp_path):
        seen = run_paths(recipes / "base.yaml", tmp_path / "runs", from_scratch=True)
        assert dict(seen.begun)["base"] == "SFT from random weights"
        assert weights(tmp_path / "runs" / "base") == weights(done[1] / "base")
        again = run_paths(recipes / "base.yaml", tmp_path / "runs")
        assert "base: the shipped copy is taken; the earlier run is now" in again.notes[0]

    def test_weights_beside_the_tokenizer_are_not_part_of_what_is_trained(self, recipes, tmp_path):
        run_paths(recipes / "base.yaml", tmp_path / "runs", from_scratch=True)
        shutil.copy(recipes / "shipped" / "model.safetensors", recipes / "tokenizer")
        assert run_paths(recipes / "base.yaml", tmp_path / "runs", from_scratch=True).names == []
        (recipes / "tokenizer" / "chat_template.jinja").write_text("{{ messages }}")
        assert run_paths(recipes / "base.yaml", tmp_path / "runs", from_scratch=True).names == ["base"]

    def test_how_it_would_be_trained_is_not_part_of_what_it_is(self, recipes, tmp_path):
        run_paths(recipes / "base.yaml", tmp_path / "runs")
        shipped = load_recipe(recipes / "base.yaml").shipped
        changed = STAGES["base"] | {"shipped": dict(shipped), "sft": TRAINING | {"max_steps": 99}}
        write_recipe(recipes, "base", changed)
        assert run_paths(recipes / "base.yaml", tmp_path / "runs").names == []

    def test_from_scratch_needs_a_way_to_train_it(self, recipes, tmp_path):
        shipped = dict(load_recipe(recipes / "base.yaml").shipped)
        content = {key: value for key, value in STAGES["base"].items() if key not in ("sft", "data")}
        write_recipe(recipes, "base", content | {"shipped": shipped})
        with pytest.raises(InputError, match=r"base\.yaml: --from-scratch, but it says not how to train it"):
            order(load_recipes([recipes / "think-sft.yaml"]), tmp_path, from_scratch=True)

    def test_other_weights_are_refused(self, recipes, tmp_path):
        with (recipes / "shipped" / "model.safetensors").open("ab") as file:
            file.write(b"\0")
        with pytest.raises(StageError, match=r"have the sha256 .*, expected .*--from-scratch"):
            run_paths(recipes / "base.yaml", tmp_path / "runs")
        shutil.rmtree(recipes / "shipped")
        with pytest.raises(StageError, match="holds no weights"):
            run_paths(recipes / "base.yaml", tmp_path / "runs")


class TestAgain:
    def test_what_is_complete_is_skipped_with_a_line(self, runs):
        recipes, folder = runs
        before = {name: read_state(folder / name) for name in STAGES}
        seen = run_paths(recipes, folder)
        assert seen.names == []
        assert len(seen.notes) == len(STAGES)
        assert all("complete already, skipped" in note for note in seen.notes)
        assert {name: read_state(folder / name) for name in STAGES} == before

    def test_comments_descriptions_and_hardware_change_nothing(self, runs):
        recipes, folder = runs
        path = recipes / "think-sft.yaml"
        path.write_text("# A comment.\n" + path.read_text().replace("description: chats", "description: other"))
        write_recipe(recipes, "think-dpo", STAGES["think-dpo"] | {"hardware": {"gpus": 8}})
        assert run_paths(recipes, folder).names == []

    def test_a_change_reaches_what_comes_after_and_nothing_else(self, runs):
        recipes, folder = runs
        write_recipe(recipes, "think-dpo", STAGES["think-dpo"] | {"dpo": STAGES["think-dpo"]["dpo"] | {"beta": 1.0}})
        before = weights(folder / "think-dpo")
        seen = run_paths(recipes, folder)
        assert seen.names == ["think-dpo", "think-rl"]
        moved = [note for note in seen.notes if "the earlier run is now" in note]
        assert "think-dpo: its recipe or a file that it names changed" in moved[0]
        assert "think-rl: what it goes on from (think-dpo) changed" in moved[1]
        assert weights(folder / "earlier" / "think-dpo-1") == before
        assert kinds(folder / "earlier" / "think-dpo-1")[-1] == "measurement 4"
        assert weights(folder / "think-dpo") != before

    @pytest.mark.parametrize(
        ("file", "names"),
        [
            ("pairs.jsonl", {"think-dpo"}),
            ("chats.jsonl", {"think-sft", "lora-sft"}),
            ("prompts.jsonl", set(STAGES) - {"think-dpo", "think-rl", "think-sft-again"}),
        ],
    )
    def test_files_that_a_recipe_names_are_part_of_it(self, runs, file, names):
        recipes, folder = runs
        lines = (recipes / file).read_text().splitlines()
        (recipes / file).write_text("\n".join(lines[1:]) + "\n")
        stages = order(load_recipes([recipes]), folder)
        plan = Plan(stages, 0)
        changed = {stage.name for stage in stages if plan.status(stage) == "changed"}
        assert names <= changed
        reason = {stage.name: plan.what_changed(stage) for stage in stages if stage.name in names}
        assert set(reason.values()) <= {"its data changed", "its recipe or a file that it names changed"} | {
            "what it goes on from (base) changed"
        }

    def test_another_seed_is_another_run(self, runs):
        recipes, folder = runs
        seen = run_paths(recipes / "base.yaml", folder, seed=1)
        assert "base: it was run with --seed 0, now it is 1; the earlier run is now" in seen.notes[0]
        assert weights(folder / "base") != weights(folder / "earlier" / "base-1")

    def test_force_runs_the_named_again_to_the_same_weights(self, runs):
        recipes, folder = runs
        seen = run_paths(recipes / "think-dpo.yaml", folder, force=True)
        assert seen.names == ["think-dpo"]
        assert weights(folder / "think-dpo") == weights(folder / "earlier" / "think-dpo-1")

    def test_a_model_that_was_deleted_is_made_again(self, runs):
        recipes, folder = runs
        before = weights(folder / "think-dpo")
        shutil.rmtree(folder / "think-dpo" / "model")
        assert run_paths(recipes / "think-dpo.yaml", folder).names == ["think-dpo"]
        assert weights(folder / "think-dpo") == before

    def test_one_stage_brings_what_it_goes_on_from(self, done, tmp_path):
        recipes, folder, _ = done
        seen = run_paths(recipes / "think-dpo.yaml", tmp_path / "runs")
        assert seen.names == ["base", "think-sft", "think-dpo"]
        # Whatever else ran in the same process, the weights are the same.
        assert weights(tmp_path / "runs" / "think-dpo") == weights(folder / "think-dpo")

    def test_ablations_find_their_parents_in_the_folder_above(self, runs):
        recipes, folder = runs
        content = STAGES["think-rl"] | {"init_from": "../think-dpo", "data": [{"file": "../questions.jsonl"}]}
        write_recipe(recipes / "ablations", "think-rl-kl", content | {"grpo": content["grpo"] | {"beta": 0.04}})
        assert run_paths(recipes / "ablations", folder).names == ["think-rl-kl"]
        assert weights(folder / "think-rl-kl") != weights(folder / "think-rl")


class TestResuming:
    @pytest.mark.parametrize(
        ("name", "when"),
        [
            *((name, "between") for name in ("base", "think-sft", "think-dpo", "think-rl", "rl-zero-math", "lora-sft")),
            *((name, "after") for name in ("base", "think-rl", "lora-sft")),
        ],
    )
    def test_an_interrupted_stage_ends_with_the_same_weights(self, name, when, runs, monkeypatch):
        """Between two checkpoints, or after the last one and before the model is saved."""
        recipes, folder = runs
        before = weights(folder / name)
        shutil.rmtree(folder / name)

        def stop(self, args, state, control, **kwargs):
            if state.global_step == 3:
                raise RuntimeError("the power is gone")

        def full(*_, **__):
            raise OSError("No space left on device")

        with monkeypatch.context() as patch:
            if when == "between":
                patch.setattr(StageProgress, "on_step_end", stop)
            else:
                patch.setattr(running, "save_trained", full)
            at = "checkpoint-2" if when == "between" else "checkpoint-4"
            with pytest.raises(StageError, match=rf"Stage '{name}' failed: .*the same command goes on from {at}"):
                run_paths(recipes / f"{name}.yaml", folder)
        state = read_state(folder / name)
        assert state["status"] == "interrupted"
        assert "Traceback" in (folder / name / "error.txt").read_text()
        seen = run_paths(recipes / f"{name}.yaml", folder)
        assert dict(seen.begun)[name].endswith(f"resumed from {at}")
        assert weights(folder / name) == before
        assert read_state(folder / name)["steps"] == 4
        if name != "base":
            record = Ledger.of(folder / name).read()
            assert [m.step for m in record.measurements] == [0, 4]
            runs_begun = [line for line in kinds(folder / name) if line.startswith("run")]
            assert len(runs_begun) == 1

    def test_a_killed_process(self, done, tmp_path):
        recipes, folder, _ = done
        code = f"""if True:
            import os, signal
            from pathlib import Path
            import pytest
            from divmon.recipes.progress import StageProgress
            from tests.fakes import use_fakes
            from tests.recipes import run_paths
            use_fakes(pytest.MonkeyPatch())
            def kill(self, args, state, control, **kwargs):
                if state.global_step == 3 and "think-sft" in args.output_dir:
                    os.kill(os.getpid(), signal.SIGKILL)
            StageProgress.on_step_end = kill
            run_paths(Path({str(recipes / "think-sft.yaml")!r}), Path({str(tmp_path / "runs")!r}))
        """
        threads = str(torch.get_num_threads())  # sums are not the same in another number of threads
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads}
        done_ = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, timeout=240)
        assert done_.returncode == -signal.SIGKILL
        assert read_state(tmp_path / "runs" / "think-sft")["status"] == "running"
        seen = run_paths(recipes / "think-sft.yaml", tmp_path / "runs")
        assert seen.names == ["think-sft"]
        assert dict(seen.begun)["think-sft"].endswith("resumed from checkpoint-2")
        assert weights(tmp_path / "runs" / "think-sft") == weights(folder / "think-sft")

    def test_a_torn_checkpoint_is_passed_over(self, runs, monkeypatch):
        recipes, folder = runs
        before = weights(folder / "think-sft")
        content = STAGES["think-sft"] | {"sft": STAGES["think-sft"]["sft"] | {"save_total_limit": 5}}
        write_recipe(recipes, "think-sft", content)

        def full(*_, **__):
            raise OSError("No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(running, "save_trained", full)
            with pytest.raises(StageError):
                run_paths(recipes / "think-sft.yaml", folder)
        (folder / "think-sft" / "checkpoints" / "checkpoint-4" / "trainer_state.json").unlink()
        seen = run_paths(recipes / "think-sft.yaml", folder)
        assert dict(seen.begun)["think-sft"].endswith("resumed from checkpoint-2")
        assert weights(folder / "think-sft") == before

    def test_a_trained_stage_whose_measurement_failed_is_only_measured(self, runs, monkeypatch):
        recipes, folder = runs
        shutil.rmtree(folder / "base")
        before = None

        def broken(*_, **__):
            raise OSError("no encoder today")

        with monkeypatch.context() as patch:
            patch.setattr(running.Monitor, "measure", broken)
            with pytest.raises(StageError, match=r"no encoder today\. .*measures it again \(it is trained\)"):
                run_paths(recipes / "base.yaml", folder)
        before = (folder / "base" / "model" / "model.safetensors").stat().st_mtime_ns
        write_state(folder / "base", read_state(folder / "base") | {"commit": "c" * 40})  # as of a hub model
        seen = run_paths(recipes / "base.yaml", folder)
        assert read_state(folder / "base")["commit"] == "c" * 40
        assert seen.begun == [("base", "was trained; measures")]
        assert (folder / "base" / "model" / "model.safetensors").stat().st_mtime_ns == before

    def test_an_interrupt_says_how_to_go_on(self, runs, monkeypatch):
        recipes, folder = runs
        shutil.rmtree(folder / "think-dpo")
        from tests.recipes import Seen

        def stop(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(StageProgress, "on_step_end", stop)
        seen = Seen()
        with pytest.raises(KeyboardInterrupt):
            run_recipes(load_recipes([recipes / "think-dpo.yaml"]), RunOptions(folder), seen)
        assert seen.notes[-1] == (
            "Stage 'think-dpo' was interrupted. The same command starts it again (it has no checkpoint yet)."
        )
        assert read_state(folder / "think-dpo")["status"] == "interrupted"


class TestRefused:
    def test_an_unknown_integration_before_anything_runs(self, runs, tmp_path):
        recipes, _ = runs
        with pytest.raises(InputError, match=r"--report-to: unknown integration 'wandbb': did you mean 'wandb'\?"):
            run_paths(recipes / "think-sft.yaml", tmp_path / "new", report_to="wandbb")
        assert not (tmp_path / "new").exists()

    def test_before_anything_runs(self, runs, tmp_path):
        recipes, _ = runs
        write_recipe(recipes, "think-rl", STAGES["think-rl"] | {"rewards": ["verifable"]})
        with pytest.raises(InputError, match=r"think-rl\.yaml, rewards: .*verifiable"):
            run_paths(recipes, tmp_path / "new")
        write_recipe(recipes, "think-rl", STAGES["think-rl"] | {"data": [{"file": "nothing.jsonl"}]})
        with pytest.raises(InputError, match=r"think-rl\.yaml, data: cannot read"):
            run_paths(recipes, tmp_path / "new")
        write_recipe(recipes, "think-rl", STAGES["think-rl"] | {"grpo": {"beta_": 1}})
        with pytest.raises(InputError, match=r"grpo: unknown key 'beta_': did you mean 'beta'"):
            run_paths(recipes, tmp_path / "new")
        assert not list(tmp_path.glob("new/*"))

    def test_a_circle(self, tmp_path):
        recipes = write_folder(tmp_path, "base")
        for name, parent in (("a", "b"), ("b", "c"), ("c", "a")):
            write_recipe(recipes, name, STAGES["think-sft"] | {"init_from": parent})
        with pytest.raises(InputError, match="round in a circle: a -> b -> c -> a"):
            order(load_recipes([recipes / "a.yaml"]), tmp_path)

    def test_two_of_one_name(self, runs):
        recipes, folder = runs
        write_recipe(recipes / "ablations", "think-rl", STAGES["think-rl"] | {"init_from": "../think-dpo"})
        with pytest.raises(InputError, match="Two recipes are called 'think-rl'"):
            order(load_recipes([recipes, recipes / "ablations"]), folder)

    def test_a_folder_that_is_somebody_elses(self, runs, tmp_path):
        recipes, _ = runs
        (tmp_path / "new" / "base").mkdir(parents=True)
        (tmp_path / "new" / "base" / "thesis.txt").write_text("x")
        with pytest.raises(InputError, match=r"base holds files that are no run of a recipe"):
            run_paths(recipes / "base.yaml", tmp_path / "new")
        assert (tmp_path / "new" / "base" / "thesis.txt").exists()

    def test_a_torn_state(self, runs):
        recipes, folder = runs
        (folder / "base" / "stage.json").write_text("{")
        with pytest.raises(InputError, match=r"stage\.json cannot be read .*move the folder"):
            run_paths(recipes / "base.yaml", folder)

    def test_a_stage_that_another_command_is_running(self, runs):
        import fcntl

        recipes, folder = runs
        with (folder / ".base.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(InputError, match="Another command is running the stage 'base'"):
                run_paths(recipes / "base.yaml", folder)
        assert run_paths(recipes / "base.yaml", folder).names == []

    def test_a_tokenizer_with_more_tokens_than_the_model(self, runs):
        recipes, folder = runs
        tokenizer = tiny_tokenizer()
        tokenizer.add_tokens([f"<{number}>" for number in range(9)])
        tokenizer.save_pretrained(recipes / "larger")
        write_recipe(recipes, "think-sft", STAGES["think-sft"] | {"tokenizer": "larger"})
        with pytest.raises(
            StageError, match=r"the tokenizer has \d+ tokens, the model .* only \d+: they do not go together"
        ):
            run_paths(recipes / "think-sft.yaml", folder)

    def test_a_model_that_is_not_to_be_had(self, tmp_path):
        recipes = write_folder(tmp_path / "recipes", "base")
        write_recipe(recipes, "base", {"model": "nobody/nothing"})
        with pytest.raises(StageError, match=r"Stage 'base' failed: .*'nobody/nothing' cannot be loaded here"):
            run_paths(recipes, tmp_path / "runs")


class TestSmoke:
    def test_everything_runs_in_two_short_steps(self, done, tmp_path):
        recipes, _, _ = done
        seen = run_paths(recipes, tmp_path / "runs", smoke=True)
        assert sorted(seen.names) == sorted(STAGES)
        assert {total for _, total, _ in seen.steps} == {2}
        for name in STAGES:
            state = read_state(tmp_path / "runs" / name)
            assert state["smoke"] is True
            assert state["status"] == "complete"
        assert not list(tmp_path.glob("runs/*/checkpoints/checkpoint-*"))
        measured = Ledger.of(tmp_path / "runs" / "think-sft").read().measurements[-1]
        assert len(measured.prompts.keys) == 4

    def test_it_is_not_taken_for_a_run(self, done, tmp_path):
        recipes, _, _ = done
        run_paths(recipes / "base.yaml", tmp_path / "runs", smoke=True)
        seen = run_paths(recipes / "base.yaml", tmp_path / "runs")
        assert seen.names == ["base"]
        assert "base: it was a smoke run; the earlier run is now" in seen.notes[0]


class TestReporting:
    def test_each_stage_has_a_wandb_run_of_its_own(self, done, tmp_path, wandb_folder):
        recipes, _, _ = done
        run_paths(recipes / "think-dpo.yaml", tmp_path / "runs", smoke=True, report_to="wandb")
        assert len(list(wandb_folder.glob("wandb/offline-run-*"))) == 3

    def test_a_line_of_figures(self, done):
        _, runs, _ = done
        measured = Ledger.of(runs / "think-sft").read().measurements[-1]
        text = summary(measured)
        ead = measured.metrics["ead"]
        assert f"EAD {ead.mean:.3f} ({100 * ead.retained:.0f}%)" in text
        assert f"{measured.validity.mean_length:.0f} tokens" in text

    def test_durations(self):
        assert [duration(s) for s in (0.4, 59.6, 200, 7500)] == ["0 s", "1 min 0 s", "3 min 20 s", "2 h 5 min"]

    def test_a_state_is_written_whole(self, tmp_path):
        write_state(tmp_path / "a", {"status": "running"})
        assert read_state(tmp_path / "a") == {"status": "running"}
        assert [path.name for path in (tmp_path / "a").iterdir()] == ["stage.json"]
