"""Prompts to token ids, as the trainer itself would render them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from divmon.errors import InputError, said_as
from divmon.prompt import Message, Prompt, content_text
from divmon.sampling.settings import Thinking

EMPTY_THINK_BLOCK = "<think>\n</think>\n"
_PROBE = "probe"


@dataclass(frozen=True)
class RenderedPrompt:
    """A prompt ready for the model.

    Attributes:
        prompt: What it was made of.
        token_ids: The model's input, unpadded.
        text: The same as text.
        think_opened: Whether it ends inside a think block, so that completions begin there.
        stop: Texts before which a completion ends; empty under a chat template, where the end of the turn does.
    """

    prompt: Prompt
    token_ids: tuple[int, ...]
    text: str
    think_opened: bool
    stop: tuple[str, ...] = ()


def tokenizer_of(processing_class: Any) -> Any:
    """The text tokenizer of a tokenizer or of a multimodal processor.

    Raises:
        InputError: If there is none.
    """
    tokenizer = getattr(processing_class, "tokenizer", None) or processing_class
    if tokenizer is None or not callable(getattr(tokenizer, "decode", None)):
        kind = type(processing_class).__name__
        raise InputError(f"Expected a tokenizer or a processor that holds one, got {kind}: pass processing_class=.")
    return tokenizer


def encode(tokenizer: Any, text: str, special: bool = False) -> list[int]:
    """The ids of ``text``, untruncated; with ``special``, behind the tokens that the tokenizer opens a text with.

    An end token that the tokenizer appends by itself is left off: the model is to go on from here.
    """
    with _backend_settings(tokenizer):
        # Not verbose: a text beyond model_max_length would set a flag in the tokenizer.
        ids = list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])
    end = getattr(tokenizer, "eos_token_id", None)
    if special and len(ids) > 1 and ids[-1] == end and not text.endswith(str(tokenizer.eos_token)):
        ids.pop()
    return ids


@contextmanager
def _backend_settings(tokenizer: Any) -> Iterator[None]:
    """Put truncation and padding of the tokenizer's backend back: every call of a tokenizer sets both."""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    truncation, padding = getattr(backend, "truncation", None), getattr(backend, "padding", None)
    try:
        yield
    finally:
        if truncation is not None:
            backend.enable_truncation(**truncation)
        if padding is not None:
            backend.enable_padding(**padding)


