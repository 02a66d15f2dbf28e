"""What fools the metrics: completions cut, shuffled, repeated or fewer, and what EAD, SBERT and Vendi make of them.

    python scripts/metric_traps.py                   # all-MiniLM-L6-v2, in a minute or two
    python scripts/metric_traps.py --preset paper    # all-mpnet-base-v2, a larger model

The completions are those of tests/golden: 16 prompts x 16 answers of a small instruct model. Prints the Markdown tables
that stand in docs/metrics.md.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path

COMPLETIONS = Path(__file__).parent.parent / "tests" / "golden" / "generations.jsonl"
VOCAB_SIZE = 49_152  # of the model that wrote them
Groups = list[list[str]]


def read(path: Path) -> Groups:
    """The completions of each prompt."""
    return [json.loads(line)["outputs"] for line in path.read_text(encoding="utf-8").splitlines()]


def variants(groups: Groups, seed: int = 0) -> dict[str, Groups]:
    """What is done to the completions, and what comes of it."""
    draw = random.Random(seed)
    words = [word for group in groups for text in group for word in text.split()]

    def each(change: Callable[[list[str]], list[str]]) -> Groups:
        return [[" ".join(change(text.split())) for text in group] for group in groups]

    made = {"as they are": groups}
    for count in (5, 10, 20):
        made[f"the first {count} words of each"] = each(lambda text, count=count: text[:count])
    made["the words of each in random order"] = each(lambda text: draw.sample(text, len(text)))
    made["as many words, drawn at random from all"] = each(lambda text: draw.choices(words, k=len(text)))
    made["the first answer, 16 times"] = [[group[0]] * len(group) for group in groups]
    for count in (2, 4, 8):
        made[f"the first {count} answers"] = [group[:count] for group in groups]
    return made


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=["fast", "paper"], default="fast", help="the sentence encoder")
    parser.add_argument("--ead-only", action="store_true", help="without an encoder, in a second")
    arguments = parser.parse_args()

    from divmon import stats
    from divmon.encoders import load_sentence_encoder
    from divmon.encoders.remembering import RememberingEncoder
    from divmon.metrics import NAMES, ead
    from divmon.scoring import Scorer, ScoringSettings

    groups = read(COMPLETIONS)
    metrics = ("ead",) if arguments.ead_only else ("ead", "sbert", "vendi")
    encoder = None
    if not arguments.ead_only:
        encoder = RememberingEncoder(load_sentence_encoder(None, preset=arguments.preset))
        print(f"SBERT and Vendi with {encoder.identity.name}.\n")
    scorer = Scorer(ScoringSettings(metrics=metrics, vocab_size=VOCAB_SIZE), encoder)
    print(f"| the completions | {' | '.join(NAMES[name] for name in metrics)} |\n|---|{'---:|' * len(metrics)}")
    found = {name: scorer.score(made).per_prompt for name, made in variants(groups).items()}
    for name, values in found.items():
        print(f"| {name} | {' | '.join(f'{stats.mean(values[metric]):.2f}' for metric in metrics)} |")

    print("\n| vocabulary | EAD |\n|---:|---:|")
    for size in (1_000, 10_000, 50_000, 100_000, 250_000):
        print(f"| {size:,} | {stats.mean(ead(groups, size)):.3f} |")

    metric = "ead" if arguments.ead_only else "sbert"
    print(f"\n| prompts | answers | {NAMES[metric]} | 95% interval |\n|---:|---:|---:|---|")
    for prompts, answers in ((16, 16), (16, 8), (16, 4), (8, 16), (4, 16)):
        made = "as they are" if answers == 16 else f"the first {answers} answers"
        low, high = stats.bootstrap_interval(found[made][metric][:prompts])
        mean = stats.mean(found[made][metric][:prompts])
        print(f"| {prompts} | {answers} | {mean:.2f} | {low:.2f} to {high:.2f} |")


if __name__ == "__main__":
    main()
