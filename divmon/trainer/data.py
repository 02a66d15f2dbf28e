"""What a trainer's data sets say: prompts of the eval set, and which of them the training set also holds."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from divmon.errors import InputError
from divmon.prompt import Prompt, normalise, prompt_of_row
from divmon.prompts import PromptSet
from divmon.sampling.render import Renderer, tokenizer_of
from divmon.trainer.tokens import Marks, prompts_of_tokens

OVERLAP_ROWS = 200_000
# Rows whose words have to be decoded or searched cost more.
OVERLAP_SEARCHED_ROWS = 20_000
OVERLAP_SEARCHED_TOKENS = 10_000_000

Row = Mapping[str, Any]

# What a prompt can be read from, best first: see `prompt_of_row`.
_READABLE = (("prompt",), ("messages",), ("conversations",), ("chosen", "rejected"))
_BESIDE = ("tools", "chat_template_kwargs", "category", "task", "verifier", "ground_truth")
_TOKENS = ("prompt_ids", "input_ids", "labels", "seq_lengths", "attention_mask")
_COLUMNS = (*itertools.chain(*_READABLE), *_BESIDE, *_TOKENS)


def eval_prompts(dataset: Any, count: int, renderer: Renderer, packing: str | None = None) -> PromptSet | None:
    """Up to about four times ``count`` prompts of an evaluation set, any first part of them spread over the set.

    More than ``count`` so that some may be dropped afterwards. A dictionary of data sets gives one task a name.

    Args:
        dataset: A map-style or streamed data set, a dictionary of them, or None.
        count: How many prompts are wanted.
        renderer: Finds where the answer begins in rows of which only token ids are left.
        packing: TRL's packing strategy, if the set is packed.

    Returns:
        The prompts, or None where no row has a readable prompt.
    """
    named = isinstance(dataset, Mapping)
    sets = dataset if named else {"default": dataset}
    marks = Marks.of(renderer)
    prompts: list[Prompt] = []
    for name, rows in sets.items():
        if rows is None:
            continue
        wanted = max(1, -(-count // len(sets)))
        every = (prompt for place, row in _spread(rows, wanted) for prompt in _prompts(row, marks, place, packing))
        found = itertools.islice(every, 4 * wanted)
        prompts += [dataclasses.replace(prompt, task=str(name)) if named else prompt for prompt in found]
    return PromptSet(tuple(prompts), source="eval_dataset") if prompts else None


def _prompts(row: Any, marks: Marks, name: str, packing: str | None) -> Iterator[Prompt]:
    """The prompts of a row: one, or several in a packed one; none where there are no words."""
    if not isinstance(row, Mapping):
        return
    prompt = prompt_of_row(row, name)
    if prompt is None:
        yield from prompts_of_tokens(row, marks, name, packing)
    elif prompt.plain_text.strip():
        yield prompt


def _is_map_style(dataset: Any) -> bool:
    return hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")


def _slim(dataset: Any, columns: Sequence[str]) -> Any:
    """The data set with no other columns than these, as plain Python values; None if it has none of them."""
    names = getattr(dataset, "column_names", None)
    if not names or not hasattr(dataset, "select_columns"):
        return dataset
    kept = [name for name in names if name in columns]
    return dataset.with_format(None).select_columns(kept) if kept else None


def _spread(dataset: Any, count: int) -> Iterator[tuple[str, Row]]:
    """Named rows: of a map-style set in four evenly spaced rounds, of a stream from its beginning."""
    dataset = _slim(dataset, _COLUMNS)
    if dataset is None:
        return
    if not _is_map_style(dataset):
        yield from ((str(index), row) for index, row in enumerate(itertools.islice(dataset, 4 * count)))
        return
    size = len(dataset)
    places = [int((index + part / 4) * size / count) for part in range(4) for index in range(count)]
    for place in dict.fromkeys(place for place in places if place < size):
        yield str(place), dataset[place]


@dataclass(frozen=True)
class Overlap:
    """Which prompts the training data holds too.

    Attributes:
        keys: The keys of those prompts.
        scanned: What was looked at, in words.
    """

    keys: frozenset[str]
    scanned: str


def overlap(prompts: PromptSet, train_dataset: Any, renderer: Renderer, packing: str | None = None) -> Overlap:
    """Find the prompts that also stand in the training data, exactly but for white space and case.

    Where training rows keep words, the words of the prompts are compared, without roles and system turn; where they
    keep token ids only, the decoded prompts are. A row that does not tell its prompt is searched for the prompts'
    words. A streamed training set is left alone, since reading it would cost the user.

    Args:
        prompts: The prompts.
        train_dataset: The training set.
        renderer: Renders prompts as the training set's were.
        packing: TRL's packing strategy, if the training set is packed.
    """
    if train_dataset is None:
        return Overlap(frozenset(), "no training set")
    if not _is_map_style(train_dataset):
        return Overlap(frozenset(), "training set streamed, not scanned")
    size = len(train_dataset)
    column = _prompt_column(train_dataset)
    by_tokens = not column or any(prompt.token_ids is not None for prompt in prompts)
    wanted = _Wanted(prompts, renderer, by_tokens)
    limit = min(size, OVERLAP_SEARCHED_ROWS if by_tokens else OVERLAP_ROWS)
    rows = tokens = 0
    # Token rows may be long: a batch of them is a small one.
    for row in _rows(train_dataset, column or ("text", *_TOKENS), limit, 1000 if column else 50):
        if tokens > OVERLAP_SEARCHED_TOKENS:
            break
        rows += 1
        if column:
            wanted.look_for(prompt_of_row(row, "row"))
        else:
            found = list(prompts_of_tokens(row, wanted.marks, "row", packing))
            for prompt in found:
                wanted.look_for(prompt)
            ids: Any = row.get("input_ids")
            tokens += len(ids) if hasattr(ids, "__len__") else 0
            if not found:
                wanted.search(row)
    return Overlap(frozenset(wanted.found), f"{rows} of {size} training rows")


def _prompt_column(dataset: Any) -> tuple[str, ...]:
    """What of the first row is enough to read its prompt, or () where only tokens or running text are."""
    first = next(_rows(dataset, _COLUMNS, 1, 1), {})
    for columns in _READABLE:
        if prompt_of_row({name: first.get(name) for name in columns}, "row") is not None:
            return columns
    return ()


def _rows(dataset: Any, columns: Sequence[str], limit: int, batch: int) -> Iterator[Row]:
    """The first ``limit`` rows; of a Hugging Face data set in batches, which is much faster than row by row."""
    slim = _slim(dataset, columns)
    if slim is None:
        return
    in_batches = hasattr(slim, "select_columns")
    for start in range(0, min(limit, len(slim)), batch):
        places = range(start, min(start + batch, limit, len(slim)))
        if in_batches:
            values = slim[places.start : places.stop]
            yield from (dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True))
        else:
            yield from (row for place in places if isinstance(row := slim[place], Mapping))


class _Wanted:
    """The prompts that are looked for, by their words, and those found."""

    def __init__(self, prompts: PromptSet, renderer: Renderer, by_tokens: bool) -> None:
        self._renderer = renderer
        self._tokenizer = tokenizer_of(renderer.processing_class)
        self._by_tokens = by_tokens
        self.marks = Marks.of(renderer) if by_tokens else Marks()
        self.found: set[str] = set()
        self._words: dict[str, set[str]] = {}
        self._decoded: dict[str, set[str]] = {}
        for prompt in prompts:
            text = self._decode(prompt.token_ids) if prompt.token_ids else prompt.plain_text
            for words in filter(None, {normalise(text), normalise(prompt.bare)}):
                self._words.setdefault(words, set()).add(prompt.key)
            if by_tokens:
                self._decoded.setdefault(self._rendered(prompt), set()).add(prompt.key)

    def look_for(self, prompt: Prompt | None) -> None:
        """Note which prompts are the same as the training row's."""
        if prompt is None:
            return
        self.found |= self._words.get(normalise(prompt.plain_text), set())
        if self._by_tokens:
            with contextlib.suppress(InputError):  # a row that the template refuses
                self.found |= self._decoded.get(self._rendered(prompt), set())

    def search(self, row: Row) -> None:
        """Note which prompts stand anywhere in a row that does not tell its prompt."""
        text, ids = row.get("text"), row.get("input_ids")
        if not isinstance(text, str):
            text = self._decode(ids) if ids is not None else ""
        text = normalise(text)
        for words, keys in self._words.items():
            # Not within a longer word; `in` is the quick test.
            if words in text and re.search(rf"(?:\b|(?=\W)){re.escape(words)}(?:\b|(?<=\W))", text):
                self.found |= keys

    def _rendered(self, prompt: Prompt) -> str:
        # Without any white space: next to a role's token it is not the prompt's own.
        return normalise(self._decode(self._renderer.render(prompt).token_ids)).replace(" ", "")

    def _decode(self, ids: Any) -> str:
        return self._tokenizer.decode(ids.tolist() if hasattr(ids, "tolist") else list(ids), skip_special_tokens=False)
