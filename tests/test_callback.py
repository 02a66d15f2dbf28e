"""The callback on real trainers: what it logs, when, and that training does not notice."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from divmon import DiversityCallback, Ledger
from divmon.errors import InputError
from divmon.trainer import seam
from tests.tiny import (
    HELD_OUT,
    dpo_dataset,
    grpo_dataset,
    held_out_chats,
    length_reward,
    sft_dataset,
    tiny_llama,
    tiny_tokenizer,
)

pytestmark = pytest.mark.usefixtures("fake_encoders")

METRICS = ("ead", "sbert", "nli", "vendi")
KEYS = {
    f"divmon/{key}"
    for key in (*METRICS, *(f"{m}_retained" for m in METRICS), "entropy", "truncated", "repeated", "seconds")
}
# transformers 5.23 renamed it.
_CHECKPOINTING = next(n for n in ("activation_checkpointing", "gradient_checkpointing") if hasattr(SFTConfig, n))
SMALL: dict[str, Any] = {"num_prompts": 3, "samples": 3, "max_new_tokens": 6}
COMMON: dict[str, Any] = {
    "max_steps": 4,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-2,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "disable_tqdm": True,
    _CHECKPOINTING: False,
    "seed": 3,
}


def sft(tmp_path: Path, callbacks=(), eval_dataset=None, train_dataset=None, peft_config=None, model=None, **settings):
    return SFTTrainer(
        model=model or tiny_llama(),
        args=SFTConfig(output_dir=str(tmp_path), **(COMMON | {"max_length": 64} | settings)),
        train_dataset=train_dataset or sft_dataset(),
        eval_dataset=eval_dataset,
        processing_class=tiny_tokenizer(),
        callbacks=list(callbacks),
        peft_config=peft_config,
    )


def dpo(tmp_path: Path, callbacks=(), peft_config=None, **settings):
    return DPOTrainer(
        model=tiny_llama(),
        ref_model=None if peft_config else tiny_llama(),
        peft_config=peft_config,
        args=DPOConfig(output_dir=str(tmp_path), **(COMMON | {"max_length": 64} | settings)),
        train_dataset=dpo_dataset(),
        eval_dataset=dpo_dataset(HELD_OUT),
        processing_class=tiny_tokenizer(),
        callbacks=list(callbacks),
    )


def grpo(tmp_path: Path, callbacks=(), peft_config=None, **settings):
    return GRPOTrainer(
        model=tiny_llama(),
        peft_config=peft_config,
        args=GRPOConfig(
            output_dir=str(tmp_path), **(COMMON | {"max_completion_length": 8, "num_generations": 4} | settings)
        ),
        reward_funcs=length_reward,
        train_dataset=grpo_dataset(),
        eval_dataset=grpo_dataset(HELD_OUT),
        processing_class=tiny_tokenizer(),
        callbacks=list(callbacks),
    )


TRAINERS = {"sft": sft, "dpo": dpo, "grpo": grpo}


def trained(trainer):
    """Trained at once: the constructor seeds the global generators, so a second one in between would change them."""
    trainer.train()
    return trainer


def rows(trainer, key: str) -> dict[int, float]:
    return {row["step"]: row[key] for row in trainer.state.log_history if key in row}


def weights(trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


class TestLogging:
    @pytest.mark.parametrize("kind", TRAINERS)
    @pytest.mark.parametrize("added", [False, True])
    def test_no_argument_is_needed(self, kind, added, tmp_path):
        callback = DiversityCallback(**SMALL)
        trainer = TRAINERS[kind](tmp_path, [] if added else [callback], max_steps=2)
        if added:
            trainer.add_callback(callback)
        trainer.train()
        for key in KEYS:
            assert sorted(rows(trainer, key)) == [0, 1, 2], key
        assert rows(trainer, "divmon/sbert_retained")[0] == 1.0
        assert [m.step for m in callback.measurements] == [0, 1, 2]

    def test_loss_rows_and_buffered_metrics_stay(self, tmp_path):
        plain = trained(sft(tmp_path / "a"))
        watched = trained(sft(tmp_path / "b", [DiversityCallback(every_n_steps=1, **SMALL)]))

        def own(trainer):
            drop = ("runtime", "per_second")
            found = [row for row in trainer.state.log_history if not any(k.startswith("divmon/") for k in row)]
            return [{k: v for k, v in row.items() if not any(word in k for word in drop)} for row in found]

        assert own(watched) == own(plain)
        assert sorted(rows(watched, "loss")) == [1, 2, 3, 4]
        assert len(rows(watched, "divmon/ead")) == 5

    def test_default_cadence_is_a_tenth_of_the_run(self, tmp_path):
        trainer = sft(tmp_path, [DiversityCallback(**SMALL)], max_steps=20)
        trainer.train()
        assert sorted(rows(trainer, "divmon/ead")) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]

    def test_default_cadence_is_eval_steps(self, tmp_path):
        trainer = sft(
            tmp_path, [DiversityCallback(**SMALL)], held_out_chats(), max_steps=5, eval_strategy="steps", eval_steps=2
        )
        trainer.train()
        assert sorted(rows(trainer, "divmon/ead")) == [0, 2, 4, 5]

    def test_a_run_that_another_callback_stops_is_measured_at_its_end(self, tmp_path):
        class Stop(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):
                control.should_training_stop = state.global_step == 3

        trainer = sft(tmp_path, [DiversityCallback(every_n_steps=2, **SMALL), Stop()])
        trainer.train()
        assert sorted(rows(trainer, "divmon/ead")) == [0, 2, 3]

    def test_peft_records_the_base_likelihood(self, tmp_path):
        callback = DiversityCallback(**SMALL)
        trainer = sft(tmp_path, [callback], peft_config=LoraConfig(r=4, target_modules="all-linear"), learning_rate=0.1)
        trainer.train()
        first, last = callback.measurements[0].validity, callback.measurements[-1].validity
        # Before training the adapter is zero, so both are the likelihood of the same tokens but over two samples a
        # prompt against three.
        assert first.base_logprob == pytest.approx(first.logprob, abs=0.5)
        assert last.base_logprob < last.logprob


class TestTrainingIsLeftAlone:
    @pytest.mark.parametrize("checkpointing", [False, True])
    @pytest.mark.parametrize("kind", TRAINERS)
    def test_losses_and_weights_are_bit_identical(self, kind, checkpointing, tmp_path):
        settings = {_CHECKPOINTING: checkpointing}
        plain = trained(TRAINERS[kind](tmp_path / "a", **settings))
        watched = TRAINERS[kind](tmp_path / "b", [DiversityCallback(every_n_steps=1, **SMALL)], **settings)
        tokenizer = watched.processing_class
        attributes = (tokenizer.padding_side, tokenizer.pad_token, tokenizer.truncation_side)
        watched.train()
        assert list(rows(watched, "loss").items()) == list(rows(plain, "loss").items())
        assert len(rows(plain, "loss")) == 4
        ours = weights(watched)
        assert all(torch.equal(tensor, ours[name]) for name, tensor in weights(plain).items())
        assert (tokenizer.padding_side, tokenizer.pad_token, tokenizer.truncation_side) == attributes
        assert len(rows(watched, "divmon/ead")) == 5

    @pytest.mark.parametrize("kind", TRAINERS)
    def test_peft_too(self, kind, tmp_path):
        def make(name, callbacks):
            config = LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.2, modules_to_save=["lm_head"])
            extra = {"beta": 0.1} if kind != "sft" else {}  # with a reference: TRL's second, frozen adapter
            return TRAINERS[kind](tmp_path / name, callbacks, peft_config=config, **extra)

        plain = trained(make("a", []))
        watched = make("b", [DiversityCallback(every_n_steps=1, **SMALL)])
        trainable = {name for name, parameter in watched.model.named_parameters() if parameter.requires_grad}
        watched.train()
        assert list(rows(watched, "loss").items()) == list(rows(plain, "loss").items())
        ours = weights(watched)
        assert all(torch.equal(tensor, ours[name]) for name, tensor in weights(plain).items())
        assert {name for name, p in watched.model.named_parameters() if p.requires_grad} == trainable
        assert len(rows(watched, "divmon/ead")) == 5

    def test_the_comparison_can_fail(self, tmp_path):
        """A callback that draws from the global generator changes the losses: dropout is really on."""

        class Careless(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):
                torch.rand(1)

        plain, careless = trained(sft(tmp_path / "a")), trained(sft(tmp_path / "b", [Careless()]))
        assert rows(plain, "loss")[1] == rows(careless, "loss")[1]
        assert rows(plain, "loss")[2] != rows(careless, "loss")[2]

    def test_a_null_run_reads_exactly_one(self, tmp_path):
        callback = DiversityCallback(every_n_steps=1, **SMALL)
        sft(tmp_path, [callback], learning_rate=0.0).train()
        for measurement in callback.measurements:
            for metric in METRICS:
                summary = measurement.metrics[metric]
                assert summary.per_prompt == callback.measurements[0].metrics[metric].per_prompt
                assert (summary.retained, summary.retained_interval) == (1.0, (1.0, 1.0))


class TestEvaluation:
    def test_keeps_the_best_checkpoint_by_a_retained_fraction(self, tmp_path):
        callback = DiversityCallback(**SMALL)
        trainer = sft(
            tmp_path,
            [callback],
            held_out_chats(),
            max_steps=6,
            learning_rate=5e-2,
            eval_strategy="steps",
            eval_steps=2,
            save_strategy="steps",
            save_steps=2,
            load_best_model_at_end=True,
            metric_for_best_model="divmon/ead_retained",
            greater_is_better=True,
        )
        trainer.train()
        measured = {m.step: m.metrics["ead"].retained for m in callback.measurements if m.step}
        assert sorted(measured) == [2, 4, 6]
        assert len(set(measured.values())) == 3
        best = max(measured, key=lambda step: measured[step])
        assert trainer.state.best_metric == measured[best]
        assert trainer.state.best_model_checkpoint == str(tmp_path / f"checkpoint-{best}")
        # The best model is loaded now, and an evaluation says what was measured of it.
        assert trainer.evaluate()["eval_divmon/ead_retained"] == measured[best]

    def test_every_evaluation_has_every_key(self, tmp_path, monkeypatch):
        callback = DiversityCallback(**SMALL)
        trainer = sft(tmp_path, [callback], held_out_chats(), eval_strategy="steps", eval_steps=1, max_steps=2)
        seen = []
        monkeypatch.setattr(trainer, "_determine_best_metric", lambda metrics, trial: seen.append(metrics) or False)
        trainer.train()
        assert len(seen) == 2
        for metrics in seen:
            assert {f"eval_{key}" for key in KEYS} <= set(metrics)

    def test_a_failed_measurement_still_has_every_key(self, tmp_path, monkeypatch, caplog):
        monkeypatch.setattr("divmon.monitor.sample", fail)
        trainer = sft(tmp_path, [DiversityCallback(**SMALL)], held_out_chats())
        metrics = trainer.evaluate()
        assert {f"eval_{key}" for key in KEYS} <= set(metrics)
        assert all(math.isnan(metrics[f"eval_{key}"]) for key in KEYS)

    def test_goes_ahead_of_early_stopping(self, tmp_path):
        class Watch(EarlyStoppingCallback):
            seen: ClassVar[list[float]] = []

            def on_evaluate(self, args, state, control, metrics, **kwargs):
                self.seen.append(metrics["eval_divmon/ead"])
                super().on_evaluate(args, state, control, metrics, **kwargs)

        trainer = sft(
            tmp_path,
            [Watch(early_stopping_patience=1)],
            held_out_chats(),
            max_steps=6,
            learning_rate=0.0,
            eval_strategy="steps",
            eval_steps=1,
            metric_for_best_model="divmon/ead_retained",
            greater_is_better=True,
        )
        trainer.add_callback(DiversityCallback(**SMALL))
        trainer.train()
        # At a learning rate of 0 nothing improves: the first evaluation is the best, the second stops the run.
        assert trainer.state.global_step == 2
        assert len(Watch.seen) == 2

    def test_plateau_scheduler_reads_a_retained_fraction(self, tmp_path):
        trainer = sft(
            tmp_path,
            [DiversityCallback(**SMALL)],
            held_out_chats(),
            lr_scheduler_type="reduce_lr_on_plateau",
            eval_strategy="steps",
            eval_steps=1,
            metric_for_best_model="divmon/ead_retained",
            greater_is_better=True,
        )
        trainer.train()
        assert trainer.lr_scheduler.best == min(v for s, v in rows(trainer, "divmon/ead_retained").items() if s)

    def test_a_bare_evaluation_makes_the_baseline(self, tmp_path):
        callback = DiversityCallback(**SMALL)
        trainer = sft(tmp_path, [callback], held_out_chats(), max_steps=2)
        assert trainer.evaluate()["eval_divmon/vendi_retained"] == 1.0
        first = callback.measurements[0]
        trainer.train()
        assert callback.measurements[0] is first
        assert sorted(rows(trainer, "divmon/ead")) == [1, 2]

    def test_eval_on_start_makes_the_baseline(self, tmp_path):
        trainer = sft(
            tmp_path,
            [DiversityCallback(**SMALL)],
            held_out_chats(),
            max_steps=2,
            eval_on_start=True,
            eval_strategy="steps",
        )
        trainer.train()
        assert [row["step"] for row in trainer.state.log_history if "divmon/ead" in row] == [0, 1, 2]

    def test_grpo_evaluation(self, tmp_path):
        trainer = grpo(tmp_path, [DiversityCallback(**SMALL)], eval_strategy="steps", eval_steps=2)
        trainer.train()
        assert sorted(rows(trainer, "divmon/ead")) == [0, 2, 4]
        assert sorted(rows(trainer, "eval_reward")) == [2, 4]


def fail(*_: Any, **__: Any):
    raise RuntimeError("no luck")


class TestResume:
    def train_twice(self, tmp_path, first_steps=4, steps=6, **settings):
        settings = {"save_strategy": "steps", "save_steps": 2} | settings
        one = DiversityCallback(every_n_steps=2, **SMALL)
        sft(tmp_path, [one], max_steps=first_steps, **settings).train()
        two = DiversityCallback(every_n_steps=2, **SMALL)
        trainer = sft(tmp_path, [two], max_steps=steps, **settings)
        return one, two, trainer

    def test_keeps_run_and_baseline(self, tmp_path):
        one, two, trainer = self.train_twice(tmp_path)
        trainer.train(resume_from_checkpoint=True)
        assert [m.step for m in two.measurements] == [0, 2, 4, 6]
        assert two.measurements[0] == one.measurements[0]
        assert len({m.run_id for m in two.measurements}) == 1
        record = Ledger.of(tmp_path).read()
        assert [m.step for m in record.measurements] == [0, 2, 4, 6]
        assert record.measurements[-1].baseline["step"] == 0
        kinds = [line["kind"] for line in Ledger.of(tmp_path).records() if line["kind"] != "alert"]
        assert kinds == ["run", "measurement", "measurement", "measurement", "resume", "measurement"]

    def test_from_an_older_checkpoint_the_abandoned_branch_is_passed_over(self, tmp_path):
        _, two, trainer = self.train_twice(tmp_path, first_steps=6, steps=6)
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
        assert [m.step for m in two.measurements] == [0, 2, 4, 6]
        lines = [line for line in Ledger.of(tmp_path).records() if line["kind"] == "measurement"]
        assert [line["step"] for line in lines] == [0, 2, 4, 6, 4, 6]
        assert [m.step for m in Ledger.of(tmp_path).read().measurements] == [0, 2, 4, 6]

    def test_a_fresh_start_moves_the_old_ledger_aside(self, tmp_path):
        one, two, trainer = self.train_twice(tmp_path)
        trainer.train()
        old = one.measurements[0].run_id
        assert (tmp_path / "divmon" / "earlier" / old / "measurements.jsonl").is_file()
        assert len(list((tmp_path / "divmon" / "earlier" / old / "completions").iterdir())) == 3
        assert two.measurements[0].run_id != old

    def test_without_the_ledger_it_says_so(self, tmp_path, caplog):
        _, two, trainer = self.train_twice(tmp_path)
        (tmp_path / "divmon" / "measurements.jsonl").unlink()
        trainer.train(resume_from_checkpoint=True)
        assert "holds no run to go on with" in caplog.text
        assert [m.step for m in two.measurements] == [4, 6]


class TestBaseline:
    def test_of_another_run(self, tmp_path):
        first = DiversityCallback(**SMALL)
        sft(tmp_path / "sft", [first], held_out_chats(), max_steps=2).train()
        second = DiversityCallback(baseline=tmp_path / "sft", **SMALL)
        sft(tmp_path / "next", [second], held_out_chats(), max_steps=2, model=tiny_llama(1)).train()
        before = first.measurements[0].metrics["ead"].mean
        for measurement in second.measurements:
            summary = measurement.metrics["ead"]
            assert summary.retained == pytest.approx(summary.mean / before)
        assert second.measurements[0].baseline["run_id"] == first.measurements[0].run_id
        assert Ledger.of(tmp_path / "next").read().baseline.metrics == first.measurements[0].metrics

    def test_of_a_model(self, tmp_path):
        tiny_llama(5).save_pretrained(tmp_path / "base")
        callback = DiversityCallback(baseline=str(tmp_path / "base"), **SMALL)
        sft(tmp_path / "run", [callback], max_steps=1).train()
        assert callback.measurements[0].metrics["ead"].retained != 1.0
        assert Ledger.of(tmp_path / "run").read().baseline.kind == "baseline"

    def test_adapter_off(self, tmp_path):
        plain = DiversityCallback(**SMALL)
        config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
        sft(tmp_path / "plain", [plain], max_steps=1).train()
        callback = DiversityCallback(baseline="adapter-off", **SMALL)
        trainer = sft(tmp_path / "run", [callback], max_steps=1, peft_config=config)
        trainer.train()
        baseline = Ledger.of(tmp_path / "run").read().baseline
        assert baseline.metrics["ead"].per_prompt == plain.measurements[0].metrics["ead"].per_prompt
        assert callback.measurements[0].metrics["ead"].retained != 1.0

    def test_other_prompts_are_not_compared(self, tmp_path, caplog):
        sft(tmp_path / "sft", [DiversityCallback(**SMALL)], held_out_chats(), max_steps=1).train()
        callback = DiversityCallback(["one", "two"], baseline=tmp_path / "sft", **SMALL)
        trainer = sft(tmp_path / "next", [callback], max_steps=1)
        trainer.train()
        assert "cannot be compared with the baseline: different prompts" in caplog.text
        assert math.isnan(callback.measurements[-1].metrics["ead"].retained)
        assert not rows(trainer, "divmon/ead_retained")

    def test_a_missing_baseline_is_one_warning(self, tmp_path, caplog):
        callback = DiversityCallback(baseline=str(tmp_path / "nowhere"), **SMALL)
        sft(tmp_path / "run", [callback], max_steps=1).train()
        assert "is neither a divmon run nor a model that can be loaded" in caplog.text
        assert callback.measurements == []


class TestOrders:
    """Events in unusual orders."""

    def test_one_callback_on_two_trainers(self, tmp_path):
        callback = DiversityCallback(**SMALL)
        trained(sft(tmp_path / "a", [callback], held_out_chats(), max_steps=1))
        other = sft(tmp_path / "b", [callback], held_out_chats(), model=tiny_llama(9))
        alone = DiversityCallback(**SMALL)
        expected = sft(tmp_path / "c", [alone], held_out_chats(), model=tiny_llama(9)).evaluate()
        assert other.evaluate()["eval_divmon/entropy"] == expected["eval_divmon/entropy"]

    def test_a_bare_evaluation_does_not_touch_a_run_that_is_resumed_next(self, tmp_path):
        settings = {"save_strategy": "steps", "save_steps": 2}
        first = DiversityCallback(every_n_steps=2, **SMALL)
        sft(tmp_path, [first], held_out_chats(), max_steps=2, **settings).train()
        second = DiversityCallback(every_n_steps=2, **SMALL)
        trainer = sft(tmp_path, [second], held_out_chats(), max_steps=4, **settings)
        trainer.evaluate()
        assert Ledger.of(tmp_path).read().run_id == first.measurements[0].run_id
        trainer.train(resume_from_checkpoint=True)
        assert [m.step for m in second.measurements] == [0, 2, 4]
        assert second.measurements[0].run_id == first.measurements[0].run_id

    def test_a_bare_evaluation_before_a_fresh_start_in_a_used_folder(self, tmp_path):
        trained(sft(tmp_path, [DiversityCallback(**SMALL)], held_out_chats(), max_steps=1))
        callback = DiversityCallback(**SMALL)
        trainer = sft(tmp_path, [callback], held_out_chats(), max_steps=1)
        trainer.evaluate()
        trainer.train()
        record = Ledger.of(tmp_path).read()
        assert record.run_id == callback.measurements[0].run_id
        assert [m.step for m in record.measurements] == [0, 1]
        assert len(list((tmp_path / "divmon" / "earlier").iterdir())) == 1

    def test_a_run_that_could_not_begin_stays_unmonitored(self, tmp_path, caplog):
        callback = DiversityCallback(baseline="no/such-model", **SMALL)
        trainer = sft(tmp_path, [callback], held_out_chats(), max_steps=2, eval_strategy="steps", eval_steps=1)
        trainer.train()
        assert callback.measurements == []
        assert caplog.text.count("is neither a divmon run nor a model that can be loaded") == 1

    def test_resuming_with_a_mended_baseline(self, tmp_path):
        settings = {"save_strategy": "steps", "save_steps": 1}
        trained(sft(tmp_path / "base", [base := DiversityCallback(**SMALL)], held_out_chats(), max_steps=1))
        trained(sft(tmp_path / "run", [DiversityCallback(**SMALL)], held_out_chats(), max_steps=1, **settings))
        callback = DiversityCallback(baseline=tmp_path / "base", **SMALL)
        trainer = sft(tmp_path / "run", [callback], held_out_chats(), max_steps=2, **settings)
        trainer.train(resume_from_checkpoint=True)
        assert callback.measurements[-1].baseline["run_id"] == base.measurements[0].run_id

    def test_a_second_callback_stays_idle(self, tmp_path, caplog):
        one, two = DiversityCallback(**SMALL), DiversityCallback(HELD_OUT, **SMALL)
        trainer = sft(tmp_path, [one, two], held_out_chats(), max_steps=1, eval_strategy="steps")
        trainer.train()
        assert "already has a DiversityCallback" in caplog.text
        assert two.measurements == []
        assert len([row for row in trainer.state.log_history if "divmon/ead" in row]) == 2

    def test_it_does_not_keep_a_trainer_alive(self, tmp_path):
        import gc
        import weakref

        callback = DiversityCallback(**SMALL)
        trainer = trained(sft(tmp_path, [callback], max_steps=1))
        gone = weakref.ref(trainer)
        del trainer
        gc.collect()
        assert gone() is None
        assert len(callback.measurements) == 2

    def test_a_data_set_that_draws_random_numbers(self, tmp_path):
        class Noisy(torch.utils.data.Dataset):
            def __len__(self):
                return 16

            def __getitem__(self, index):
                ids = torch.randint(5, 300, (8,)).tolist()
                return {"input_ids": ids, "labels": ids}

        def run(name, callbacks):
            arguments = TrainingArguments(
                str(tmp_path / name), max_steps=3, logging_steps=1, report_to="none", use_cpu=True, disable_tqdm=True
            )
            model, tokenizer = tiny_llama(), tiny_tokenizer()
            return trained(
                Trainer(model, arguments, train_dataset=Noisy(), processing_class=tokenizer, callbacks=callbacks)
            )

        plain, watched = run("a", []), run("b", [DiversityCallback(every_n_steps=1, **SMALL)])
        assert rows(plain, "loss") == rows(watched, "loss")
        assert len(rows(watched, "divmon/ead")) == 4


class TestFailures:
    def test_a_model_of_nans_is_a_gap_and_no_collapse(self, tmp_path, caplog):
        model = tiny_llama()
        with torch.no_grad():
            model.lm_head.weight.fill_(math.nan)
        callback = DiversityCallback(**SMALL)
        sft(tmp_path, [callback], max_steps=1, model=model).train()
        assert callback.measurements == []
        assert "the model's logits are NaN or infinite" in caplog.text

    def test_becomes_a_warning_and_a_gap(self, tmp_path, monkeypatch, caplog):
        plain = trained(sft(tmp_path / "a"))
        monkeypatch.setattr("divmon.monitor.sample", fail)
        trainer = sft(tmp_path / "b", [DiversityCallback(every_n_steps=2, **SMALL)])
        with caplog.at_level(logging.WARNING):
            trainer.train()
        assert list(rows(trainer, "loss").items()) == list(rows(plain, "loss").items())
        assert caplog.text.count("was not measured; training goes on. RuntimeError: no luck") == 1
        gaps = Ledger.of(tmp_path / "b").read().gaps
        assert [(gap["step"], gap["error"]) for gap in gaps] == [
            (0, "RuntimeError: no luck"),
            (2, "RuntimeError: no luck"),
            (4, "RuntimeError: no luck"),
        ]

    def test_strict_raises(self, tmp_path, monkeypatch):
        monkeypatch.setattr("divmon.monitor.sample", fail)
        with pytest.raises(RuntimeError, match="no luck"):
            sft(tmp_path, [DiversityCallback(strict=True, **SMALL)]).train()

    def test_a_disk_that_refuses_costs_only_the_record(self, tmp_path, monkeypatch, caplog):
        def full(*_: Any, **__: Any):
            raise OSError(28, "No space left on device")

        trainer = sft(tmp_path, [callback := DiversityCallback(**SMALL)], max_steps=1)
        monkeypatch.setattr(Ledger, "append", full)
        trainer.train()
        assert "No space left on device" in caplog.text
        assert callback.measurements == [] or sorted(rows(trainer, "divmon/ead")) == [0, 1]

    def test_a_missing_encoder_costs_only_its_metrics(self, tmp_path, monkeypatch, caplog):
        from divmon import encoders
        from divmon.errors import ModelNotFoundError

        def missing(*_: Any, **__: Any):
            raise ModelNotFoundError("no encoder here: install one.")

        monkeypatch.setitem(vars(encoders), "load_sentence_encoder", missing)
        trainer = sft(tmp_path, [DiversityCallback(**SMALL)], max_steps=1)
        trainer.train()
        assert "sbert and vendi will not be measured. no encoder here" in caplog.text
        assert sorted(rows(trainer, "divmon/ead")) == [0, 1]
        assert sorted(rows(trainer, "divmon/nli")) == [0, 1]
        assert not rows(trainer, "divmon/sbert")

    def test_outside_of_a_trainer(self):
        with pytest.raises(seam.TrainerNotFoundError, match="found no trainer among its callers"):
            seam.find_trainer(DiversityCallback())

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ({"max_new_token": 5}, "Unknown option 'max_new_token': did you mean 'max_new_tokens'"),
            ({"every_n_steps": 0}, "every_n_steps: expected a whole number of at least 1"),
            ({"every_n_step": 3}, "Unknown option 'every_n_step': did you mean 'every_n_steps'"),
            ({"nli_pairs": 0}, "nli_pairs: expected a whole number of at least 1 or 'all'"),
            ({"samples": 4.0}, "samples: expected a whole number, got 4.0"),
            ({"temperature": "hot"}, "temperature: expected a number, got 'hot'"),
            ({"encoder_device": "gpu"}, "encoder_device: expected a torch device"),
            ({"metrics": ("bleu",)}, "metrics: expected some of ead, sbert, nli, vendi"),
            ({"prompts": []}, "No prompt in list"),
            ({"prompts": 5}, "prompts: expected a list of strings or chats"),
            ({"samples": 1}, "samples: expected at least 2"),
        ],
    )
    def test_bad_arguments(self, arguments, expected):
        with pytest.raises(InputError, match=expected):
            DiversityCallback(**arguments)


class TestAccuracy:
    """Prompts with a verifier: the columns `verifier` and `ground_truth` of an evaluation set, or of given prompts."""

    ROWS: ClassVar[list[dict[str, Any]]] = [
        {
            "prompt": [{"role": "user", "content": text}],
            "verifier": "constraints" if number < 4 else None,
            "ground_truth": '{"kind": "max_words", "count": 100}'
            if number % 2
            else '{"kind": "min_words", "count": 100}',
        }
        for number, text in enumerate(HELD_OUT)
    ]

    def test_of_the_evaluation_set(self, tmp_path):
        callback = DiversityCallback(num_prompts=5, samples=2, max_new_tokens=4)
        settings = {"eval_strategy": "steps", "eval_steps": 2}
        trainer = trained(
            GRPOTrainer(
                model=tiny_llama(),
                args=GRPOConfig(
                    output_dir=str(tmp_path), **(COMMON | {"max_completion_length": 8, "num_generations": 4} | settings)
                ),
                reward_funcs=length_reward,
                train_dataset=grpo_dataset(),
                eval_dataset=Dataset.from_list(self.ROWS),
                processing_class=tiny_tokenizer(),
                callbacks=[callback],
            )
        )
        assert rows(trainer, "divmon/accuracy") == {0: 0.5, 2: 0.5, 4: 0.5}
        assert trainer.evaluate()["eval_divmon/accuracy"] == 0.5

    def test_a_failed_measurement_has_the_key_in_an_evaluation(self, tmp_path, monkeypatch):
        callback = DiversityCallback(prompts=self.ROWS, **SMALL)
        trainer = sft(tmp_path, [callback], eval_dataset=held_out_chats())
        monkeypatch.setattr("divmon.monitor.Scorer", None)
        found = trainer.evaluate()
        assert math.isnan(found["eval_divmon/accuracy"])
        assert math.isnan(found["eval_divmon/ead"])
