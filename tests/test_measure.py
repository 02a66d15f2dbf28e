"""The same measurement without a trainer, with real encoders; other trainers than TRL's."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest
import torch
from transformers import Trainer, TrainingArguments

import divmon
from divmon import DiversityCallback, InputError, Ledger
from tests.test_callback import METRICS, SMALL, rows
from tests.tiny import HELD_OUT, tiny_llama, tiny_olmo3, tiny_tokenizer

OFFLINE = {"sentence_encoder": "all-MiniLM-L6-v2", "nli": "divmon/standin-nli-v1"}
SHORT = {"samples": 4, "max_new_tokens": 8}


def test_measure_with_real_encoders(tmp_path):
    model, tokenizer = tiny_olmo3(), tiny_tokenizer()
    first = divmon.measure(model, tokenizer, HELD_OUT, output_dir=tmp_path, **SHORT, **OFFLINE)
    with torch.no_grad():
        model.lm_head.weight[7] += 3  # one token crowds out the others
    later = divmon.measure(model, tokenizer, HELD_OUT, baseline=first, step=5, output_dir=tmp_path, **SHORT, **OFFLINE)
    assert set(first.metrics) == set(METRICS)
    assert 0 < first.metrics["sbert"].mean < 1
    assert 1 <= first.metrics["vendi"].mean <= 4
    for metric in METRICS:
        summary = later.metrics[metric]
        assert summary.retained == pytest.approx(summary.mean / first.metrics[metric].mean)
    record = Ledger.of(tmp_path).read()
    assert [m.step for m in record.measurements] == [0, 5]
    assert record.measurements[1] == later
    assert first.protocol["sentence_encoder"]["digest"].startswith("53aa5117")
    assert first.protocol["nli"]["name"] == "divmon/standin-nli-v1"


def test_the_completions_of_a_measurement_score_the_same(tmp_path):
    """The callback, a checkpoint and a file of texts meet at the completions."""
    measured = divmon.measure(tiny_olmo3(), tiny_tokenizer(), HELD_OUT, output_dir=tmp_path, **SHORT, **OFFLINE)
    from divmon.generations import read_generations

    (file,) = (tmp_path / "divmon" / "completions").iterdir()
    groups = [record.outputs for record in read_generations(file)]
    scores = divmon.score(groups, vocab_size=tiny_tokenizer().vocab_size, **OFFLINE)
    for metric in METRICS:
        assert scores.per_prompt[metric] == pytest.approx(list(measured.metrics[metric].per_prompt), nan_ok=True)


@pytest.mark.usefixtures("fake_encoders")
def test_other_encoders_are_never_compared(monkeypatch):
    from divmon import encoders
    from divmon.protocols import ModelIdentity
    from tests.fakes import FakeEncoder

    first = divmon.measure(tiny_llama(), tiny_tokenizer(), HELD_OUT, **SHORT)
    other = FakeEncoder()
    other.identity = ModelIdentity("fake/other", "2" * 64, "shipped")
    monkeypatch.setitem(vars(encoders), "load_sentence_encoder", lambda *_, **__: other)
    later = divmon.measure(tiny_llama(), tiny_tokenizer(), HELD_OUT, baseline=first, **SHORT)
    assert math.isnan(later.metrics["sbert"].retained)
    assert math.isnan(later.metrics["vendi"].retained)
    assert later.metrics["ead"].retained == later.metrics["nli"].retained == 1.0


@pytest.mark.usefixtures("fake_encoders")
def test_an_open_think_block_is_no_answer():
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    template = tokenizer.chat_template.replace("<|assistant|>{% endif %}", "<|assistant|><think>{% endif %}")
    measured = divmon.measure(model, tokenizer, HELD_OUT, chat_template=template, **SHORT)
    # A random model hardly ever writes the closing tag.
    assert measured.validity.unclosed > 0.9
    assert measured.validity.unmeasured == 5
    suppressed = divmon.measure(model, tokenizer, HELD_OUT, chat_template=template, thinking="suppress", **SHORT)
    assert suppressed.validity.unclosed < 0.1
    assert suppressed.validity.unmeasured == 0


@pytest.mark.usefixtures("fake_encoders")
def test_full_thinking_has_a_budget_of_its_own():
    settings = {"thinking": "full", "max_think_tokens": 20, "samples": 4, "max_new_tokens": 8}
    measured = divmon.measure(tiny_llama(), tiny_tokenizer(), HELD_OUT, **settings)
    assert 8 < measured.validity.mean_length <= 28


def test_an_unknown_option_names_the_near_miss():
    with pytest.raises(InputError, match="Unknown option 'sample': did you mean 'samples'"):
        divmon.measure(tiny_llama(), tiny_tokenizer(), HELD_OUT, sample=4)


@pytest.mark.usefixtures("fake_encoders")
def test_a_plain_transformers_trainer(tmp_path):
    tokenizer = tiny_tokenizer(chat=False)
    texts = [tokenizer(f"the cat and the {word}")["input_ids"][:8] for word in ("sea", "sky", "map", "wind")]
    data = [{"input_ids": ids, "labels": ids} for ids in texts]
    trainer = Trainer(
        model=tiny_llama(),
        args=TrainingArguments(
            str(tmp_path), max_steps=2, per_device_train_batch_size=1, report_to="none", use_cpu=True, disable_tqdm=True
        ),
        train_dataset=data,
        processing_class=tokenizer,
        callbacks=[DiversityCallback(**SMALL)],
    )
    trainer.train()
    assert sorted(rows(trainer, "divmon/ead")) == [0, 1, 2]
    record = Ledger.of(tmp_path).read()
    assert record.measurements[0].prompts.source == "bundled"


@pytest.mark.usefixtures("fake_encoders")
def test_encoders_rest_off_the_gpu_between_measurements(monkeypatch):
    """What an encoder takes of a GPU's memory is the training's again when the measurement is over."""
    from divmon import encoders
    from tests.fakes import FakeEncoder

    class Movable(FakeEncoder):
        places: ClassVar[list[str]] = []

        def to(self, device):
            self.places.append(device)
            return self

        def encode(self, texts):
            self.places.append("encode")
            return super().encode(texts)

    monkeypatch.setitem(vars(encoders), "load_sentence_encoder", lambda *_, **__: Movable())
    divmon.measure(tiny_llama(), tiny_tokenizer(), HELD_OUT, encoder_device="cuda", **SHORT)
    assert Movable.places == ["cuda", "encode", "cpu"]
