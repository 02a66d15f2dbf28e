"""Supervised fine-tuning with TRL, with output diversity beside the loss.

    python examples/sft.py --model Qwen/Qwen2.5-0.5B --dataset trl-lib/Capybara --report-to wandb

The last lines say what is left of the diversity that the model began with, and where the records are.
"""

import argparse

import torch
from datasets import load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from divmon import DiversityCallback


def main() -> None:
    """Train, then print what the callback measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="Qwen/Qwen2.5-0.5B", help="name or folder")
    parser.add_argument("--dataset", default="trl-lib/Capybara", help="name, or a folder with train.jsonl: 'messages'")
    parser.add_argument("--max-steps", type=int, default=500)
    parser.add_argument("--output-dir", default="runs/sft")
    parser.add_argument("--report-to", default="none", help="wandb, tensorboard, mlflow, trackio or none")
    arguments = parser.parse_args()
    gpu = torch.cuda.is_available()

    # Choose: what a measurement may cost. The default is 32 prompts x 16 completions x 128 tokens, which needs a GPU.
    # The prompts are your evaluation set's where you pass one, else bundled ones; a later stage that counts from this
    # one needs the same.
    cost = {} if gpu else {"num_prompts": 8, "max_new_tokens": 40, "preset": "fast"}
    callback = DiversityCallback(**cost)

    trainer = SFTTrainer(
        model=arguments.model,
        args=SFTConfig(
            output_dir=arguments.output_dir,
            max_steps=arguments.max_steps,
            learning_rate=2e-4,
            per_device_train_batch_size=8,
            max_length=1024,
            logging_steps=10,
            report_to=arguments.report_to,
            use_cpu=not gpu,
            bf16=gpu,
        ),
        train_dataset=load_dataset(arguments.dataset, split="train"),
        # With LoRA the base model is at hand, so its likelihood of the completions is recorded: the best sign of rot.
        peft_config=LoraConfig(r=16, target_modules="all-linear"),
        callbacks=[callback],
    )
    trainer.train()
    trainer.model.merge_and_unload().save_pretrained(f"{arguments.output_dir}/merged")  # what dpo.py goes on from
    trainer.processing_class.save_pretrained(f"{arguments.output_dir}/merged")
    print(callback)


if __name__ == "__main__":
    main()