@dataclass(frozen=True)
class Renderer:
    """Renders prompts for one tokenizer, which it never changes.

    Attributes:
        processing_class: The tokenizer or multimodal processor.
        chat_template: A template in place of the tokenizer's own, or the name of one of its templates.
        chat_template_kwargs: Extra arguments for the template; a row's own arguments come after.
        system_prompt: A system turn for prompts that have none.
        tools: Tool schemas or functions for prompts that have none.
        thinking: See ``SamplingSettings``.
    """

    processing_class: Any
    chat_template: str | None = None
    chat_template_kwargs: Mapping[str, Any] | None = None
    system_prompt: str | None = None
    tools: tuple[Any, ...] | None = None
    thinking: Thinking | None = None

    @property
    def template(self) -> str | None:
        """The chat template in force, or None for a model that has none."""
        return self._template(tools=False)

    def _template(self, tools: bool) -> str | None:
        """The template by transformers' rule: a model may have several, of which ``tool_use`` goes with tools."""
        holders = (self.processing_class, tokenizer_of(self.processing_class))
        own = next((found for holder in holders if (found := getattr(holder, "chat_template", None))), None)
        named = own if isinstance(own, Mapping) else {"default": own}
        if self.chat_template:
            return named.get(self.chat_template, self.chat_template)
        return (named.get("tool_use") if tools else None) or named.get("default")

    def render(self, prompt: Prompt) -> RenderedPrompt:
        """Turn ``prompt`` into token ids.

        Raises:
            InputError: If the template refuses the prompt or nothing is left of it.
        """
        tokenizer, stop = tokenizer_of(self.processing_class), prompt.stop
        if prompt.token_ids is not None:
            ids = list(prompt.token_ids)
            text = tokenizer.decode(ids, skip_special_tokens=False)
            addition = self._suppression(prompt, text)
            ids += encode(tokenizer, addition) if addition else []
        else:
            templated = self.template is not None and (prompt.messages is not None or prompt.chat)
            stop = () if templated else stop
            text = self._templated(prompt) if templated else self._plain(prompt)
            addition = self._suppression(prompt, text)
            # The template writes the special tokens itself; a plain prompt gets the tokenizer's own.
            ids = encode(tokenizer, text + addition, special=not templated)
        if not ids or not text:
            raise InputError(f"Prompt {prompt.id!r} is empty after tokenisation: remove it from the prompts.")
        opened = not addition and _inside_think(prompt, text)
        return RenderedPrompt(prompt, tuple(ids), text + addition, opened, stop)

    def chat_text(
        self,
        turns: Sequence[Message],
        *,
        opened: bool = False,
        continued: bool = False,
        tools: Sequence[Any] = (),
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> str:
        """A conversation as the template writes it.

        Args:
            turns: The conversation.
            opened: Whether to open an answer.
            continued: Whether to leave the last turn open.
            tools: Tool schemas or functions.
            template_kwargs: Further arguments for the template.

        Raises:
            InputError: If the template refuses it.
        """
        shaped = [dict(self._shaped(turn)) for turn in turns]
        with said_as(InputError, lambda reason: f"The chat template refuses a conversation ({reason})."):
            return tokenizer_of(self.processing_class).apply_chat_template(
                shaped,
                tools=list(tools) or None,
                chat_template=self._template(bool(tools)),
                add_generation_prompt=opened,
                continue_final_message=continued,
                tokenize=False,
                **(template_kwargs or {}),
            )

    def _templated(self, prompt: Prompt) -> str:
        turns = list(prompt.messages or ({"role": "user", "content": prompt.text},))
        if self.system_prompt is not None and turns[0].get("role") != "system":
            turns.insert(0, {"role": "system", "content": self.system_prompt})
        continued = turns[-1].get("role") == "assistant"
        try:
            return self.chat_text(
                turns,
                opened=not continued,
                continued=continued,
                tools=prompt.tools or self.tools or (),
                template_kwargs={**(self.chat_template_kwargs or {}), **prompt.template_kwargs},
            )
        except InputError as error:
            raise InputError(
                f"Prompt {prompt.id!r}: {error} Pass other prompts=, or chat_template_kwargs= that it accepts."
            ) from error

    def _shaped(self, turn: Message) -> Message:
        """The turn with its content in the form that the template reads: a list of parts, or a string.

        TRL gives a multimodal processor's template parts, as its templates expect.
        """
        content = turn.get("content")
        if isinstance(content, str) and self.processing_class is not tokenizer_of(self.processing_class):
            return {**turn, "content": [{"type": "text", "text": content}]} if self._reads_parts else turn
        if isinstance(content, list | tuple) and not self._reads_parts:
            return {**turn, "content": content_text(turn)}
        return turn

    @cached_property
    def _reads_parts(self) -> bool:
        """Whether the template reads a content that is a list of parts, rather than to print the list."""
        turns = [{"role": "user", "content": [{"type": "text", "text": _PROBE}]}]
        try:
            with said_as(InputError, str):
                text = tokenizer_of(self.processing_class).apply_chat_template(
                    turns, chat_template=self.template, tokenize=False, **(self.chat_template_kwargs or {})
                )
        except InputError:  # a template that refuses the probe reads no parts
            return False
        return _PROBE in text and "'type'" not in text and '"type"' not in text

    def _plain(self, prompt: Prompt) -> str:
        if prompt.text is not None:
            body = prompt.text
        else:
            body = "\n\n".join(content_text(turn) for turn in prompt.messages or ())
        return body if self.system_prompt is None else f"{self.system_prompt}\n\n{body}"

    def _suppression(self, prompt: Prompt, text: str) -> str:
        """What closes the think block before it begins, after a prompt that ends in ``text``.

        The rendered text tells: an open block is closed, a closed one left alone, and behind a generation prompt
        without a block an empty one is put. A model without a chat template has no generation prompt, and continues a
        text rather than think about it.
        """
        if self.thinking != "suppress" or text.rstrip().endswith("</think>"):
            return ""
        if not _inside_think(prompt, text):
            return EMPTY_THINK_BLOCK if self.template is not None or prompt.token_ids is not None else ""
        return ("" if text.endswith("\n") else "\n") + "</think>\n"


def _inside_think(prompt: Prompt, text: str) -> bool:
    """Whether ``text`` ends in an open think block, by its last word or within an answer that is continued."""
    if text.rstrip().endswith("<think>"):
        return True
    last = prompt.messages[-1] if prompt.messages else {}
    begun = content_text(last) if last.get("role") == "assistant" else ""
    return begun.rfind("<think>") > begun.rfind("</think>")
