"""What the rewards share: the text of a completion in every form that TRL gives it in, and checks of arguments."""

from __future__ import annotations

import logging
from typing import Any

from divmon.prompt import content_text, is_chat
from divmon.text import extract_answer

logger = logging.getLogger(__name__)

OPEN, CLOSE = "<think>", "</think>"


def completion_text(completion: Any) -> str:
    """What the model wrote last, whatever form TRL gives it in.

    A text as it is; of a conversation the last assistant turn, with the reasoning that a tokenizer's response parser
    took out of it in its think block again. Anything else is no text: empty.
    """
    if isinstance(completion, str):
        return completion
    if not is_chat(completion):
        return ""
    turns = [turn for turn in completion if turn["role"] == "assistant"]
    if not turns:
        return ""
    reasoning = parsed_reasoning(completion)
    text = content_text(turns[-1])
    return f"{OPEN}{reasoning}{CLOSE}{text}" if reasoning and CLOSE not in text else text


def parsed_reasoning(completion: Any) -> str:
    """The reasoning that a response parser put beside the last assistant turn's content; empty without one."""
    turns = [turn for turn in completion if turn["role"] == "assistant"] if is_chat(completion) else []
    found = [turns[-1].get(name) for name in ("reasoning_content", "thinking")] if turns else []
    return next((text for text in found if isinstance(text, str)), "")


def opens_think(prompt: Any, said: bool) -> bool:
    """Whether a completion begins inside a think block: it was ``said`` so, or the prompt is a text that ends so."""
    return said or (isinstance(prompt, str) and prompt.rstrip().endswith(OPEN))


def answer_of(prompt: Any, completion: Any, think_opened: bool) -> str | None:
    """What a completion says outside its think block; None where it has no answer."""
    return extract_answer(completion_text(completion), opened_in_prompt=opens_think(prompt, think_opened))


def prompt_text(prompt: Any) -> str:
    """A prompt as a judge reads it: a text as it is, a conversation turn by turn."""
    if not is_chat(prompt):
        return str(prompt)
    if len(prompt) == 1:
        return content_text(prompt[0])
    return "\n\n".join(f"{turn['role']}: {content_text(turn)}" for turn in prompt)


def warn_left_out(reward: str, error: Exception, said: set[str]) -> None:
    """Warn that a row is left out, once for each reason; ``said`` holds the reasons so far."""
    reason = str(error)
    if reason not in said:
        said.add(reason)
        logger.warning("divmon: a row is left out of the reward %r. %s", reward, reason)
