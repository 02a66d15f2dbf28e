"""Sources to data sets: the rows of files, generators and the hub, in the columns that TRL's trainers read."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from divmon.errors import InputError, in_a_line
from divmon.fingerprint import path_fingerprint
from divmon.recipes.finish import Row, finisher, in_batches, read_jsonl, rows_with, table_of
from divmon.recipes.recipe import Recipe
from divmon.recipes.revisions import revision_key
from divmon.recipes.sources import Source

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

SMOKE_ROWS = 64
SHUFFLE_BUFFER = 10_000
"""Rows that a stream is shuffled within: its first rows alone would often be those of one origin."""

_EXTRA = ("tools", "chat_template_kwargs")
# The columns that make a row, for each trainer; the first set that is there is taken.
_COLUMNS: dict[str, tuple[tuple[str, ...], ...]] = {
    "sft": (("messages",), ("prompt", "completion"), ("text",)),
    "dpo": (("chosen", "rejected"),),
    "grpo": (("prompt",),),
}


class StageData:
    """The data of one stage; rows are made or read once.

    Args:
        recipe: The stage.
        seed: Seed of generators, of samples of a source and of the order of rows.
        smoke: Take few rows.
        revisions: Which commit of each hub data set to read (`divmon.recipes.revisions`).
    """

    def __init__(
        self, recipe: Recipe, seed: int, *, smoke: bool = False, revisions: Mapping[str, str] | None = None
    ) -> None:
        self.recipe = recipe
        self.seed = seed
        self.smoke = smoke
        self.revisions = dict(revisions or {})
        self._rows: dict[int, list[dict[str, Any]]] = {}

    def digest(self) -> str:
        """32 hex digits of what the data are: the rows of files and generators, the commits of hub data sets.

        A data set in a folder is read whole; what a recipe does with it, and with one of the hub, is part of the
        recipe.

        Raises:
            InputError: If rows cannot be read or made.
        """
        digest = hashlib.blake2b(digest_size=16)
        for number, source in enumerate(self.recipe.data):
            if source.dataset:
                local = self.recipe.local(source.dataset)
                found = (
                    path_fingerprint(local, whole=True)
                    if local.exists()
                    else f"{source.dataset}@{self.revisions.get(revision_key(source))}"
                )
                digest.update(f"{found}\n".encode())
            else:
                for row in self._listed(number):
                    digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False, default=str).encode() + b"\n")
        return digest.hexdigest()

    def build(self) -> Dataset | IterableDataset:
        """All sources, joined in their order and shuffled unless the recipe says ``shuffle: false``.

        Returns:
            A stream where a source is one that is not to be read whole, else a table.

        Raises:
            InputError: If a source cannot be read, lacks columns that the trainer needs, or does not go with
                the others.
        """
        from datasets import Dataset, concatenate_datasets

        columns: set[tuple[str, ...]] = set()
        listed: dict[int, list[dict[str, Any]]] = {}
        parts: dict[int, Any] = {}
        for number, source in enumerate(self.recipe.data):
            if source.dataset:
                dataset = self._hub(source)
                with _named(self.recipe, source.label, "cannot be read"):
                    first = next(iter(dataset), None)
                needed = self._needed(source, first)
                columns.add(needed)
                # To the columns that are read: what else the hub has need not go together.
                if self.recipe.trainer != "grpo" and dataset.column_names:
                    dataset = dataset.select_columns([c for c in (*needed, *_EXTRA) if c in dataset.column_names])
                parts[number] = dataset
            else:
                listed[number] = rows = self._listed(number)
                columns.add(self._needed(source, rows[0] if rows else None))
        self._rows.clear()
        if len(columns) > 1:
            kinds = "; ".join(" and ".join(names) for names in sorted(columns))
            raise InputError(f"{self.recipe.path}, data: the sources have different columns ({kinds}).")
        if listed:
            kept = None if self.recipe.trainer == "grpo" else (*next(iter(columns)), *_EXTRA)
            names = "; ".join(self.recipe.data[number].label for number in listed)
            with _named(self.recipe, names, "do not make a table: a column must hold one type"):
                # One table, so that its columns have one type, then each source's part of it.
                table = Dataset.from_list(table_of([row for rows in listed.values() for row in rows], kept))
            start = 0
            for number, rows in listed.items():
                parts[number] = table.select(range(start, start + len(rows)))
                start += len(rows)
        ordered = [parts[number] for number in sorted(parts)]
        streamed = any(not isinstance(part, Dataset) for part in ordered)
        if streamed:
            ordered = [part.to_iterable_dataset() if isinstance(part, Dataset) else part for part in ordered]
        with _named(self.recipe, "the sources", "do not go together"):
            whole = concatenate_datasets(ordered) if len(ordered) > 1 else ordered[0]
        if not self.recipe.shuffle:
            return whole
        if streamed:
            return whole.shuffle(seed=self.seed, buffer_size=SHUFFLE_BUFFER)
        return whole.shuffle(seed=self.seed)

    def _listed(self, number: int) -> list[dict[str, Any]]:
        """The finished rows of a file or generator."""
        if number not in self._rows:
            source = self.recipe.data[number]
            made = self._file(source) if source.file else self._world(source)
            with _named(self.recipe, source.label, "cannot be used"):
                self._rows[number] = rows_with(source, made, str(self.recipe.trainer))
        return self._rows[number]

    def _limit(self, source: Source) -> int | None:
        limits = [limit for limit in (source.rows, SMOKE_ROWS if self.smoke else None) if limit]
        return min(limits) if limits else None

    def _file(self, source: Source) -> list[dict[str, Any]]:
        rows = list(read_jsonl(self.recipe.local(str(source.file)), f"{self.recipe.path}, data"))
        limit = self._limit(source)
        if limit is None or limit >= len(rows):
            return rows
        return random.Random(self.seed).sample(rows, limit) if self.recipe.shuffle else rows[:limit]

    def _world(self, source: Source) -> list[dict[str, Any]]:
        from divmon import tinyworld

        with _named(self.recipe, source.label, "cannot be made"):
            limit = self._limit(source)
            assert source.world is not None
            assert limit is not None
            return list(tinyworld.dataset(source.world, rows=limit, seed=self.seed, **source.options))

    def _hub(self, source: Source) -> Dataset | IterableDataset:
        from datasets import Dataset, load_dataset

        assert source.dataset is not None
        local, limit = self.recipe.local(source.dataset), self._limit(source)
        streaming = source.streaming or self.smoke
        with _named(self.recipe, source.label, "cannot be loaded"):
            data: Any = load_dataset(
                str(local) if local.exists() else source.dataset,
                source.name,
                split=source.split,
                revision=self.revisions.get(revision_key(source), source.revision),
                streaming=streaming,
            )
            finish = finisher(source, str(self.recipe.trainer))
            if limit is None:
                return data.map(in_batches(finish), batched=True, remove_columns=data.column_names)
            if self.recipe.shuffle:
                data = data.shuffle(seed=self.seed, **({"buffer_size": SHUFFLE_BUFFER} if streaming else {}))
            # Capped after the mapping, which may leave rows out.
            finished = (made for row in data if (made := finish(row)) is not None)
            return Dataset.from_list(table_of(list(itertools.islice(finished, limit))))

    def _needed(self, source: Source, row: Row | None) -> tuple[str, ...]:
        """Which columns make a row, of those that the trainer can read."""
        trainer = str(self.recipe.trainer)
        where = f"{self.recipe.path}, data, {source.label}"
        if row is None:
            raise InputError(f"{where}: no rows.")
        sets = _COLUMNS[trainer]
        if trainer == "sft":
            sets = (*sets[:-1], (str(self.recipe.settings.get("dataset_text_field", "text")),))
        for names in sets:
            if all(row.get(name) is not None for name in names):
                return ("prompt", *names) if trainer == "dpo" and row.get("prompt") is not None else names
        wanted = " or ".join(" and ".join(names) for names in sets)
        near = difflib.get_close_matches(sets[0][0], list(row), 1, cutoff=0.5)
        hint = f" Map it: columns: {{{sets[0][0]}: {near[0]}}}." if near else ""
        raise InputError(f"{where}: {trainer} needs the columns {wanted}, the rows have {', '.join(row)}.{hint}")


@contextmanager
def _named(recipe: Recipe, sources: str, what: str) -> Iterator[None]:
    """Say which source it was that failed.

    Beside those of the three libraries come OSError (files, the hub), ValueError (content, names of splits),
    ImportError (a format's package), RuntimeError (data sets with a script), EOFError (torn archives) and OverflowError
    (integers of more than 64 bits). Anything else is a fault of divmon's.
    """
    from datasets.exceptions import DatasetsError
    from httpx import HTTPError
    from pyarrow import ArrowException

    try:
        yield
    except InputError as error:
        raise InputError(f"{recipe.path}, data: {sources} {what} ({str(error).rstrip('.')}).") from error
    except (
        *(DatasetsError, HTTPError, ArrowException),
        *(OSError, ValueError, ImportError, RuntimeError, EOFError, OverflowError),
    ) as error:
        raise InputError(f"{recipe.path}, data: {sources} {what} ({in_a_line(error)}).") from error
