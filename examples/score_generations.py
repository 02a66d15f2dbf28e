"""Score a file of generations that were made anywhere, and what they retain of a baseline's.

    python examples/score_generations.py after.jsonl --baseline before.jsonl --model Qwen/Qwen2.5-0.5B-Instruct

A line is a JSON object with the completions of one prompt under "outputs" and the prompt's name under "input_id", as
vLLM or an API gave them; the files in a run's divmon/completions are of this form too, and the logs of lm-eval and
lighteval are read as they are. For one file and no more, ``divmon score FILE`` does the same.
"""

import argparse

import numpy as np
import pandas as pd
from transformers import AutoTokenizer

import divmon
from divmon import stats
from divmon.generations import read_generations


def scored(path: str, vocab_size: int, preset: str) -> pd.DataFrame:
    """A column for each metric and a row for each prompt."""
    records = read_generations(path)
    scores = divmon.score([record.outputs for record in records], vocab_size=vocab_size, preset=preset)
    return pd.DataFrame(scores.per_prompt, index=[(record.task, record.input_id) for record in records])


def main() -> None:
    """Print a line for each metric."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("generations", help="JSON lines, may be gzip-compressed")
    parser.add_argument("--baseline", help="the same prompts' completions by the model that you started from")
    # Choose: the model that wrote them. EAD needs the size of its vocabulary; keep it for all that you compare.
    parser.add_argument("--model", default="Qwen/Qwen2.5-0.5B-Instruct", help="name or folder")
    parser.add_argument("--preset", default="paper", choices=["paper", "fast"], help="encoders; fast without a GPU")
    parser.add_argument("--csv", help="write the values of each prompt there")
    arguments = parser.parse_args()

    vocab_size = AutoTokenizer.from_pretrained(arguments.model).vocab_size
    now = scored(arguments.generations, vocab_size, arguments.preset)
    before = scored(arguments.baseline, vocab_size, arguments.preset) if arguments.baseline else now
    shared = now.index.intersection(before.index, sort=False)
    print(f"{len(now)} prompts, {len(shared)} of them in the baseline")
    for metric in now:
        low, high = stats.bootstrap_interval(now[metric])
        line = f"{metric:6} {np.nanmean(now[metric]):7.3f} [{low:.3f}, {high:.3f}]"
        if arguments.baseline:
            kept = stats.retained(now.loc[shared, metric], before.loc[shared, metric])
            line += f"   retained {kept.fraction:.1%} [{kept.interval[0]:.1%}, {kept.interval[1]:.1%}]"
        print(line)
    if arguments.csv:
        now.to_csv(arguments.csv, index_label="prompt")


if __name__ == "__main__":
    main()
