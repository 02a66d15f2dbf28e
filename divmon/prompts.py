"""Prompts to monitor: bundled, from a list, a file or a dataset."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.resources
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from divmon.errors import InputError

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Prompt:
    """One prompt. Exactly one of ``text``, ``messages`` and ``token_ids`` is set.

    Attributes:
        id: Name within its set.
        text: The prompt as a string.
        messages: The prompt as a conversation (role and content a turn).
        token_ids: The prompt as tokens, where a prepared dataset kept nothing else.
        chat: Whether ``text`` becomes a user turn where the model has a chat template; a dataset's plain ``prompt``
            column does not, since the trainer does not template it either.
        tools: Tool schemas for the chat template.
        template_kwargs: The row's own chat-template arguments.
        category: The kind of prompt, for reports.
        task: The evaluation task; values are averaged within a task, then over tasks.
    """

    id: str
    text: str | None = None
    messages: tuple[Message, ...] | None = None
    token_ids: tuple[int, ...] | None = None
    chat: bool = True
    tools: tuple[Any, ...] | None = None
    template_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    category: str = ""
    task: str = "default"

    @cached_property
    def key(self) -> str:
        """What identifies the prompt whatever set it is in: 32 hex digits. Its sampling noise hangs on this."""
        content = [
            self.text,
            self.messages,
            self.token_ids,
            self.chat,
            self.tools,
            dict(self.template_kwargs),
        ]
        encoded = json.dumps(content, sort_keys=True, default=repr, ensure_ascii=False).encode()
        return hashlib.blake2b(encoded, digest_size=16).hexdigest()

    @property
    def plain_text(self) -> str:
        """The prompt's words without roles and system turn, for display and comparison; empty for tokens."""
        if self.text is not None:
            return self.text
        turns = [turn for turn in self.messages or () if turn.get("role") != "system"]
        return "\n\n".join(content_text(turn) for turn in turns)


def content_text(message: Message) -> str:
    """The text of one turn, whose content may be a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))


def normalise(text: str) -> str:
    """``text`` in lower case with single spaces: how prompts are compared with training data."""
    return " ".join(text.casefold().split())


@dataclass(frozen=True)
class PromptSet:
    """An ordered set of distinct prompts.

    Attributes:
        prompts: The prompts, each ``key`` once.
        source: Where they came from, in words (``bundled``, ``eval_dataset``, a file's name).
    """

    prompts: tuple[Prompt, ...]
    source: str = "given"

    def __post_init__(self) -> None:
        if not self.prompts:
            raise InputError(f"No prompt in {self.source}: give at least one.")
        distinct = {prompt.key: prompt for prompt in self.prompts}
        if len(distinct) < len(self.prompts):
            object.__setattr__(self, "prompts", tuple(distinct.values()))

    def __len__(self) -> int:
        return len(self.prompts)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    @cached_property
    def digest(self) -> str:
        """32 hex digits over all prompts in order; measurements are comparable only where it agrees."""
        return hashlib.blake2b("".join(prompt.key for prompt in self).encode(), digest_size=16).hexdigest()

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks in order of first appearance."""
        return tuple(dict.fromkeys(prompt.task for prompt in self))

    def take(self, count: int) -> PromptSet:
        """The first ``count`` prompts, shared evenly between the tasks."""
        queues = [[prompt for prompt in self if prompt.task == task] for task in self.tasks]
        rounds = itertools.chain.from_iterable(itertools.zip_longest(*queues))
        chosen = {prompt.key for prompt in itertools.islice((p for p in rounds if p is not None), count)}
        return dataclasses.replace(self, prompts=tuple(p for p in self if p.key in chosen))

    def only(self, keys: Iterable[str]) -> PromptSet:
        """The prompts whose key is among ``keys``, in the set's order."""
        wanted = set(keys)
        return dataclasses.replace(self, prompts=tuple(p for p in self if p.key in wanted))

    @classmethod
    def bundled(cls, count: int | None = None) -> PromptSet:
        """The hand-written held-out prompts that come with divmon: 16 in each of the paper's six categories.

        They are interleaved, so that the first ``count`` are balanced over the categories.
        """
        resource = importlib.resources.files("divmon.data").joinpath("prompts.jsonl")
        rows = [json.loads(line) for line in resource.read_text(encoding="utf-8").splitlines()]
        prompts = tuple(Prompt(id=row["id"], text=row["prompt"], category=row["category"]) for row in rows)
        return cls(prompts[:count], source="bundled")

    @classmethod
    def from_file(cls, path: str | Path) -> PromptSet:
        """Read a JSONL file: a string a line, or an object with ``prompt`` (string or chat) or ``messages``.

        Raises:
            InputError: For an unreadable file or line, which is named by its number.
        """
        path = Path(path)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"Cannot read the prompts of {path}: {error}.") from error
        prompts = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                prompts.append(_from_value(json.loads(line), str(number)))
            except (json.JSONDecodeError, InputError) as error:
                raise InputError(f"{path}, line {number}: {error}") from error
        return cls(tuple(prompts), source=path.name)

    @classmethod
    def of(cls, prompts: PromptSet | str | Path | Sequence[Any]) -> PromptSet:
        """Turn what a user gives into a set: a set, a JSONL file, or a list of strings, chats or rows.

        Raises:
            InputError: For anything else, and for an empty list.
        """
        if isinstance(prompts, PromptSet):
            return prompts
        if isinstance(prompts, str | Path):
            return cls.from_file(prompts)
        if not isinstance(prompts, Iterable):
            raise InputError(
                "prompts: expected a list of strings or chats, a JSONL file or a PromptSet, "
                f"got {type(prompts).__name__}."
            )
        return cls(tuple(_from_value(value, str(index)) for index, value in enumerate(prompts)), source="list")


