"""Where a stage's data come from, as its recipe says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from divmon.checks import as_count, as_flag
from divmon.errors import InputError
from divmon.recipes.document import as_mapping, as_text, refuse_unknown


@dataclass(frozen=True)
class Source:
    """One source of a stage's data; exactly one of ``dataset``, ``file`` and ``world`` is set.

    Attributes:
        dataset: A data set of the hub, or a folder that ``datasets.load_dataset`` reads.
        file: A JSONL file, relative to the recipe.
        world: A data set of ``divmon.tinyworld``.
        name: The hub data set's configuration.
        split: Its split.
        revision: Its revision.
        streaming: Read it as a stream.
        rows: Take at most so many rows, a random sample (the first ones where the recipe says ``shuffle: false``);
            for ``world`` how many to make.
        mapping: A mapping of ``divmon.recipes.mappings``, by name or as a name with its arguments; applied first.
        columns: New name -> old name.
        constants: Columns that are the same in every row.
        strip_thinking: Take the think blocks out of assistant turns.
        chat: Make a prompt that is a string the user turn of a conversation.
        options: Further arguments of the ``world``'s generator.
    """

    dataset: str | None = None
    file: str | None = None
    world: str | None = None
    name: str | None = None
    split: str = "train"
    revision: str | None = None
    streaming: bool = False
    rows: int | None = None
    mapping: Any = None
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    strip_thinking: bool = False
    chat: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The source in words, for messages."""
        kind = "dataset" if self.dataset else "file" if self.file else "world"
        return f"{kind} {self.dataset or self.file or self.world}"


def sources_of(value: Any, path: Path) -> tuple[Source, ...]:
    """A recipe's ``data`` as sources.

    Args:
        value: What the file says.
        path: The file, for messages.

    Raises:
        InputError: For anything but a list of sources with known keys.
    """
    if value is None:
        return ()
    if not isinstance(value, list) or not value:
        raise InputError(f"{path}, data: expected a list of sources such as '- file: rows.jsonl', got {value!r:.80}.")
    return tuple(_source(item, f"{path}, data, source {number}") for number, item in enumerate(value, 1))


_EVERYWHERE = ("rows", "mapping", "columns", "constants", "strip_thinking", "chat")
_HUB = ("name", "split", "revision", "streaming")


def _source(value: Any, where: str) -> Source:
    given = as_mapping(value, where)
    kinds = [kind for kind in ("dataset", "file", "world") if kind in given]
    if len(kinds) != 1:
        raise InputError(
            f"{where}: expected exactly one of dataset, file and world, got {', '.join(kinds) or 'none'} "
            f"(keys: {', '.join(given)})."
        )
    kind = kinds[0]
    known = [kind, *_EVERYWHERE, *(_HUB if kind == "dataset" else ())]
    options = {key: item for key, item in given.items() if key not in known} if kind == "world" else {}
    if kind != "world":
        refuse_unknown(given, known, where)
    fields: dict[str, Any] = {"options": options}
    for key in set(given) - set(options):
        item, place = given[key], f"{where}, {key}"
        if key == "rows":
            fields[key] = as_count(item, place)
        elif key in ("streaming", "strip_thinking", "chat"):
            fields[key] = as_flag(item, place)
        elif key in ("columns", "constants"):
            fields[key] = as_mapping(item, place)
        elif key == "mapping":
            fields[key] = item
            _check_mapping(item, where)
        else:
            fields[key] = as_text(item, place)
    for new, old in fields.get("columns", {}).items():
        as_text(old, f"{where}, columns, {new}")
    if kind == "world" and "rows" not in fields:
        raise InputError(f"{where}: a world needs 'rows', how many to make.")
    return Source(**fields)


def _check_mapping(value: Any, where: str) -> None:
    from divmon.recipes.mappings import mapping

    try:
        mapping(value)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def with_rows(source: Source, file: Path) -> Source:
    """``source`` with the rows of another file (JSONL, of its schema) in the place of its own, mapped as before."""
    return dataclasses.replace(
        source, dataset=None, world=None, name=None, revision=None, streaming=False, options={}, file=str(file)
    )
