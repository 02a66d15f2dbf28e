"""IFEval's two ways to read an answer: strict, as it stands, and loose, without what may be mere wrapping.

After the reference (Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models", section 2.2;
google-research, instruction_following_eval/evaluation_lib.py). An instruction is followed loosely if it is followed by
any of eight variants of the answer: without its first line ("Sure, here it is:"), its last line ("Hope this helps!"),
or both, each with and without asterisks (Markdown's bold face). Two instructions of a prompt may each choose a variant
of their own, as in the reference. What is followed strictly is followed loosely: the answer itself is a variant.

Loose is kinder to chat models and wrong more often: an answer that breaks "no more than two paragraphs" by an
introduction has broken it. An accuracy means strict wherever divmon says no more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from divmon.verifiers.constraints import tests_of


@dataclass(frozen=True)
class Followed:
    """Which instructions of a prompt an answer follows.

    Attributes:
        strict: As it stands: one truth value an instruction, in the ground truth's order.
        loose: In any of its variants, likewise.
    """

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]


def loose_variants(answer: str) -> tuple[str, ...]:
    """The reference's eight variants of an answer, the answer itself first; some may be blank or equal."""
    lines = answer.split("\n")
    cut = [answer, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return (*cut, *(text.replace("*", "") for text in cut))


def instructions(ground_truth: Any) -> Callable[[str | None], Followed]:
    """The check of each instruction by itself, strict and loose.

    Args:
        ground_truth: Of the verifier ``constraints``, in any of its forms.

    Returns:
        A function of an answer (without its reasoning; None, or blank: follows nothing).

    Raises:
        InputError: As `divmon.verifiers.constraints.checker`.
    """
    tests = tests_of(ground_truth)

    def check(answer: str | None) -> Followed:
        if answer is None or not answer.strip():
            return Followed((False,) * len(tests), (False,) * len(tests))
        variants = [text for text in dict.fromkeys(loose_variants(answer)) if text.strip()]
        return Followed(
            tuple(bool(test(answer)) for test in tests),
            tuple(any(test(text) for text in variants) for test in tests),
        )

    return check
