"""What the verifiers share: the forms of a check and of a reading, ground truths in text form, unknown names."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from divmon.errors import InputError, near_miss

Check = Callable[[str], float]
"""Scores an answer: from 0 to 1."""

T = TypeVar("T")


@dataclass(frozen=True)
class Reading(Generic[T]):
    """What an answer says in the end, as a value that can be compared with what another one says.

    Attributes:
        read: The value in an answer; None where it says nothing of the kind.
        key: What tells values apart at a glance: equal keys are equal values.
        same: Whether two values are equal though their keys are not, which may take a while; None: they never are.
    """

    read: Callable[[str], T | None]
    key: Callable[[T], Hashable]
    same: Callable[[T, T], bool] | None = None


def unknown(what: str, name: Any, known: Iterable[str]) -> InputError:
    """The error for a name that is not among ``known``, with the nearest one that is."""
    return InputError(f"Unknown {what} {name!r}: {near_miss(name, known)}")


def check_arguments(name: str, maker: Callable[..., Any], given: Collection[Any], also: Sequence[str] = ()) -> None:
    """Refuse arguments that a function does not take, and the lack of those that it needs.

    Args:
        name: What its user calls the function.
        maker: The function.
        given: Names of the arguments that it is to be called with.
        also: Names that may be meant beside its own.

    Raises:
        InputError: With the near miss of an unknown argument, or the names of those that are missing.
    """
    known = inspect.signature(maker).parameters
    for argument in given:
        if argument not in known:
            raise unknown(f"argument of {name}", argument, [*also, *known])
    missing = [p.name for p in known.values() if p.default is p.empty and p.name not in given]
    if missing:
        raise InputError(f"{name} needs {' and '.join(missing)}.")


def alternatives(verifier: str, ground_truth: Any) -> list[str]:
    """The answers that are accepted, as text: one string or number, or a list of them.

    Raises:
        InputError: For anything else, and where there is none.
    """
    given = ground_truth if isinstance(ground_truth, list) else [ground_truth]
    texts = [str(value) for value in given if isinstance(value, str | int | float) and not isinstance(value, bool)]
    if len(texts) < len(given) or not texts or not all(text.strip() for text in texts):
        shown = "nothing" if ground_truth in (None, "", []) else repr(ground_truth)[:80]
        raise InputError(f"{verifier}: expected the right answer as text or a number, or a list of them, got {shown}.")
    return texts


def parsed(text: str) -> Any:
    """A ground truth in text form: JSON, or the Python literal that open-instruct's data sets hold.

    Raises:
        InputError: If it is neither.
    """
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    raise InputError(f"Expected JSON or a Python literal, got {text.strip()[:80]!r}.")
