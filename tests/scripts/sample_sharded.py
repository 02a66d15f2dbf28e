"""Samples with a model that FSDP2 shards over two processes, and with the same model whole.

    torchrun --standalone --nproc-per-node=2 tests/scripts/sample_sharded.py FOLDER

accelerate shards on accelerators only, so this calls torch's FSDP2 itself, on the CPU.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from divmon.prompt import Prompt
from divmon.sampling.render import Renderer
from divmon.sampling.sampler import sample
from divmon.sampling.settings import SamplingSettings
from tests.tiny import tiny_llama, tiny_tokenizer


@dataclass
class Group:
    """The processes of the default group."""

    index: int
    count: int

    def gather(self, values: list[Any]) -> list[Any]:
        """Joined lists."""
        everyone: list[Any] = [None] * self.count
        dist.all_gather_object(everyone, values)
        return [value for part in everyone for value in part]


def main(folder: Path) -> None:
    """Sample both ways; each process writes its result."""
    dist.init_process_group("gloo")
    tokenizer, renderer = tiny_tokenizer(), Renderer(tiny_tokenizer())
    # Five prompts of one sample a batch: three prompts' batches on one process, two prompts' on the other.
    texts = ["tell me", "of the sea", "what of the wind", "a cat", "the old house on the hills"]
    prompts = [renderer.render(Prompt(id=text, text=text)) for text in texts]
    settings = SamplingSettings(samples=2, max_new_tokens=12, batch_tokens=1)
    whole = sample(tiny_llama(), tokenizer, prompts, settings)
    model = tiny_llama()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "generate")  # as transformers' Trainer does
    group = Group(dist.get_rank(), dist.get_world_size())
    sharded = sample(model, tokenizer, prompts, settings, processes=group, synced=True)
    rows = [[[c.token_ids for c in p.completions] for p in samples.prompts] for samples in (whole, sharded)]
    result = {"whole": rows[0], "sharded": rows[1], "batches": sharded.layout.batches}
    (folder / f"seen-{group.index}.json").write_text(json.dumps(result))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
