"""Write the files of the tiny world that recipes/tiny reads: the evaluation's prompts and the tokenizer.

    python scripts/make_tiny_world.py recipes/tiny

The same bytes every time; ``make tiny-base`` then trains the base again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from divmon.tinyworld import evaluation_rows
from divmon.tinyworld.tokenizer import train_tokenizer


def main(folder: Path) -> None:
    prompts = folder / "eval_prompts.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in evaluation_rows()]
    prompts.write_text("\n".join(lines) + "\n", encoding="utf-8")
    train_tokenizer().save_pretrained(folder / "base")
    print(prompts, folder / "base", sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
