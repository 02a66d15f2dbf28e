"""Prompts to token ids, as the trainer itself would render them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from divmon.errors import InputError
from divmon.prompts import Prompt, content_text
from divmon.sampling.settings import Thinking

EMPTY_THINK_BLOCK = "<think>\n</think>\n"


@dataclass(frozen=True)
class RenderedPrompt:
    """A prompt ready for the model.

    Attributes:
        prompt: What it was made of.
        token_ids: The model's input, unpadded.
        text: The same as text.
        think_opened: Whether it ends inside a think block, so that completions begin there.
    """

    prompt: Prompt
    token_ids: tuple[int, ...]
    text: str
    think_opened: bool


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


@dataclass(frozen=True)
class Renderer:
    """Renders prompts for one tokenizer, which it never changes.

    Attributes:
        processing_class: The tokenizer or multimodal processor.
        chat_template: A template in place of the tokenizer's own.
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
        candidates = (
            self.chat_template,
            getattr(tokenizer_of(self.processing_class), "chat_template", None),
            getattr(self.processing_class, "chat_template", None),
        )
        return next((candidate for candidate in candidates if candidate), None)

    def render(self, prompt: Prompt) -> RenderedPrompt:
        """Turn ``prompt`` into token ids.

        Raises:
            InputError: If the template refuses the prompt or nothing is left of it.
        """
        tokenizer = tokenizer_of(self.processing_class)
        if prompt.token_ids is not None:
            ids = list(prompt.token_ids)
            text = tokenizer.decode(ids, skip_special_tokens=False)
            addition = self._suppression(text)
            ids += tokenizer(addition, add_special_tokens=False)["input_ids"] if addition else []
        else:
            templated = self.template is not None and (prompt.messages is not None or prompt.chat)
            text = self._templated(prompt) if templated else self._plain(prompt)
            addition = self._suppression(text)
            # The template writes the special tokens itself; a plain prompt gets the tokenizer's own.
            ids = tokenizer(text + addition, add_special_tokens=not templated)["input_ids"]
        if not ids:
            raise InputError(f"Prompt {prompt.id!r} is empty after tokenisation: remove it from the prompts.")
        text += addition
        return RenderedPrompt(prompt, tuple(ids), text, text.rstrip().endswith("<think>"))

    def _templated(self, prompt: Prompt) -> str:
        turns = [dict(turn) for turn in prompt.messages or ({"role": "user", "content": prompt.text},)]
        if self.system_prompt is not None and turns[0].get("role") != "system":
            turns.insert(0, {"role": "system", "content": self.system_prompt})
        continues = turns[-1].get("role") == "assistant"
        try:
            return tokenizer_of(self.processing_class).apply_chat_template(
                turns,
                tools=list(prompt.tools or self.tools or ()) or None,
                chat_template=self.template,
                add_generation_prompt=not continues,
                continue_final_message=continues,
                tokenize=False,
                **{**(self.chat_template_kwargs or {}), **prompt.template_kwargs},
            )
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise InputError(
                f"The chat template refuses prompt {prompt.id!r} ({type(error).__name__}: {error}). "
                "Pass other prompts=, or chat_template_kwargs= that the template accepts."
            ) from error

    def _plain(self, prompt: Prompt) -> str:
        if prompt.text is not None:
            body = prompt.text
        else:
            body = "\n\n".join(content_text(turn) for turn in prompt.messages or ())
        return body if self.system_prompt is None else f"{self.system_prompt}\n\n{body}"

    def _suppression(self, text: str) -> str:
        """What closes the think block before it begins, after a prompt that ends in ``text``."""
        if self.thinking != "suppress":
            return ""
        if not text.rstrip().endswith("<think>"):
            return EMPTY_THINK_BLOCK
        return ("" if text.endswith("\n") else "\n") + "</think>\n"
