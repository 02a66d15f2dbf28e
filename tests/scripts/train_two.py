"""A monitored training run for several processes; writes what each of them saw.

torchrun --standalone --nproc-per-node=2 tests/scripts/train_two.py FOLDER LEARNING_RATE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from transformers import EarlyStoppingCallback
from trl import SFTConfig, SFTTrainer

from divmon import DiversityCallback, encoders
from tests.fakes import FakeEncoder, FakeNli
from tests.tiny import held_out_chats, sft_dataset, tiny_llama, tiny_tokenizer

vars(encoders)["load_sentence_encoder"] = lambda *_, **__: FakeEncoder()
vars(encoders)["load_nli"] = lambda *_, **__: FakeNli()


def main(folder: Path) -> None:
    """Train four steps with a measurement at each evaluation."""
    callback = DiversityCallback(num_prompts=5, samples=3, max_new_tokens=6, strict=True)
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
    trainer.train()
    seen = {
        "processes": trainer.accelerator.num_processes,
        "history": [row for row in trainer.state.log_history if "divmon/ead" in row],
        "per_prompt": [list(m.metrics["ead"].per_prompt) for m in callback.measurements],
        "layout": callback.measurements[0].provenance["layout"],
    }
    (folder / f"seen-{trainer.accelerator.process_index}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
