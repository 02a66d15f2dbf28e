"""One prompt, and how it is read from what a user or a dataset's row gives."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeGuard

from divmon.errors import InputError
from divmon.verifiers import OUTSIDE, check_ground_truth

Message = Mapping[str, Any]


def content_digest(content: Any) -> str:
    """32 hex digits of JSON-like content, the same in every process; functions count by their description."""
    encoded = json.dumps(content, sort_keys=True, default=_described, ensure_ascii=False).encode()
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


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
        verifier: What tells whether an answer is right (a name of `divmon.verifiers`); empty where nothing does.
        ground_truth: What is right, in the verifier's form.
        stop: Texts before which a completion ends; they hold where the model has no chat template.
        without: Metrics that mean nothing on its answers (``nli`` on code): they are not measured on it.
        checklist: Yes-or-no questions that a good answer meets, for a judge (`divmon.judge`).
        bare: The words that a template stands around, where ``text`` has one; training data hold those.
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
    verifier: str = ""
    ground_truth: Any = None
    stop: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    checklist: tuple[str, ...] = ()
    bare: str = ""

    def __post_init__(self) -> None:
        given = [value for value in (self.text, self.messages, self.token_ids) if value is not None]
        if len(given) != 1 or given[0] == ():
            raise InputError(f"prompt {self.id}: expected one of text, messages and token_ids, got {len(given)}.")

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
        return content_digest([*content, self.stop] if self.stop else content)

    @property
    def verifiable(self) -> bool:
        """Whether a measurement can tell if an answer is right: there is a verifier that needs nobody's consent."""
        return bool(self.verifier) and self.verifier not in OUTSIDE

    @property
    def plain_text(self) -> str:
        """The prompt's words without roles and system turn, for display and comparison; empty for tokens."""
        if self.text is not None:
            return self.text
        turns = [turn for turn in self.messages or () if turn.get("role") != "system"]
        return "\n\n".join(content_text(turn) for turn in turns)


def _described(value: Any) -> str:
    """A value JSON has no form for (a tool that is a function, say), the same in every process."""
    name = getattr(value, "__qualname__", None)
    return f"{value.__module__}.{name}" if name else re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def content_text(message: Message) -> str:
    """The text of one turn, whose content may be a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list | tuple) else ()
    return "".join(part if isinstance(part, str) else str(part.get("text") or "") for part in parts)


def normalise(text: str) -> str:
    """``text`` in lower case with single spaces: how prompts are compared with training data."""
    return " ".join(text.casefold().split())


def prompt_of_value(value: Any, name: str) -> Prompt:
    """The prompt in what a user gives: a prompt, a string, a chat, or a row.

    Args:
        value: What was given.
        name: The prompt's id where it says none of its own.

    Raises:
        InputError: For anything else, and for a ground truth that its verifier does not understand.
    """
    prompt = _read_value(value, name)
    if prompt.verifiable:
        try:
            check_ground_truth(prompt.verifier, prompt.ground_truth)
        except InputError as error:
            raise InputError(f"prompt {prompt.id}: {error}") from error
    return prompt


def _read_value(value: Any, name: str) -> Prompt:
    if isinstance(value, Prompt):
        return value
    if isinstance(value, str):
        return Prompt(id=name, text=value)
    row = value if isinstance(value, Mapping) else {"messages": value}
    name = str(row.get("id", name))
    messages = row.get("messages")
    if is_chat(messages) and messages[-1]["role"] != "assistant" and not row.get("prompt"):
        # Somebody who ends a chat with a question asks for its answer, whatever was answered before.
        return _prompt_of_chat(messages, row, name)
    prompt = prompt_of_row(row, name)
    if prompt is not None:
        return dataclasses.replace(prompt, chat=True)
    raise InputError(
        f"prompt {name}: expected a string, a chat (list of turns with role and content) or an object with "
        f"'prompt' or 'messages', got {str(value)[:80]!r}."
    )


def is_chat(value: Any) -> TypeGuard[Sequence[Message]]:
    """Whether ``value`` is a conversation: turns with a role each, at least one."""
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(turn, Mapping) and isinstance(turn.get("role"), str) for turn in value)
    )


def _prompt_of_chat(turns: Sequence[Message], row: Mapping[str, Any], name: str) -> Prompt:
    return Prompt(id=name, messages=tuple(dict(turn) for turn in turns), **_settings(row, name))


def _settings(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What a row says beside its prompt."""
    tools = row.get("tools")
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except json.JSONDecodeError as error:
            raise InputError(f"prompt {name}: 'tools' is a string but not JSON ({error}).") from error
    checklist = row.get("checklist") or ()
    if not isinstance(checklist, list | tuple) or not all(isinstance(item, str) for item in checklist):
        raise InputError(f"prompt {name}: expected 'checklist' as a list of texts, got {str(checklist)[:80]!r}.")
    return {
        "tools": tuple(tools) if tools else None,
        "template_kwargs": row.get("chat_template_kwargs") or {},
        "category": str(row.get("category") or ""),
        "task": str(row.get("task") or "default"),
        "verifier": str(row.get("verifier") or ""),
        "ground_truth": row.get("ground_truth"),
        "checklist": tuple(checklist),
    }


def prompt_of_row(row: Mapping[str, Any], name: str) -> Prompt | None:
    """The prompt in a dataset's row, or None where the row keeps none in readable form.

    ``prompt`` (a string, or a conversation that is the prompt as a whole: an assistant turn at its end is continued)
    comes first, then ``messages`` up to the last assistant turn, which is the answer, then the turns that ``chosen``
    and ``rejected`` share.

    Raises:
        InputError: If the row's tools cannot be read.
    """
    prompt = row.get("prompt")
    if isinstance(prompt, str):
        return Prompt(id=name, text=prompt, chat=False, **_settings(row, name))
    if is_chat(prompt):
        return _prompt_of_chat(prompt, row, name)
    for messages in (row.get("messages"), row.get("conversations")):
        if is_chat(messages):
            answers = [index for index, turn in enumerate(messages) if turn["role"] == "assistant"]
            turns = messages[: answers[-1]] if answers else messages
            return _prompt_of_chat(turns, row, name) if turns else None
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if is_chat(chosen) and is_chat(rejected):
        pairs = zip(chosen, rejected, strict=False)
        shared = [left for left, right in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)]
        return _prompt_of_chat(shared, row, name) if shared else None
    return None
