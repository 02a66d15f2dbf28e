r"""Hours of a stage, estimated; the symbols are those of ``estimate.py``, what was measured is in recipes/README.md.

Training costs 3 forwards (``Shape.forward`` operations a token), 2 with LoRA (no gradient of the frozen weights), and 1
more with gradient checkpointing. DPO trains on both answers and runs the reference model forward once; GRPO trains on
every completion, runs one forward more for the probabilities of the policy that sampled it, and one for a reference
model where beta > 0.
    hours = operations / (gpus * tflops)
``tflops`` is what a GPU is taken to reach, not what its maker promises.

Generation (GRPO) is bound by memory bandwidth: a decode step reads the weights (2 N bytes) and the cache of the GPU's
completions (4 k bytes a token and layer, at most the window where a layer slides), and takes 2.2 ms a layer at least in
transformers' ``generate`` (measured: 35 ms for the 16 layers of OLMo 2 1B on an H100, mostly the CPU's; see
recipes/README.md), 0.1 ms in vLLM (assumed). A batch takes as many steps as a completion may be long, because one of so
many will be; where vLLM cannot hold all of a GPU's completions at once (85% of its memory, less the weights), each
further wave takes a mean length more. Where completions end is not known: they are taken to be half as long as they
may be, and rows as long as ``divmon/data/dolci/datasets.json`` says.

The monitor's measurements (the first, the last, and one every ``every_n_steps``) are batches of ``batch_tokens`` of
transformers' ``generate``, shared between the GPUs; a model that stays sharded while it generates (FSDP2) is slower.
"""

from __future__ import annotations

import math

from divmon.options import MonitorOptions
from divmon.recipes.memory import GB
from divmon.recipes.validate import monitor_options
from divmon.recipes.workload import MEAN_COMPLETION, Workload
from divmon.shape import Shape

DECODE_S_PER_LAYER = {"transformers": 2.2e-3, "vllm": 1e-4}
BANDWIDTH_TB_S_PER_TFLOPS = 0.01
"""GPU memory bandwidth where a recipe does not say: a TB/s to 100 TFLOPS."""
VLLM_SHARE = 0.85
"""Of a GPU's memory that vLLM has for weights and cache."""


def hour_parts(workload: Workload, shape: Shape) -> dict[str, float]:
    """What takes the time of a stage.

    Args:
        workload: The stage.
        shape: The sizes of its model.

    Returns:
        Part (``training``, ``generation``, ``monitor``) -> hours of the whole stage; empty where the recipe's
        ``hardware`` has no ``tflops``, or where the stage trains and its steps or tokens are not known.
    """
    recipe, steps, tokens = workload.recipe, workload.steps, workload.tokens
    if not recipe.hardware.get("tflops"):
        return {}
    if recipe.trainer is None:
        return {"monitor": _monitor(workload, shape, measurements=1)}
    if tokens is None or steps is None:
        return {}
    hours = {"training": _training(workload, shape, tokens)}
    if recipe.trainer == "grpo":
        hours["generation"] = _generation(workload, shape, steps)
    every = recipe.monitor.get("every_n_steps")
    measurements = 2 + (max(0, steps - 1) // int(every) if every else 0)
    return hours | {"monitor": _monitor(workload, shape, measurements)}


def _training(workload: Workload, shape: Shape, tokens: float) -> float:
    recipe, settings = workload.recipe, workload.settings
    forwards = 2 if recipe.lora is not None else 3
    forwards += 1 if settings.get("gradient_checkpointing", True) else 0
    if recipe.trainer == "dpo":
        forwards += 1
    elif recipe.trainer == "grpo":
        forwards += 2 if float(settings.get("beta", 0.0)) > 0 else 1
    per_second = workload.batches.gpus * float(recipe.hardware["tflops"]) * 1e12
    return tokens * shape.forward(workload.mean_length) * forwards / per_second / 3600


def _generation(workload: Workload, shape: Shape, steps: int) -> float:
    hardware, batches, longest = workload.recipe.hardware, workload.batches, workload.completion
    vllm = bool(workload.settings.get("use_vllm"))
    wanted = concurrent = max(1.0, batches.generated / int(hardware.get("generation_gpus") or batches.gpus))
    if vllm and (memory := hardware.get("gpu_memory_gb")):
        room = VLLM_SHARE * float(memory) * GB - 2.0 * shape.parameters
        concurrent = min(wanted, max(1.0, room // shape.cache(workload.mean_length)))
    step = _decode_s(workload, shape, concurrent, workload.mean_length, "vllm" if vllm else "transformers")
    decoded = longest + (wanted / concurrent - 1) * MEAN_COMPLETION * longest
    return steps / batches.steps_per_generation * decoded * step / 3600


def _monitor(workload: Workload, shape: Shape, measurements: int) -> float:
    monitor = MonitorOptions.of(monitor_options(workload.recipe.monitor))
    limit = monitor.sampling().token_limit
    rows = max(1, monitor.batch_tokens // limit)
    batches = math.ceil(monitor.num_prompts * monitor.samples / workload.batches.gpus / rows)
    return measurements * batches * limit * _decode_s(workload, shape, rows, limit, "transformers") / 3600


def _decode_s(workload: Workload, shape: Shape, sequences: float, length: float, engine: str) -> float:
    """Seconds of a decode step of ``sequences`` sequences of ``length`` tokens on a GPU."""
    hardware = workload.recipe.hardware
    bandwidth = float(hardware.get("bandwidth_tb_s") or BANDWIDTH_TB_S_PER_TFLOPS * float(hardware["tflops"]))
    read = 2.0 * shape.parameters + sequences * shape.cache(length)
    return max(read / (bandwidth * 1e12), shape.layers * DECODE_S_PER_LAYER[engine])
