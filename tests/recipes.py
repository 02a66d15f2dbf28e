"""A folder of recipes for tiny models, with its data in JSONL files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from divmon.recipes.options import RunOptions
from divmon.recipes.recipe import load_recipes
from divmon.recipes.run import run_recipes
from tests.tiny import HELD_OUT, OLMO3_LAYERS, SIZES, dpo_dataset, grpo_dataset, sft_dataset, tiny_tokenizer

ARCHITECTURE = {"model_type": "olmo3"} | SIZES | OLMO3_LAYERS
# A constant rate: with a decaying one, a step too many would change nothing.
TRAINING = {
    "max_steps": 4,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-2,
    "lr_scheduler_type": "constant",
    "logging_steps": 1,
    "gradient_checkpointing": False,
    "save_strategy": "steps",
    "save_steps": 2,
}
MONITOR = {
    "prompts": "prompts.jsonl",
    "samples": 3,
    "max_new_tokens": 6,
    "metrics": ["ead", "sbert"],
    "every_n_steps": 100,
}
# Spread among random completions, which no verifier of answers would give.
REWARDS = [{"length": {"max_length": 9, "margin": 9}}]

STAGES: dict[str, dict[str, Any]] = {
    "base": {
        "description": "pretraining",
        "architecture": ARCHITECTURE,
        "tokenizer": "tokenizer",
        "data": [{"file": "text.jsonl"}],
        "sft": TRAINING | {"packing": True, "packing_strategy": "wrapped", "max_length": 32},
    },
    "think-sft": {
        "description": "chats",
        "init_from": "base",
        "data": [{"file": "chats.jsonl"}],
        "sft": TRAINING | {"max_length": 64, "assistant_only_loss": True},
    },
    "think-dpo": {
        "init_from": "think-sft",
        "data": [{"file": "pairs.jsonl"}],
        "dpo": TRAINING | {"max_length": 64, "loss_type": ["sigmoid_norm"], "beta": 5.0},
    },
    "think-rl": {
        "init_from": "think-dpo",
        "data": [{"file": "questions.jsonl"}],
        "grpo": TRAINING | {"max_completion_length": 8, "num_generations": 4},
        "rewards": REWARDS,
    },
    "rl-zero-math": {
        "init_from": "base",
        "data": [{"file": "questions.jsonl"}],
        "grpo": TRAINING | {"max_completion_length": 8, "num_generations": 4, "beta": 0.04},
        "rewards": REWARDS,
    },
    "lora-sft": {
        "init_from": "base",
        "data": [{"file": "chats.jsonl"}],
        "sft": TRAINING | {"max_length": 64},
        "lora": {"r": 4, "target_modules": "all-linear"},
    },
    "think-sft-again": {"init_from": "think-sft"},
}


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """A JSONL file."""
    path.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows), encoding="utf-8")


def write_recipe(folder: Path, name: str, content: Mapping[str, Any]) -> Path:
    """A recipe's file; without a monitor of its own it has the tiny one."""
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    monitor = MONITOR if (path.parent / "prompts.jsonl").exists() else MONITOR | {"prompts": "../prompts.jsonl"}
    path.write_text(yaml.safe_dump({"monitor": monitor} | dict(content), sort_keys=False), encoding="utf-8")
    return path


def write_folder(folder: Path, *names: str) -> Path:
    """The named recipes of ``STAGES`` (default: all), the data and the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    chats = sft_dataset(32)
    write_rows(folder / "chats.jsonl", chats)
    write_rows(
        folder / "text.jsonl",
        [{"text": " ".join(turn["content"] for turn in row["messages"])} for row in sft_dataset(64)],
    )
    write_rows(folder / "pairs.jsonl", dpo_dataset())
    write_rows(folder / "questions.jsonl", grpo_dataset())
    write_rows(folder / "prompts.jsonl", [{"prompt": text} for text in HELD_OUT])
    tiny_tokenizer().save_pretrained(folder / "tokenizer")
    for name in names or STAGES:
        write_recipe(folder, name, STAGES[name])
    return folder


class Seen:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str]] = []
        self.steps: list[tuple[int, int, dict[str, float]]] = []
        self.ended: list[tuple[str, str]] = []
        self.notes: list[str] = []

    def begin(self, name: str, number: int, count: int, text: str) -> None:
        self.begun.append((name, text))

    def step(self, done: int, total: int, values: Mapping[str, float]) -> None:
        self.steps.append((done, total, dict(values)))

    def activity(self, text: str) -> None:
        pass

    def end(self, name: str, text: str) -> None:
        self.ended.append((name, text))

    def note(self, text: str) -> None:
        self.notes.append(text)

    @property
    def names(self) -> list[str]:
        """What ran."""
        return [name for name, _ in self.begun]


def run_paths(paths: Path | list[Path], output_dir: Path, **options: Any) -> Seen:
    """Run recipes; what was reported."""
    seen = Seen()
    given = paths if isinstance(paths, list) else [paths]
    run_recipes(load_recipes(given), RunOptions(output_dir, **options), seen)
    return seen


def weights(folder: Path) -> bytes:
    """A stage's trained weights."""
    return (folder / "model" / "model.safetensors").read_bytes()
