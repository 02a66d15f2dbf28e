"""Put a trained base into recipes/tiny: its files into base/, their digest into base.yaml.

python scripts/ship_tiny_base.py runs/tiny-base/base/model recipes/tiny
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from pathlib import Path

FILES = ("model.safetensors", "config.json", "generation_config.json")


def main(trained: Path, recipes: Path) -> None:
    for name in FILES:
        shutil.copyfile(trained / name, recipes / "base" / name)
    digest = hashlib.sha256((recipes / "base" / FILES[0]).read_bytes()).hexdigest()
    recipe = recipes / "base.yaml"
    text, found = re.subn(r"(?m)^(  sha256: )\S+", rf"\g<1>{digest}", recipe.read_text(encoding="utf-8"))
    if not found:
        sys.exit(f"{recipe} has no line 'sha256:' under 'shipped'.")
    recipe.write_text(text, encoding="utf-8")
    print(f"{recipes / 'base' / FILES[0]}: sha256 {digest}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
