"""Preference tuning with TRL's DPO, counted from the model that an earlier stage started from.

    python examples/dpo.py --model runs/sft/merged --baseline runs/sft --report-to wandb

With ``--baseline`` the fractions retained count from that run's baseline, and ``divmon lineage runs/sft runs/dpo`` says
which stage took what; without it they count from the model before DPO.
"""

import argparse

import torch
from datasets import load_dataset
from peft import LoraConfig
from trl import DPOConfig, DPOTrainer

from divmon import DiversityCallback


def main() -> None:
    """Train, then print what the callback measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="Qwen/Qwen2.5-0.5B-Instruct", help="name or folder")
    parser.add_argument(
        "--dataset", default="trl-lib/ultrafeedback_binarized", help="name, or a folder: preference pairs"
    )
    parser.add_argument("--max-steps", type=int, default=300)
    parser.add_argument("--output-dir", default="runs/dpo")
    parser.add_argument("--report-to", default="none", help="wandb, tensorboard, mlflow, trackio or none")
    parser.add_argument("--baseline", help="an earlier divmon run, or a model's name")
    arguments = parser.parse_args()
    gpu = torch.cuda.is_available()

    # Choose: the same prompts and sampling as the run behind --baseline, or nothing can be compared; divmon says so.
    cost = {} if gpu else {"num_prompts": 8, "max_new_tokens": 40, "preset": "fast"}
    # Choose: what happens when a collapse is noticed: "save" a checkpoint, or "stop" training.
    callback = DiversityCallback(baseline=arguments.baseline, alert_below=0.7, on_alert="save", **cost)

    trainer = DPOTrainer(
        model=arguments.model,
        args=DPOConfig(
            output_dir=arguments.output_dir,
            max_steps=arguments.max_steps,
            learning_rate=5e-6,
            beta=0.1,  # a larger one keeps the model nearer to where it started
            per_device_train_batch_size=4,
            max_length=1024,
            logging_steps=10,
            report_to=arguments.report_to,
            use_cpu=not gpu,
            bf16=gpu,
        ),
        train_dataset=load_dataset(arguments.dataset, split="train"),
        peft_config=LoraConfig(r=16, target_modules="all-linear"),
        callbacks=[callback],
    )
    trainer.train()
    print(callback)


if __name__ == "__main__":
    main()
