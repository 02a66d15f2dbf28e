r"""Memory of a GPU in a stage, estimated; recipes/README.md has what was measured.

The symbols are those of ``estimate.py``.

In bytes:
    states       full: 16 N / gpus (fp32 weights, gradients, two moments); one GPU and weights in bfloat16: 8 N.
                 LoRA: 2 N (bfloat16, else 4 N) + 16 bytes a trained parameter. With a reference model (DPO, and GRPO
                 where beta > 0): 2 N / gpus more. A stage that only measures: 2 N (bfloat16, else 4 N).
    working      sharded: 2 bytes for two layers, the embedding and the head, which are gathered one after another, and
                 4 V h for the head's gradient; plus 1.5 GB for the CUDA context and buffers.
    the largest of
    activations  with checkpointing 2 L h T + one layer's 2 T (12 h + 5 f), else all layers'. Logits are not counted:
                 TRL computes the loss in tiles.
    rollout      generation without vLLM: the cache of the completions that are written at once; of a sharded model the
                 gathered weights too. vLLM beside the trainer takes its ``vllm_gpu_memory_utilization`` at all times.
    monitor      the same for ``batch_tokens`` of the monitor.
"""

from __future__ import annotations

from collections.abc import Mapping

from divmon.options import MonitorOptions
from divmon.recipes.validate import monitor_options
from divmon.recipes.workload import Workload
from divmon.shape import Shape

GB = 1e9
CONTEXT_GB = 1.5


def memory_parts(workload: Workload, shape: Shape, adapters: int) -> dict[str, float]:
    """What takes a GPU's memory.

    Args:
        workload: The stage.
        shape: The sizes of its model.
        adapters: Parameters of its LoRA adapters; 0 without LoRA.

    Returns:
        Part -> GB of a GPU; ``peak_gb`` says which parts there are at one time.
    """
    recipe, settings, gpus = workload.recipe, workload.settings, workload.batches.gpus
    trainer, lora = recipe.trainer, recipe.lora is not None
    half = str(recipe.model_args.get("dtype", "")) in ("bfloat16", "float16")
    sharded = gpus > 1 and trainer is not None and not lora
    weights = (2.0 if half else 4.0) * shape.parameters
    memory: dict[str, float] = {"working": CONTEXT_GB}
    if trainer is None:
        memory["states"] = weights / GB
    elif lora:
        memory["states"] = (weights + 16.0 * adapters) / GB
    else:
        memory["states"] = (8.0 if half and gpus == 1 else 16.0) * shape.parameters / gpus / GB
        precomputed = settings.get("precompute_ref_log_probs")
        if (trainer == "dpo" and not precomputed) or (trainer == "grpo" and float(settings.get("beta", 0.0)) > 0):
            memory["states"] += 2.0 * shape.parameters / gpus / GB
    if sharded:
        memory["working"] += (2.0 * (2 * shape.layer + 2 * shape.embedding) + 4.0 * shape.embedding) / GB
    if trainer is not None:
        tokens = workload.batches.each * workload.length * (2 if trainer == "dpo" else 1)
        layer = 2.0 * tokens * (12 * shape.hidden + 5 * shape.intermediate)
        saved = 2.0 * shape.layers * shape.hidden * tokens
        checkpointing = settings.get("gradient_checkpointing", True)
        memory["activations"] = (saved + layer if checkpointing else shape.layers * layer) / GB
    gathered = 2.0 * shape.parameters if sharded else 0.0
    monitor = MonitorOptions.of(monitor_options(recipe.monitor))
    sampled = min(monitor.batch_tokens, monitor.sampling().token_limit)
    memory["monitor"] = (gathered + shape.cache(sampled) * monitor.batch_tokens / sampled) / GB
    if trainer == "grpo" and not settings.get("use_vllm"):
        memory["rollout"] = (gathered + shape.cache(workload.length) * workload.batches.generated / gpus) / GB
    elif trainer == "grpo" and settings.get("vllm_mode", "colocate") == "colocate":
        share = float(settings.get("vllm_gpu_memory_utilization", 0.3))
        memory["vllm"] = share * float(recipe.hardware.get("gpu_memory_gb") or 0.0)
    return memory


def peak_gb(memory: Mapping[str, float]) -> float:
    """GB of a GPU at the peak.

    Args:
        memory: The parts, as ``memory_parts`` returns them.
    """
    always = sum(memory.get(part, 0.0) for part in ("states", "working", "vllm"))
    return always + max(memory.get(part, 0.0) for part in ("activations", "rollout", "monitor"))
