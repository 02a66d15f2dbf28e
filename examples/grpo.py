"""RL with verifiable rewards (TRL's GRPO, without KL): accuracy and diversity of held-out problems side by side.

    python examples/grpo.py --model Qwen/Qwen2.5-0.5B-Instruct --report-to wandb

A policy that becomes right must lose the diversity of its wrong answers; accuracy tells that from mere narrowness.
"""

import argparse

import torch
from datasets import load_dataset
from peft import LoraConfig
from trl import GRPOConfig, GRPOTrainer

from divmon import DiversityCallback
from divmon.rewards import reward_functions


def main() -> None:
    """Train, then print what the callback measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="Qwen/Qwen2.5-0.5B-Instruct", help="name or folder")
    parser.add_argument("--dataset", default="trl-lib/DeepMath-103K", help="name, or a folder: 'prompt' and 'solution'")
    parser.add_argument("--max-steps", type=int, default=200)
    parser.add_argument("--output-dir", default="runs/grpo")
    parser.add_argument("--report-to", default="none", help="wandb, tensorboard, mlflow, trackio or none")
    arguments = parser.parse_args()
    gpu = torch.cuda.is_available()

    # Choose: how answers are checked. divmon's rewards and its accuracy read these two columns.
    data = load_dataset(arguments.dataset, split="train")
    data = data.map(lambda row: {"verifier": "math", "ground_truth": str(row["solution"])})
    parts = data.train_test_split(test_size=min(64, len(data) // 4), seed=0)
    rewards, weights = reward_functions(["verifiable"])
    # Choose: a limit that lets most answers end (see divmon/truncated), or torsos are measured.
    cost = {"max_new_tokens": 512} if gpu else {"num_prompts": 8, "max_new_tokens": 40, "preset": "fast"}
    callback = DiversityCallback(**cost)

    trainer = GRPOTrainer(
        model=arguments.model,
        reward_funcs=rewards,
        args=GRPOConfig(
            output_dir=arguments.output_dir,
            max_steps=arguments.max_steps,
            learning_rate=1e-5,
            per_device_train_batch_size=8,
            max_completion_length=cost["max_new_tokens"],
            reward_weights=weights,
            logging_steps=10,
            report_to=arguments.report_to,
            use_cpu=not gpu,
            bf16=gpu,
        ),
        train_dataset=parts["train"],
        eval_dataset=parts["test"],  # its prompts are the ones that are monitored
        peft_config=LoraConfig(r=16, target_modules="all-linear"),
        callbacks=[callback],
    )
    trainer.train()
    print(callback)


if __name__ == "__main__":
    main()
