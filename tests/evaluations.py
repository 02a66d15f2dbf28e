"""A folder of tiny models, and requests to evaluate them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from divmon.evaluation import Request, Subject
from divmon.options import MonitorOptions
from tests.tiny import tiny_llama, tiny_tokenizer

THINKING = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)


def save_models(folder: Path) -> Path:
    """Folders: ``base`` and ``other`` (chat), ``plain`` (no template), ``thinker`` (opens a block), ``lora``."""
    for name, seed, tokenizer in (
        ("base", 0, tiny_tokenizer()),
        ("other", 1, tiny_tokenizer()),
        ("plain", 0, tiny_tokenizer(chat=False)),
        ("thinker", 0, tiny_tokenizer()),
    ):
        if name == "thinker":
            tokenizer.chat_template = THINKING
        tiny_llama(seed).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    model = tiny_llama()
    model.name_or_path = str(folder / "base")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.5)
    adapted.save_pretrained(folder / "lora")
    return folder


OPTIONS: dict[str, Any] = {"samples": 3, "seed": 4, "metrics": ("ead", "sbert")}


def request(
    output_dir: Path, *models: Path | Subject, options: dict[str, Any] | None = None, **changes: Any
) -> Request:
    """A request of a few short completions of two tasks' samples."""
    subjects = tuple(one if isinstance(one, Subject) else Subject.of(str(one)) for one in models)
    given = {"tasks": "gsm8k:sample,truthfulqa:sample", "per_task": 5, "max_new_tokens": 10} | changes
    return Request(subjects, output_dir, MonitorOptions.of(OPTIONS | (options or {})), **given)
