"""A stage's run folder: what its ``stage.json`` says, its checkpoints, and keeping it for one command."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from divmon.errors import InputError
from divmon.measurement import to_plain
from divmon.recipes.configs import CHECKPOINTS
from divmon.recipes.recipe import Recipe

STATE = "stage.json"
EARLIER = "earlier"


def read_state(folder: Path) -> dict[str, Any]:
    """What ``stage.json`` of a run folder says; empty where there is none.

    Raises:
        InputError: If it is torn.
    """
    path = folder / STATE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): move the folder {folder} away to start afresh.") from error
    return found if isinstance(found, dict) else {}


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write ``stage.json`` whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{STATE}.partial"
    partial.write_text(json.dumps(to_plain(state), indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    os.replace(partial, folder / STATE)


def move_aside(folder: Path) -> Path:
    """Move a run folder into ``earlier/`` beside it.

    Returns:
        Its new place.
    """
    number = 1
    while (target := folder.parent / EARLIER / f"{folder.name}-{number}").exists():
        number += 1
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)
    return target


def last_checkpoint(folder: Path, recipe: Recipe) -> str | None:
    """The newest checkpoint that was written to its end; its state is what the trainer writes last."""
    if recipe.settings.get("save_only_model"):
        return None
    found = [
        (int(match.group(1)), path)
        for path in (folder / CHECKPOINTS).glob("checkpoint-*")
        if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and (path / "trainer_state.json").is_file()
    ]
    return str(max(found)[1]) if found else None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other commands off a run folder for a while; the lock goes with the process.

    Raises:
        InputError: If another command holds it.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"Another command is running the stage {folder.name!r} in {folder.parent}: wait for it, or give "
                "another --output-dir."
            ) from error
        except OSError:  # a file system without locks
            pass
        yield
