"""Works recipes for a few steps at full size on a GPU, with random weights, and sets that beside the estimates.

``divmon recipe check`` estimates memory and hours; this measures what they are made of: the peak of the memory, seconds
of an optimizer step and of a decode step. The model has the published sizes, rows are as long as the recipe lets them
be, completions go to their limit (a random model hardly ever ends one). Nothing is downloaded and nothing is kept.

    python scripts/measure_recipes.py recipes/olmo2-1b --memory-gb 24 --steps 2
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, TrainerCallback

from divmon.monitor import Monitor
from divmon.options import MonitorOptions
from divmon.prompts import PromptSet
from divmon.quiet import quiet_libraries
from divmon.recipes.configs import build_config, model_config
from divmon.recipes.estimate import estimate
from divmon.recipes.models import Weights
from divmon.recipes.recipe import Recipe, load_recipes
from divmon.recipes.subject import Subject
from divmon.recipes.trainer import build_trainer
from divmon.recipes.trial import spread
from divmon.recipes.validate import monitor_options
from divmon.recipes.workload import Workload

GB = 1e9
KEPT = {"save_strategy": "no", "report_to": "none", "logging_steps": 1, "use_vllm": False}


class Steps(TrainerCallback):
    """Seconds of each optimizer step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        torch.cuda.synchronize()
        self._began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop it."""
        torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self._began)


def main() -> None:
    """Measure the recipes that are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("paths", nargs="+", type=Path, help="recipes, or folders of them")
    parser.add_argument("--steps", type=int, default=2, help="optimizer steps; the first is not counted")
    parser.add_argument("--memory-gb", type=float, help="let torch have no more than this much of the GPU")
    parser.add_argument("--prompts", type=int, default=2, help="prompts of the monitor's measurement")
    parser.add_argument("--max-new-tokens", type=int, help="limit of its completions, in place of the recipe's")
    parser.add_argument("--batch-tokens", type=int, help="bound on its batches, in place of the recipe's")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("there is no GPU here, and what a CPU takes says nothing about one")
    properties = torch.cuda.get_device_properties(0)
    print(f"{properties.name}, {properties.total_memory / GB:.0f} GB, torch {torch.__version__}", flush=True)
    if given.memory_gb:
        torch.cuda.set_per_process_memory_fraction(given.memory_gb * GB / properties.total_memory)
    for recipe in load_recipes(given.paths, below=True):
        measure(recipe, given)


def measure(recipe: Recipe, given: argparse.Namespace) -> None:
    """Measure one recipe and print what was found."""
    subject = Subject(recipe)
    expected = estimate(recipe, subject.architecture)
    parts = ", ".join(f"{name} {size:.1f}" for name, size in expected.memory.items() if size >= 0.05)
    print(f"\n{subject.name}: {expected.parameters / 1e9:.2f} B parameters", flush=True)
    print(f"  estimated: {expected.memory_gb:.1f} GB ({parts})", flush=True)
    try:
        model = full_model(subject)
        with quiet_libraries(), contextlib.redirect_stderr(io.StringIO()):
            told = [sampled(recipe, subject, model, given)]
            if recipe.trainer is not None:
                told.append(trained(recipe, subject, model, given.steps))
        for text in told:
            print(f"  {text}", flush=True)
    except torch.OutOfMemoryError as error:
        print(f"  out of memory: {str(error)[:200]}", flush=True)
    model = None
    torch.cuda.empty_cache()