def _from_value(value: Any, name: str) -> Prompt:
    if isinstance(value, Prompt):
        return value
    if isinstance(value, str):
        return Prompt(id=name, text=value)
    if isinstance(value, Sequence) and value and all(isinstance(turn, Mapping) for turn in value):
        return prompt_of_messages(value, {}, name)
    if isinstance(value, Mapping):
        prompt = prompt_of_row(value, str(value.get("id", name)))
        if prompt is not None:
            return dataclasses.replace(prompt, chat=True)
    raise InputError(
        f"prompt {name}: expected a string, a chat (list of turns with role and content) or an object with "
        f"'prompt' or 'messages', got {str(value)[:80]!r}."
    )


def prompt_of_messages(messages: Sequence[Message], row: Mapping[str, Any], name: str) -> Prompt:
    """The conversation up to its last assistant turn (that turn is the answer), with the row's tools.

    Raises:
        InputError: If a turn has no role.
    """
    turns = [dict(turn) for turn in messages]
    if any("role" not in turn for turn in turns):
        raise InputError(f"prompt {name}: every turn of a chat needs 'role' and 'content'.")
    last = max((i for i, turn in enumerate(turns) if turn["role"] == "assistant"), default=len(turns))
    tools = row.get("tools")
    tools = json.loads(tools) if isinstance(tools, str) else tools
    return Prompt(
        id=name,
        messages=tuple(turns[:last] or turns),
        tools=tuple(tools) if tools else None,
        template_kwargs=row.get("chat_template_kwargs") or {},
        category=str(row.get("category") or ""),
        task=str(row.get("task") or "default"),
    )


def prompt_of_row(row: Mapping[str, Any], name: str) -> Prompt | None:
    """The prompt in a dataset's row, or None where the row keeps none in readable form.

    ``prompt`` (a string or a conversation) comes first, then ``messages`` up to the last assistant turn, then the part
    that ``chosen`` and ``rejected`` conversations share.
    """
    prompt = row.get("prompt")
    if isinstance(prompt, str):
        category, task = str(row.get("category") or ""), str(row.get("task") or "default")
        return Prompt(id=name, text=prompt, chat=False, category=category, task=task)
    if prompt:
        found = prompt_of_messages(prompt, row, name)
        # The whole column is the prompt, an assistant turn at its end included: TRL continues that turn.
        return dataclasses.replace(found, messages=tuple(dict(turn) for turn in prompt))
    messages = row.get("messages") or row.get("conversations")
    if messages and all(isinstance(turn, Mapping) and "role" in turn for turn in messages):
        return prompt_of_messages(messages, row, name)
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if isinstance(chosen, list) and isinstance(rejected, list):
        pairs = zip(chosen, rejected, strict=False)
        shared = [left for left, right in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]
        if shared:
            return dataclasses.replace(prompt_of_messages(shared, row, name), messages=tuple(shared))
    return None
