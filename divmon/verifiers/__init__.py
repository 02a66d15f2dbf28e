"""Is an answer right? Strings in, a number out: nothing here knows of models or trainers."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from divmon.errors import InputError
from divmon.text import extract_answer
from divmon.verifiers import constraints, literal, match, math, reference
from divmon.verifiers.truth import Check, Reading, unknown

OUTSIDE = ("code", "judge")
"""Verifiers that reach beyond this process: programs are run, a model is asked.

Rewards of these names do so where a recipe says it; for a measurement, prompts with them are ones without a verifier.
"""


def _code(ground_truth: Any, **options: Any) -> Check:
    from divmon.verifiers import code  # with the sandbox, which few need

    return code.checker(ground_truth, **options)


_MAKERS: dict[str, Callable[..., Check]] = {
    "math": math.checker,
    "constraints": constraints.checker,
    "match": match.checker,
    "literal": literal.checker,
    "reference": reference.checker,
    "code": _code,
}
VERIFIERS = tuple(_MAKERS)
_READINGS: dict[str, Callable[[Any], Reading[Any]]] = {
    "math": math.reading,
    "literal": literal.reading,
    "match": match.reading,
    "reference": reference.reading,
}


def verify(
    verifier: str, completion: str, ground_truth: Any, *, opened_in_prompt: bool = False, **options: Any
) -> float:
    """Score a completion against what is right.

    The answer is what stands outside the think block (`divmon.text.extract_answer`); without one the score is 0.
    Scoring never raises because of what the completion says, and takes bounded time whatever that is: linear in its
    length, at most some seconds more where an expression has to be simplified, and for ``code`` what its options give.

    Args:
        verifier: ``math`` (see `divmon.verifiers.math`), ``constraints`` (`divmon.verifiers.constraints`), ``match``
            (`divmon.verifiers.match`), ``literal`` (`divmon.verifiers.literal`), ``reference``
            (`divmon.verifiers.reference`) or ``code`` (`divmon.verifiers.code`, a program in the sandbox).
        completion: What the model wrote.
        ground_truth: What is right, in the verifier's form; JSON-like.
        opened_in_prompt: The prompt ended inside a think block.
        **options: What the verifier takes beside: of ``code`` those of `divmon.verifiers.code.checker`, among them
            ``execute_code=True``, without which it runs nothing; the others take none.

    Returns:
        From 0 (wrong) to 1 (right); all but ``code`` with a ``threshold`` below 1 give one or the other.

    Raises:
        InputError: For an unknown verifier, a ground truth that is not of its form, or ``code`` without
            ``execute_code``.
        MathVerifyError: If math-verify, which ``math`` asks about what is no plain number, cannot be run here.
        SandboxError: If there is no sandbox to be had for ``code``.
    """
    check = _checker(verifier, ground_truth, **options)
    answer = extract_answer(completion, opened_in_prompt=opened_in_prompt)
    return 0.0 if answer is None else check(answer)


def check_ground_truth(verifier: str, ground_truth: Any) -> None:
    """Refuse what ``verify`` would refuse, before there is a completion.

    Raises:
        InputError: For an unknown verifier or a ground truth that is not of its form.
    """
    _checker(verifier, ground_truth)


def reading(verifier: str, ground_truth: Any) -> Reading[Any] | None:
    """How to compare answers with each other, which a majority vote does; None where an answer is no value.

    Args:
        verifier: As for `verify`; there is a reading for ``math``, ``literal``, ``match`` and ``reference``.
        ground_truth: What is right; it says what kind of value is asked for, and is compared with nothing.

    Raises:
        InputError: For a ground truth that is not of the verifier's form.
    """
    return _READINGS[verifier](json.loads(_as_json(verifier, ground_truth))) if verifier in _READINGS else None


def _checker(verifier: str, ground_truth: Any, **options: Any) -> Check:
    if verifier == "judge":
        raise InputError("The verifier 'judge' is a language model that has to be asked: use the reward 'judge'.")
    if verifier not in _MAKERS:
        raise unknown("verifier", verifier, VERIFIERS)
    return _made(verifier, _as_json(verifier, ground_truth), tuple(sorted(options.items())))


def _as_json(verifier: str, ground_truth: Any) -> str:
    try:
        return json.dumps(ground_truth, sort_keys=True, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{verifier}: expected a ground truth of strings, numbers and lists, got {error}.") from error


@functools.lru_cache(maxsize=64)
def _made(verifier: str, key: str, options: tuple[tuple[str, Any], ...]) -> Check:
    """A ground truth is read once, not for each of its completions, which come together; those of code may be large."""
    return _MAKERS[verifier](json.loads(key), **dict(options))


def _plain(value: Any) -> Any:
    """NumPy's and Arrow's scalars and arrays as Python's."""
    for name in ("tolist", "as_py"):
        if hasattr(value, name):
            return getattr(value, name)()
    raise TypeError(f"a {type(value).__name__}")
