"""A monitored training run for several processes; writes what each of them saw.

torchrun --standalone --nproc-per-node=2 tests/scripts/train_two.py FOLDER LEARNING_RATE [FAULT]

FAULT is what fails on the first process only: ``prompts``, ``disk`` or ``scoring``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback
from trl import SFTConfig, SFTTrainer

from divmon import DiversityCallback, Ledger, encoders
from divmon.scoring import Scorer
from tests.fakes import FakeEncoder, FakeNli
from tests.tiny import held_out_chats, sft_dataset, tiny_llama, tiny_tokenizer

vars(encoders)["load_sentence_encoder"] = lambda *_, **__: FakeEncoder()
vars(encoders)["load_nli"] = lambda *_, **__: FakeNli()


FAULT = sys.argv[3] if len(sys.argv) > 3 else ""


def broken(*_: Any, **__: Any) -> None:
    """What fails."""
    raise OSError(28, "No space left on device")


def break_first(trainer: SFTTrainer) -> None:
    """Plant the fault on the first process."""
    if FAULT == "prompts":
        trainer.train_dataset.__class__.select_columns = broken
    elif FAULT == "disk":
        Ledger.append = broken
    elif FAULT == "scoring":
        Scorer.score = broken


def main(folder: Path) -> None:
    """Train four steps with a measurement at each evaluation."""
    callback = DiversityCallback(num_prompts=5, samples=3, max_new_tokens=6, strict=not FAULT)
    trainer = SFTTrainer(
        model=tiny_llama(),
        args=SFTConfig(
            output_dir=str(folder),
            max_steps=4,
            per_device_train_batch_size=2,
            learning_rate=float(sys.argv[2]),
            logging_steps=1,
            eval_strategy="steps",
            eval_steps=2,
            save_strategy="no",
            metric_for_best_model="divmon/ead_retained",
            greater_is_better=True,
            report_to="none",
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
            max_length=64,
        ),
        train_dataset=sft_dataset(),
        eval_dataset=held_out_chats(),
        processing_class=tiny_tokenizer(),
        callbacks=[EarlyStoppingCallback(10), callback],
    )
    if FAULT and trainer.accelerator.process_index == 0:
        break_first(trainer)
    trainer.train()
    seen = {
        "processes": trainer.accelerator.num_processes,
        "history": [row for row in trainer.state.log_history if "divmon/ead" in row],
        "per_prompt": [list(m.metrics["ead"].per_prompt) for m in callback.measurements],
        "layout": callback.measurements[0].provenance["layout"] if callback.measurements else None,
        "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row],
    }
    (folder / f"seen-{trainer.accelerator.process_index}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
