"""Text as the metrics see it: the answer without its reasoning, its sentences, its n-gram tokens, its code.

This is the only place where ``<think>...</think>`` is taken off. Every function takes linear time.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

_OPEN = "<think>"
_CLOSE = "</think>"

# A run of terminators followed by white space, or newlines. The look-behind and the possessive quantifier
# let a match be tried only once per run, so a megabyte of dots takes linear time.
_SENTENCE_END = re.compile(r"(?<![.!?])[.!?]++\s+|\n+")

# A fence at the beginning of a line; the last one need not be closed (a stop sequence or the token limit took it).
_FENCE = re.compile(r"^[ \t]*```+[ \t]*([\w+-]*)[^\n`]*\n(.*?)(?:^[ \t]*```+[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_PYTHON = ("python", "python3", "py", "py3")


class _Stripped(NamedTuple):
    text: str  # what stands outside the closed blocks
    closed: bool  # at least one block was taken out
    unclosed: bool  # a block is open at the end of the text


def _strip_blocks(completion: str, opened_in_prompt: bool) -> _Stripped:
    """Take the closed think blocks out of ``completion`` (the rules are those of `extract_answer`)."""
    first_open = completion.find(_OPEN)
    # Closing tags before any opening one belong to a block that the prompt opened; the last of them ends it.
    lead = completion.rfind(_CLOSE, 0, len(completion) if first_open < 0 else first_open)
    if lead < 0 and opened_in_prompt:
        lead = completion.find(_CLOSE)  # the model repeated the opening tag inside the open block
        if lead < 0:
            return _Stripped(completion, closed=False, unclosed=True)
    closed = lead >= 0
    position = lead + len(_CLOSE) if closed else 0
    kept: list[str] = []
    while (start := completion.find(_OPEN, position)) >= 0:
        end = completion.find(_CLOSE, start + len(_OPEN))
        if end < 0:
            kept.append(completion[position:])
            return _Stripped("".join(kept), closed, unclosed=True)
        kept.append(completion[position:start])
        position, closed = end + len(_CLOSE), True
    kept.append(completion[position:])
    return _Stripped("".join(kept), closed, unclosed=False)


def has_unclosed_think(completion: str, *, opened_in_prompt: bool = False) -> bool:
    """Tell whether a think block is still open where the completion ends.

    Args:
        completion: What the model wrote.
        opened_in_prompt: The prompt ended inside a block (its template wrote ``<think>``).

    Returns:
        True where ``<think>`` (in the text or, with ``opened_in_prompt``, in the prompt) is never closed. An
        opening tag after a closed block and without a closing one of its own counts too.
    """
    return _strip_blocks(completion, opened_in_prompt).unclosed


def extract_answer(
    completion: str,
    *,
    unclosed: Literal["drop", "keep"] = "drop",
    opened_in_prompt: bool = False,
    keep_think: bool = False,
) -> str | None:
    """Take the reasoning off a completion; None where no answer is left.

    Tags are matched literally and quotation is not understood:

    - No tag at all: the text as it is. It is *not* stripped: the paper's code does not, and the white space
      at its end decides whether the last sentence keeps its terminator (`split_sentences`).
    - ``<think>`` to the next ``</think>`` is a block; every block goes, the text around them (before the
      first one too) stays and is stripped of white space at both ends. A further ``</think>`` in the answer,
      quoted code say, is text and stays.
    - ``</think>`` before any ``<think>``: the prompt opened the block; all up to and including the last such
      tag goes, so an answer that quotes ``</think>`` loses what stands before the quotation.
    - A block that is never closed, also one that opens after the answer: no answer.

    Args:
        completion: What the model wrote.
        unclosed: What to do without an answer. ``"drop"`` gives None. ``"keep"`` does as the paper's code: a
            block that is never closed stays in the text, and an empty answer is the empty string.
        opened_in_prompt: The prompt ended inside a block, so no closing tag means that it was never closed.
            Reasoning that mentions ``<think>`` is then read rightly too.
        keep_think: Leave the text, tags included, as it is; only an empty one is then without answer.

    Returns:
        The answer, or None (with ``"drop"``) where it is empty, only white space or inside an open block.
    """
    if keep_think:
        answer, is_open = completion, False
    else:
        stripped = _strip_blocks(completion, opened_in_prompt)
        answer = stripped.text.strip() if stripped.closed else stripped.text
        is_open = stripped.unclosed
    if unclosed == "drop" and (is_open or not answer.strip()):
        return None
    return answer if answer.strip() else ""


def split_sentences(text: str) -> list[str]:
    r"""Split into sentences at ``[.!?]+`` followed by white space, and at newlines.

    As in the paper's code the terminators go with the split: ``"A b. C d."`` gives ``["A b", "C d."]`` (no
    white space follows the last one). Empty or blank text gives an empty list.

    Returns:
        The sentences in order, stripped of white space, none empty.
    """
    return [sentence for part in _SENTENCE_END.split(text) if (sentence := part.strip())]


def ngram_tokens(text: str) -> list[str]:
    r"""Split into the tokens of EAD's n-grams: delete ``"."`` and ``"\n"``, then split at white space.

    As in the paper's code a deleted newline joins the words around it: ``"a\nb c."`` gives ``["ab", "c"]``.
    """
    return text.replace(".", "").replace("\n", "").split()


def extract_code(answer: str) -> str:
    """The last code block that says it is Python, else the last that says nothing, else all of the answer."""
    blocks = [(language.lower(), code) for language, code in _FENCE.findall(answer)]
    for languages in (_PYTHON, ("",)):
        found = [code for language, code in blocks if language in languages]
        if found:
            return found[-1]
    return answer
