"""What is known beside files of completions: divmon's own ledger, and the tasks that the rows name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from divmon.generations import GenerationRecord
from divmon.ledger import COMPLETIONS, FILE, Ledger


def without(records: Sequence[GenerationRecord]) -> list[tuple[str, ...]]:
    """For each record the metrics that mean nothing on its task, as an evaluation leaves them out."""
    from divmon.tasks import TASKS

    return [TASKS[record.task].without if record.task in TASKS else () for record in records]


def vocab_size_of(files: Iterable[Path]) -> tuple[int, Path] | None:
    """The vocabulary size of the model that wrote divmon's own completions, and the ledger beside them that says so.

    None where a file has no ledger beside it, the ledger does not know it, or two say otherwise.

    Raises:
        InputError: For a broken ledger.
    """
    found: set[int] = set()
    path = None
    for folder in dict.fromkeys(file.parent for file in files):
        path = folder.parent / FILE
        if folder.name != COMPLETIONS or not path.is_file():
            return None
        run = Ledger(folder.parent).read()
        sizes = {made.protocol.get("vocab_size") for made in run.measurements} if run else {None}
        if not all(isinstance(size, int) for size in sizes):
            return None
        found |= {int(size) for size in sizes if size is not None}
    return (found.pop(), path) if path is not None and len(found) == 1 else None
