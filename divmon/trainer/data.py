"""What a trainer's data sets say: prompts of the eval set, and which of them the training set also holds."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from divmon.prompts import Prompt, PromptSet, normalise, prompt_of_row
from divmon.sampling.render import Renderer, tokenizer_of

OVERLAP_ROWS = 200_000
OVERLAP_TOKEN_ROWS = 20_000

_COLUMNS = (
    "prompt",
    "messages",
    "conversations",
    "chosen",
    "rejected",
    "tools",
    "chat_template_kwargs",
    "category",
    "task",
    "prompt_ids",
    "input_ids",
    "labels",
    "seq_lengths",
)


def eval_prompts(dataset: Any, count: int, renderer: Renderer) -> PromptSet | None:
    """Up to about four times ``count`` prompts of an evaluation set, any first part of them spread over the set.

    More than ``count`` so that some may be dropped afterwards. A dictionary of data sets gives one task a name.

    Args:
        dataset: A map-style or streamed data set, a dictionary of them, or None.
        count: How many prompts are wanted.
        renderer: Finds where the answer begins in rows of which only token ids are left.

    Returns:
        The prompts, or None where no row has a readable prompt.
    """
    sets = dataset if isinstance(dataset, Mapping) else {"default": dataset}
    prompts: list[Prompt] = []
    for name, rows in sets.items():
        if rows is None:
            continue
        wanted = max(1, -(-count // len(sets)))
        found = itertools.islice(_prompts_of_rows(_spread(rows, wanted), renderer), 4 * wanted)
        prompts += [dataclasses.replace(p, task=p.task if p.task != "default" else name) for p in found]
    return PromptSet(tuple(prompts), source="eval_dataset") if prompts else None


def _slim(dataset: Any) -> Any:
    """The data set without the columns that are of no use here and without transforms."""
    names = getattr(dataset, "column_names", None)
    if names and hasattr(dataset, "select_columns"):
        if hasattr(dataset, "with_format"):
            dataset = dataset.with_format(None)
        kept = [name for name in names if name in _COLUMNS]
        return dataset.select_columns(kept) if kept else dataset
    return dataset


def _spread(dataset: Any, count: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Named rows: of a map-style set in four evenly spaced rounds, of a stream from its beginning."""
    dataset = _slim(dataset)
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        yield from ((str(index), row) for index, row in enumerate(itertools.islice(dataset, 4 * count)))
        return
    size = len(dataset)
    places = [int((index + part / 4) * size / count) for part in range(4) for index in range(count)]
    for place in dict.fromkeys(place for place in places if place < size):
        yield str(place), dataset[place]


def _prompts_of_rows(rows: Iterable[tuple[str, Mapping[str, Any]]], renderer: Renderer) -> Iterator[Prompt]:
    marker: tuple[int, ...] | None = None
    for name, row in rows:
        if not isinstance(row, Mapping):
            continue
        prompt = prompt_of_row(row, name)
        if prompt is not None:
            yield prompt
        elif row.get("prompt_ids"):
            yield Prompt(id=name, token_ids=tuple(row["prompt_ids"]))
        elif row.get("input_ids"):
            marker = marker if marker is not None else generation_marker(renderer)
            yield from _prompts_of_tokens(row, marker, name)


def generation_marker(renderer: Renderer) -> tuple[int, ...]:
    """The tokens by which the chat template opens an answer (``<|im_start|>assistant``), or () without a template."""
    if renderer.template is None:
        return ()
    tokenizer = tokenizer_of(renderer.processing_class)
    turns = [{"role": "user", "content": "x"}]
    texts = [
        tokenizer.apply_chat_template(
            turns, chat_template=renderer.template, tokenize=False, add_generation_prompt=opened
        )
        for opened in (False, True)
    ]
    if not texts[1].startswith(texts[0]):
        return ()
    return tuple(tokenizer(texts[1][len(texts[0]) :], add_special_tokens=False)["input_ids"])


def _prompts_of_tokens(row: Mapping[str, Any], marker: tuple[int, ...], name: str) -> Iterator[Prompt]:
    """The prompts in a tokenised row, packed or not.

    A prompt ends where the labels begin; where they mask nothing, after the last generation marker.
    """
    ids, labels = list(row["input_ids"]), row.get("labels")
    start = 0
    for number, length in enumerate(row.get("seq_lengths") or [len(ids)]):
        piece = ids[start : start + length]
        masked = _leading(labels[start : start + length]) if labels else 0
        end = masked or _end_of_last(piece, marker)
        if 0 < end < len(piece):
            yield Prompt(id=f"{name}.{number}" if "seq_lengths" in row else name, token_ids=tuple(piece[:end]))
        start += length


def _leading(labels: Sequence[int]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda label: label == -100, labels))


def _end_of_last(ids: Sequence[int], marker: tuple[int, ...]) -> int:
    size = len(marker)
    if not size:
        return 0
    return next((i + size for i in range(len(ids) - size, -1, -1) if tuple(ids[i : i + size]) == marker), 0)


@dataclass(frozen=True)
class Overlap:
    """Which prompts the training data holds too.

    Attributes:
        keys: The keys of those prompts.
        scanned: What was looked at, in words.
    """

    keys: frozenset[str]
    scanned: str


def overlap(prompts: PromptSet, train_dataset: Any, processing_class: Any) -> Overlap:
    """Find the prompts that also stand in the training data, exactly but for white space and case.

    A streamed training set is left alone, since reading it would cost the user; rows of token ids are decoded and
    searched for the prompt's words.
    """
    if train_dataset is None:
        return Overlap(frozenset(), "no training set")
    if not (hasattr(train_dataset, "__len__") and hasattr(train_dataset, "__getitem__")):
        return Overlap(frozenset(), "training set streamed, not scanned")
    tokenizer = tokenizer_of(processing_class)
    texts = {prompt.key: _words(prompt, tokenizer) for prompt in prompts}
    wanted: dict[str, set[str]] = {}
    for key, text in texts.items():
        wanted.setdefault(text, set()).add(key)
    found: set[str] = set()
    dataset = _slim(train_dataset)
    size = len(dataset)
    rows = token_rows = 0
    for index in range(min(size, OVERLAP_ROWS)):
        row = dataset[index]
        prompt = prompt_of_row(row, "") if isinstance(row, Mapping) else None
        if prompt is not None:
            found |= wanted.get(normalise(prompt.plain_text), set())
        elif isinstance(row, Mapping) and (row.get("prompt_ids") or row.get("input_ids")):
            token_rows += 1
            decoded = tokenizer.decode(row.get("prompt_ids") or row["input_ids"], skip_special_tokens=True)
            words = normalise(decoded)
            found |= {key for key, text in texts.items() if text and text in words}
        rows += 1
        if token_rows >= OVERLAP_TOKEN_ROWS:
            break
    return Overlap(frozenset(found), f"{rows} of {size} training rows")


def _words(prompt: Prompt, tokenizer: Any) -> str:
    if prompt.token_ids is not None:
        return normalise(tokenizer.decode(list(prompt.token_ids), skip_special_tokens=True))
    return normalise(prompt.plain_text)
