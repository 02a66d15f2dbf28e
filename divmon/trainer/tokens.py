"""Prompts in rows of which only token ids are left: where a conversation begins, and where its answer does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from divmon.errors import InputError
from divmon.prompt import Prompt
from divmon.sampling.render import Renderer, encode, tokenizer_of

_QUESTION = "question"
# Answers and questions that begin differently: what their renderings share is the template's.
_CONTENTS = (_QUESTION, "\n\n1", "<think>\nx\n</think>\n\ny")

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Marks:
    """The tokens by which a chat template marks the parts of a conversation; empty without a template.

    Attributes:
        opening: What opens an answer, as the model gets it (``<|im_start|>assistant``).
        answer: The part of ``opening`` that stands before every answer in the data; a template may open a think block
            for the model that answers in the data do not have.
        starts: What conversations begin with: with a system turn, and without.
    """

    opening: Ids = ()
    answer: Ids = ()
    starts: tuple[Ids, ...] = ()

    @classmethod
    def of(cls, renderer: Renderer) -> Marks:
        """The marks of the renderer's template."""
        if renderer.template is None:
            return cls()
        tokenizer = tokenizer_of(renderer.processing_class)
        user = {"role": "user", "content": _QUESTION}
        answers = [{"role": "assistant", "content": content} for content in _CONTENTS]
        try:
            asked = renderer.chat_text([user])
            opened = renderer.chat_text([user], opened=True)
            answered = [renderer.chat_text([user, answer]) for answer in answers]
        except InputError:  # a template that refuses these conversations tells no marks
            return cls()
        if not opened.startswith(asked):
            asked = asked.removesuffix(tokenizer.eos_token or "")  # Phi 3 ends a conversation that nothing opens
        _, found, after = asked.rpartition(_QUESTION)
        if not found or not all(text.startswith(asked) for text in (opened, *answered)):
            return cls()
        # Where nothing opens an answer, the end of the question does ([/INST]).
        cut = len(asked) if len(opened) > len(asked) else len(asked) - len(after.lstrip())
        opening = tuple(encode(tokenizer, opened[cut:]))
        answer = _shared([opening, *(tuple(encode(tokenizer, text[cut:])) for text in answered)])
        starts = [_start(renderer, role) for role in ("system", "user")]
        return cls(opening if answer else (), answer, tuple(start for start in starts if start))

    def completed(self, prompt: Ids) -> Ids:
        """``prompt`` with the whole opening where only the part that data have is there."""
        if self.answer and prompt[-len(self.answer) :] == self.answer:
            return prompt + self.opening[len(self.answer) :]
        return prompt


def _start(renderer: Renderer, role: str) -> Ids:
    """What stands before the words of a first turn of ``role``."""
    tokenizer = tokenizer_of(renderer.processing_class)
    rest = [{"role": "user", "content": _QUESTION}] if role == "system" else []
    try:
        texts = [renderer.chat_text([{"role": role, "content": content}, *rest]) for content in _CONTENTS]
    except InputError:  # a template may refuse a system turn
        return ()
    return _shared([tuple(encode(tokenizer, text)) for text in texts])


def prompts_of_tokens(row: Mapping[str, Any], marks: Marks, name: str, packing: str | None = None) -> Iterator[Prompt]:
    """The prompts in a tokenised row, packed or not.

    A prompt ends where the last answer begins: where the labels' last masked part ends, or without one after the last
    mark of an answer. A row that TRL's ``wrapped`` packing filled keeps no lengths: there a conversation begins at its
    system turn or, without one in the row, at every question.

    Args:
        row: ``prompt_ids``, or ``input_ids`` and where there are ``labels``, ``seq_lengths`` and ``attention_mask``.
        marks: The template's.
        name: Of the row.
        packing: TRL's packing strategy, if the row is packed.
    """
    ids, labels, lengths = _list(row.get("input_ids")), _list(row.get("labels")), _list(row.get("seq_lengths"))
    if prompt_ids := _list(row.get("prompt_ids")):
        yield Prompt(id=name, token_ids=marks.completed(tuple(prompt_ids)))
        return
    mask = _list(row.get("attention_mask"))
    if not all(isinstance(token, int) for token in ids):
        return
    labels = labels if len(labels) == len(ids) else []
    if len(mask) == len(ids):
        labels = [label for label, kept in zip(labels, mask, strict=False) if kept]
        ids = [token for token, kept in zip(ids, mask, strict=True) if kept]
    if lengths:
        ends = [0, *itertools.accumulate(lengths)]
    else:
        ends = [*(_starts(ids, labels, marks) if packing == "wrapped" else [0]), len(ids)]
    for number, (start, end) in enumerate(itertools.pairwise(ends)):
        piece = tuple(ids[start:end])
        if packing == "bfd_split" and marks.starts and not any(_is_at(piece, 0, mark) for mark in marks.starts):
            continue  # the second part of a conversation
        size = _last_unmasked(labels[start:end]) or _end_of_last(piece, marks.answer)
        if 0 < size < len(piece) and piece[:size] != marks.answer:
            unique = f"{name}.{number}" if len(ends) > 2 else name
            yield Prompt(id=unique, token_ids=marks.completed(piece[:size]))


def _list(value: Any) -> list[Any]:
    """A row's value as a list, which may be a tensor or an array; empty for what is none."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(value) if isinstance(value, list | tuple) else []


def _starts(ids: Sequence[int], labels: Sequence[int], marks: Marks) -> list[int]:
    """Where conversations begin in a row without lengths; what lies before the first is the end of another."""
    for mark in marks.starts:
        if found := [place for place in range(len(ids)) if _is_at(ids, place, mark)]:
            return found
    # Without a template: a masked part is the prompt of a document. One at the row's start may have lost its beginning.
    return [place for place in range(1, len(labels)) if labels[place] == -100 != labels[place - 1]]


def _last_unmasked(labels: Sequence[int]) -> int:
    """Where the last unmasked part begins behind a masked one, or 0."""
    return next((i for i in range(len(labels) - 1, 0, -1) if labels[i] != -100 and labels[i - 1] == -100), 0)


def _end_of_last(ids: Ids, mark: Ids) -> int:
    """Where the last ``mark`` that something follows ends, or 0."""
    size = len(mark)
    places = range(len(ids) - size - 1, -1, -1) if size else ()
    return next((place + size for place in places if _is_at(ids, place, mark)), 0)


def _is_at(ids: Sequence[int], place: int, mark: Ids) -> bool:
    return ids[place] == mark[0] and tuple(ids[place : place + len(mark)]) == mark


def _shared(sequences: Sequence[Ids]) -> Ids:
    """The longest common beginning."""
    columns = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*sequences, strict=False))
    return tuple(column[0] for column in columns)