def full_model(subject: Subject) -> Any:
    """The recipe's model in its published size, with random weights, on the GPU."""
    values = {key: value for key, value in subject.architecture.items() if key not in ("model_type", "architectures")}
    values |= {f"{name}_token_id": getattr(subject.tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    config = model_config(subject.architecture["model_type"], values, subject.name)
    dtype = getattr(torch, str(subject.recipe.model_args.get("dtype", "float32")))
    torch.manual_seed(0)
    with torch.device("cuda"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype)


def sampled(recipe: Recipe, subject: Subject, model: Any, given: argparse.Namespace) -> str:
    """What the monitor's sampling takes."""
    changed = {"num_prompts": given.prompts, "metrics": ("ead",)}
    if given.max_new_tokens:
        changed |= {"max_new_tokens": given.max_new_tokens, "thinking": None}
    if given.batch_tokens:
        changed |= {"batch_tokens": given.batch_tokens}
    options = MonitorOptions.of(monitor_options(recipe.monitor) | changed)
    monitor = Monitor(PromptSet.bundled().take(given.prompts), options)
    torch.cuda.reset_peak_memory_stats()
    training = model.training
    model.eval()
    try:
        samples = monitor.measure(model, subject.tokenizer, run_id="measured").samples
    finally:
        model.train(training)
    assert samples is not None
    layout, limit = samples.layout, options.sampling().token_limit
    tokens = sum(len(made.token_ids) for prompt in samples.prompts for made in prompt.completions)
    step = samples.seconds / (layout.batches * limit) / int(subject.architecture["num_hidden_layers"])
    return (
        f"sampling: {peak()}; {layout.rows} completions of {limit} tokens at once, {layout.halvings} batches cut in "
        f"half, {tokens / samples.seconds:,.0f} tokens/s, {1000 * step:.2f} ms a decode step and layer"
    )


def trained(recipe: Recipe, subject: Subject, model: Any, steps: int) -> str:
    """What training takes."""
    settings = {**recipe.settings, **KEPT, "max_steps": steps}
    if recipe.trainer != "grpo":
        del settings["use_vllm"]
    sections: dict[str, Any] = {str(recipe.trainer): settings}
    changed = dataclasses.replace(recipe, **sections)
    timer = Steps()
    with tempfile.TemporaryDirectory(prefix="divmon-measure-") as folder:
        config = build_config(changed, folder)
        rows = long_rows(subject, (steps + 1) * Workload(recipe).batches.step)
        trainer = build_trainer(
            changed, config, model, subject.tokenizer, rows, weights=Weights(folder), callbacks=[timer]
        )
        if recipe.trainer == "grpo":
            trainer.reward_funcs = [spread(function) for function in trainer.reward_funcs]
        torch.cuda.reset_peak_memory_stats()
        trainer.train()
        losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    later = timer.seconds[1:] or timer.seconds
    return f"training: {peak()}; {sum(later) / len(later):.1f} s an optimizer step, losses {losses}"


def long_rows(subject: Subject, count: int) -> Any:
    """Rows as long as the recipe lets them be: those that come with divmon, their texts said again and again."""
    from datasets import Dataset

    length = Workload(subject.recipe).length
    if subject.recipe.trainer == "grpo":
        length -= Workload(subject.recipe).completion
    found = list(subject.dataset)

    def longer(turns: Any, role: str) -> Any:
        if isinstance(turns, str):
            return (turns + " ") * (1 + length // (len(turns) + 1))
        last = max(place for place, turn in enumerate(turns) if turn["role"] == role)
        content = turns[last]["content"] + " "
        return [*turns[:last], {**turns[last], "content": content * (1 + length // len(content))}, *turns[last + 1 :]]

    columns = {"sft": ("messages", "completion"), "dpo": ("chosen", "rejected"), "grpo": ("prompt",)}
    role = "user" if subject.recipe.trainer == "grpo" else "assistant"
    names = columns[str(subject.recipe.trainer)]
    rows = [{key: longer(value, role) if key in names else value for key, value in row.items()} for row in found]
    return Dataset.from_list([rows[number % len(rows)] for number in range(count)])


def peak() -> str:
    """The most memory that torch has held since it was last reset."""
    return (
        f"{torch.cuda.max_memory_allocated() / GB:.1f} GB in tensors at the peak, "
        f"{torch.cuda.max_memory_reserved() / GB:.1f} GB held"
    )


if __name__ == "__main__":
    main()
